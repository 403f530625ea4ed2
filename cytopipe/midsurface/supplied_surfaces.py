"""Surfaces that a lab already has, in place of those that the depth would give."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats import surfaces as gifti
from cytopipe.formats.volumes import Volume, labels_at
from cytopipe.midsurface.surface import HemisphereSurface
from cytopipe.numerics import meshes

KINDS = ("mid", "pial", "white")
ENDINGS = (".surf.gii", ".obj")
# below this share of its vertices in its hemisphere a surface lies elsewhere
LEAST_SHARE = 0.5


# a mid-surface, and the thickness in mm where it is given too
Given = tuple[HemisphereSurface, NDArray[np.float64] | None]


def name_of(hemisphere: str, kind: str, ending: str = ENDINGS[0]) -> str:
    """The file's name under manual/{brain}/."""
    return f"hemi-{hemisphere}_{kind}{ending}"


def read_given(paths: list[Path], hemisphere: str) -> Given | None:
    """A hemisphere's mid-surface and thickness in mm, as far as files give them.

    Parameters
    ----------
    paths : `hemi-{L,R}_{mid,pial,white}.surf.gii` or `.obj`, in stack RAS mm. A mid-surface is
        taken as it is; without one it is the mean of pial and white, vertex by vertex, whose
        distance is the thickness.

    Returns
    -------
    The surface, and the thickness where pial and white are given; None without any file.

    Raises
    ------
    InputError
        If pial and white are not both there or exchanged, a surface is there twice, or they do not
        have the same triangles.
    """
    found: dict[str, Path] = {}
    for path in paths:
        for kind in KINDS:
            if path.name in [name_of(hemisphere, kind, ending) for ending in ENDINGS]:
                if kind in found:
                    raise InputError(f"{found[kind]} and {path.name}: one surface; delete one")
                found[kind] = path
    if not found:
        return None
    if ("pial" in found) != ("white" in found):
        alone = found.get("pial", found.get("white"))
        other = name_of(hemisphere, "white" if "pial" in found else "pial")
        raise InputError(
            f"{alone}: lay down {other} as well, or {name_of(hemisphere, 'mid')} alone"
        )
    read = {kind: gifti.read(path) for kind, path in found.items()}
    first = next(iter(read))
    for kind, surface in read.items():
        same = len(surface.vertices) == len(read[first].vertices)
        if not (same and np.array_equal(surface.faces, read[first].faces)):
            raise InputError(
                f"{found[kind]}: other vertices or triangles than {found[first].name}; the "
                "surfaces of a hemisphere must correspond vertex by vertex"
            )
        if not np.isfinite(surface.vertices).all():
            raise InputError(f"{found[kind]}: a vertex is no number; write it again")
    thickness = None
    if "pial" in read:
        pial, white = read["pial"].vertices, read["white"].vertices
        # of an open surface the volume means nothing
        closed = meshes.is_closed_manifold(read["pial"].faces)
        inside, outside = (
            abs(meshes.signed_volume(vertices, read["pial"].faces)) for vertices in (white, pial)
        )
        if closed and inside > outside:
            raise InputError(
                f"{found['pial']}: encloses {outside / 1000:.4g} cm3, {found['white'].name} "
                f"{inside / 1000:.4g} cm3; the pial surface is the outer one, exchange the files"
            )
        thickness = np.asarray(np.linalg.norm(pial - white, axis=1), np.float64)
        vertices = read["mid"].vertices if "mid" in read else (pial + white) / 2
    else:
        vertices = read["mid"].vertices
    faces = read[first].faces
    if meshes.signed_volume(vertices, faces) < 0:
        faces = meshes.flipped(faces)
    euler = meshes.euler_number(faces)
    names = ", ".join(sorted(path.name for path in found.values()))
    whole = "ok, " if euler == 2 and meshes.is_closed_manifold(faces) else "not a closed sphere, "
    return HemisphereSurface(vertices, faces, euler, 0, 0, f"{whole}ready-made: {names}"), thickness


def within_cortex(
    surface: HemisphereSurface, lengths: NDArray[np.float64], labels: Volume
) -> tuple[HemisphereSurface, NDArray[np.float64]]:
    """Thickness of the vertices that lie in the cortex, NaN of others, and how many they are.

    The tissue and a surface from elsewhere need not agree to the voxel, and beside the cortex there
    is no depth to follow.

    Parameters
    ----------
    lengths : (v,) mm.
    labels : tissue, stack RAS mm.

    Returns
    -------
    The surface, whose status names the number, and the thickness.
    """
    cortex = labels_at(labels, surface.vertices) == 1
    if cortex.all():
        return surface, lengths
    beside = f"{surface.status}; no thickness at {int((~cortex).sum())} vertices beside the cortex"
    return replace(surface, status=beside), np.where(cortex, lengths, np.nan)


def check_place(
    surface: HemisphereSurface, sides: Volume, side: int, where: Path, name: str
) -> None:
    """Raise InputError where a given surface lies beside the tissue or in the other hemisphere.

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
            "surface is to be in stack RAS mm (docs/new-brain.md)"
        )
    if other > own:
        raise InputError(
            f"{files}: {other:.0%} of the vertices lie in the other hemisphere; exchange the files "
            "of L and R, or correct study.image_right"
        )
