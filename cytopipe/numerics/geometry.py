"""The frames of the pipeline and the rigid transforms between them.

pixel      (column, row) at a stated level, 0-based, integer = pixel centre.
section    (x, y) um, x to the right and y down as in the image file; the origin is the centre of
           the first pixel of level 0 (full resolution).
unmirrored the section frame, flipped left to right if the section was scanned face down.
stack      (x, y, z) um of the rigidly aligned brain: x and y of the centre section, z the section
           number times the section thickness (posterior to anterior).
stack_ras  (R, A, S) mm: the stack frame in which its volumes and surfaces are written.
template   (R, A, S) mm in a named template.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ImageRight = Literal["R", "L"]


class FrameError(ValueError):
    """Transforms whose frames do not match were composed."""


def check_follows(before: Any, after: Any) -> None:
    """Raise FrameError unless `after` starts in the frame in which `before` ends."""
    if before.target != after.source:
        raise FrameError(
            f"{before.source} -> {before.target} cannot be followed by "
            f"{after.source} -> {after.target}"
        )


def unit(vectors: NDArray[np.floating]) -> Floats:
    """Scale vectors (..., d) to length 1; a zero vector stays zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0))


def pixels_to_section(pixels: Floats, spacing_um: float, full_spacing_um: float) -> Floats:
    """Section coordinates (..., 2) in um of pixel centres of a level.

    Parameters
    ----------
    pixels : (..., 2) column, row at the level.
    spacing_um : pixel size of the level.
    full_spacing_um : pixel size of level 0; the centre of its first pixel is the origin.
    """
    return (np.asarray(pixels, np.float64) + 0.5) * spacing_um - 0.5 * full_spacing_um


def section_to_pixels(points_um: Floats, spacing_um: float, full_spacing_um: float) -> Floats:
    """Fractional (column, row) at a level of section points; inverse of `pixels_to_section`."""
    return (np.asarray(points_um, np.float64) + 0.5 * full_spacing_um) / spacing_um - 0.5


def resample_labels(
    labels: NDArray[np.uint8],
    spacing_um: float,
    shape: tuple[int, int],
    new_spacing_um: float,
    full_spacing_um: float,
) -> NDArray[np.uint8]:
    """Resample the labels of a section to another grid, by the nearest pixel; 0 outside.

    Parameters
    ----------
    labels : (rows, columns) with pixels of `spacing_um`.
    shape : rows and columns of the result, with pixels of `new_spacing_um`. It sets the extent
        only, so that a rounded size does not stretch the labels.
    full_spacing_um : pixel size of level 0, as in `pixels_to_section`.
    """
    if labels.shape == shape and spacing_um == new_spacing_um:
        return labels
    axes = []
    for size, old_size in zip(shape, labels.shape, strict=True):
        along = np.repeat(np.arange(size, dtype=np.float64)[:, None], 2, axis=1)
        at_um = pixels_to_section(along, new_spacing_um, full_spacing_um)
        index = np.rint(section_to_pixels(at_um, spacing_um, full_spacing_um)[:, 0]).astype(int)
        axes.append(np.where((index >= 0) & (index < old_size), index, old_size))
    padded = np.pad(labels, ((0, 1), (0, 1)))  # the index past the end reads background
    return np.asarray(padded[np.ix_(axes[0], axes[1])])


def mirror(points_um: Floats, width_um: float) -> Floats:
    """Flip section points left to right; its own inverse.

    `width_um` is the distance between the centres of the first and the last column of level 0.
    """
    flipped = np.array(points_um, np.float64)
    flipped[..., 0] = width_um - flipped[..., 0]
    return flipped


def stack_to_ras(points_um: Floats, image_right: ImageRight) -> Floats:
    """(R, A, S) mm of points (x, y, z) um in the stack frame.

    `image_right` is the side of the brain at the right of an unmirrored image. The study must state
    it, because a section does not show whether it is seen from behind ("R") or from in front ("L").
    """
    points = np.asarray(points_um, np.float64) / 1000
    sign = 1.0 if image_right == "R" else -1.0
    return np.stack([sign * points[..., 0], points[..., 2], -points[..., 1]], axis=-1)


def ras_to_stack(points_mm: Floats, image_right: ImageRight) -> Floats:
    """(x, y, z) um in the stack frame of (R, A, S) mm; inverse of `stack_to_ras`."""
    points = np.asarray(points_mm, np.float64) * 1000
    sign = 1.0 if image_right == "R" else -1.0
    return np.stack([sign * points[..., 0], -points[..., 2], points[..., 1]], axis=-1)


@dataclass(frozen=True)
class Rigid:
    """A rotation and a shift that move POINTS between two frames, e.g. "B01/0420" and "stack".

    target = R(angle) source + shift, with R = [[cos, -sin], [sin, cos]] acting on (x, y), y down.
    The determinant is +1 by construction: a mirrored section is flipped before (`mirror`).
    """

    angle_rad: float
    x_um: float
    y_um: float
    source: str
    target: str

    @classmethod
    def onto(
        cls, angle_rad: float, point_um: Floats, target_um: Floats, source: str, target: str
    ) -> "Rigid":
        """The rotation by an angle that moves `point_um` onto `target_um`."""
        x, y = target_um - cls(angle_rad, 0.0, 0.0, source, target)(point_um)
        return cls(angle_rad, float(x), float(y), source, target)

    @property
    def rotation(self) -> Floats:
        c, s = np.cos(self.angle_rad), np.sin(self.angle_rad)
        return np.array([[c, -s], [s, c]])

    def __call__(self, points_um: Floats) -> Floats:
        return np.asarray(points_um, np.float64) @ self.rotation.T + (self.x_um, self.y_um)

    def inverse(self) -> "Rigid":
        shift = -self.rotation.T @ np.array([self.x_um, self.y_um])
        return Rigid(-self.angle_rad, float(shift[0]), float(shift[1]), self.target, self.source)

    def then(self, after: "Rigid") -> "Rigid":
        """The transform that applies `self` first and `after` second.

        Raises
        ------
        FrameError
            If `after` does not start where `self` ends.
        """
        check_follows(self, after)
        shift = after(np.array([self.x_um, self.y_um]))
        return Rigid(
            self.angle_rad + after.angle_rad,
            float(shift[0]),
            float(shift[1]),
            self.source,
            after.target,
        )


def unmirror(rigid: Rigid, source_width_um: float, target_width_um: float) -> Rigid:
    """The transform between two planes if both are mirrored: mirror, `rigid`, mirror.

    It is a rotation by the opposite angle.
    """
    x = target_width_um - (np.cos(rigid.angle_rad) * source_width_um + rigid.x_um)
    y = np.sin(rigid.angle_rad) * source_width_um + rigid.y_um
    return replace(rigid, angle_rad=-rigid.angle_rad, x_um=float(x), y_um=float(y))


@dataclass(frozen=True)
class Placement:
    """The position of a scanned section in the stack: a flip if `mirrored`, then `rigid`.

    `width_um` is the argument of `mirror`; it is used only if the section is mirrored.
    """

    mirrored: bool
    width_um: float
    rigid: Rigid

    def __call__(self, points_um: Floats) -> Floats:
        """Move points (..., 2) um of the scanned section to the stack."""
        return self.rigid(mirror(points_um, self.width_um) if self.mirrored else points_um)

    def back(self, points_um: Floats) -> Floats:
        """Move points (..., 2) um of the stack to the scanned section."""
        points = self.rigid.inverse()(points_um)
        return mirror(points, self.width_um) if self.mirrored else points


def fit_rigid(points: Floats, targets: Floats, source: str, target: str) -> Rigid:
    """The rigid transform of least squared error, in closed form (Kabsch 1976), det = +1.

    Parameters
    ----------
    points, targets : (n, 2) um, n >= 2, in correspondence.

    Raises
    ------
    ValueError
        If there are fewer than two points, or if they coincide: the rotation is then undefined.
    """
    points, targets = np.asarray(points, np.float64), np.asarray(targets, np.float64)
    if len(points) < 2:
        raise ValueError(f"a rigid fit needs two points, not {len(points)}")
    centre, target_centre = points.mean(0), targets.mean(0)
    p, q = points - centre, targets - target_centre
    # the optimal rotation in the plane has this angle; unlike an SVD it cannot be a reflection
    dot, cross = float((p * q).sum()), float((p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum())
    if np.hypot(dot, cross) == 0:
        raise ValueError("a rigid fit needs points that do not coincide")
    return Rigid.onto(float(np.arctan2(cross, dot)), centre, target_centre, source, target)
