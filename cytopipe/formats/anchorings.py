"""Anchorings of QuickNII, DeepSlice and VisuAlign: where the plane of a section lies in a volume.

An anchoring is nine numbers, [ox oy oz ux uy uz vx vy vz], in voxels of the target volume: the
point of an image x px from its left and y px from its upper edge lies at

    o + u x / width + v y / height

o is the outer corner of the upper left pixel, u runs along the upper edge, v down the left one, and
voxel k of the target reaches from k to k + 1, so that its centre is k + 0.5 (Puchades et al. 2019,
PLOS ONE 14(5): e0216796; the programs' slicers, `Int32Slices.java` of Tevemadar/VisuAlign, cut the
number off to find the voxel). The image is taken as its file shows it.

VisuAlign adds markers, [ox oy nx ny] in px of the image: what lies at (nx, ny) in the image belongs
where the anchoring would put (ox, oy). Between them the plane is divided in Delaunay's triangles
over the n, with the corners of the image widened by a tenth on each side as fixed points; inside
a triangle the map is linear (`Slice.java` of Tevemadar/VisuAlign).
"""

import json
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

from cytopipe.files import InputError, require
from cytopipe.numerics.geometry import Floats

_NUMBERS = ("ox", "oy", "oz", "ux", "uy", "uz", "vx", "vy", "vz")
OWN = "own"
_MARGIN = 0.1


@dataclass(frozen=True)
class Target:
    """The volume whose voxels an anchoring counts.

    Attributes
    ----------
    affine : (4, 4) from indices of voxel centres to RAS mm.
    shape : voxels along each axis.
    """

    path: Path
    affine: Floats
    shape: tuple[int, int, int]

    def to_mm(self, voxels: Floats) -> Floats:
        """RAS mm of (n, 3) anchoring coordinates, whose whole numbers are borders of voxels."""
        return np.asarray((voxels - 0.5) @ self.affine[:3, :3].T + self.affine[:3, 3])

    def to_voxels(self, points_mm: Floats) -> Floats:
        inverse = np.linalg.inv(self.affine)
        return np.asarray(points_mm @ inverse[:3, :3].T + inverse[:3, 3] + 0.5)


@dataclass(frozen=True)
class Anchoring:
    """Where the image of one section lies.

    Attributes
    ----------
    width, height : of the image that was anchored, px; NaN where the file does not say.
    origin, across, down : (3,) o, u and v, voxels.
    markers : (n, 4) of VisuAlign, px; n = 0 without.
    """

    width: float
    height: float
    origin: Floats
    across: Floats
    down: Floats
    markers: Floats

    def to_voxels(self, shares: Floats) -> Floats:
        """Anchoring coordinates of (n, 2) places in the image, 0 to 1 of its width and height.

        NaN further than a tenth outside an image that has markers.
        """
        places = self._moved(shares, image_to_plane=True)
        return self.origin + places[:, :1] * self.across + places[:, 1:] * self.down

    def to_shares(self, voxels: Floats) -> Floats:
        """Places in the image of (n, 3) anchoring coordinates, dropped onto its plane."""
        plane = np.stack([self.across, self.down], axis=1)
        places = (voxels - self.origin) @ np.linalg.pinv(plane).T
        return self._moved(places, image_to_plane=False)

    @property
    def folded(self) -> NDArray[np.bool_]:
        """(triangles,) whether the markers turn a part of the image over."""
        if not len(self.markers):
            return np.zeros(0, bool)
        image, plane, triangles = self._triangles()
        return _area(image[triangles]) * _area(plane[triangles]) <= 0

    def _triangles(self) -> tuple[Floats, Floats, NDArray[Any]]:
        """Vertices in the image and in the plane, px, and the triangles between them."""
        low, high = -_MARGIN, 1 + _MARGIN
        corners = np.array([[low, low], [high, low], [low, high], [high, high]])
        corners = corners * (self.width, self.height)
        image = np.concatenate([corners, self.markers[:, 2:4]])
        plane = np.concatenate([corners, self.markers[:, :2]])
        return image, plane, Delaunay(image).simplices

    def _moved(self, shares: Floats, image_to_plane: bool) -> Floats:
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
            to, along, beside = target[triangle]
            moved[inside] = to + weights[inside] @ np.stack([along - to, beside - to])
        return moved / size


@dataclass(frozen=True)
class Series:
    """All anchorings of a file, by the number of the section (`nr`).

    Attributes
    ----------
    size : voxels of the target along each axis as the file says; None where it does not.
    """

    path: Path
    size: tuple[int, ...] | None
    slices: dict[int, Anchoring]


def read(path: Path) -> Series:
    """Read a series: JSON (QuickNII, DeepSlice, VisuAlign) or the older XML of QuickNII.

    Sections without an anchoring (QuickNII leaves out what nobody confirmed) are not in the result.

    Raises
    ------
    InputError
        If the file is missing, no such series, or an anchoring is none; names section and remedy.
    """
    require(path, "check the name in transforms.tsv")
    try:
        text = path.read_text(encoding="utf-8-sig")
        if text.lstrip().startswith("<"):
            size, rows = None, _rows_of_xml(text)
        else:
            content = json.loads(text)
            size = content.get("target-resolution") or content.get("resolution")
            # WebAlign calls them sections and ouv
            rows = content["slices"] if "slices" in content else content["sections"]
        slices: dict[int, Anchoring] = {}
        for row in rows:
            number = int(row["nr"])
            if number in slices:
                raise InputError(f"{path}: has two slices of the number {number}; remove one")
            if anchoring := row.get("anchoring") or row.get("ouv"):
                slices[number] = _anchoring(row, anchoring, f"{path}: slice {number}")
        found = None if size is None else tuple(int(n) for n in size)
    except (
        ValueError, KeyError, TypeError, AttributeError, xml.etree.ElementTree.ParseError
    ) as error:  # fmt: skip
        raise InputError(
            f"{path}: not a series of QuickNII, DeepSlice or VisuAlign ({error!r}); save it again "
            "as JSON, or as XML in QuickNII"
        ) from error
    if not slices:
        raise InputError(f"{path}: none of its slices has an anchoring; store them in QuickNII")
    return Series(path, found, slices)


def read_target(path: Path, axes: str = OWN) -> Target:
    """Place and size of the target volume, without its voxels.

    Parameters
    ----------
    axes : "own": the anchorings count the voxels as the file stores them; or three letters, e.g.
        RAS: they count those of the same volume whose axes run there.

    Raises
    ------
    InputError
        If it is missing, no NIfTI of three dimensions, or says nowhere in which place it lies.
    """
    require(path, "check coordinates.anchoring_target in config/config.yaml")
    try:
        image = nib.load(path)
        shape = tuple(int(n) for n in image.shape[:3])
        affine = np.asarray(image.affine, np.float64)
        codes = (int(image.header["sform_code"]), int(image.header["qform_code"]))
    except (nib.filebasedimages.ImageFileError, OSError, EOFError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a readable NIfTI file ({error})") from error
    if len(shape) != 3:
        raise InputError(f"{path}: is of shape {image.shape}; an anchoring is in three dimensions")
    if codes == (0, 0):
        raise InputError(
            f"{path}: its header does not say where it lies (sform_code and qform_code are 0), so "
            "that left and right are not known; set its affine to the template's RAS mm"
        )
    if axes != OWN:
        wanted = nib.orientations.axcodes2ornt(axes)
        turn = nib.orientations.ornt_transform(nib.io_orientation(affine), wanted)
        affine = affine @ nib.orientations.inv_ornt_aff(turn, shape)
        order = np.argsort(turn[:, 0])
        shape = tuple(shape[int(axis)] for axis in order)
    return Target(path, affine, (shape[0], shape[1], shape[2]))


def check_target(series: Series, target: Target) -> None:
    """The series was anchored in this volume.

    Raises
    ------
    InputError
        If the file names another size, or a section's middle lies far outside the volume.
    """
    if series.size is not None and series.size != target.shape:
        turned = sorted(series.size) == sorted(target.shape)
        raise InputError(
            f"{series.path}: was anchored in a volume of {series.size} voxels, {target.path} has "
            f"{target.shape}; "
            + (
                "its axes are turned: set coordinates.anchoring_axes to where the program's axes "
                "run (RAS for the volumes that come with QuickNII)"
                if turned
                else "name the volume that the program was given in coordinates.anchoring_target"
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
    """The anchored image shows the whole scan, reduced or not; nothing if its size is not known.

    Raises
    ------
    InputError
        If its sides are in another relation, by more than a pixel and half a per cent.
    """
    if np.isnan(anchoring.width):
        return
    expected = anchoring.width * rows / columns
    if abs(expected - anchoring.height) > 1 + 0.005 * anchoring.height:
        raise InputError(
            f"{where}: the anchored image is {anchoring.width:g} x {anchoring.height:g} px, the "
            f"scan {columns:.0f} x {rows:.0f}: not the same picture; anchor the whole scan, "
            "unturned and uncropped"
        )


def _anchoring(row: dict[str, Any], numbers: Any, where: str) -> Anchoring:
    values = np.array(numbers, np.float64)
    width, height = (float(row.get(name, np.nan)) for name in ("width", "height"))
    if values.shape != (9,) or not np.isfinite(values).all():
        raise InputError(f"{where}: its anchoring is {numbers}; nine numbers are needed")
    # DeepSlice writes -999 for sizes that it does not know; without markers none is needed
    if not (width > 0 and height > 0 and math.isfinite(width * height)):
        if row.get("markers"):
            raise InputError(
                f"{where}: its image is {width:g} x {height:g} px, and markers count its pixels; "
                "save the series again in VisuAlign"
            )
        width = height = np.nan
    origin, across, down = values.reshape(3, 3)
    if np.linalg.norm(np.cross(across, down)) < 1e-6:
        raise InputError(f"{where}: its anchoring {numbers} spans no plane; anchor it again")
    markers = np.array([m[:4] for m in row.get("markers") or []], np.float64).reshape(-1, 4)
    if not np.isfinite(markers).all():
        raise InputError(f"{where}: has a marker that is no number; set it again in VisuAlign")
    # as VisuAlign: markers outside the widened image have no part in it
    share = markers[:, 2:] / (width, height)
    markers = markers[((share >= -_MARGIN) & (share <= 1 + _MARGIN)).all(axis=1)]
    if len(np.unique(markers[:, 2:], axis=0)) < len(markers):
        raise InputError(f"{where}: two markers lie on one point; remove one in VisuAlign")
    return Anchoring(width, height, origin, across, down, markers)


def _rows_of_xml(text: str) -> list[dict[str, Any]]:
    rows = []
    for element in xml.etree.ElementTree.fromstring(text).iter("slice"):
        row: dict[str, Any] = dict(element.attrib)
        if anchoring := element.get("anchoring"):
            pairs = dict(parse_qsl(anchoring))
            row["anchoring"] = [float(pairs[name]) for name in _NUMBERS]
        rows.append(row)
    return rows


def _area(corners: Floats) -> Floats:
    """Signed, of (n, 3, 2) triangles, twice."""
    one, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return np.asarray(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0])
