"""The section `alignment`."""

from typing import Literal

from cytopipe.study.config.base import ConfigSection, field


class Alignment(ConfigSection):
    """Features and RANSAC as in CytoNet, section 3.2, which gives only the resolution.

    All other values were chosen on the phantom (median error of a pair at the tissue's border).
    """

    spacing_um: float = field(
        "The pixel size at which features are detected and the overlap is measured.",
        unit="um",
        source="CytoNet 3.2",
        gt=0,
    )
    coarse_um: float = field("The pixel size of the first search over rotations.", unit="um", gt=0)
    max_rotation_deg: float = field(
        "The largest rotation between two sections; 180 if slides may lie any way round.",
        unit="deg",
        ge=0,
        le=180,
    )
    rotation_step_deg: float = field(
        "The step of the first search over rotations; features and texture may correct its result "
        "by two steps.",
        unit="deg",
        gt=0,
        le=30,
    )
    octaves: int = field("The number of octaves of the SURF detector.", ge=1, le=5)
    max_features: int = field(
        "A section keeps at most this many features, the strongest ones.", ge=10
    )
    max_ratio: float = field(
        "The ratio test: the nearest descriptor is at most this many times as far as the second "
        "nearest.",
        gt=0,
        le=1,
    )
    inlier_um: float = field(
        "The largest distance of a match from the transform that it supports; about 0.4 mm per mm "
        "of section spacing.",
        unit="um",
        gt=0,
    )
    trials: int = field("The number of samples that RANSAC draws.", ge=1)
    min_inliers: int = field(
        "The smallest number of inliers for a transform from features; with fewer, the outline is "
        "tried.",
        ge=2,
    )
    refine: Literal["texture", "none"] = field(
        "texture: correlate vessels and grain after the features; none: features alone, as in the "
        "paper."
    )
    texture_um: float = field(
        "The pixel size of the texture, whose structures have 1 to 4 pixels; not finer than "
        "spacing_um.",
        unit="um",
        gt=0,
    )
    reach_um: float = field(
        "The texture may correct the shift of the first search by at most this.",
        unit="um",
        gt=0,
    )
    part_um: float = field(
        "A part of the tissue confirms a transform if its own texture fits best within this "
        "distance; it allows for tissue that was deformed on the slide.",
        unit="um",
        source="3 pixels of texture_um: sections with shared texture agree within 1.5",
        gt=0,
    )
    min_agreement: float = field(
        "A transform is accepted if more than this share of the tissue's parts confirm it, and no "
        "other part lies elsewhere; without shared texture 0 to 0.22 confirm it, with it mostly "
        "0.75 to 1.",
        source="phantoms with sections 0.5 to 6 mm apart, with and without shared texture",
        ge=0,
        lt=1,
    )
    anatomy_ratio: float = field(
        "The error of a transform that follows the anatomy, over the distance of the two sections.",
        source="phantom without shared texture",
        gt=0,
    )
    drift_ratio: float = field(
        "The part of that error that all pairs share, so that it adds up along the stack, over the "
        "distance.",
        source="phantom without shared texture: 17 mm in 90 mm",
        ge=0,
    )
    mirrored_share: float = field(
        "The share of sections that lie face down, expected beforehand.",
        gt=0,
        lt=0.5,
    )
    min_confidence: float = field(
        "A section whose handedness is less probable than this is kept as scanned and uncertain; a "
        "person is asked.",
        ge=0.5,
        lt=1,
    )
    min_overlap: float = field(
        "The smallest accepted Dice coefficient of the two tissue masks after the fit.", ge=0, le=1
    )
    min_tissue_share: float = field(
        "A section with less than this share of the largest tissue area is not the centre of the "
        "stack, and the sections beyond it are also aligned to those before it.",
        ge=0,
        le=1,
    )
    neighbours: int = field(
        "A section is aligned to this many usable sections before it; 2 bridge one bad section.",
        ge=1,
        le=5,
    )
    composition: Literal["graph", "recursive"] = field(
        "graph: all pairs are solved together, robustly; recursive: neighbour by neighbour, as in "
        "the paper."
    )
    seed: int = field("The seed of RANSAC.", ge=0)
