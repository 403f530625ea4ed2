"""Write CZI files of every kind, after the format's specification; no library writes them all.

libCZI, which Zeiss maintains, and OpenSlide read these files as the tests do.
"""

import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray

# by type and samples per pixel
_PIXEL_TYPES = {("uint8", 1): 0, ("uint16", 1): 1, ("float32", 1): 2, ("uint8", 3): 3,
                ("uint16", 3): 4}  # fmt: skip
# names of kinds of pixels in JPEG XR, 24 bits
_RED_FIRST = bytes.fromhex("24c3dd6f034efe4bb1853d77768dc90d")
_BLUE_FIRST = _RED_FIRST[:-1] + b"\x0c"
UNCOMPRESSED, JPEG, JPEG_XR, ZSTD, ZSTD_HEADER = 0, 1, 4, 5, 6
_METADATA = """<ImageDocument><Metadata>
<Information><Image><SizeX>{width}</SizeX><SizeY>{height}</SizeY>{bits}</Image></Information>
<Scaling><Items>
<Distance Id="X"><Value>{x}</Value></Distance><Distance Id="Y"><Value>{y}</Value></Distance>
</Items></Scaling></Metadata></ImageDocument>"""


@dataclass(frozen=True)
class Field:
    """One image of a CZI.

    Attributes
    ----------
    pixels : (rows, columns) or (rows, columns, 3), red first.
    row, column : its place.
    reduced : how many pixels of full resolution one of its pixels is wide.
    axes : places along other axes, as {"S": 1}.
    """

    pixels: NDArray
    row: int
    column: int
    reduced: int = 1
    axes: dict[str, int] = field(default_factory=dict)


def fields_of(image: NDArray, edge: int, overlap: int = 0) -> list[Field]:
    """Fields of a camera that cover an image."""
    step = edge - overlap
    return [
        Field(image[row : row + edge, column : column + edge], row, column)
        for row in range(0, max(1, image.shape[0] - overlap), step)
        for column in range(0, max(1, image.shape[1] - overlap), step)
    ]


def write_czi(
    path: Path,
    fields: Sequence[Field],
    spacing_um: float | tuple[float, float] = 20.0,
    compression: int = UNCOMPRESSED,
    bits: int | None = None,
) -> Path:
    """Write fields in the order in which they lie upon each other, the lowest first.

    Parameters
    ----------
    spacing_um : pixel size, or along x and y; 0 if unknown.
    bits : that the camera uses of 16.
    """
    x_um, y_um = spacing_um if isinstance(spacing_um, tuple) else (spacing_um, spacing_um)
    count = "" if bits is None else f"<ComponentBitCount>{bits}</ComponentBitCount>"
    ends = [
        (f.row + f.reduced * len(f.pixels), f.column + f.reduced * f.pixels.shape[1])
        for f in fields
    ]
    corner = min(f.row for f in fields), min(f.column for f in fields)
    height, width = np.max(ends, axis=0) - corner
    xml = _METADATA.format(
        bits=count, x=x_um / 1e6, y=y_um / 1e6, width=width, height=height
    ).encode()
    content = bytearray(32 + 512)
    entries = []
    for number, one in enumerate(fields):
        data = _encoded(one.pixels, compression)
        entry = _entry(one, number, len(content), compression)
        head = struct.pack("<iiq", 0, 0, len(data)) + entry
        content += _segment(b"ZISRAWSUBBLOCK", head.ljust(256, b"\0") + data)
        entries.append(entry)
    directory = len(content)
    head = struct.pack("<i124x", len(entries))
    content += _segment(b"ZISRAWDIRECTORY", head + b"".join(entries))
    metadata = len(content)
    content += _segment(b"ZISRAWMETADATA", struct.pack("<ii248x", len(xml), 0) + xml)
    guid = uuid.UUID(int=1).bytes
    header = struct.pack(
        "<iiii16s16siqqiq", 1, 0, 0, 0, guid, guid, 0, directory, metadata, 0, 0
    )  # fmt: skip
    content[: 32 + 512] = _segment(b"ZISRAWFILE", header.ljust(512, b"\0"))
    path.write_bytes(content)
    return path


def _segment(name: bytes, data: bytes) -> bytes:
    """A segment, filled up so that the next one starts at a multiple of 32 bytes."""
    allocated = -(-len(data) // 32) * 32
    return struct.pack("<16sqq", name, allocated, len(data)) + data.ljust(allocated, b"\0")


def _entry(one: Field, number: int, position: int, compression: int) -> bytes:
    height, width = one.pixels.shape[:2]
    samples = 3 if one.pixels.ndim == 3 else 1
    sizes = {"X": (one.column, width), "Y": (one.row, height)}
    dimensions = [
        struct.pack("<4siifi", axis.encode(), start, size * one.reduced, start, size)
        for axis, (start, size) in sizes.items()
    ]
    others = {"C": 0} | one.axes | ({"M": number} if one.reduced == 1 else {})
    dimensions += [
        struct.pack("<4siifi", axis.encode(), start, 1, start, 0) for axis, start in others.items()
    ]
    pixel_type = _PIXEL_TYPES[str(one.pixels.dtype), samples]
    pyramid = 0 if one.reduced == 1 else 2
    head = struct.pack(
        "<2siqiiB5xi", b"DV", pixel_type, position, 0, compression, pyramid, len(dimensions)
    )  # fmt: skip
    return head + b"".join(dimensions)


def _encoded(pixels: NDArray, compression: int) -> bytes:
    if compression == JPEG_XR:
        data = bytes(imagecodecs.jpegxr_encode(np.ascontiguousarray(pixels), level=1.0))
        # the camera's files say that blue comes first, which tells programs how to show them
        return data.replace(_RED_FIRST, _BLUE_FIRST, 1)
    if compression == JPEG:
        return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels)))
    blue_first = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    data = np.ascontiguousarray(blue_first).tobytes()
    if compression == ZSTD:
        return bytes(imagecodecs.zstd_encode(data))
    if compression == ZSTD_HEADER:
        is_split = pixels.dtype == np.uint16
        if is_split:  # all low bytes, then all high ones
            data = np.frombuffer(data, np.uint8).reshape(-1, 2).T.tobytes()
        return bytes([3, 1, is_split]) + bytes(imagecodecs.zstd_encode(data))
    return data
