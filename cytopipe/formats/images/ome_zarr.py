"""OME-Zarr 0.4 (zarr 2) and 0.5 (zarr 3): a folder with one array per level, read by chunks.

https://ngff.openmicroscopy.org/0.5. zarr silently returns a fill value for a chunk that does not
exist; this reader reports such chunks.
"""

import math
import os
import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats.images.description import (
    CONVERT,
    ImageDescription,
    LevelDescription,
    pixel_size_um,
)
from cytopipe.formats.images.reader import (
    COPY_AGAIN,
    Region,
    choose_scan,
    input_error_on_damage,
    spread,
)

_VERSIONS = ("0.4", "0.5")
# more files than a scan of 100 Gpx in chunks of 128 px has; a table of them takes 16 MB
_MOST_CHUNKS = 2**24
_RGB = ["FF0000", "00FF00", "0000FF"]


class OmeZarrReader:
    """An open OME-Zarr image (an `ImageReader`).

    Raises
    ------
    InputError
        If the folder is not an OME-Zarr image of these versions, or contains anything but a gray or
        RGB image of 8 or 16 bits.
    """

    def __init__(self, path: Path, dark: bool = False) -> None:
        import zarr  # only where there are such images: a GPU node may lack it

        self._path = self._folder = path
        with input_error_on_damage(f"{path}: not a readable OME-Zarr", COPY_AGAIN):
            root = zarr.open_group(path, mode="r")
        damaged = f"{path}: its multiscales metadata are damaged"
        with input_error_on_damage(damaged, COPY_AGAIN):
            images = _images(path, root)
            # a single image may lack its first level, which is reported below
            counts = [math.prod(root[key].shape) for key in images] if len(images) > 1 else [1]
            name, metadata, image = [*images.values()][choose_scan(path, counts)]
            self._folder = path / name
            version = _version(path, metadata, image, root.metadata.zarr_format)
            axes = [axis["name"].lower() for axis in image["axes"]]
            self._y, self._x = axes.index("y"), axes.index("x")
            self._names = [str(dataset["path"]) for dataset in image["datasets"]]
            placements = [
                _scale_and_shift(dataset, image, len(axes))[:, [self._y, self._x]]
                for dataset in image["datasets"]
            ]
            units = [image["axes"][it].get("unit") for it in (self._y, self._x)]
        self._arrays: list[Any] = []
        for number, name in enumerate(self._names):
            with input_error_on_damage(
                f"{path}: level {number} ({name}) is missing or not readable", COPY_AGAIN
            ):
                self._arrays.append(zarr.open_array(self._folder / name, mode="r"))
        _check_arrays(path, axes, self._arrays)
        _check_placements(path, placements)
        self._c = axes.index("c") if "c" in axes else None
        self._channels = 1 if self._c is None else self._arrays[0].shape[self._c]
        if self._channels == 3:
            _check_colors(path, metadata)
        stated = {
            axis: (float(scale), unit)
            for axis, scale, unit in zip("YX", placements[0][0], units, strict=True)
        }
        axis_spacing_um = pixel_size_um(path, stated, default=None)
        # without a unit the ratios between levels still hold
        unit_um = axis_spacing_um.get("X", stated["X"][0]) / stated["X"][0]
        self.description = ImageDescription(
            path=path,
            format=f"OME-Zarr {version}",
            dtype=np.dtype(self._arrays[0].dtype).newbyteorder("="),
            channels=self._channels,
            white_is_zero=False,
            levels=tuple(
                self._describe(array, float(scale[1]) * unit_um)
                for array, (scale, _) in zip(self._arrays, placements, strict=True)
            ),
            axis_spacing_um=axis_spacing_um,
            left_out=len(images) - 1,
        )

    def close(self) -> None:
        """Nothing to close: no file stays open between reads."""

    def _describe(self, array: Any, spacing_um: float) -> LevelDescription:
        codecs = [type(codec).__name__.lower().removesuffix("codec") for codec in array.compressors]
        height, width = array.shape[self._y], array.shape[self._x]
        # a shard is a file of several chunks, which are decoded one by one
        return LevelDescription(
            height,
            width,
            segment=(min(array.chunks[self._y], height), min(array.chunks[self._x], width)),
            codec=", ".join(codecs) or "none",
            spacing_um=spacing_um,
            fill=int(array.fill_value or 0),
        )

    def _region_of(self, array: Any, index: tuple[int, ...]) -> Region:
        """Where a chunk lies, cut off at the edge of the image."""
        rows, columns = _file_shape(array)[self._y], _file_shape(array)[self._x]
        row, column = index[self._y] * rows, index[self._x] * columns
        return Region(
            row,
            column,
            min(rows, array.shape[self._y] - row),
            min(columns, array.shape[self._x] - column),
        )

    def missing_segments(self, most: int) -> list[tuple[int, Region]]:
        """Level and region of chunks without a file, up to `most` in each level."""
        missing = []
        for number, array in enumerate(self._arrays):
            absent = np.ones(_grid(array), bool)
            for index in self._stored(number):
                if all(at < size for at, size in zip(index, absent.shape, strict=True)):
                    absent[index] = False
            indices = spread(np.flatnonzero(absent), most)
            missing += [
                (number, self._region_of(array, tuple(map(int, index))))
                for index in zip(*np.unravel_index(indices, absent.shape), strict=True)
            ]
        return missing

    def is_empty(self) -> bool:
        """Whether no level has a chunk under a name that its metadata give."""
        return not any(any(self._stored(level)) for level in range(len(self._arrays)))

    def _stored(self, level: int) -> Iterator[tuple[int, ...]]:
        """Index of every chunk with a file.

        Listing a folder is much faster than asking for each of its files.
        """
        array, folder = self._arrays[level], self._folder / self._names[level]
        origin = array.metadata.encode_chunk_key((0,) * array.ndim)
        key = re.compile(re.escape(origin).replace("0", "([0-9]+)"))
        for root, _, names in os.walk(folder):
            for name in names:
                if match := key.fullmatch(Path(root, name).relative_to(folder).as_posix()):
                    yield tuple(map(int, match.groups()))

    def _missing(self, level: int, region: Region, exists: Callable[[str], bool]) -> list[Region]:
        """Chunks of a region without a file; a file holds a chunk, or a shard of several."""
        array, sizes = self._arrays[level], _file_shape(self._arrays[level])
        grid = [range(1)] * array.ndim
        grid[self._y] = _chunks_touched(region.row, region.height, sizes[self._y])
        grid[self._x] = _chunks_touched(region.column, region.width, sizes[self._x])
        if self._c is not None:
            grid[self._c] = _chunks_touched(0, self._channels, sizes[self._c])
        return [
            self._region_of(array, index)
            for index in product(*grid)
            if not exists(array.metadata.encode_chunk_key(index))
        ]

    def read(self, level: int, region: Region) -> tuple[NDArray[Any], list[Region]]:
        """Pixels of a region as stored; only the chunks that it touches are decoded."""
        array, folder = self._arrays[level], self._folder / self._names[level]
        selection = [slice(None)] * array.ndim
        selection[self._y] = slice(region.row, region.row + region.height)
        selection[self._x] = slice(region.column, region.column + region.width)
        with input_error_on_damage(
            f"{self._path}: a chunk of level {level} at row {region.row}, column {region.column} "
            "or beyond is not readable",
            COPY_AGAIN,
        ):
            pixels = np.asarray(array[tuple(selection)]).astype(self.description.dtype, copy=False)
        # all other axes have a size of 1
        pixels = np.moveaxis(pixels, (self._y, self._x), (0, 1))
        pixels = pixels.reshape(region.height, region.width, self._channels)
        if self._channels == 1:
            pixels = pixels[..., 0]
        return pixels, self._missing(level, region, lambda key: (folder / key).exists())


def _file_shape(array: Any) -> tuple[int, ...]:
    """What one file holds along each axis: a chunk, or a shard of several chunks."""
    return tuple(array.shards or array.chunks)


def _grid(array: Any) -> tuple[int, ...]:
    """Number of files along each axis."""
    return tuple(
        -(-size // in_file) for size, in_file in zip(array.shape, _file_shape(array), strict=True)
    )


def _chunks_touched(start: int, size: int, chunk: int) -> range:
    return range(start // chunk, -(-(start + size) // chunk))


def _ome_metadata(group: Any) -> dict[str, Any]:
    """OME metadata: under `ome` since version 0.5, at the top before."""
    attributes: dict[str, Any] = group.attrs.asdict()
    ome: dict[str, Any] = attributes.get("ome", attributes)
    return ome


def _images(path: Path, root: Any) -> dict[str, tuple[str, dict[str, Any], dict[str, Any]]]:
    """By the path of its first level: folder of each image, OME metadata there, its multiscales.

    The root that bioformats2raw writes holds folders of images: the scan, the slide, its label.
    """
    groups = {"": root}
    metadata = _ome_metadata(root)
    if "multiscales" not in metadata and "bioformats2raw.layout" in metadata:
        groups = {name: root[name] for name in sorted(root.group_keys()) if name.isdecimal()}
    images: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {}
    for name, group in groups.items():
        metadata = _ome_metadata(group)
        for image in metadata.get("multiscales") or []:
            # two may share the first level, reduced in two ways
            first = str(image["datasets"][0]["path"])
            images.setdefault(f"{name}/{first}".strip("/"), (name, metadata, image))
    if not images:
        raise InputError(
            f"{path}: has no multiscales metadata, so it is not an OME-Zarr image; name the folder "
            "that has them"
        )
    return images


def _version(path: Path, metadata: dict[str, Any], image: dict[str, Any], zarr_format: int) -> str:
    # a writer may leave out the version; the format of the arrays implies it
    implied = "0.4" if zarr_format == 2 else "0.5"
    version = str(metadata.get("version") or image.get("version") or implied)
    if version not in _VERSIONS:
        raise InputError(
            f"{path}: is OME-Zarr {version}; convert it to one of {', '.join(_VERSIONS)}"
        )
    return version


def _scale_and_shift(
    dataset: dict[str, Any], image: dict[str, Any], ndim: int
) -> NDArray[np.float64]:
    """Scale and translation (2, ndim) of a level, in the units of the axes."""
    scale, shift = np.ones(ndim), np.zeros(ndim)
    for step in [
        *dataset["coordinateTransformations"], *image.get("coordinateTransformations", [])
    ]:  # fmt: skip
        if step["type"] == "scale":
            scale, shift = scale * step["scale"], shift * step["scale"]
        elif step["type"] == "translation":
            shift = shift + step["translation"]
        elif step["type"] != "identity":
            raise ValueError(f"a transformation of type {step['type']}")
    return np.array([scale, shift])


def _check_placements(path: Path, placements: list[NDArray[np.float64]]) -> None:
    """All levels show the same part; some writers state the half pixel between them."""
    for number, (scale, shift) in enumerate(placements):
        shift_px = (shift - placements[0][1]) / scale
        if not (scale > 0).all() or np.abs(shift_px).max() > 1:
            raise InputError(
                f"{path}: level {number} has scale {scale.tolist()} and is moved by "
                f"{shift_px.tolist()} pixels; export it again, with "
                "positive scales and all levels showing the same part"
            )


def _check_arrays(path: Path, axes: list[str], arrays: list[Any]) -> None:
    first = arrays[0]
    for number, array in enumerate(arrays):
        # levels may differ in the order of their bytes
        if array.ndim != len(axes) or array.dtype.newbyteorder("=") != first.dtype.newbyteorder(
            "="
        ):
            raise InputError(
                f"{path}: level {number} has {array.ndim} axes of {array.dtype}, level 0 "
                f"{len(axes)} of {first.dtype}; export it again"
            )
        named = getattr(array.metadata, "dimension_names", None) or axes
        if [str(name).lower() for name in named] != axes and None not in named:
            raise InputError(
                f"{path}: level {number} names its axes {', '.join(named)}, the image "
                f"{', '.join(axes)}; correct the wrong ones"
            )
        sizes = dict(zip(axes, array.shape, strict=True))
        other = [size for axis, size in sizes.items() if axis not in ("y", "x", "c")]
        if sizes.get("c", 1) not in (1, 3) or any(size != 1 for size in other) or 0 in array.shape:
            raise InputError(
                f"{path}: shape {array.shape} along {', '.join(axes)} is not a gray or RGB image; "
                f"{CONVERT}, with one plane and one channel or red, green and blue"
            )
        if math.prod(_grid(array)) > _MOST_CHUNKS:
            raise InputError(
                f"{path}: level {number} of {sizes['x']} x {sizes['y']} px has "
                f"{math.prod(_grid(array))} chunks of {_file_shape(array)}; correct its shape, or "
                "write it with larger chunks"
            )


def _check_colors(path: Path, metadata: dict[str, Any]) -> None:
    """Three channels are red, green and blue unless the file gives them other colors."""
    channels = (metadata.get("omero") or {}).get("channels") or []
    colors = [str((channel or {}).get("color") or "").upper()[-6:] for channel in channels]
    if any(color not in ("", own) for color, own in zip(colors, _RGB, strict=False)):
        raise InputError(
            f"{path}: its three channels have the colors {', '.join(colors)}, not red, green and "
            "blue; export the stain's channel as a gray image"
        )
