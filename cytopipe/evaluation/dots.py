"""What a figure of very many points shows: a picture of all of them, and a few that are drawn."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from plotly.colors import convert_colors_to_same_type, sample_colorscale, unlabel_rgb

# Okabe and Ito's colours, which colour-blind readers can distinguish
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#000000")
PICTURE_PX = 600  # longer edge; chosen, not measured: a panel is 520 px high
_DOT_PX = 2
_SHADES = 255  # one of the 256 colours of a PNG is transparent


@dataclass(frozen=True)
class Colours:
    """One colour per point.

    Attributes
    ----------
    names : of the categories; empty for numbers.
    codes : (n,) place of each point's colour in the palette.
    palette : `rgb(...)` of each category or shade, from the least number to the largest.
    """

    names: list[str]
    codes: NDArray[np.intp]
    palette: list[str]

    @classmethod
    def of(cls, values: ArrayLike) -> "Colours":
        """The colours of (n,) numbers or strings."""
        values = np.asarray(values)
        if values.dtype.kind in "fiu":
            shades = sample_colorscale("Viridis", np.linspace(0, 1, _SHADES).tolist())
            low, high = limits(values)
            part = np.nan_to_num((values - low) / max(high - low, 1e-12))
            return cls([], np.rint(part * (_SHADES - 1)).astype(np.intp), shades)
        names, codes = np.unique(values.astype(str), return_inverse=True)
        colours = list(PALETTE[: len(names)])
        if len(names) > len(PALETTE):
            # steps of the golden ratio: successive names get very different hues
            hues = [n % _SHADES * 0.618034 % 1 for n in range(len(names))]
            colours = sample_colorscale("HSV", hues)
        return cls(names.tolist(), codes, convert_colors_to_same_type(colours, "rgb")[0])


def limits(values: NDArray[np.floating]) -> tuple[float, float]:
    """The smallest and the largest finite value; 0 and 0 without any."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def picture(points: NDArray[np.floating], colours: Colours) -> Image.Image:
    """Draw points (n, 2) as dots on a transparent image of their bounding box.

    Its y axis points up, and the longer edge is `PICTURE_PX` and the width of a dot. The dots are
    drawn in random order, so that no category hides the others.
    """
    low, high = points.min(0), points.max(0)
    extent = np.maximum(high - low, 1e-12)
    columns, rows = (np.ceil(PICTURE_PX * extent / extent.max()).astype(int) + _DOT_PX).tolist()
    image = np.full((rows, columns), _SHADES, np.uint8)
    order = np.random.default_rng(0).permutation(len(points))
    pixels = np.floor((points[order] - low) / extent.max() * PICTURE_PX).astype(int)
    column, row = np.minimum(pixels, [columns - _DOT_PX, rows - _DOT_PX]).T
    for right, down in np.ndindex(_DOT_PX, _DOT_PX):
        image[rows - _DOT_PX - row + down, column + right] = colours.codes[order] % _SHADES
    drawn = Image.fromarray(image)
    palette = np.rint([unlabel_rgb(colour) for colour in colours.palette[:_SHADES]]).astype(int)
    drawn.putpalette(np.pad(palette, ((0, 256 - len(palette)), (0, 0))).ravel().tolist())
    return drawn


def png(drawn: Image.Image) -> bytes:
    """A picture as a file."""
    buffer = io.BytesIO()
    drawn.save(buffer, "PNG", transparency=_SHADES, optimize=True)
    return buffer.getvalue()


def drawn_evenly(codes: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """At most `count` rows, in order: from each code the share that it has of all rows."""
    if len(codes) <= count:
        return np.arange(len(codes))
    order = np.lexsort((np.random.default_rng(0).permutation(len(codes)), codes))
    return np.sort(order[np.linspace(0, len(codes) - 1, count).round().astype(int)])
