"""Section images: all formats become the same kind of gray pyramid (docs/images.md)."""

from cytopipe.formats.images.examine import Examination, examine
from cytopipe.formats.images.gray import invert, to_8_bit
from cytopipe.formats.images.labels import read_labels, write_labels
from cytopipe.formats.images.pyramid import Pyramid, open_pyramid
from cytopipe.formats.pyramid_writer import halve, write_pyramid, write_pyramid_by_windows

__all__ = [
    "Examination",
    "Pyramid",
    "examine",
    "halve",
    "invert",
    "open_pyramid",
    "read_labels",
    "to_8_bit",
    "write_labels",
    "write_pyramid",
    "write_pyramid_by_windows",
]
