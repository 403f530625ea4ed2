"""Surfaces that a lab already has, in place of those at half depth."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from cytopipe.files import InputError
from cytopipe.formats import surfaces as gifti
from cytopipe.formats.volumes import Volume, labels_at
from cytopipe.midsurface.surface import HemisphereSurface, is_sphere
from cytopipe.numerics import meshes
from cytopipe.numerics.geometry import Floats

KINDS = ("mid", "pial", "white")
ENDINGS = (".surf.gii", ".obj")
# a surface with less than this share of its vertices on tissue lies elsewhere; chosen, not measured
LEAST_SHARE = 0.5

# a mid-surface, and the thickness in mm (vertices,) if the files define it
SuppliedSurface = tuple[HemisphereSurface, Floats | None]


def name_of(hemisphere: str, kind: str, ending: str = ENDINGS[0]) -> str:
    """The file's name under manual/{brain}/."""
    return f"hemi-{hemisphere}_{kind}{ending}"


def read_supplied_surface(paths: list[Path], hemisphere: str) -> SuppliedSurface | None:
    """A hemisphere's mid-surface and thickness from the lab's files; None without any.

    Parameters
    ----------
    paths : `hemi-{L,R}_{mid,pial,white}.surf.gii` or `.obj`, in stack RAS mm. A mid-surface is used
        as it is. Without one it is the mean of pial and white, vertex by vertex, and their distance
        is the thickness.

    Raises
    ------
    InputError
        If pial or white is missing, the two are exchanged, two files define the same surface, a
        vertex is NaN, or the surfaces do not have the same triangles.
    """
    files: dict[str, Path] = {}
    for path in paths:
        for kind in KINDS:
            if path.name in [name_of(hemisphere, kind, ending) for ending in ENDINGS]:
                if kind in files:
                    raise InputError(
                        f"{files[kind]} and {path.name}: both define the same surface; remove one"
                    )
                files[kind] = path
    if not files:
        return None
    if ("pial" in files) != ("white" in files):
        missing = name_of(hemisphere, "white" if "pial" in files else "pial")
        raise InputError(
            f"{files.get('pial', files.get('white'))}: add {missing}, or use only "
            f"{name_of(hemisphere, 'mid')}"
        )
    read = {kind: gifti.read(path, hemisphere) for kind, path in files.items()}
    first, *_ = read
    faces = read[first].faces
    for kind, surface in read.items():
        same_size = len(surface.vertices) == len(read[first].vertices)
        if not (same_size and np.array_equal(surface.faces, faces)):
            raise InputError(
                f"{files[kind]}: has other vertices or triangles than {files[first].name}; the "
                "surfaces of a hemisphere must correspond vertex by vertex"
            )
        if surface.is_empty:
            raise InputError(f"{files[kind]}: contains no triangles; export it again")
    thickness = None
    if "pial" in read:
        pial, white = read["pial"].vertices, read["white"].vertices
        inside, outside = (abs(meshes.signed_volume(vertices, faces)) for vertices in (white, pial))
        # the volume of an open surface means nothing
        if meshes.is_closed_manifold(faces) and inside > outside:
            raise InputError(
                f"{files['pial']}: encloses {outside / 1000:.4g} cm3, {files['white'].name} "
                f"{inside / 1000:.4g} cm3; the pial surface is the outer one, exchange the files"
            )
        thickness = np.asarray(np.linalg.norm(pial - white, axis=1), np.float64)
    vertices = read["mid"].vertices if "mid" in read else (pial + white) / 2
    if meshes.signed_volume(vertices, faces) < 0:
        faces = meshes.flipped(faces)
    names = ", ".join(sorted(path.name for path in files.values()))
    status = f"{'ok' if is_sphere(faces) else 'not a closed sphere'}, ready-made: {names}"
    euler = meshes.euler_number(faces)
    return HemisphereSurface(vertices, faces, euler, 0, 0, status), thickness


def within_cortex(
    surface: HemisphereSurface, thickness_mm: Floats, labels: Volume
) -> tuple[HemisphereSurface, Floats]:
    """Set the thickness to NaN at vertices outside the cortex, and count them in the status.

    A supplied surface need not fit the tissue to the voxel, and outside the cortex the depth has no
    slope to follow.

    Parameters
    ----------
    thickness_mm : (vertices,).
    labels : tissue, stack RAS mm.
    """
    cortex = labels_at(labels, surface.vertices) == 1
    if cortex.all():
        return surface, thickness_mm
    status = f"{surface.status}; no thickness at {int((~cortex).sum())} vertices beside the cortex"
    return replace(surface, status=status), np.where(cortex, thickness_mm, np.nan)


def check_place(
    surface: HemisphereSurface, sides: Volume, side: int, where: Path, name: str
) -> None:
    """Raise InputError if a supplied surface lies off the tissue or in the other hemisphere.

    Parameters
    ----------
    sides : 0 background, 1 left, 2 right, stack RAS mm.
    side : 1 or 2, that of the surface.
    where, name : the folder and the hemisphere, for the message.
    """
    at = labels_at(sides, surface.vertices)
    own, other = (float(np.mean(at == number)) for number in (side, 3 - side))
    files = f"{where}/hemi-{name}_*"
    if own + other < LEAST_SHARE:
        raise InputError(
            f"{files}: only {own + other:.0%} of the vertices lie on the brain's tissue; the "
            "surface must be in stack RAS mm (docs/new-brain.md)"
        )
    if other > own:
        raise InputError(
            f"{files}: {other:.0%} of the vertices lie in the other hemisphere; exchange the files "
            "of L and R, or correct study.image_right"
        )
