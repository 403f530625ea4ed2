"""Transforms between spaces in RAS mm, read from ITK files and plain matrices, written for ITK.

ITK works in LPS mm; `_flip` converts. An ITK transform T is a function of points. A file that
"moves points" from source to target has T(source point) = target point. A file that "moves an
image", as a resampler needs it, has T(target point) = source point: the inverse. The file does not
tell which one it is, so the user must.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import SimpleITK as sitk  # noqa: N813, its customary name
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe import provenance
from cytopipe.files import InputError, atomic_write, reading, require
from cytopipe.formats import itk_transforms
from cytopipe.formats.text import finite, read_text
from cytopipe.numerics.geometry import Floats, check_follows

Moves = Literal["points", "image"]
# between two human brains, fixed or shrunken; chosen, as a wrong unit gives 1000 or 0.001
_STRETCH = (0.3, 3.0)
# largest number of fixed-point steps that invert a displacement field, and the error at which they
# stop; chosen, not measured
_INVERSION_STEPS, _INVERSION_MM = 60, 0.005


@dataclass(frozen=True)
class Step:
    """An affine or displacement-field transform of ITK, or its inverse."""

    itk: sitk.Transform
    inverted: bool = False

    @property
    def is_field(self) -> bool:
        return isinstance(self.itk, sitk.DisplacementFieldTransform)


@dataclass(frozen=True)
class PointTransform:
    """Moves POINTS from one named space to another, by `steps` in their order.

    Attributes
    ----------
    source, target : names of the spaces, e.g. "B01" (a stack) and "phantom" (a template).
    """

    source: str
    target: str
    steps: tuple[Step, ...]

    def __call__(self, points_mm: Floats) -> Floats:
        """Move (n, 3) points, RAS mm.

        NaN for a point that a displacement field does not cover (ITK itself silently leaves such a
        point where it is), or at which the field has no inverse.
        """
        points = _flip(np.asarray(points_mm, np.float64))
        for step in self.steps:
            if not step.is_field:
                points = _affine(step, points)
            elif step.inverted:
                points = _against_field(step.itk, points)
            else:
                points = _along_field(step.itk, points)
        return _flip(points)

    def then(self, after: "PointTransform") -> "PointTransform":
        """The transform that applies `self` first and `after` second.

        Raises
        ------
        FrameError
            If `after` does not start where `self` ends.
        """
        check_follows(self, after)
        return PointTransform(self.source, after.target, self.steps + after.steps)

    def inverse(self) -> "PointTransform":
        """From target to source; displacement fields are inverted point by point."""
        steps = tuple(Step(step.itk, not step.inverted) for step in reversed(self.steps))
        return PointTransform(self.target, self.source, steps)


def affine_transform(matrix: Floats, source: str, target: str) -> PointTransform:
    """The transform of a (4, 4) matrix that moves points, RAS mm."""
    lps = between_ras_and_lps(matrix)
    itk = sitk.AffineTransform(3)
    itk.SetMatrix(lps[:3, :3].ravel().tolist())
    itk.SetTranslation(lps[:3, 3].tolist())
    return PointTransform(source, target, (Step(itk),))


def between_ras_and_lps(matrix: Floats) -> Floats:
    """Convert a (4, 4) matrix from RAS to LPS or back."""
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    return np.asarray(flip @ np.asarray(matrix, np.float64) @ flip)


def field_transform(
    displacements_mm: Floats, affine: Floats, source: str, target: str
) -> PointTransform:
    """The transform of displacements on a grid: it moves a point x to x + displacement(x).

    Parameters
    ----------
    displacements_mm : (i, j, k, 3) RAS mm.
    affine : (4, 4) from indices to RAS mm; its axes must be orthogonal.
    """
    axes = np.asarray(affine, np.float64)[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    field = np.ascontiguousarray(_flip(displacements_mm).transpose(2, 1, 0, 3), np.float64)
    image = sitk.GetImageFromArray(field, isVector=True)
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(_flip(np.asarray(affine[:3, 3], np.float64)).tolist())
    image.SetDirection((np.diag([-1.0, -1.0, 1.0]) @ (axes / spacing)).ravel().tolist())
    return PointTransform(source, target, (Step(sitk.DisplacementFieldTransform(image)),))


def read(path: Path, source: str, target: str, moves: Moves) -> PointTransform:
    """Read an ITK transform (.h5, .mat, .tfm, .txt, a displacement field as an image; LPS).

    A .txt without ITK's first line is a 4x4 matrix as plain numbers: RAS mm, see `read_matrix`.

    Parameters
    ----------
    source, target : the spaces between which the result moves points.
    moves : what the file moves from source to target; see the top of this module.

    Raises
    ------
    InputError
        If the file is missing, unreadable, or contains other transforms than affine ones and
        displacement fields.
    """
    require(path, "check the path in the config")
    with reading(path, "transform"):
        content = path.read_bytes() if path.suffix in (".mat", ".txt") else b""
    if path.suffix == ".xfm":
        # ITK takes its numbers for LPS
        raise InputError(
            f"{path}: MNI's .xfm counts in RAS mm, unless ITK wrote it; save its 3 rows of 4 "
            "numbers and a row 0 0 0 1 as .txt (type matrix), or write it as .tfm"
        )
    # ITK's .mat contains zero bytes
    if path.suffix == ".mat" and b"\0" not in content:
        raise InputError(
            f"{path}: is text, ITK's .mat is not. A matrix of FSL's flirt counts in scaled voxels "
            "of both images: convert it to RAS mm, then save its 4 rows of 4 numbers as .txt"
        )
    if path.suffix == ".txt" and not content.startswith(b"#Insight Transform"):
        matrix = read_matrix(path)
        if moves == "points":
            return affine_transform(matrix, source, target)
        return affine_transform(matrix, target, source).inverse()
    parts = itk_transforms.read_parts(path)
    # ITK applies the last part of a composite first
    if moves == "points":
        return PointTransform(source, target, tuple(Step(part) for part in reversed(parts)))
    return PointTransform(source, target, tuple(Step(part, inverted=True) for part in parts))


def read_matrix(path: Path) -> Floats:
    """Read a (4, 4) affine matrix, RAS mm to RAS mm: one row per line, # starts a comment.

    Raises
    ------
    InputError
        If it is not a 4x4 matrix of finite numbers whose last row is 0 0 0 1, if it mirrors, or if
        it stretches or moves more than two brains in millimetres differ.
    """
    remedy = "write 4 rows of 4 numbers, RAS mm (nothing else; # starts a comment)"
    text = read_text(path, "check its name")
    lines = [line.split("#")[0].replace(",", " ").split() for line in text.splitlines()]
    try:
        rows = [[finite(number, "a number") for number in line] for line in lines if line]
    except InputError as error:
        raise InputError(f"{path}: neither ITK's text nor plain numbers ({error}); {remedy}") from (
            error
        )
    if [len(row) for row in rows] != [4] * 4:
        raise InputError(f"{path}: has rows of {[len(row) for row in rows]} numbers; {remedy}")
    matrix = np.array(rows)
    if not np.allclose(matrix[3], [0, 0, 0, 1], rtol=0, atol=1e-9):
        raise InputError(
            f"{path}: its last row is {matrix[3].tolist()}, not 0 0 0 1; the shift belongs in the "
            "last column: transpose the matrix if the shift is in the last row"
        )
    if np.linalg.det(matrix) < 0:
        raise InputError(
            f"{path}: the matrix mirrors the brain (its determinant is negative); between LPS and "
            "RAS two axes change their sign, not one"
        )
    stretches = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    shift_mm = float(np.linalg.norm(matrix[:3, 3]))
    if not (_STRETCH[0] < stretches[-1] and stretches[0] < _STRETCH[1]):
        raise InputError(
            f"{path}: stretches by {stretches[-1]:.3g} to {stretches[0]:.3g}, more than two brains "
            "differ; it must map mm to mm, not voxels or micrometres"
        )
    if shift_mm > itk_transforms.FARTHEST_MM:
        raise InputError(
            f"{path}: moves by {shift_mm:.4g} mm; give its last column in mm, not in micrometres"
        )
    return matrix


def write(transform: PointTransform, path: Path) -> None:
    """Write an ITK composite, `.h5`, that moves points from source to target.

    To resample an image of the source on a grid of the target, use its inverse. The layout is that
    of ITK without time stamps, so equal transforms give equal bytes; a digest follows it.

    Raises
    ------
    ValueError
        If a displacement field is inverted; use `sampled` first.
    """
    kinds, fixed, moving = ["CompositeTransform"], [], []
    # ITK applies the last part of a composite first
    for step in reversed(transform.steps):
        if step.is_field and step.inverted:
            raise ValueError("the inverse of a displacement field has no ITK form")
        itk = step.itk.GetInverse() if step.inverted else step.itk
        if step.is_field:
            kinds.append("DisplacementFieldTransform")
            fixed.append(np.array(itk.GetFixedParameters()))
            field = sitk.GetArrayViewFromImage(itk.GetDisplacementField())
            # float32 is exact to a micrometre over a brain
            moving.append(np.asarray(field, np.float32).ravel())
        else:
            matrix, shift = itk_transforms.matrix_of(itk)
            kinds.append("AffineTransform")
            fixed.append(np.zeros(3))
            moving.append(np.concatenate([matrix.ravel(), shift]))
    text = h5py.string_dtype("ascii")  # ITK does not read UTF-8
    # in memory first: on a full disk h5py crashes instead of raising
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        for key, value in provenance.entry().items():
            # a data set, as ITK stores its version: an attribute is limited to 64 kB
            file.create_dataset(key, data=[value], dtype=text)
        group = file.create_group("TransformGroup")
        for number, kind in enumerate(kinds):
            member = group.create_group(str(number))
            member.create_dataset("TransformType", data=[f"{kind}_double_3_3"], dtype=text)
            if number:
                member.create_dataset("TransformFixedParameters", data=fixed[number - 1])
                values = moving[number - 1]
                packing = {"compression": "gzip", "shuffle": True} if len(values) > 1000 else {}
                member.create_dataset("TransformParameters", data=values, **packing)
    with atomic_write(path) as beside:
        beside.write_bytes(itk_transforms.sealed(content.getvalue()))


def sampled(
    transform: PointTransform, affine: Floats, shape: tuple[int, int, int]
) -> PointTransform:
    """Sample a transform as one displacement field on a grid of its source; NaN where undefined."""
    indices = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 3)
    points = indices @ affine[:3, :3].T + affine[:3, 3]
    displacements = (transform(points) - points).reshape(*shape, 3)
    return field_transform(displacements, affine, transform.source, transform.target)


def has_inverted_field(transform: PointTransform) -> bool:
    """Whether `write` needs `sampled` first."""
    return any(step.is_field and step.inverted for step in transform.steps)


def _flip(points: Floats) -> Floats:
    """Convert points from RAS to LPS or back."""
    return points * np.array([-1.0, -1.0, 1.0])


def _affine(step: Step, points: Floats) -> Floats:
    matrix, shift = itk_transforms.matrix_of(step.itk)
    if step.inverted:
        return np.asarray((points - shift) @ np.linalg.inv(matrix).T)
    return np.asarray(points @ matrix.T + shift)


class _Field:
    """A displacement field of ITK as arrays, LPS: (3, i, j, k) displacements on a grid."""

    def __init__(self, itk: sitk.DisplacementFieldTransform) -> None:
        image = itk.GetDisplacementField()
        view = sitk.GetArrayViewFromImage(image)
        self.displacements = np.ascontiguousarray(view.transpose(3, 2, 1, 0))
        self.shape = np.array(self.displacements.shape[1:])
        self.origin = np.array(image.GetOrigin())
        # (3, 3) from indices to mm
        self.axes = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())

    def index(self, points: Floats) -> Floats:
        return np.asarray((points - self.origin) @ np.linalg.inv(self.axes).T)

    def covers(self, points: Floats) -> NDArray[np.bool_]:
        """Whether points lie between the voxel centres; False for NaN."""
        index = self.index(points)
        return np.asarray(((index >= -1e-6) & (index <= self.shape - 1 + 1e-6)).all(axis=1))

    def moved(self, points: Floats) -> Floats:
        """Points plus their displacements, interpolated linearly as in ITK."""
        index = self.index(points).T
        shifts = [
            ndimage.map_coordinates(component, index, order=1, mode="nearest")
            for component in self.displacements
        ]
        return points + np.stack(shifts, axis=-1)


def _along_field(itk: sitk.DisplacementFieldTransform, points: Floats) -> Floats:
    field = _Field(itk)
    inside = field.covers(points)
    moved = np.full(points.shape, np.nan)
    moved[inside] = field.moved(points[inside])
    return moved


def _against_field(itk: sitk.DisplacementFieldTransform, points: Floats) -> Floats:
    """Invert the field at each point by fixed-point iteration.

    The best affine fit to the field gives the start and the steps, because a field may contain the
    entire transform between two spaces, of which only the rest varies slowly.
    """
    field = _Field(itk)
    some = [np.unique(np.linspace(0, n - 1, 12).astype(int)) for n in field.shape]
    grid = np.stack(np.meshgrid(*some, indexing="ij"), -1).reshape(-1, 3) @ field.axes.T
    grid += field.origin
    goals = field.moved(grid)
    known = np.isfinite(goals).all(axis=1)
    padded = np.column_stack([goals[known], np.ones(int(known.sum()))])
    back = np.linalg.lstsq(padded, grid[known], rcond=None)[0]
    sources = np.asarray(points @ back[:3] + back[3])
    error_mm = np.full(len(points), np.inf)
    for _ in range(_INVERSION_STEPS):
        active = np.flatnonzero((error_mm > _INVERSION_MM) & np.isfinite(sources).all(axis=1))
        if not len(active):
            break
        off = points[active] - field.moved(sources[active])
        error_mm[active] = np.linalg.norm(off, axis=1)
        sources[active] += off @ back[:3]
    sources[~(error_mm <= _INVERSION_MM) | ~field.covers(sources)] = np.nan
    return sources
