"""The mid-surface cut by the plane of a section: evenly spaced points with normals and maps.

CytoNet section 3.2.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytopipe.formats.surfaces import Surface
from cytopipe.numerics.geometry import Floats, ImageRight, ras_to_stack, unit
from cytopipe.numerics.meshes import vertex_normals
from cytopipe.numerics.slicing import cut_mesh, resample


@dataclass(frozen=True)
class Hemisphere:
    """A mid-surface in stack RAS mm with its per-vertex thickness (mm) and curvature (1/mm)."""

    surface: Surface
    thickness_mm: Floats
    curvature_per_mm: Floats


@dataclass(frozen=True)
class Cut:
    """Points where the plane of one section cuts the mid-surfaces.

    Attributes
    ----------
    hemisphere : (n,) "L" or "R".
    stack_um : (n, 3) stack frame.
    normals : (n, 3) unit surface normals in the stack frame, towards the pial surface.
    """

    hemisphere: NDArray[np.str_]
    stack_um: Floats
    normals: Floats
    thickness_mm: Floats
    curvature_per_mm: Floats


def cut_hemispheres(
    hemispheres: dict[str, Hemisphere], z_um: Floats, image_right: ImageRight, spacing_mm: float
) -> list[Cut]:
    """Cut all mid-surfaces at the planes of sections and place points along the cuts.

    Parameters
    ----------
    hemispheres : by name, "L" and "R".
    z_um : (k,) positions of the sections in the stack; the planes are A = z in stack RAS.
    image_right : side of the brain at the right of an unmirrored image.
    spacing_mm : distance of points along the cut (the paper does not state it).
    """
    none = np.zeros(0)
    empty = (np.zeros(0, "<U1"), np.zeros((0, 3)), np.zeros((0, 3)), none, none)
    pieces: list[list[tuple[NDArray[Any], ...]]] = [[empty] for _ in z_um]
    for name, hemisphere in sorted(hemispheres.items()):
        vertices, faces = hemisphere.surface.vertices, hemisphere.surface.faces
        normals = vertex_normals(vertices, faces)
        for section, polylines in enumerate(cut_mesh(vertices, faces, 1, z_um / 1000)):
            for polyline in polylines:
                places = resample(polyline, spacing_mm)
                pieces[section].append(
                    (
                        np.full(len(places), name),
                        ras_to_stack(places.interpolate(vertices), image_right),
                        # a direction: `unit` removes the factor from mm to um
                        unit(ras_to_stack(places.interpolate(normals), image_right)),
                        places.interpolate(hemisphere.thickness_mm),
                        places.interpolate(hemisphere.curvature_per_mm),
                    )
                )
    return [
        Cut(*(np.concatenate(column) for column in zip(*of_section, strict=True)))
        for of_section in pieces
    ]


def cutting_angle_deg(normals: Floats) -> Floats:
    """Angle between the surface normal and the plane of the section, 0 to 90 degrees.

    At 0 the section cuts straight across the cortex and shows its layers, at 90 along it. CytoNet
    3.7 measures "the angle between the histological cutting plane and the cortical surface normal";
    the angle to the anterior-posterior axis, which it also mentions, is 90 degrees minus this one.
    """
    return np.asarray(np.degrees(np.arcsin(np.clip(np.abs(normals[:, 2]), 0, 1))))
