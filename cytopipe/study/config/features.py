"""The section `features`."""

from cytopipe.study.config.base import ConfigSection, Precision, field


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
