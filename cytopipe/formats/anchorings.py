"""Anchorings of QuickNII, DeepSlice and VisuAlign: how the plane of a section lies in a volume.

An anchoring is nine numbers, [ox oy oz ux uy uz vx vy vz], in voxels of the target volume. The
point at x px from the left and y px from the top of the image lies at

    o + u x / width + v y / height

o is the outer corner of the upper left pixel, u runs along the upper edge and v down the left edge.
Voxel k of the target reaches from k to k + 1, so its centre is k + 0.5 (Puchades et al. 2019, PLOS
ONE 14(5): e0216796; `Int32Slices.java` of Tevemadar/VisuAlign truncates to find the voxel). The
image is used as its file shows it.

VisuAlign adds markers, [ox oy nx ny] in image px: the image point (nx, ny) belongs where the
anchoring would put (ox, oy). The points n, and the corners of the image enlarged by a tenth on each
side, are divided into Delaunay triangles. Each triangle is mapped linearly (`Slice.java` of
Tevemadar/VisuAlign).
"""

import math
import xml.etree.ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from cytopipe.files import InputError, reading
from cytopipe.formats import nifti
from cytopipe.formats.text import finite, read_json, read_text, whole
from cytopipe.numerics.geometry import Floats

_NUMBERS = ("ox", "oy", "oz", "ux", "uy", "uz", "vx", "vy", "vz")
OWN = "own"
_MARGIN = 0.1


@dataclass(frozen=True)
class Target:
    """The volume in whose voxels anchorings are given.

    Attributes
    ----------
    affine : (4, 4) from indices of voxel centres to RAS mm.
    shape : voxels along each axis.
    """

    path: Path
    affine: Floats
    shape: tuple[int, int, int]

    def to_mm(self, voxels: Floats) -> Floats:
        """RAS mm of (n, 3) anchoring coordinates."""
        return np.asarray((voxels - 0.5) @ self.affine[:3, :3].T + self.affine[:3, 3])

    def to_voxels(self, points_mm: Floats) -> Floats:
        inverse = np.linalg.inv(self.affine)
        return np.asarray(points_mm @ inverse[:3, :3].T + inverse[:3, 3] + 0.5)


@dataclass(frozen=True)
class Anchoring:
    """Where the image of one section lies.

    Attributes
    ----------
    width, height : of the anchored image, px; NaN if the file does not contain them.
    origin, across, down : (3,) o, u and v, voxels.
    markers : (n, 4) markers of VisuAlign, px.
    """

    width: float
    height: float
    origin: Floats
    across: Floats
    down: Floats
    markers: Floats

    def to_voxels(self, shares: Floats) -> Floats:
        """Anchoring coordinates of (n, 2) image points, from 0 to 1 of its width and height.

        NaN for points more than a tenth outside an image with markers.
        """
        moved = self._apply_markers(shares, image_to_plane=True)
        return self.origin + moved[:, :1] * self.across + moved[:, 1:] * self.down

    def to_shares(self, voxels: Floats) -> Floats:
        """Image points of (n, 3) anchoring coordinates, which are projected onto its plane."""
        plane = np.stack([self.across, self.down], axis=1)
        shares = (voxels - self.origin) @ np.linalg.pinv(plane).T
        return self._apply_markers(shares, image_to_plane=False)

    @property
    def folded(self) -> NDArray[np.bool_]:
        """(triangles,) whether the markers fold the image there."""
        if not len(self.markers):
            return np.zeros(0, bool)
        image, plane, triangles = self._triangles()
        return _signed_area(image[triangles]) * _signed_area(plane[triangles]) <= 0

    def _triangles(self) -> tuple[Floats, Floats, NDArray[Any]]:
        """Vertices in the image and in the plane, px, and their triangles."""
        low, high = -_MARGIN, 1 + _MARGIN
        corners = np.array([[low, low], [high, low], [low, high], [high, high]])
        corners = corners * (self.width, self.height)
        image = np.concatenate([corners, self.markers[:, 2:4]])
        plane = np.concatenate([corners, self.markers[:, :2]])
        return image, plane, Delaunay(image).simplices

    def _apply_markers(self, shares: Floats, image_to_plane: bool) -> Floats:
        if not len(self.markers):
            return shares
        size = np.array([self.width, self.height])
        points = shares * size
        image, plane, triangles = self._triangles()
        source, target = (image, plane) if image_to_plane else (plane, image)
        moved = np.full(points.shape, np.nan)
        for triangle in triangles:
            a, b, c = source[triangle]
            edges = np.stack([b - a, c - a], axis=1)
            if abs(np.linalg.det(edges)) < 1e-9:
                continue
            weights = (points - a) @ np.linalg.inv(edges).T
            inside = (weights >= -1e-9).all(axis=1) & (weights.sum(axis=1) <= 1 + 1e-9)
            a, b, c = target[triangle]
            moved[inside] = a + weights[inside] @ np.stack([b - a, c - a])
        return moved / size


@dataclass(frozen=True)
class Series:
    """The anchorings of a file, by section number (`nr`).

    Attributes
    ----------
    size : voxels of the target along each axis; None if the file does not contain it.
    """

    path: Path
    size: tuple[int, ...] | None
    slices: dict[int, Anchoring]


def read(path: Path) -> Series:
    """Read a series: JSON (QuickNII, DeepSlice, VisuAlign) or the older XML of QuickNII.

    Sections without an anchoring (QuickNII omits those that nobody confirmed) are left out.

    Raises
    ------
    InputError
        If the file is missing or is not such a series, or an anchoring is not valid.
    """
    remedy = "save it again as JSON, or as XML in QuickNII"
    text = read_text(path, "check the name in transforms.tsv")
    with reading(path, "series of QuickNII, DeepSlice or VisuAlign", remedy):
        if text.lstrip().startswith("<"):
            size, rows = None, _rows_of_xml(text, str(path))
        else:
            content = read_json(path, remedy)
            size = content.get("target-resolution") or content.get("resolution")
            # WebAlign writes sections and ouv
            rows = content["slices"] if "slices" in content else content["sections"]
        slices: dict[int, Anchoring] = {}
        for row in rows:
            number = whole(str(row["nr"]), f"{path}: nr of a slice")
            if number in slices:
                raise InputError(f"{path}: has two slices with the number {number}; remove one")
            if anchoring := row.get("anchoring") or row.get("ouv"):
                slices[number] = _anchoring(row, anchoring, f"{path}: slice {number}")
        if size is not None:
            size = tuple(whole(str(n), f"{path}: its resolution") for n in size)
    if not slices:
        raise InputError(f"{path}: none of its slices has an anchoring; store them in QuickNII")
    return Series(path, size, slices)


def read_target(path: Path, axes: str = OWN) -> Target:
    """Read position and size of the target volume, without its voxels.

    Parameters
    ----------
    axes : "own" if the anchorings count voxels as the file stores them; or three letters, e.g. RAS,
        if they count the voxels of the same volume reoriented to these axes.

    Raises
    ------
    InputError
        As `nifti.read_grid`; and if it is not three-dimensional.
    """
    grid = nifti.read_grid(path, "check coordinates.anchoring_target in config/config.yaml")
    shape, affine = grid.shape, grid.affine
    if len(shape) != 3:
        raise InputError(f"{path}: has shape {shape}; a target volume has three dimensions")
    if axes != OWN:
        wanted = nib.orientations.axcodes2ornt(axes)
        turn = nib.orientations.ornt_transform(nib.io_orientation(affine), wanted)
        affine = affine @ nib.orientations.inv_ornt_aff(turn, shape)
        order = np.argsort(turn[:, 0])
        shape = tuple(shape[int(axis)] for axis in order)
    return Target(path, affine, (shape[0], shape[1], shape[2]))


def check_target(series: Series, target: Target) -> None:
    """Check that the series was anchored in this volume.

    Raises
    ------
    InputError
        If the file contains another size, or a section's middle lies far outside the volume.
    """
    if series.size is not None and series.size != target.shape:
        permuted = sorted(series.size) == sorted(target.shape)
        raise InputError(
            f"{series.path}: was anchored in a volume of {series.size} voxels, {target.path} has "
            f"{target.shape}; "
            + (
                "the axes are permuted: set coordinates.anchoring_axes to the axes of the program "
                "(RAS for the volumes that come with QuickNII)"
                if permuted
                else "set coordinates.anchoring_target to the volume that the program used"
            )
        )
    for number, anchoring in series.slices.items():
        middle = anchoring.origin + (anchoring.across + anchoring.down) / 2
        share = middle / np.array(target.shape)
        if not ((share > -0.25) & (share < 1.25)).all():
            raise InputError(
                f"{series.path}: slice {number} has its middle at voxel "
                f"{', '.join(f'{x:.0f}' for x in middle)}, outside {target.path} of "
                f"{target.shape}; was it anchored in another volume, or in millimetres?"
            )


def check_image(anchoring: Anchoring, columns: float, rows: float, where: str) -> None:
    """Check that the anchored image shows the whole scan, at any resolution, if its size is known.

    Raises
    ------
    InputError
        If the aspect ratios differ by more than a pixel and half a per cent.
    """
    if np.isnan(anchoring.width):
        return
    expected = anchoring.width * rows / columns
    if abs(expected - anchoring.height) > 1 + 0.005 * anchoring.height:
        raise InputError(
            f"{where}: the anchored image is {anchoring.width:g} x {anchoring.height:g} px, the "
            f"scan {columns:.0f} x {rows:.0f}: not the same image; anchor the whole scan, without "
            "rotating or cropping it"
        )


def _anchoring(row: dict[str, Any], numbers: Any, where: str) -> Anchoring:
    values = _numbers(numbers)
    width, height = (
        finite(str(row[name]), f"{where}: its {name}") if name in row else np.nan
        for name in ("width", "height")
    )
    if values.shape != (9,) or not np.isfinite(values).all():
        raise InputError(f"{where}: its anchoring is {numbers}; nine numbers are needed")
    # DeepSlice writes -999 for an unknown size; without markers no size is needed
    if not (width > 0 and height > 0 and math.isfinite(width * height)):
        if row.get("markers"):
            raise InputError(
                f"{where}: its image is {width:g} x {height:g} px, but markers need its size; "
                "save the series again in VisuAlign"
            )
        width = height = np.nan
    origin, across, down = values.reshape(3, 3)
    if np.linalg.norm(np.cross(across, down)) < 1e-6:
        raise InputError(f"{where}: its anchoring {numbers} spans no plane; anchor it again")
    markers = _numbers([m[:4] for m in row.get("markers") or []]).reshape(-1, 4)
    if not np.isfinite(markers).all():
        raise InputError(f"{where}: a marker contains NaN; set it again in VisuAlign")
    # like VisuAlign, ignore markers outside the enlarged image
    share = markers[:, 2:] / (width, height)
    markers = markers[((share >= -_MARGIN) & (share <= 1 + _MARGIN)).all(axis=1)]
    if len(np.unique(markers[:, 2:], axis=0)) < len(markers):
        raise InputError(f"{where}: two markers have the same position; remove one in VisuAlign")
    return Anchoring(width, height, origin, across, down, markers)


def _numbers(values: Any) -> Floats:
    """Numbers of JSON as an array; text is refused, of which numpy would read 0_5 as 5."""
    array = np.array(values)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{values!r:.60} are not numbers")
    return array.astype(np.float64)


def _rows_of_xml(text: str, where: str) -> list[dict[str, Any]]:
    rows = []
    for element in xml.etree.ElementTree.fromstring(text).iter("slice"):
        row: dict[str, Any] = dict(element.attrib)
        if anchoring := element.get("anchoring"):
            pairs = dict(parse_qsl(anchoring))
            row["anchoring"] = [finite(pairs[name], f"{where}: {name}") for name in _NUMBERS]
        rows.append(row)
    return rows


def _signed_area(corners: Floats) -> Floats:
    """Twice the signed area of (n, 3, 2) triangles."""
    one, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return np.asarray(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0])
