"""What the page of a brain shows of the mid-surface: still pictures and numbers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cytopipe.formats.surfaces import Surface
from cytopipe.formats.tables import SurfaceRow
from cytopipe.numerics.geometry import Floats
from cytopipe.report import figures, renderings, thumbnails

SURFACE_WIDTH_PX = 300
MIDSURFACE_VIEWS = (
    ("L", "from the left", "left hemisphere, lateral"),
    ("L", "from the right", "left hemisphere, medial"),
    ("R", "from the left", "right hemisphere, medial"),
    ("R", "from the right", "right hemisphere, lateral"),
)


def pictures(
    surfaces: Mapping[str, Surface], thickness: Mapping[str, Floats]
) -> list[dict[str, Any]]:
    """Pictures of each hemisphere from both sides, and of all from above and from the front."""
    both = together(surfaces)
    of_both = np.concatenate([thickness[side] for side in surfaces])
    extent = max(float(np.ptp(s.vertices, axis=0).max()) for s in surfaces.values())
    pixel_mm = extent / (1.5 * SURFACE_WIDTH_PX)
    shown = []
    for surface, values, view, name in (
        *(
            (surfaces[h], thickness[h], view, name)
            for h, view, name in MIDSURFACE_VIEWS
            if h in surfaces
        ),
        (both, of_both, "from above", "both, from above"),
        (both, of_both, "from the front", "both, from the front"),
    ):
        picture = renderings.render(surface, values, figures.thickness_colours, view, pixel_mm)
        shown.append(
            {
                "name": name,
                "letters": renderings.letters(view),
                "picture": thumbnails.jpeg_uri(picture, 88),
                "width": round(picture.shape[1] / 1.5),
            }
        )
    return shown


def together(surfaces: Mapping[str, Surface]) -> Surface:
    """Several surfaces as one, vertices in their order."""
    starts = np.cumsum([0, *(len(surface.vertices) for surface in surfaces.values())])
    return Surface(
        np.concatenate([surface.vertices for surface in surfaces.values()]),
        np.concatenate(
            [s.faces + start for s, start in zip(surfaces.values(), starts, strict=False)]
        ).astype(np.int32),
    )


def numbers(
    table: Sequence[SurfaceRow], thickness: Mapping[str, Floats]
) -> list[tuple[str, list[tuple[str, bool]]]]:
    """What is measured, and for each hemisphere its value and whether the value is wrong."""
    rows = [row for row in table if not row.is_absent]
    return [
        ("status", [(row.status, not row.is_ok) for row in rows]),
        ("connected components", [(f"{row.components}", row.components != 1) for row in rows]),
        ("Euler number", [(f"{row.euler}", row.euler != 2) for row in rows]),
        ("closed manifold", [("yes" if row.manifold else "no", not row.manifold) for row in rows]),
        ("area, cm²", [(f"{row.area_mm2 / 100:,.0f}", False) for row in rows]),
        (
            "thickness, median, mm",
            [(f"{np.nanmedian(thickness[row.hemisphere]):.2f}", False) for row in rows],
        ),
        ("gray matter, cm³", [(f"{row.gray_mm3 / 1000:,.0f}", False) for row in rows]),
        (
            "gray matter over area times thickness (higher: lost folds)",
            [(f"{row.volume_ratio:.2f}", False) for row in rows],
        ),
        (
            "gray matter far from the surface",
            [(f"{100 * row.lost_share:.1f} %", False) for row in rows],
        ),
        (
            "the part of it inside the surface (sulci passed over)",
            [(f"{100 * row.buried_share:.2f} %", False) for row in rows],
        ),
        (
            "gray matter at half depth far from the surface (gyri left out)",
            [(f"{100 * row.missed_share:.2f} %", False) for row in rows],
        ),
        ("tissue in no hemisphere, mm³", [(f"{row.unassigned_mm3:,.0f}", False) for row in rows]),
        ("edges, median, mm", [(f"{row.edge_median_mm:.2f}", False) for row in rows]),
        ("edges near the median", [(f"{100 * row.edge_in_range:.1f} %", False) for row in rows]),
        ("vertices", [(f"{row.vertices:,}", False) for row in rows]),
        ("voxels opened between fused banks", [(f"{row.voxels_opened:,}", False) for row in rows]),
        ("Euler number before the repair", [(f"{row.euler_before:,}", False) for row in rows]),
        (
            "voxels removed and added by the repair",
            [(f"{row.voxels_removed:,} and {row.voxels_added:,}", False) for row in rows],
        ),
    ]
