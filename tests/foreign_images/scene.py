"""What the images of this folder show: a formula, smooth enough for JPEG, with an edge."""

import numpy as np

ROWS, COLUMNS = 100, 130


def scene(dtype=np.uint8):
    """(100, 130): waves over a bright background, darker below a slanting line."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    gray = 170 + 40 * np.sin(y / 9) + 30 * np.cos(x / 7) - 80 * (2 * y > x + 30)
    if dtype == np.uint16:
        return np.rint(gray * 257).astype(np.uint16)
    return np.rint(gray).astype(np.uint8)


def color_scene(dtype=np.uint8):
    """(100, 130, 3): the scene, mirrored and turned upside down for green and blue."""
    gray = scene(dtype)
    return np.ascontiguousarray(np.stack([gray, gray[:, ::-1], gray[::-1]], axis=-1))
