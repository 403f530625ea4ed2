"""The section `features`."""

from cytopipe.study.config.base import ConfigSection, field


class NetworkFeatures(ConfigSection):
    """Features of the pretrained networks."""

    batch_size: int = field("The number of patches that are embedded at a time.", ge=1)
    cache_mb: float = field(
        "A level of at most this size is decoded once per section; a larger one is read tile by "
        "tile.",
        unit="MB",
        ge=0,
    )


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


class Features(ConfigSection):
    """The features of every point."""

    network: NetworkFeatures
    profiles: Profiles
