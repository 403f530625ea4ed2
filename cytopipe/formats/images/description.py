"""What an image file says about itself, in one form for every format.

Each reader turns the metadata of its format into an `ImageDescription`, and everything else works
with that. The checks that hold for every format are made here.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from cytopipe.files import InputError
from cytopipe.formats.units import LENGTH_UM, NO_LENGTH

SHEET = "config/sections.tsv"
CONVERT = "convert it to 8 or 16 bit gray or RGB"
# a bound of memory, which holds three copies of a decoded strip, tile or chunk
_SEGMENT_BYTES = 5 * 10**8


@dataclass(frozen=True)
class LevelDescription:
    """One resolution of an image, as it is stored.

    Attributes
    ----------
    height, width : rows and columns.
    segment : rows and columns that are decoded together: a tile, a strip, a chunk.
    codec : how a segment is compressed, to be shown to people.
    spacing_um : pixel size that the file states for this level, None if it states none.
    fill : value of the pixels of segments that the file leaves out; 0 unless it states another.
    """

    height: int
    width: int
    segment: tuple[int, int]
    codec: str
    spacing_um: float | None
    fill: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width


@dataclass(frozen=True)
class ImageDescription:
    """What the metadata of an image file say.

    Attributes
    ----------
    path : the file, or the folder of an OME-Zarr.
    format : "OME-BigTIFF", "OME-Zarr 0.5", "JPEG", ...
    dtype : uint8 or uint16.
    channels : 1 (gray) or 3 (red, green, blue).
    white_is_zero : gray values run from white to black.
    levels : level 0 (full resolution) first.
    axis_spacing_um : pixel size of level 0 along X and Y, where OME or OME-Zarr metadata state one
        in a known unit, or a scanner. Unlike resolution tags, these are meant to be true.
    left_out : smaller images in the file, such as a label or an overview of the slide.

    Raises
    ------
    InputError
        If the gray values are not 8 or 16 bit integers, or a stated pixel size is not a positive
        number.
    """

    path: Path
    format: str
    dtype: np.dtype[Any]
    channels: int
    white_is_zero: bool
    levels: tuple[LevelDescription, ...]
    axis_spacing_um: dict[str, float]
    left_out: int

    def __post_init__(self) -> None:
        if self.dtype not in (np.uint8, np.uint16):
            raise InputError(f"{self.path}: gray values are {self.dtype}; {CONVERT}")
        for axis, spacing_um in self.axis_spacing_um.items():
            if not 0 < spacing_um < math.inf:
                raise InputError(
                    f"{self.path}: its metadata state a pixel size along {axis} of {spacing_um} "
                    "um; correct or remove it in the file"
                )

    @property
    def spacing_um(self) -> float | None:
        """Pixel size of level 0 that the file states, None if it states none."""
        for axis in "XY":
            if axis in self.axis_spacing_um:
                return self.axis_spacing_um[axis]
        return self.levels[0].spacing_um if self.spacing_from else None

    @property
    def spacing_from(self) -> str:
        """Where `spacing_um` is stated: "OME", "OpenSlide aperio", ..., "resolution tags" or "".

        No reader relies on resolution tags: many programs fill them in at random.
        """
        if self.axis_spacing_um:
            if self.format.startswith("OME"):
                return "OME-Zarr" if self.format.startswith("OME-Zarr") else "OME"
            return self.format
        if "TIFF" in self.format and self.levels[0].spacing_um is not None:
            return "resolution tags"
        return ""

    @property
    def pixels_square(self) -> bool:
        """False if the file states two pixel sizes that differ by more than 1 %."""
        sizes = list(self.axis_spacing_um.values())
        return len(sizes) < 2 or abs(sizes[0] / sizes[1] - 1) <= 0.01

    @property
    def decoded_whole(self) -> bool:
        """Whether the format offers neither levels nor parts that can be decoded alone."""
        return self.format in ("PNG", "JPEG")

    @property
    def of_scanner(self) -> bool:
        """Whether it is a scanner's own format, from which nothing but a copy is made."""
        return self.format.startswith(("OpenSlide", "CZI"))

    @property
    def factors(self) -> list[float]:
        """For each level, how many pixels of level 0 one of its pixels is wide.

        Raises
        ------
        InputError
            If the levels are not in order, or one is not a smaller copy of level 0.
        """
        factors = [_factor(self.path, self.levels[0], level) for level in self.levels]
        for number, (finer, coarser) in enumerate(pairwise(factors)):
            if coarser <= finer:
                shapes = [level.shape for level in self.levels[number : number + 2]]
                raise InputError(
                    f"{self.path}: level {number + 1} ({shapes[1]} px) is not coarser than level "
                    f"{number} ({shapes[0]} px); write the levels from fine to coarse"
                )
        return factors

    def check_spacing(self, spacing_um: float) -> None:
        """Raise InputError if the file states another pixel size than the sections table."""
        for axis, stated_um in self.axis_spacing_um.items():
            if abs(stated_um / spacing_um - 1) > 0.01:
                raise InputError(
                    f"{self.path}: its metadata state {stated_um:g} um per pixel along {axis}, the "
                    f"sheet {spacing_um:g}; correct spacing_um in {SHEET} (pixels must be square)"
                )

    def check_segments(self) -> None:
        """Raise InputError if a part that can only be decoded as a whole does not fit into memory.

        The pyramids stage decodes PNG and JPEG, for which its rule asks for enough memory.
        """
        for level in self.levels:
            size = math.prod(level.segment) * self.channels * self.dtype.itemsize
            if size > _SEGMENT_BYTES and not self.decoded_whole:
                raise InputError(
                    f"{self.path}: {level.segment[0]} x {level.segment[1]} px, "
                    f"{size / 1e9:.1f} GB, are compressed ({level.codec}) as one piece; write it "
                    f"with tiles, for example with `vips tiffsave {self.path.name} tiled.tif "
                    "--tile --compression deflate --bigtiff`, and name that file instead"
                )


def pixel_size_um(
    path: Path, sizes: dict[str, tuple[float, str | None]], default: str | None
) -> dict[str, float]:
    """Pixel size in um by axis, of sizes and units as OME or OME-Zarr metadata state them.

    Parameters
    ----------
    default : the unit that the format prescribes where a file states none, if it does.

    Raises
    ------
    InputError
        If a unit is unknown, or only one of two axes has one, which is not the default.
    """
    for axis, (_, unit) in sizes.items():
        if unit and unit not in LENGTH_UM and unit not in NO_LENGTH:
            raise InputError(
                f"{path}: its metadata state a pixel size along {axis} in the unit {unit!r}, which "
                "is unknown; write it in micrometers"
            )
    lengths_um = {LENGTH_UM.get(unit or default or "") for _, unit in sizes.values()}
    for axis, (_, unit) in sizes.items():
        if not unit and len(lengths_um) > 1:
            other = next(unit for _, unit in sizes.values() if unit)
            raise InputError(
                f"{path}: its metadata state a pixel size in {other} along one axis, and without a "
                f"unit along {axis}; write both with their unit"
            )
    return {
        axis: float(size) * LENGTH_UM[unit or default or ""]
        for axis, (size, unit) in sizes.items()
        if (unit or default) in LENGTH_UM
    }


def _factor(path: Path, full: LevelDescription, level: LevelDescription) -> float:
    """How many pixels of the full image one pixel of a level is wide.

    Halving rounds odd sizes up or down once per level. If a power of two explains both sizes that
    way, it is the factor, unless the file states another factor that explains them too. Otherwise
    the factor is the ratio of the longer sides.
    """
    ratio = max(full.shape) / max(level.shape)
    power = float(2 ** round(math.log2(ratio)))
    halved = all(
        -(-length // power) - 1 <= size <= -(-length // power)
        for length, size in zip(full.shape, level.shape, strict=True)
    )
    if level.spacing_um and full.spacing_um:
        stated = level.spacing_um / full.spacing_um
        if _explains(stated, full, level):
            # a stated factor this close to the power of two differs from it by rounding only
            return power if halved and abs(stated / power - 1) <= 1e-3 else stated
    if halved:
        return power
    if not _explains(ratio, full, level):
        raise InputError(
            f"{path}: a level of {level.shape} pixels is not a smaller copy of {full.shape}; "
            "export it again"
        )
    return ratio


def _explains(factor: float, full: LevelDescription, level: LevelDescription) -> bool:
    """Whether a factor gives the size of a level; each side may be off by its rounding."""
    return all(
        abs(length / factor - size) <= 1
        for length, size in zip(full.shape, level.shape, strict=True)
    )
