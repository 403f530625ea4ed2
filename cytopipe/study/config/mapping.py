"""The section `mapping`."""

from cytopipe.study.config.base import ConfigSection, field


class Mapping(ConfigSection):
    """The map: the area of every point of every brain, predicted by a classifier.

    It is left out if no classifier can be trained (no atlas, no annotations, no seen brain).
    """

    run: str | None = field(
        "The run of evaluation.tasks.areas whose linear probe makes the map; null for the first of "
        "them, empty for no map."
    )
    smoothing_mm: float = field(
        "The map is smoothed along the cortex over about this distance; 0 for none. Keep it well "
        "below the size of an area: 3 mm for areas of 10 cm2. On the demo, whose areas are ten "
        "times as large, 5 to 8 mm raise the accuracy from 0.79 to 0.94.",
        unit="mm",
        ge=0,
    )
    components: int = field(
        "The number of principal components of the features in which distances are measured. On "
        "the demo 16 to 64 are alike.",
        ge=1,
    )
    neighbours: int = field(
        "A point is as foreign as its distance to the training point of this rank.", ge=1
    )
    reference: int = field(
        "The largest number of training points to which distances are measured, and of held-out "
        "points from which the threshold is taken.",
        ge=100,
    )
    false_alarms: float = field(
        "The share of held-out labelled points of seen brains that are marked unlike_training: it "
        "sets the threshold for all brains.",
        gt=0,
        lt=1,
    )
    seed: int = field("The seed of the draws.", ge=0)
