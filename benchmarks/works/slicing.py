"""Midline: every section's plane through a mid-surface (`cytopipe.numerics.slicing`)."""

from typing import Any

import numpy as np
import trimesh
from side_by_side import Work

from cytopipe.numerics.slicing import Polyline, cut_mesh

SECTIONS = 465


def folded_ball() -> trimesh.Trimesh:
    """A ball of the size of a hemisphere, folded as a cortex is: 1.3 million triangles."""
    mesh = trimesh.creation.icosphere(subdivisions=8, radius=1.0)
    x, y, z = np.asarray(mesh.vertices).T
    folds = np.sin(9 * x + 4 * np.sin(5 * y)) * np.sin(8 * y + 5 * np.sin(6 * z)) * np.cos(7 * z)
    radius = np.column_stack([35 + 5 * folds, 75 + 7 * folds, 45 + 6 * folds])
    return trimesh.Trimesh(np.asarray(mesh.vertices) * radius, mesh.faces, process=False)


def works() -> list[Work]:
    """465 planes, equally spaced."""
    mesh = folded_ball()
    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces, np.int32)
    low, high = vertices[:, 1].min(), vertices[:, 1].max()
    # not symmetric: a plane through vertices is no cut but a choice, which trimesh makes otherwise
    levels = np.linspace(low + 0.15, high - 0.2, SECTIONS)
    assert not np.isin(vertices[:, 1], levels).any()

    def same(ours: list[list[Polyline]], theirs: Any) -> str:
        segments = np.array(
            [[sum(len(p.lengths) for p in ours[k]), len(theirs[0][k])] for k in range(SECTIONS)]
        )
        assert (segments[:, 0] == segments[:, 1]).all(), "other numbers of segments"
        mine = np.array([sum(p.lengths.sum() for p in lines) for lines in ours])
        yours = np.array([np.linalg.norm(s[:, 1] - s[:, 0], axis=1).sum() for s in theirs[0]])
        worst = float(np.abs(mine - yours).max())
        assert worst < 1e-6, f"lengths differ by {worst:.2g} mm"
        return f"{segments[:, 0].sum()} segments of the same length; ours are chained as well"

    return [
        Work(
            "plane cuts of a surface, chained",
            f"{len(faces)} triangles, {SECTIONS} planes",
            "trimesh mesh_multiplane (unchained)",
            ours=lambda: cut_mesh(vertices, faces, 1, levels),
            theirs=lambda: trimesh.intersections.mesh_multiplane(
                mesh, np.zeros(3), np.array([0.0, 1.0, 0.0]), levels
            ),
            same=same,
            goal=50,
            repeats=3,
        )
    ]
