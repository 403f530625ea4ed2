"""What lies on the slide beside tissue, and what the scanner makes of it.

Everything is drawn in the frame of the scan: x, y in um from the centre of the first pixel.
Sizes and gray values are chosen after pictures of real slides, not measured.
"""

from dataclasses import dataclass, field

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cytopipe.numerics.geometry import Floats
from cytopipe.phantom.keys import normal
from cytopipe.phantom.structure import paint_capsules, paint_discs
from cytopipe.phantom.window import Window
from cytopipe.study.config import SlideOptions

Image = NDArray[np.float32]

# share of the light that dust, ink and scratches of the glass absorb, and the rim of a bubble
DUST, INK, SCRATCH, RIM = 0.7, 0.85, 0.3, 0.25
# gray values of a paper label, its print, white padding and a black frame
PAPER, PRINT, PADDING, FRAME = 205.0, 60.0, 255.0, 3.0
_NO_CAPSULES = np.empty((0, 7))


@dataclass(frozen=True)
class Marks:
    """What a scan shows apart from tissue.

    Attributes
    ----------
    ink, scratches : (n, 7) capsules of pen strokes and of scratches of the glass.
    bubbles : (n, 3) discs under the cover glass.
    labels : (n, 4) rectangles: left, top, right, bottom in um.
    print : (n, 7) capsules of the labels' writing.
    borders_um : (2, 4) widths of the white padding and of the black frame, inside the padding:
        left, top, right, bottom.
    """

    ink: Floats = field(default_factory=lambda: _NO_CAPSULES)
    scratches: Floats = field(default_factory=lambda: _NO_CAPSULES)
    bubbles: Floats = field(default_factory=lambda: np.empty((0, 3)))
    labels: Floats = field(default_factory=lambda: np.empty((0, 4)))
    print: Floats = field(default_factory=lambda: _NO_CAPSULES)
    borders_um: Floats = field(default_factory=lambda: np.zeros((2, 4)))


def draw_marks(
    rng: np.random.Generator,
    rim_um: Floats,
    size_um: tuple[float, float],
    options: SlideOptions,
    bubbles: float,
) -> Marks:
    """The marks of a scan of `size_um` (width, height), whose tissue has the rim (n, 2)."""
    size = np.array(size_um)
    rim_um = rim_um if len(rim_um) else size[None] / 2
    low, high = rim_um.min(0), rim_um.max(0)
    ink = [_NO_CAPSULES]
    for _ in range(rng.poisson(options.ink)):
        kind = rng.choice(("dot", "word", "stroke"))
        # half of the marks lie beside the tissue, the others on its rim
        start = rng.choice(rim_um)
        outwards = start - (low + high) / 2
        outwards /= max(float(np.linalg.norm(outwards)), 1.0)
        start = start + outwards * (rng.uniform(1500, 4000) if rng.uniform() < 0.5 else 0.0)
        ink.append(_pen(rng, str(kind), start))
    scratches = [_NO_CAPSULES]
    for _ in range(rng.poisson(options.scratches)):
        ends = rng.uniform(-0.1, 1.1, (2, 2)) * size
        scratches.append(_line(ends, rng.uniform(15, 60)))
    labels, prints = [], [_NO_CAPSULES]
    for _ in range(rng.poisson(options.labels)):
        # at the left or right end of the slide
        width = min(0.12 * size[0], 8000.0)
        left = 0.0 if rng.uniform() < 0.5 else size[0] - width
        top = rng.uniform(0, 0.5) * size[1]
        bottom = top + rng.uniform(0.3, 0.5) * size[1]
        labels.append((left, top, left + width, bottom))
        for line in range(4):
            y = top + (0.2 + 0.2 * line) * (bottom - top)
            prints.append(_word(rng, np.array([left + 0.15 * width, y]), 0.7 * width, 100.0))
    count = rng.poisson(bubbles)
    discs = np.column_stack(
        [rng.uniform(low, high, (count, 2)), 500 + 3500 * rng.uniform(0, 1, count) ** 2]
    )
    padding = 1000 * options.padding_mm * rng.uniform(0.2, 1, 4)
    frame = np.full(4, 1000 * options.frame_mm)
    return Marks(
        np.concatenate(ink),
        np.concatenate(scratches),
        discs,
        np.array(labels).reshape(-1, 4),
        np.concatenate(prints),
        np.stack([padding, frame]),
    )


def _pen(rng: np.random.Generator, kind: str, start: Floats) -> Floats:
    """A dot, a word or a curved stroke of a marker, from `start`."""
    if kind == "dot":
        return _line(np.stack([start, start + 1]), rng.uniform(600, 1800))
    if kind == "word":
        return _word(rng, start, rng.uniform(5000, 12000), rng.uniform(250, 450))
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.2, 20))
    steps = 1000 * np.stack([np.cos(heading), np.sin(heading)], axis=1)
    return _line(start + np.cumsum(steps, axis=0), rng.uniform(300, 700))


def _word(rng: np.random.Generator, start: Floats, width_um: float, radius_um: float) -> Floats:
    """Zigzags like letters, with gaps between them."""
    height = 6 * radius_um
    letters = []
    for x in np.arange(0, width_um - height, 1.2 * height):
        corners = start + [x, 0] + rng.uniform(0, 1, (4, 2)) * [0.9 * height, 1.6 * height]
        letters.append(_line(corners, radius_um))
    return np.concatenate([_NO_CAPSULES, *letters])


def _line(points: Floats, radius_um: float) -> Floats:
    zero = np.zeros(len(points) - 1)
    return np.column_stack([points[:-1], zero, points[1:], zero, zero + radius_um])


def scan_window(spacing_um: float, row: int, column: int, shape: tuple[int, ...]) -> Window:
    """A window in the frame of the scan, instead of the stack's plane."""
    shift = np.array([column, row]) * spacing_um
    return Window(shape[0], shape[1], np.eye(2) * spacing_um, shift, 0.0)


def soil(image: Image, size_um: Floats, rng: np.random.Generator, window: Window) -> None:
    """Add dust, a few blobs and an air bubble to a window of a scan of `size_um`."""
    dust = np.concatenate(
        [
            np.insert(rng.uniform(0, 1, (90, 2)) * size_um, 2, rng.uniform(60, 350, 90), axis=1),
            np.insert(rng.uniform(0, 1, (5, 2)) * size_um, 2, rng.uniform(600, 1600, 5), axis=1),
        ]
    )
    bubble = np.append(rng.uniform(0.3, 0.7, 2) * size_um, rng.uniform(4000, 8000))[None]
    inner = paint_discs(bubble - [[0, 0, 350.0]], window)
    image *= 1 - np.float32(DUST) * paint_discs(dust, window)
    image *= 1 - np.float32(RIM) * (paint_discs(bubble, window) - inner)
    image += np.float32(8) * inner


def add_marks(image: Image, marks: Marks, window: Window) -> None:
    """Add bubbles, scratches, ink and labels to a window of a scan."""
    if len(marks.bubbles):
        inner = paint_discs(marks.bubbles * [1, 1, 0.9], window)
        outer = paint_discs(marks.bubbles, window)
        image *= 1 - np.float32(2 * RIM) * (outer - inner)
        # air scatters: what lies below looks paler
        image += np.float32(0.35) * inner * np.maximum(np.float32(235) - image, 0)
    if len(marks.scratches):
        image *= 1 - np.float32(SCRATCH) * paint_capsules(marks.scratches, window)
    if len(marks.ink):
        image *= 1 - np.float32(INK) * paint_capsules(marks.ink, window)
    for label in marks.labels:
        image[_rectangle(label, window)] = PAPER
    if len(marks.print):
        written = paint_capsules(marks.print, window)
        image += written * (np.float32(PRINT) - image)


def _rectangle(sides_um: Floats, window: Window) -> tuple[slice, slice]:
    spacing_um = window.matrix[0, 0]
    left, top = (sides_um[:2] - window.shift) / spacing_um
    right, bottom = (sides_um[2:] - window.shift) / spacing_um
    rows, columns = (
        slice(*(int(np.clip(round(end), 0, count)) for end in ends))
        for ends, count in (((top, bottom), window.rows), ((left, right), window.columns))
    )
    return rows, columns


def vignette(size_um: Floats, window: Window, share: float) -> Image:
    """The light of each pixel: 1 in the middle of the scan, 1 - share in its corners."""
    x, y = (
        (2 * (np.arange(count) * window.matrix[0, 0] + start) / max(side, 1.0) - 1) ** 2
        for count, start, side in zip(
            (window.columns, window.rows), window.shift, size_um, strict=True
        )
    )
    return np.asarray(1 - share / 2 * (x + y[:, None]), np.float32)


def add_borders(
    image: NDArray[np.uint16], marks: Marks, size_um: Floats, window: Window, scale: float
) -> None:
    """Set padding and frame in a window of a digitised scan, whose full range is 255 * scale."""
    if not marks.borders_um.any():
        return
    x = np.arange(window.columns) * window.matrix[0, 0] + window.shift[0]
    y = np.arange(window.rows) * window.matrix[1, 1] + window.shift[1]
    padding, both = marks.borders_um[0], marks.borders_um.sum(0)
    for widths, value in ((both, FRAME), (padding, PADDING)):
        across = (x < widths[0]) | (x > size_um[0] - widths[2])
        down = (y < widths[1]) | (y > size_um[1] - widths[3])
        image[down[:, None] | across] = round(value * scale)


@njit(cache=True)
def digitise(image, noise, scale, most, key, row0, column0):  # type: ignore[no-untyped-def]
    """Gray values 0 to `most` of an image in units of 1 / `scale`, with the noise of the camera."""
    out = np.zeros(image.shape, np.uint16)
    for r in range(image.shape[0]):
        for c in range(image.shape[1]):
            value = scale * (image[r, c] + noise * normal(key, row0 + r, column0 + c, 4))
            out[r, c] = np.uint16(min(most, max(0.0, value + 0.5)))
    return out
