"""Section images: all formats become the same kind of gray pyramid (docs/images.md)."""

from cytopipe.formats.downsampling import halve
from cytopipe.formats.images.examine import Examination, examine
from cytopipe.formats.images.gray import invert, shrunk, to_8_bit
from cytopipe.formats.images.labels import read_drawn, read_labels, write_labels
from cytopipe.formats.images.pyramid import Pyramid, open_pyramid
from cytopipe.formats.pyramid_writer import write_pyramid, write_pyramid_by_windows
