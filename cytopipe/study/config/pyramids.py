"""The section `pyramids`."""

from cytopipe.study.config.base import ConfigSection, field


class Pyramids(ConfigSection):
    """Only for scans that are not pyramidal OME-TIFF files (.ome.tif, .ome.tiff, .ome.btf)."""

    exact_um: float = field(
        "The pixel size that one level has exactly, because patches are read at it: a scan of "
        "0.46 um gets levels of 1, 2, 4 um and so on.",
        unit="um",
        gt=0,
    )
    coarsest_um: float = field(
        "The largest pixel size: levels are halved as long as they are not coarser.",
        unit="um",
        gt=0,
    )
    tile: int = field("The edge of a tile.", unit="px", ge=16, multiple_of=16)
