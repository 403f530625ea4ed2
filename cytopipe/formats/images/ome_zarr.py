"""OME-Zarr 0.4 (zarr 2) and 0.5 (zarr 3): a folder, a level an array, decoded chunk by chunk.

https://ngff.openmicroscopy.org/0.5. zarr gives a fill value for a chunk that is not there, without
an error; here such chunks are named to the caller.
"""

import os
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats.images.store import COPY_AGAIN, UNIT_UM, Box, StoredLevel, damage_named

_CONVERT = "convert it to 8 or 16 bit gray or RGB"
_VERSIONS = ("0.4", "0.5")
_RGB = ["FF0000", "00FF00", "0000FF"]


class ZarrStore:
    """An open OME-Zarr image (a `Store`).

    Raises
    ------
    InputError
        If the folder is no OME-Zarr image of these versions, or holds anything but a gray or RGB
        image of 8 or 16 bits.
    """

    def __init__(self, path: Path) -> None:
        import zarr  # only where there are such images

        self.path = path
        with damage_named(f"{path}: not a readable OME-Zarr", COPY_AGAIN):
            self._folder = path
            metadata = _metadata(zarr.open_group(path, mode="r"))
            if "multiscales" not in metadata and "bioformats2raw.layout" in metadata:
                # this converter's root lists images, the first of which is the scan
                self._folder = path / "0"
                metadata = _metadata(zarr.open_group(self._folder, mode="r"))
        version, image = _multiscale(path, metadata)
        with damage_named(f"{path}: its multiscales metadata are damaged", COPY_AGAIN):
            axes = [axis["name"].lower() for axis in image["axes"]]
            self._names = [str(dataset["path"]) for dataset in image["datasets"]]
            placed = [_placed(dataset, image, axes) for dataset in image["datasets"]]
            unit_um = [UNIT_UM.get(image["axes"][axes.index(a)].get("unit")) for a in ("y", "x")]
        self._arrays: list[Any] = []
        for number, name in enumerate(self._names):
            with damage_named(
                f"{path}: level {number} ({name}) is missing or not readable", COPY_AGAIN
            ):
                self._arrays.append(zarr.open_array(self._folder / name, mode="r"))
        _check_pixels(path, axes, self._arrays, metadata)
        _check_shifts(path, placed)
        self._y, self._x = axes.index("y"), axes.index("x")
        self._c = axes.index("c") if "c" in axes else None
        self.format = f"OME-Zarr {version}"
        self.dtype = np.dtype(self._arrays[0].dtype).newbyteorder("=")
        self.channels = 1 if self._c is None else self._arrays[0].shape[self._c]
        self.white_is_zero = False
        self.spacing_um = {
            axis: scale * um
            for axis, scale, um in zip("YX", placed[0][0], unit_um, strict=True)
            if um is not None
        }
        # without a unit the ratio between levels still holds, and no more is made of it
        self.levels = [
            self._level(array, scale[1] * (unit_um[1] or 1.0))
            for array, (scale, _) in zip(self._arrays, placed, strict=True)
        ]

    def close(self) -> None:
        """Nothing stays open between reads."""

    def _level(self, array: Any, spacing_um: float) -> StoredLevel:
        segment = self._segment(array)
        codecs = [type(codec).__name__.lower().removesuffix("codec") for codec in array.compressors]
        rows, columns = array.shape[self._y], array.shape[self._x]
        return StoredLevel(
            rows,
            columns,
            (min(segment[self._y], rows), min(segment[self._x], columns)),
            ", ".join(codecs) or "none",
            spacing_um,
        )

    @staticmethod
    def _segment(array: Any) -> tuple[int, ...]:
        """What one file holds along each axis: a chunk, or a shard of several."""
        return tuple(array.shards or array.chunks)

    def check_complete(self) -> list[tuple[int, Box]]:
        """Chunks without a file, by level."""
        absent = []
        for number, (array, name) in enumerate(zip(self._arrays, self._names, strict=True)):
            folder = self._folder / name
            files = {
                str(Path(root, file).relative_to(folder))
                for root, _, found in os.walk(folder)
                for file in found
            }
            segment = self._segment(array)
            grid = [
                range(-(-size // part)) for size, part in zip(array.shape, segment, strict=True)
            ]
            absent += [
                (number, self._place(array, index))
                for index in product(*grid)
                if array.metadata.encode_chunk_key(index) not in files
            ]
        return absent

    def _place(self, array: Any, index: tuple[int, ...]) -> Box:
        segment = self._segment(array)
        row, column = index[self._y] * segment[self._y], index[self._x] * segment[self._x]
        return Box(
            row,
            column,
            min(segment[self._y], array.shape[self._y] - row),
            min(segment[self._x], array.shape[self._x] - column),
        )

    def read(self, level: int, box: Box) -> tuple[NDArray[Any], list[Box]]:
        """Pixels of a box as stored; only the chunks that it touches are decoded."""
        array = self._arrays[level]
        cut: list[Any] = [0] * array.ndim
        cut[self._y] = slice(box.row, box.row + box.height)
        cut[self._x] = slice(box.column, box.column + box.width)
        if self._c is not None:
            cut[self._c] = slice(None) if self.channels == 3 else 0
        what = (
            f"{self.path}: a chunk of level {level} at row {box.row}, column {box.column} or beyond"
        )
        with damage_named(f"{what} is not readable", COPY_AGAIN):
            pixels = np.asarray(array[tuple(cut)]).astype(self.dtype, copy=False)
        # axes that are left keep their order
        left = [axis for axis in range(array.ndim) if isinstance(cut[axis], slice)]
        wanted = [self._y, self._x] + ([self._c] if self._c in left else [])
        pixels = np.ascontiguousarray(pixels.transpose([left.index(axis) for axis in wanted]))
        return pixels, self._absent(level, box)

    def _absent(self, level: int, box: Box) -> list[Box]:
        array, segment = self._arrays[level], self._segment(self._arrays[level])
        grid = [range(1)] * array.ndim
        grid[self._y] = _touched(box.row, box.height, segment[self._y])
        grid[self._x] = _touched(box.column, box.width, segment[self._x])
        if self._c is not None:
            grid[self._c] = _touched(0, self.channels, segment[self._c])
        folder = self._folder / self._names[level]
        return [
            self._place(array, index)
            for index in product(*grid)
            if not (folder / array.metadata.encode_chunk_key(index)).exists()
        ]


def _touched(start: int, size: int, part: int) -> range:
    return range(start // part, -(-(start + size) // part))


def _metadata(group: Any) -> dict[str, Any]:
    """OME metadata: under `ome` since version 0.5, at the top before."""
    attributes = group.attrs.asdict()
    found: dict[str, Any] = attributes.get("ome", attributes)
    return found


def _multiscale(path: Path, metadata: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Version and the first of the images at several scales."""
    if not metadata.get("multiscales"):
        raise InputError(
            f"{path}: has no multiscales metadata: no OME-Zarr image; name the folder that has them"
        )
    image = metadata["multiscales"][0]
    version = str(metadata.get("version", image.get("version", "unknown")))
    if version not in _VERSIONS:
        raise InputError(
            f"{path}: is OME-Zarr {version}; convert it to one of {', '.join(_VERSIONS)}"
        )
    return version, image


def _placed(
    dataset: dict[str, Any], image: dict[str, Any], axes: list[str]
) -> tuple[list[float], list[float]]:
    """Scale and translation of a level along y and x, in the unit of the axes."""
    scale, shift = np.ones(len(axes)), np.zeros(len(axes))
    for step in [
        *dataset["coordinateTransformations"], *image.get("coordinateTransformations", [])
    ]:  # fmt: skip
        if step["type"] == "scale":
            scale, shift = scale * step["scale"], shift * step["scale"]
        elif step["type"] == "translation":
            shift = shift + step["translation"]
        elif step["type"] != "identity":
            raise ValueError(f"a transformation of type {step['type']}")
    where = [axes.index("y"), axes.index("x")]
    return scale[where].tolist(), shift[where].tolist()


def _check_shifts(path: Path, placed: list[tuple[list[float], list[float]]]) -> None:
    """All levels show the same; some writers state the half pixel between them, some do not."""
    for number, (scale, shift) in enumerate(placed):
        moved = (np.array(shift) - placed[0][1]) / scale
        if not (np.array(scale) > 0).all() or np.abs(moved).max() > 1:
            raise InputError(
                f"{path}: level {number} has scale {scale} and is moved by "
                f"{moved.tolist()} pixels; write it again, with "
                "positive scales and all levels of the same part"
            )


def _check_pixels(path: Path, axes: list[str], arrays: list[Any], metadata: dict[str, Any]) -> None:
    first = arrays[0]
    for number, array in enumerate(arrays):
        if array.ndim != len(axes) or array.dtype != first.dtype:
            raise InputError(
                f"{path}: level {number} has {array.ndim} axes of {array.dtype}, level 0 "
                f"{len(axes)} of {first.dtype}; write it again"
            )
        sizes = dict(zip(axes, array.shape, strict=True))
        other = [size for axis, size in sizes.items() if axis not in ("y", "x", "c")]
        if sizes.get("c", 1) not in (1, 3) or any(size != 1 for size in other) or 0 in array.shape:
            raise InputError(
                f"{path}: shape {array.shape} along {', '.join(axes)} is not a gray or RGB image; "
                f"{_CONVERT}, one plane and one channel or red, green and blue"
            )
        if sizes.get("c", 1) == 3:
            _check_colors(path, metadata)
    if first.dtype not in (np.uint8, np.uint16):
        raise InputError(f"{path}: gray values are {first.dtype}; {_CONVERT}")


def _check_colors(path: Path, metadata: dict[str, Any]) -> None:
    """Three channels are red, green and blue unless the file says that they are something else."""
    channels = metadata.get("omero", {}).get("channels", [])
    colors = [str(channel.get("color", "")).upper()[-6:] for channel in channels]
    if len(colors) == 3 and all(colors) and colors != _RGB:
        raise InputError(
            f"{path}: its three channels have the colors {', '.join(colors)}, not red, green and "
            "blue; export the stain's channel as a gray image"
        )
