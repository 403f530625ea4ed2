"""CZI files of Zeiss, read by czifile; the pyramids stage converts them.

A CZI is a list of images, usually one per field of the camera, with the place of each. The finest
ones are put together here; reduced ones, which viewers need, are not read.
"""

import math
from collections import OrderedDict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats.images.description import CONVERT, ImageDescription, LevelDescription
from cytopipe.formats.images.reader import (
    COPY_AGAIN,
    Region,
    input_error_on_damage,
    refuse_overstated,
)

CZI_SUFFIX = ".czi"
# decoded images: bands are lower than the fields of a camera, each of which several bands need. Two
# rows of fields of 2000 px in a scan of 80,000 px just fit
_CACHE_BYTES = 2**30
_SEGMENT_PX = 512  # rows and columns that are worth reading together
# a scan lies in one piece; a larger box around its images speaks of a damaged position
_LEAST_FILLED = 0.01
# numbers in the file; JPEG and LZW, which the format also has, are refused
_UNCOMPRESSED, _JPEG_XR, _ZSTD, _ZSTD_HEADER = 0, 4, 5, 6
_CODECS = {0: "none", 4: "jpeg xr", 5: "zstd", 6: "zstd"}
_DIRECTORY, _METADATA = b"ZISRAWDIRECTORY", b"ZISRAWMETADATA"
_AXES = {
    "S": "scenes", "C": "channels", "Z": "planes", "T": "times", "R": "rotations",
    "I": "illuminations", "H": "phases", "V": "views", "B": "blocks",
}  # fmt: skip


class CziReader:
    """An open CZI file with one gray or RGB image (an `ImageReader`).

    What the scanner left out is shown as an empty slide.

    Parameters
    ----------
    dark : an empty slide is black, not white.

    Raises
    ------
    InputError
        If the file is damaged, or holds several scenes, channels or planes, or other pixels than
        gray or RGB of 8 or 16 bits.
    """

    def __init__(self, path: Path, dark: bool = False) -> None:
        import czifile  # here: few studies have such files

        self._path = path
        # not by its path: czifile leaves a damaged file open
        self._stream = open(path, "rb")  # noqa: SIM115
        try:
            with input_error_on_damage(f"{path}: not a readable CZI", COPY_AGAIN):
                self._file = czifile.CziFile(self._stream)
            with input_error_on_damage(f"{path}: its metadata are damaged", COPY_AGAIN):
                self._fields = self._finest()
                root = self._metadata()
                self.description = self._describe(root)
                self._empty = 0 if dark else _white(root, self.description.dtype)
        except BaseException:
            self._stream.close()
            raise
        self._decoded: OrderedDict[int, NDArray[Any]] = OrderedDict()

    def close(self) -> None:
        """Close the file."""
        self._decoded.clear()
        self._stream.close()

    def _finest(self) -> list[Any]:
        """Entries of the directory for the images of full resolution, those on top last."""
        path, header = self._path, self._file.header
        self._require_segment(header.directory_position, _DIRECTORY)
        entries = [
            entry for entry in self._file.subblock_directory if entry.stored_shape == entry.shape
        ]
        if header.file_part or any(entry.file_part for entry in entries):
            raise InputError(f"{path}: is one of several files of a scan; export it as one file")
        if not entries:
            raise InputError(f"{path}: holds no image; export it again")
        sizes = [dict(zip(entry.axes, entry.shape, strict=True)) for entry in entries]
        starts = [dict(zip(entry.axes, entry.start, strict=True)) for entry in entries]
        for axis, name in _AXES.items():
            places = {start.get(axis, 0) for start in starts}
            count = max(len(places), *(size.get(axis, 1) for size in sizes))
            if count > 1:
                raise InputError(
                    f"{path}: holds {count} {name}; export the one with the section as a file of "
                    "its own"
                )
        for size in sizes:
            if not (size["Y"] > 0 and size["X"] > 0):
                raise ValueError(f"an image of {size['Y']} x {size['X']} px")
        return sorted(entries, key=lambda entry: entry.mosaic_index or 0)

    def _metadata(self) -> ElementTree.Element | None:
        """The root of the XML; None if the file has none."""
        position = self._file.header.metadata_position
        if not position:
            return None
        self._require_segment(position, _METADATA)
        return ElementTree.fromstring(self._file.metadata())

    def _require_segment(self, position: int, name: bytes) -> None:
        """Raise ValueError unless a segment of a kind lies at a position of the file.

        czifile would look for it in the whole file.
        """
        self._stream.seek(position)
        start, size = self._stream.read(16), int.from_bytes(self._stream.read(20)[16:], "little")
        if start.rstrip(b"\0") != name or size > self._path.stat().st_size:
            raise ValueError(f"no {name.decode()} at byte {position}")

    def _describe(self, root: ElementTree.Element | None) -> ImageDescription:
        path, fields = self._path, self._fields
        dtypes = {np.dtype(entry.dtype) for entry in fields}
        if len(dtypes) > 1 or next(iter(dtypes)).shape not in ((), (3,)):
            raise InputError(f"{path}: pixels are {', '.join(map(str, dtypes))}; {CONVERT}")
        (dtype,) = dtypes
        spots = np.array([_spot(entry) for entry in fields], np.int64)
        self._corner = spots[:, :2].min(axis=0)
        self._spots = spots - [*self._corner, 0, 0]
        height, width = (self._spots[:, :2] + spots[:, 2:]).max(axis=0).tolist()
        filled = float((spots[:, 2].astype(float) * spots[:, 3]).sum()) / height / width
        if filled < _LEAST_FILLED:
            raise InputError(
                f"{path}: its {len(fields)} images fill only {100 * filled:.2g} % of the "
                f"{height} x {width} px around them{COPY_AGAIN}"
            )
        itemsize = dtype.itemsize
        refuse_overstated(path, int(filled * height * width) * itemsize, path.stat().st_size)
        codecs = {_CODECS.get(entry.compression, str(entry.compression)) for entry in fields}
        level = LevelDescription(
            height, width, (_SEGMENT_PX, _SEGMENT_PX), ", ".join(sorted(codecs)), None
        )
        return ImageDescription(
            path=path,
            format="CZI",
            dtype=dtype.base,
            channels=3 if dtype.shape else 1,
            white_is_zero=False,
            levels=(level,),
            axis_spacing_um=_pixel_size_um(root),
            left_out=0,
        )

    def missing_segments(self, most: int) -> list[tuple[int, Region]]:
        """None: gaps between the images are usual."""
        return []

    def is_empty(self) -> bool:
        """Never: a file without images was refused when it was opened."""
        return False

    def read(self, level: int, region: Region) -> tuple[NDArray[Any], list[Region]]:
        """Pixels of a region, on an empty slide; only the images that it touches are decoded."""
        about = self.description
        shape = (region.height, region.width, about.channels)
        pixels = np.full(shape, self._empty, about.dtype)
        row, column, height, width = self._spots.T
        touched = (row < region.row + region.height) & (row + height > region.row)
        touched &= (column < region.column + region.width) & (column + width > region.column)
        for number in np.flatnonzero(touched).tolist():
            in_region, in_field = region.overlap(Region(*self._spots[number].tolist()))
            pixels[in_region] = self._field(number)[in_field]
        return (pixels if about.channels == 3 else pixels[..., 0]), []

    def _field(self, number: int) -> NDArray[Any]:
        """One image, decoded; the latest ones are kept."""
        if number in self._decoded:
            self._decoded.move_to_end(number)
            return self._decoded[number]
        row, column = self._spots[number, :2].tolist()
        with input_error_on_damage(
            f"{self._path}: the image at row {row}, column {column} is not readable", COPY_AGAIN
        ):
            field = self._decode(self._fields[number])
        self._decoded[number] = field
        while sum(image.nbytes for image in self._decoded.values()) > _CACHE_BYTES:
            self._decoded.popitem(last=False)
        return field

    def _decode(self, entry: Any) -> NDArray[Any]:
        """Pixels (rows, columns, samples), red first."""
        segment = entry.data_segment()
        if _identity(segment.directory_entry) != _identity(entry):
            raise ValueError("its directory describes another image")
        if not 0 < segment.data_size <= self._path.stat().st_size:
            raise ValueError(f"has {segment.data_size} bytes")
        data = segment.data(raw=True)
        if len(data) != segment.data_size:
            raise ValueError(f"ends after {len(data)} of {segment.data_size} bytes")
        return _decoded(data, entry.compression, _spot(entry)[2:], np.dtype(entry.dtype))


def _decoded(
    data: bytes, compression: int, shape: tuple[int, int], dtype: np.dtype[Any]
) -> NDArray[Any]:
    import imagecodecs  # here, as czifile

    size = math.prod(shape) * dtype.itemsize
    samples = (*shape, *(dtype.shape or (1,)))
    if compression == _JPEG_XR:
        image = np.asarray(imagecodecs.jpegxr_decode(data))
        if image.dtype != dtype.base:
            raise ValueError(f"decodes to {image.dtype}")
        return image.reshape(samples)  # red first
    is_split = False
    if compression == _ZSTD_HEADER:
        # size of the header, and where it is 3: kind 1, and a bit for the order of bytes
        is_split = data[0] == 3 and data[1] == 1 and bool(data[2] & 1)
        data = data[data[0] :]
    if compression in (_ZSTD, _ZSTD_HEADER):
        data = imagecodecs.zstd_decode(data, out=size)
    elif compression != _UNCOMPRESSED:
        raise ValueError(f"codec {compression} is not supported; export it without compression")
    if len(data) != size:
        raise ValueError(f"has {len(data)} of {size} bytes")
    if is_split:  # all low bytes come before all high ones
        data = np.frombuffer(data, np.uint8).reshape(2, -1).T.tobytes()
    return np.frombuffer(data, dtype.base).reshape(samples)[..., ::-1]  # blue first


def _spot(entry: Any) -> tuple[int, int, int, int]:
    """First row and column of an image, rows and columns."""
    start = dict(zip(entry.axes, entry.start, strict=True))
    size = dict(zip(entry.axes, entry.shape, strict=True))
    return start["Y"], start["X"], size["Y"], size["X"]


def _identity(entry: Any) -> tuple[Any, ...]:
    """What an image and its entry in the directory must agree in."""
    return entry.dtype, entry.compression, entry.stored_shape, _spot(entry)


def _pixel_size_um(root: ElementTree.Element | None) -> dict[str, float]:
    """Pixel size by axis, which a CZI states in meters; 0 if it is unknown."""
    sizes_um = {}
    for distance in [] if root is None else root.findall("Metadata/Scaling/Items/Distance"):
        size_um = 1e6 * float(distance.findtext("Value") or 0)
        if distance.get("Id") in ("X", "Y") and size_um:
            sizes_um[str(distance.get("Id"))] = size_um
    return sizes_um


def _white(root: ElementTree.Element | None, dtype: np.dtype[Any]) -> int:
    """The largest gray value; cameras use 10 to 16 bits of 16."""
    stated = [] if root is None else [int(e.text or 0) for e in root.iter("ComponentBitCount")]
    bits = 8 * dtype.itemsize
    return int(2 ** min([bits, *(number for number in stated if number >= 8)]) - 1)
