"""Write files as slide scanners do, for OpenSlide."""

from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

_LEICA = """<?xml version="1.0" encoding="UTF-8"?>
<scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01"><collection name="c" uuid="u"
sizeX="{slide}" sizeY="{slide}">{images}</collection></scn>"""
_LEICA_IMAGE = """<image name="i" uuid="u"><creationDate>2020-01-01T00:00:00Z</creationDate>
<device model="Leica SCN400" version="1"/>
<pixels sizeX="{width}" sizeY="{height}">
<dimension sizeX="{width}" sizeY="{height}" r="0" ifd="{ifd}"/></pixels>
<view sizeX="{width_nm}" sizeY="{height_nm}" offsetX="{left_nm}" offsetY="{top_nm}"/>
<scanSettings><objectiveSettings><objective>20</objective></objectiveSettings>
<illuminationSettings><numericalAperture>0.5</numericalAperture>
<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image>"""


def colored(gray: NDArray) -> NDArray:
    """A stained section of which the luma is within half a gray value of `gray`, up to 225."""
    return np.stack([gray + 14, gray - 10, gray + 14], -1).astype(np.uint8)


def write_aperio(
    path: Path,
    image: NDArray,
    spacing_um: float | None = 20.0,
    tile: int = 64,
    step: int = 4,
    **options: Any,
) -> Path:
    """An image (rows, columns, 3) with a level, a thumbnail, a label and an overview of the slide.

    Parameters
    ----------
    step : how many pixels of the image one of the level is wide.
    options : of the image and its level, for tifffile; JPEG at quality 95 unless they say else.
    """
    rows, columns = image.shape[:2]
    text = f"Aperio Image Library v12.0.15 \r\n{columns}x{rows} ({tile}x{tile}) JPEG/RGB Q=95"
    text += "|AppMag = 20" + ("" if spacing_um is None else f"|MPP = {spacing_um:g}")
    common: dict[str, Any] = {"photometric": "rgb", "metadata": None, "software": False}
    tiled = common | {"compression": "jpeg", "compressionargs": {"level": 95}} | options
    small = _reduced(image, step)
    with tifffile.TiffWriter(path) as tif:
        tif.write(image, tile=(tile, tile), description=text, **tiled)
        tif.write(small, compression="jpeg", description=text, **common)
        tif.write(small, tile=(tile, tile), description=text, **tiled)
        for name, kind in (("label", 1), ("macro", 9)):
            other = np.full((40, 50, 3), 30, np.uint8)
            description = f"Aperio Image Library v12.0.15 \r\n{name} 50x40"
            tif.write(other, subfiletype=kind, description=description, **common)
    return path


def write_generic(path: Path, image: NDArray, tile: int = 64, **options: Any) -> Path:
    """Levels as pages of a tiled TIFF, as many converters write them."""
    with tifffile.TiffWriter(path) as tif:
        for number, step in enumerate((1, 2)):
            tif.write(
                _reduced(image, step), tile=(tile, tile), photometric="rgb", metadata=None,
                subfiletype=min(number, 1), **{"compression": "jpeg"} | options,
            )  # fmt: skip
    return path


def write_leica(
    path: Path, images: list[NDArray], corners: list[tuple[int, int]], spacing_um: float
) -> Path:
    """Scanned regions of one slide, each with its first row and column on the slide."""
    overview = np.full((40, 40, 3), 200, np.uint8)
    pages = [(overview, (0, 0), 5000 / 40 * spacing_um)]
    pages += [(image, corner, spacing_um) for image, corner in zip(images, corners, strict=True)]
    texts = [
        _LEICA_IMAGE.format(
            width=image.shape[1], height=image.shape[0], ifd=number,
            width_nm=round(1000 * um * image.shape[1]), height_nm=round(1000 * um * len(image)),
            left_nm=round(1000 * um * left), top_nm=round(1000 * um * top),
        )
        for number, (image, (top, left), um) in enumerate(pages)
    ]  # fmt: skip
    text = _LEICA.format(slide=round(5000 * 1000 * spacing_um), images="".join(texts))
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for number, (image, _, um) in enumerate(pages):
            tif.write(
                image, tile=(64, 64), photometric="rgb", metadata=None, compression="jpeg",
                compressionargs={"level": 95}, description=text if number == 0 else None,
                resolution=(1e4 / um, 1e4 / um), resolutionunit="CENTIMETER",
            )  # fmt: skip
    return path


def _reduced(image: NDArray, step: int) -> NDArray:
    """Means of step x step pixels; a last row or column that does not fill a pixel is left out."""
    rows, columns = image.shape[0] // step, image.shape[1] // step
    blocks = image[: rows * step, : columns * step].reshape(rows, step, columns, step, 3)
    return np.rint(blocks.mean((1, 3))).astype(np.uint8)
