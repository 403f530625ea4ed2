"""Pictures of surfaces without a graphics card: faces are drawn into a depth buffer."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cytopipe.formats.surfaces import Surface
from cytopipe.numerics import meshes
from cytopipe.numerics.geometry import Floats
from cytopipe.report.thumbnails import Picture

Colours = Callable[[Floats], Floats]
# bounds the memory
_FACES_AT_ONCE = 200_000

# directions towards the viewer, to the right and up in the picture, in RAS
VIEWS: dict[str, tuple[tuple[int, int, int], ...]] = {
    "from the left": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "from the right": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "from above": ((0, 0, 1), (1, 0, 0), (0, 1, 0)),
    "from below": ((0, 0, -1), (-1, 0, 0), (0, 1, 0)),
    "from the front": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
}


def letters(view: str) -> tuple[str, str, str, str]:
    """The sides of the brain (R, L, A, P, S, I) at the left, right, top and bottom of a picture."""
    _, right, up = np.array(VIEWS[view])

    def letter(axis: NDArray[np.int_]) -> str:
        [place] = np.flatnonzero(axis)
        return ("RAS" if axis[place] > 0 else "LPI")[place]

    return letter(-right), letter(right), letter(up), letter(-up)


def render(
    surface: Surface,
    values: NDArray[np.float64],
    colours: Colours,
    view: str,
    pixel_mm: float,
    labels: bool = False,
) -> Picture:
    """A shaded picture of a surface, orthographic, on white.

    Parameters
    ----------
    values : (vertices,) values to colour.
    colours : values (n,) to red, green, blue (n, 3), 0 to 1.
    view : one of VIEWS.
    labels : whether the values are labels, which are not interpolated: each place has the value of
        the nearest vertex of its triangle.
    """
    towards, right, up = (np.array(axis, np.float64) for axis in VIEWS[view])
    plane = np.stack([surface.vertices @ right, -(surface.vertices @ up)], axis=1) / pixel_mm
    plane -= plane.min(axis=0) - 2
    columns, rows = np.ceil(plane.max(axis=0)).astype(int) + 3
    depth = surface.vertices @ towards
    light = meshes.vertex_normals(surface.vertices, surface.faces) @ towards
    buffer = np.full(rows * columns, -np.inf)
    shown = np.zeros((rows * columns, 2))
    facing = surface.faces[light[surface.faces].max(axis=1) > 0]
    for start in range(0, len(facing), _FACES_AT_ONCE):
        faces = facing[start : start + _FACES_AT_ONCE]
        ends = plane[faces]
        longest = np.percentile(np.abs(ends - np.roll(ends, 1, axis=1)).max(axis=(1, 2)), 99)
        shares = _barycentric(int(np.ceil(longest * 1.3)) + 1)
        at = np.rint(np.einsum("sc,fcd->fsd", shares, ends)).astype(int).reshape(-1, 2)
        pixel = at[:, 1] * columns + at[:, 0]
        near = (depth[faces] @ shares.T).ravel()
        of_values = np.eye(3)[shares.argmax(axis=1)] if labels else shares
        both = np.stack([values[faces] @ of_values.T, light[faces] @ shares.T], axis=-1).reshape(
            -1, 2
        )
        order = np.argsort(near, kind="stable")  # the nearest is last and overwrites the others
        order = order[near[order] > buffer[pixel[order]]]
        buffer[pixel[order]] = near[order]
        shown[pixel[order]] = both[order]
    hit = np.isfinite(buffer)
    picture = np.ones((rows * columns, 3))
    shade = 0.35 + 0.65 * np.clip(shown[hit, 1], 0, 1)
    picture[hit] = colours(shown[hit, 0]) * shade[:, None]
    return np.asarray(np.rint(picture * 255), np.uint8).reshape(rows, columns, 3)


def _barycentric(steps: int) -> Floats:
    """(n, 3) evenly spaced barycentric coordinates in a triangle."""
    first, second = np.indices((steps + 1, steps + 1)).reshape(2, -1)
    inside = first + second <= steps
    shares = np.stack([first, second, steps - first - second], axis=1)[inside]
    return shares / steps
