"""How colors and 16 bits become gray values: one rule for every format (docs/images.md)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# luma of ITU-R recommendation BT.601, in thousandths
_LUMA = (299, 587, 114)
_LEAST_RANGE = 0.25
_BAND = 64  # rows: 32 bits for the whole image would take four bytes per pixel of a scan


def luma(image: NDArray[Any]) -> NDArray[Any]:
    """Gray values (rows, columns) of an image (rows, columns, red, green, blue).

    Luma after ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B of the stored (gamma encoded) values,
    rounded, in the same 8 or 16 bits.
    """
    gray = np.empty(image.shape[:2], image.dtype)
    for row in range(0, len(gray), _BAND):
        band = image[row : row + _BAND]
        total = np.full(band.shape[:2], 500, np.uint32)
        for channel, weight in enumerate(_LUMA):
            total += band[..., channel] * np.uint32(weight)
        gray[row : row + _BAND] = total // 1000
    return gray


def on_white(
    image: NDArray[Any], colors: int, premultiplied: bool = False, white: int | None = None
) -> NDArray[Any]:
    """An image (rows, columns, channels) without its alpha channel, as it looks on white.

    Where a scan was cut out, the transparent pixels often have a value of 0, which would be taken
    for black. An empty slide is white, unless the background is dark.

    Parameters
    ----------
    colors : number of channels before alpha; without a further one, the image returns unchanged.
    premultiplied : the colors are already multiplied by alpha.
    white : gray value of the empty slide if it is not the largest.
    """
    values = image[..., :colors]
    if image.shape[-1] == colors:
        return values
    most = np.iinfo(image.dtype).max
    if (image[..., colors] == most).all():
        return values
    alpha = image[..., colors : colors + 1].astype(np.uint32)  # products of 16 bits just fit
    behind = np.uint32(most if white is None else white) * (most - alpha)
    before = values.astype(np.uint32) * (most if premultiplied else alpha)
    return np.minimum((before + behind + most // 2) // most, most).astype(image.dtype)


def shrunk(image: NDArray[Any], factor: float) -> NDArray[Any]:
    """An image with pixels `factor` times as large, each the mean of those that it covers."""
    import cv2  # not on a GPU node, where only windows are read

    # a scale, not a size: cv2 would stretch the grid to fit a rounded size
    scale = 1 / factor
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def invert(image: NDArray[Any]) -> NDArray[Any]:
    """255 (for 16 bits 65535) minus each gray value: a dark background becomes bright."""
    return np.asarray(~image)


def gray_range(image: NDArray[Any]) -> tuple[float, float]:
    """The 0.5 and 99.5 percentiles of an image; a hot pixel or a scratch does not change them.

    On an empty slide these are its noise. Therefore the range is at least a quarter of the upper
    percentile, because tissue absorbs more than that, and at least 255, because 8 bits show as
    much.
    """
    low, high = np.percentile(image, [0.5, 99.5])
    width = max(high - low, high * _LEAST_RANGE, 255.0)
    low = max(high - width, 0.0)
    return float(low), float(low + width)


def to_8_bit(image: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Gray values in 8 bits: `low` to `high` become 0 to 255, values beyond are clipped.

    8-bit images are returned unchanged: if two sections are stained differently, it must show.

    Parameters
    ----------
    image : uint8 or uint16; scanners use 10 to 16 bits of the latter.
    """
    if image.dtype == np.uint8:
        return image
    # a table of all values: floating point would take eight bytes per pixel
    table = (np.arange(2**16) - low) * (255 / max(high - low, 1.0))
    return np.clip(np.rint(table), 0, 255).astype(np.uint8)[image]
