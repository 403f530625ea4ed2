"""Masks that store 64 pixels per word.

Pixel x of a row is bit x % 64 of word x // 64 + 1. Empty words and rows frame the image, so that
the loops over neighbours need no test for its border.
"""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Words = NDArray[np.uint64]

ONE = np.uint64(1)
ALL = ~np.uint64(0)
_TOP = np.uint64(63)


def pack(mask: Mask) -> Words:
    """Pack a mask (rows, columns) into words (rows + 2, words + 2)."""
    rows, columns = mask.shape
    count = -(-columns // 64)
    words = np.zeros((rows + 2, count + 2), np.uint64)
    # little-endian in both orders: bit 0 of byte 0 is the first pixel
    inside = words.view(np.uint8).reshape(rows + 2, -1)[1:-1, 8 : 8 + -(-columns // 8)]
    inside[:] = np.packbits(mask, axis=1, bitorder="little")
    return words


def unpack(words: Words, columns: int) -> Mask:
    """Inverse of `pack`, for a mask with `columns` columns."""
    inside = np.ascontiguousarray(words[1:-1, 1:-1]).view(np.uint8)
    return np.unpackbits(inside, axis=1, count=columns, bitorder="little").view(np.bool_)


@njit(cache=True)
def last_word(columns: int) -> np.uint64:
    """The bits of the last word in a row that are pixels of the image."""
    used = np.uint64(columns & 63)
    return (ONE << used) - ONE if used else ALL


@njit(cache=True, inline="always")
def from_left(word: np.uint64, before: np.uint64) -> np.uint64:
    """The left neighbour of each pixel."""
    return (word << ONE) | (before >> _TOP)


@njit(cache=True, inline="always")
def from_right(word: np.uint64, after: np.uint64) -> np.uint64:
    """The right neighbour of each pixel."""
    return (word >> ONE) | (after << _TOP)


@njit(cache=True, inline="always")
def position(bit: np.uint64) -> int:
    """Position of the only bit that is set."""
    x = bit - ONE
    x = x - ((x >> ONE) & np.uint64(0x5555555555555555))
    x = (x & np.uint64(0x3333333333333333)) + ((x >> np.uint64(2)) & np.uint64(0x3333333333333333))
    x = (x + (x >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int((x * np.uint64(0x0101010101010101)) >> np.uint64(56))


def dilated(mask: Mask, radius_px: float) -> Mask:
    """The mask dilated by a disc: `scipy.ndimage.distance_transform_edt(~mask) <= radius_px`."""
    reach = math.floor(radius_px)
    # half the width of the disc at each height
    widths = np.array([math.isqrt(math.floor(radius_px**2) - h * h) for h in range(reach + 1)])
    return unpack(_dilate(pack(mask), mask.shape[1], widths), mask.shape[1])


@njit(cache=True)
def _dilate(words: Words, columns: int, widths: NDArray[np.int64]) -> Words:
    rows, count = words.shape
    last = last_word(columns)
    wide, wider = words.copy(), np.zeros_like(words)
    out = np.zeros_like(words)
    for width in range(widths[0] + 1):
        # `wide` is the mask dilated along its rows by `width`; it goes where the disc is that wide
        for height in range(len(widths)):
            if widths[height] != width:
                continue
            for y in range(1, rows - 1):
                for target in (y - height, y + height):
                    if 1 <= target < rows - 1:
                        for k in range(1, count - 1):
                            out[target, k] |= wide[y, k]
                    if height == 0:
                        break
        for y in range(1, rows - 1):
            for k in range(1, count - 1):
                here = wide[y, k]
                wider[y, k] = (
                    here | from_left(here, wide[y, k - 1]) | from_right(here, wide[y, k + 1])
                )
            wider[y, count - 2] &= last
        wide, wider = wider, wide
    return out
