"""What ITK passes over when it reads an image: lost data, checksums, unknown spaces and units.

It takes every space of a NRRD file for LPS mm, and reads a damaged or truncated .mha and NIfTI file
without an error.

https://teem.sourceforge.net/nrrd/format.html
https://itk.org/Wiki/ITK/MetaIO/Documentation
"""

import math
import re
import zlib
from pathlib import Path

from cytopipe.files import InputError, reading, require
from cytopipe.formats import nifti

# the spaces that say left and right; ITK converts them to its own
_SPACES = (
    "right-anterior-superior", "ras", "left-anterior-superior", "las",
    "left-posterior-superior", "lps",
)  # fmt: skip
_LPS = ("left-posterior-superior", "lps")
_MM = {"", "mm", "millimeter", "millimeters", "millimetre", "millimetres"}
# bytes of a number, by what the name of its type contains: uint8_t, MET_UCHAR; the first one counts
_TYPES = {
    "8": 1, "16": 2, "32": 4, "64": 8, "char": 1, "short": 2, "longlong": 8, "int": 4, "float": 4,
    "double": 8,
}  # fmt: skip
_HEADER_BYTES, _BLOCK_BYTES = 1 << 20, 1 << 16
_NRRD_END, _META_END = re.compile(rb"\r?\n\r?\n"), re.compile(rb"ElementDataFile *= *[^\n]*\n")


def check_image(path: Path, is_field: bool = False) -> None:
    """Check that an image is complete and undamaged and says where it lies, before ITK reads it.

    Parameters
    ----------
    is_field : the image holds displacements, whose frame must be that of the space.

    Raises
    ------
    InputError
        If the file is missing, is not .nii, .nii.gz, .nrrd, .mha or .mhd, is damaged, or holds more
        or less than its header declares; or if the header does not say left and right, or its
        lengths are not in mm.
    """
    require(path, "check the path in the config")
    if path.name.endswith((".nii", ".nii.gz")):
        if nifti.check_whole(path, is_field).unit_mm != 1:
            raise InputError(f"{path}: its header counts in another unit; export it again in mm")
        return
    with reading(path, "image"):
        if path.suffix == ".nrrd":
            fields, start = _header(path, _NRRD_END)
            _check_space(path, fields, is_field)
            count = math.prod(int(n) for n in fields["sizes"].split())
            _check_data(path, start, count, fields["type"], fields["encoding"])
        elif path.suffix in (".mha", ".mhd"):
            fields, start = _header(path, _META_END)
            sizes = [*fields["dimsize"].split(), fields.get("elementnumberofchannels", "1")]
            is_packed = fields.get("compresseddata", "").lower() == "true"
            encoding = "gzip" if is_packed else "raw"
            count = math.prod(map(int, sizes))
            unit = fields.get("distanceunits", "").lower()
            if unit not in _MM | {"?"}:
                raise InputError(f"{path}: its unit is {unit}; save it in mm")
            # ITK would skip part of the data
            if fields.get("headersize", "0") not in ("0", "-1"):
                raise InputError(f"{path}: has a header of its own in the data; save it again")
            data = path
            if (file := fields["elementdatafile"]).upper() != "LOCAL":
                data, start = path.parent / file, 0
            if not data.is_file():
                raise InputError(f"{path}: its data lie in {file}; copy that file beside it")
            _check_data(data, start, count, fields["elementtype"], encoding)
        else:
            raise ValueError("it is none of .nii, .nii.gz, .nrrd, .mha, .mhd")


def _header(path: Path, end: re.Pattern[bytes]) -> tuple[dict[str, str], int]:
    """The fields of a header by name, without capitals and spaces, and the place where it ends."""
    with path.open("rb") as file:
        content = file.read(_HEADER_BYTES)
    match = end.search(content)
    if match is None:
        raise ValueError("its header has no end")
    fields = {}
    for line in content[: match.end()].decode("utf-8").splitlines():
        # NRRD's own keys are `key:=value`
        if field := re.fullmatch(r"([\w ]+)[:=](?!=) *(.*)", line.strip()):
            name = field[1].replace(" ", "").lower()
            if name in fields:
                raise ValueError(f"its header has the field {name!r} twice")
            fields[name] = field[2]
    return fields, match.end()


def _check_space(path: Path, fields: dict[str, str], is_field: bool) -> None:
    space = fields.get("space", "unknown").lower()
    if space not in _SPACES or not {"spacedirections", "spaceorigin"} <= set(fields):
        raise InputError(
            f"{path}: its space is {space!r}, which does not say where left and right are; save it "
            "in left-posterior-superior with 3D Slicer, or as .nii.gz"
        )
    units = set(re.findall(r'"([^"]*)"', fields.get("spaceunits", "")))
    if not units <= _MM:
        raise InputError(f"{path}: its unit is {', '.join(sorted(units))}; save it in mm")
    # ITK converts the grid to LPS, but not the vectors, and passes over their frame
    if is_field and (space not in _LPS or "measurementframe" in fields):
        raise InputError(
            f"{path}: its vectors are in a frame of their own, or in {space}; save the field in "
            "left-posterior-superior without a measurement frame"
        )
    if "datafile" in fields:
        raise InputError(f"{path}: its data lie in another file; save it as one file")


def _check_data(path: Path, start: int, count: int, type_name: str, encoding: str) -> None:
    name = re.sub("[ _]", "", type_name).lower()
    declared = count * next(size for word, size in _TYPES.items() if word in name)
    size = path.stat().st_size - start
    if encoding in ("gzip", "gz"):
        held = min(declared, size * nifti.DENSEST)
        if held == declared:
            held = _unpacked_bytes(path, start)
    elif encoding == "raw":
        held = size
    else:  # as text, each number takes a character and a space
        held = declared if 2 * count <= size + 1 else size
    if held != declared:
        raise ValueError(f"its header declares {declared} bytes, the file holds {held}")


def _unpacked_bytes(path: Path, start: int) -> int:
    """The size of data packed by zlib or gzip, read to the checksum at the end."""
    unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    held = 0
    with path.open("rb") as file:
        file.seek(start)
        while not unpack.eof:
            block = file.read(_BLOCK_BYTES)
            if not block:
                raise ValueError("its data end too early")
            held += len(unpack.decompress(block))
    return held
