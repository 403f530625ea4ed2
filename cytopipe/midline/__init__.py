"""Points along the midline of the cortex in every section of a chunk.

CytoNet paper, section 3.2: each section's plane cuts the 3D mid-surface; the cut goes back to the
section by the inverse of its transform, mirror flip included, and its points are pushed onto the
midline that the section's segmentation shows.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cytopipe import logs, provenance
from cytopipe.files import Output
from cytopipe.formats import images, surfaces, tables
from cytopipe.midline.cutting import (
    Cut,
    Hemisphere,
    cut_hemispheres,
    cutting_angle_deg,
)
from cytopipe.midline.refinement import refine, tissue_share
from cytopipe.numerics.geometry import Placement, Rigid, pixels_to_section, section_to_pixels
from cytopipe.study.config import Midline

VERSION = 3


@provenance.recorded
def run(
    *,
    brain: str,
    stack: Path,
    labels: Path,
    segmentation: Path,
    surfaces: dict[str, Path],
    thickness: dict[str, Path],
    curvature: dict[str, Path],
    midline: Output,
    params: Midline,
) -> None:
    """Write the midline points of one chunk.

    Parameters
    ----------
    stack : STACK table of the brain.
    labels, segmentation : label pages and SEGMENTATION table of the chunk.
    surfaces, thickness, curvature : GIfTI mid-surface and its maps by hemisphere, stack RAS mm.
    midline : MIDLINE table to write. A section without a transform or without gray matter has
        no rows; the log says so.
    """
    hemispheres = {
        name: _read_hemisphere(surfaces, thickness, curvature, name) for name in surfaces
    }
    pages = tables.read(tables.SEGMENTATION, segmentation)
    rows = pages.merge(
        tables.read(tables.STACK, stack)[
            ["section", "z_um", "mirrored", "angle_rad", "x_um", "y_um", "image_right", "status"]
        ],
        on="section",
        how="left",
        suffixes=("", "_stack"),
        validate="one_to_one",
    )
    aligned = rows[np.isfinite(rows["angle_rad"].to_numpy(np.float64))]
    for row in rows[~rows.index.isin(aligned.index)].to_dict("records"):
        logs.say(f"section {row['section']}: no transform ({row['status_stack']}), no points")
    cuts = cut_hemispheres(
        hemispheres,
        aligned["z_um"].to_numpy(np.float64),
        aligned["image_right"].iloc[0] if len(aligned) else "R",
        params.spacing_mm,
    )
    found = []
    work = list(zip(aligned.to_dict("records"), cuts, strict=True))
    for row, cut in logs.progress(work, len(work), f"midline of {brain}, section"):
        page = images.read_labels(labels, int(row["page"]))
        if not (page == 1).any():
            logs.say(f"section {row['section']}: no gray matter ({row['status']}), no points")
            continue
        points = points_of_section(row, page, cut, params)
        found.append(points)
        says = points["status"].value_counts().to_dict()
        logs.say(
            f"section {row['section']}: {len(points)} points {says}, "
            f"moved {points['refined_um'].median():.0f} um (median)"
        )
    tables.write(
        tables.MIDLINE,
        pd.concat(found, ignore_index=True) if found else tables.MIDLINE.empty(),
        midline,
    )


def points_of_section(row: dict[str, Any], page: Any, cut: Cut, params: Midline) -> pd.DataFrame:
    """MIDLINE rows of one section.

    Parameters
    ----------
    row : its row of SEGMENTATION together with that of STACK.
    page : (rows, columns) labels 0 background, 1 gray, 2 white.
    cut : points of the cut of its plane.
    """
    spacing_um, full_um = float(row["spacing_um"]), float(row["full_spacing_um"])
    placement = Placement(
        bool(row["mirrored"]),
        float(row["width_um"]),
        Rigid(row["angle_rad"], row["x_um"], row["y_um"], "unmirrored", "stack"),
    )
    cut_um = placement.back(cut.stack_um[:, :2])
    refined = refine(
        page,
        section_to_pixels(cut_um, spacing_um, full_um),
        params.target,
        params.max_move_mm * 1000 / spacing_um,
    )
    section_um = pixels_to_section(refined.points_px, spacing_um, full_um)
    stack_um = placement(section_um)
    tissue = tissue_share(page, refined.points_px, params.window_mm * 1000 / spacing_um)
    status = np.where(refined.reached, "ok", "unrefined")
    status = np.where(tissue < params.min_tissue, "low_tissue", status)
    number = int(row["section"])
    return tables.MIDLINE.conform(
        pd.DataFrame(
            {
                "point_id": [f"{row['brain']}-{number:05d}-{i:05d}" for i in range(len(cut))],
                "brain": row["brain"],
                "section": number,
                "hemisphere": cut.hemisphere,
                "x_um": section_um[:, 0],
                "y_um": section_um[:, 1],
                "refined_um": np.linalg.norm(section_um - cut_um, axis=1),
                "tissue_fraction": tissue,
                "depth": refined.depth,
                "x_stack_um": stack_um[:, 0],
                "y_stack_um": stack_um[:, 1],
                "z_stack_um": float(row["z_um"]),
                "nx": cut.normals[:, 0],
                "ny": cut.normals[:, 1],
                "nz": cut.normals[:, 2],
                "thickness_mm": cut.thickness_mm,
                "curvature_per_mm": cut.curvature_per_mm,
                "cutting_angle_deg": cutting_angle_deg(cut.normals),
                "x_cut_um": cut_um[:, 0],
                "y_cut_um": cut_um[:, 1],
                "status": status,
            }
        )
    )


def _read_hemisphere(
    meshes: dict[str, Path], thickness: dict[str, Path], curvature: dict[str, Path], name: str
) -> Hemisphere:
    return Hemisphere(
        surfaces.read(meshes[name]),
        surfaces.read_map(thickness[name]),
        surfaces.read_map(curvature[name]),
    )
