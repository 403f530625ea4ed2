"""Section images of every format that is read, as one kind of gray pyramid; docs/images.md."""

from cytopipe.formats.images.examine import Examination, ExaminedLevel, examine
from cytopipe.formats.images.gray import gray_range, inverted, luma, to_8_bit
from cytopipe.formats.images.labels import read_labels, write_labels
from cytopipe.formats.images.pyramid import Level, Pyramid, open_pyramid
from cytopipe.formats.pyramid_writer import halve, write_pyramid, write_pyramid_by_windows

__all__ = [
    "Examination",
    "ExaminedLevel",
    "Level",
    "Pyramid",
    "examine",
    "gray_range",
    "halve",
    "inverted",
    "luma",
    "open_pyramid",
    "read_labels",
    "to_8_bit",
    "write_labels",
    "write_pyramid",
    "write_pyramid_by_windows",
]
