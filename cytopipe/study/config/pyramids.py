"""The section `pyramids`."""

from cytopipe.study.config.base import ConfigSection, field


class Pyramids(ConfigSection):
    """Copies of the scans that cannot be read in place (docs/images.md)."""

    exact_um: float = field(
        "One level has exactly this pixel size, at which patches are read: a copy of a scan of "
        "0.46 um has levels of 0.46, 1, 2, 4 um and so on.",
        unit="um",
        gt=0,
    )
    coarsest_um: float = field(
        "The largest pixel size: levels are halved until the next one would be coarser.",
        unit="um",
        gt=0,
    )
    tile: int = field("The edge of a tile.", unit="px", ge=16, multiple_of=16)
