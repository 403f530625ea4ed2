"""The section `features`."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cytopipe.study.config.base import ConfigSection, FilePath, Positive, Precision, field
from cytopipe.study.config.pretraining import RunName


class NetworkFeatures(ConfigSection):
    """Features of the pretrained networks."""

    batch_size: int = field("The number of patches that are embedded at a time.", ge=1)
    precision: Precision = field("The precision of the network; the features are always float32.")
    workers: int = field(
        "The number of processes that read patches; 0 reads them in the process of the network.",
        ge=0,
    )
    cache_mb: float = field(
        "A level is decoded once per section by each worker if it fits into the worker's share of "
        "this; a larger one is read tile by tile.",
        unit="MB",
        ge=0,
    )


class Views(ConfigSection):
    """Features of augmented training patches, on which probes of areas are trained."""

    count: int = field(
        "The number of augmented views of each training patch, which the epochs of a probe take in "
        "turn; as many as epochs in the papers, 0 for patches that are not augmented.",
        source="CytoNet 3.5",
        ge=0,
    )
    seed: int = field("The seed of the augmentation.", ge=0)


class Profiles(ConfigSection):
    """The baseline without a network: the mean intensity across the cortex."""

    samples: int = field(
        "The number of intensities from the pial surface to the white matter.", ge=2
    )
    width_mm: float = field(
        "The extent along the cortex over which intensities are averaged.", unit="mm", ge=0
    )
    spacing_um: float = field(
        "The coarsest level with at most this pixel size is read.", unit="um", gt=0
    )


class ExternalCard(ConfigSection):
    """What an external encoder expects of its images: card.yaml in its folder."""

    patch_px: int = field("The edge of the images that the network takes.", unit="px", ge=8)
    spacing_um: float = field(
        "The pixel size of the images, which must be a level of the pyramids.", unit="um", gt=0
    )
    channels: Literal[1, 3] = field("The number of channels; the gray image is repeated in each.")
    mean: Annotated[Sequence[float], Field(min_length=1, max_length=3)] = field(
        "What is subtracted from intensities of 0 to 1, for each channel."
    )
    std: Annotated[Sequence[Positive], Field(min_length=1, max_length=3)] = field(
        "What the difference is divided by, for each channel."
    )
    source: str = field("Where the network comes from, and its licence.")

    @model_validator(mode="after")
    def _one_for_each_channel(self) -> Self:
        for key in ("mean", "std"):
            if len(getattr(self, key)) != self.channels:
                raise ValueError(
                    f"{key} has {len(getattr(self, key))} values for {self.channels} channels; "
                    "give one for each"
                )
        return self


class Features(ConfigSection):
    """The features of every point."""

    external: dict[RunName, FilePath] = field(
        "The folders of external encoders by name, {dinov2: models/dinov2}: baselines that can be "
        "named wherever a task takes profiles (docs/external-encoders.md)."
    )
    network: NetworkFeatures
    views: Views
    profiles: Profiles
