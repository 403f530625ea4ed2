"""Images as different programs write them, and how the tests read them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats.images import examine, halve
from cytopipe.formats.images.pyramid import Pyramid, open_reader

LUMA = np.array([0.299, 0.587, 0.114])


def refused(path: Path, message: str) -> str:
    """Demand that an examination names the file and says `message`, a regular expression.

    Returns all that it says.
    """
    with pytest.raises(InputError, match=message) as error:
        examine(path)
    assert path.name in str(error.value)
    return str(error.value)


def gray_of(path: Path) -> NDArray:
    """Level 0 as all stages see it."""
    with open_reader(path) as reader:
        return Pyramid(reader, 1.0).read_level(0)


def two_levels(image: NDArray) -> list[NDArray]:
    """An image, and half of it."""
    return [image, halve(image)]


def write_levels(path: Path, levels: Sequence[NDArray], **options: Any) -> Path:
    """A tiled OME-TIFF with any levels, right or wrong."""
    with tifffile.TiffWriter(path, ome=True) as tif:
        for number, level in enumerate(levels):
            tif.write(
                level, tile=(32, 32), photometric="minisblack", subfiletype=min(number, 1),
                subifds=len(levels) - 1 if number == 0 else None, **options,
            )  # fmt: skip
    return path


def axes_of(ndim: int, unit: str | None = "micrometer") -> list[dict[str, str]]:
    """The axes [c,] y, x; y and x in a unit."""
    space = {"type": "space"} | ({} if unit is None else {"unit": unit})
    axes = [{"name": "y", **space}, {"name": "x", **space}]
    return axes if ndim == 2 else [{"name": "c", "type": "channel"}, *axes]


def write_ome_zarr(
    path: Path,
    levels: list[NDArray],
    spacing_um: float = 20.0,
    zarr_format: int = 2,
    axes: list[dict[str, str]] | None = None,
    version: bool = True,
    omero: object = "absent",
    full_chunks: bool = True,
    dtypes: list[str] | None = None,
    **options: object,
) -> Path:
    """Write each level as an array of its own, chunked by 32 px unless `options` say else.

    Parameters
    ----------
    full_chunks : also write chunks that have nothing but the fill value.
    dtypes : data type of each level as stored, with the order of its bytes.
    """
    root = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    ndim = levels[0].ndim
    datasets = []
    for number, level in enumerate(levels):
        array = root.create_array(
            str(number),
            shape=level.shape,
            dtype=dtypes[number] if dtypes else level.dtype,
            **{"chunks": (3,) * (ndim - 2) + (32, 32)} | options,
            config={"write_empty_chunks": full_chunks},
        )
        array[:] = level
        step = spacing_um * levels[0].shape[-1] / level.shape[-1]
        scale = [1.0] * (ndim - 2) + [step, step]
        transformations = [{"type": "scale", "scale": scale}]
        datasets.append({"path": str(number), "coordinateTransformations": transformations})
    image = {"axes": axes or axes_of(ndim), "datasets": datasets}
    extra = {} if omero == "absent" else {"omero": omero}
    if zarr_format == 3:
        ome = {"version": "0.5"} if version else {}
        root.attrs["ome"] = ome | {"multiscales": [image]} | extra
    else:
        number = {"version": "0.4"} if version else {}
        root.attrs.update({"multiscales": [image | number]} | extra)
    return path


def chunk_files(path: Path, level: int) -> list[Path]:
    """The files of the chunks of a level."""
    return sorted(
        file
        for file in (path / str(level)).rglob("*")
        if file.is_file() and not file.name.startswith((".z", "zarr"))
    )
