"""The page of a brain: everything that a person checks before trusting its points."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
import pandas as pd

from cytopipe import provenance
from cytopipe.files import atomic_write
from cytopipe.formats.tables import CANNOT_TELL, RepairRow, StackRow
from cytopipe.numerics.geometry import Rigid, unmirror
from cytopipe.report import (
    figures,
    other_handedness,
    section_numbers,
    surface_views,
    thumbnails,
)
from cytopipe.report.section_files import UNIT_UM, SectionSummary, centroids_of
from cytopipe.report.section_numbers import NUMBERS
from cytopipe.study.results import BrainResults
from cytopipe.study.sections import Section

# what runs in the browser
WEB = Path(__file__).parent / "web"
SCRIPTS = ("page.js", "section.js", "pairs.js", "planes.js", "surface.js", "map.js")
COLOURS = {
    "pial": thumbnails.PIAL,
    "white": thumbnails.WHITE,
    "point": thumbnails.POINT,
    "before": thumbnails.BLUE,
    "moves": "#000000",
    "unusable": thumbnails.PURPLE,
    "fixed": thumbnails.BLUE,
    "moving": thumbnails.ORANGE,
    "mirrored": thumbnails.PURPLE,
    "letters": thumbnails.BLUE,
    "palette": figures.PALETTE,
}
# name in the scripts to the colour map of matplotlib
COLOUR_MAPS = {"viridis": "viridis", "cividis": "cividis", "diverging": "PuOr"}


def write_page(template: str, values: dict[str, Any], page: Path) -> None:
    """Fill in a template of `web/`; it escapes all text except for `markup`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(WEB),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    with atomic_write(page) as beside:
        text = environment.get_template(template).render(
            values, provenance=markup(provenance.meta())
        )
        beside.write_text(text, encoding="utf-8")


def markup(text: str) -> Any:
    """Mark an SVG element or a script, so that the template does not escape it."""
    return jinja2.utils.markupsafe.Markup(text)  # type: ignore[attr-defined]


def statuses(points: pd.DataFrame) -> dict[str, Any]:
    """The number of points by hemisphere and status."""
    counts = pd.crosstab(points["hemisphere"], points["status"])
    columns = sorted(counts.columns, key=lambda name: (name != "ok", name))
    rows = [
        (hemisphere, [f"{number:,}" for number in numbers])
        for hemisphere, numbers in zip(counts.index, counts[columns].to_numpy(), strict=True)
    ]
    return {"columns": columns, "rows": rows}


def headline_numbers(brain: BrainResults) -> list[tuple[str, str]]:
    """The numbers at the top of the page: what they count, and their text."""
    placed = [row for row in brain.stack if row.is_placed]
    usable = brain.points[brain.usable]
    midline = brain.midline
    moved = midline.loc[midline["status"] == "ok", "refined_um"]
    return [
        ("sections", str(len(brain.sections))),
        ("in the stack", str(len(placed))),
        ("of them uncertain", str(sum(row.is_uncertain for row in placed))),
        ("mirrored", str(sum(row.mirrored for row in placed))),
        ("mirrored or not: unknown", str(sum(row.handedness == CANNOT_TELL for row in placed))),
        ("usable points", f"{len(usable):,}"),
        ("of all", f"{len(usable) / max(len(brain.points), 1):.0%}"),
        ("median refinement", f"{moved.median() / 1000:.2f} mm" if len(moved) else "none"),
        ("with an area", f"{(usable['area'] != '').mean():.0%}" if len(usable) else "none"),
    ]


def section_rows(
    brain: BrainResults,
    summaries: Sequence[SectionSummary],
    numbers: pd.DataFrame,
    changes: Sequence[dict[str, Any]],
    proposed: Mapping[int, Mapping[str, str]],
) -> list[dict[str, Any]]:
    """What the page shows of each section; None where nothing is known.

    Parameters
    ----------
    summaries : of all sections, including missing ones.
    proposed : mirrored, excluded and notes that the alignment and the audit propose, by section.
    """
    outliers = section_numbers.outliers(numbers)
    measured = numbers.set_index("section")
    segmented = {row.section: (row, path) for row, path in brain.segmentation}
    placed = {row.section: row for row in brain.stack if row.is_placed}
    neighbour_pairs = {pair.moving: pair for pair in brain.pairs if pair.distance == 1}
    centre_mm = section_numbers.centres_mm(brain.stack, centroids_of(summaries))
    changed = {row["section"]: row["changes"] for row in changes}
    decisions = {section.section: decision_text(section) for section in brain.sections}
    rows = []
    for summary in summaries:
        section = summary.entry["section"]
        row: dict[str, Any] = {
            **summary.entry,
            "out": outliers.get(section, []),
            "decided": decisions.get(section, ""),
            "proposed": proposed.get(section),
            "changes": changed.get(section, []),
            "via": -1,
            "dark": False,
            **dict.fromkeys(("values", "labels", "x_mm", "y_mm", "angle_deg", "a_mm", "place")),
        }
        if section in measured.index:
            row["values"] = {n.name: _plain(measured.at[section, n.name]) for n in NUMBERS}
            row["via"] = _plain(measured.at[section, "via"])
        if section in segmented:
            segmentation, path = segmented[section]
            row["dark"] = segmentation.background == "dark"
            if segmentation.is_usable:
                row["labels"] = {
                    "file": path.as_posix(),
                    "page": segmentation.page,
                    "spacing_um": _plain(segmentation.spacing_um),
                }
        if section in placed:
            place = placed[section]
            row["angle_deg"] = _plain(np.degrees(place.angle_rad), 3)
            row["a_mm"] = place.z_um / 1000
            row["place"] = {
                "mirrored": "yes" if row["mirrored"] else "no",
                "onto": "stack",
                "angle_rad": f"{place.angle_rad:.6f}",
                "x_um": f"{place.x_um:.1f}",
                "y_um": f"{place.y_um:.1f}",
            }
        if section in centre_mm.index:
            row |= {axis: _plain(centre_mm.at[section, axis], 3) for axis in ("x_mm", "y_mm")}
        pair = neighbour_pairs.get(section)
        row["inliers_plain"] = None if pair is None else pair.inliers_plain
        row["inliers_mirrored"] = None if pair is None else pair.inliers_mirrored
        rows.append(row)
    return rows


def decision_text(section: Section) -> str:
    """What a person decided about a section; "" if nothing."""
    words = []
    if section.mirrored is not None:
        words.append(f"mirrored {'yes' if section.mirrored else 'no'}")
    if section.excluded:
        words.append("excluded")
    if section.onto:
        words.append(f"placed onto {section.onto}")
    return ", ".join(words)


def pair_rows(
    brain: BrainResults, summaries: Sequence[SectionSummary], max_rotation_rad: float
) -> list[dict[str, Any]]:
    """Each pair as aligned and, for neighbours, with the other handedness aligned by the outline.

    Parameters
    ----------
    max_rotation_rad : largest rotation to try for the other handedness, as in the alignment.

    Returns
    -------
    For either handedness whether the moving section is `flipped`, and `place`, the transform that
    maps its points, flipped accordingly, to the fixed section, which is flipped if it is mirrored;
    in the format of manual/{brain}/sections.tsv. `place` is None if there is no transform.
    """
    outlines = {s.entry["section"]: s.outline for s in summaries if s.outline is not None}
    places = {row.section: row for row in brain.stack}
    rows = []
    for pair in brain.pairs:
        row = {
            name: _plain(getattr(pair, name))
            for name in ("fixed", "moving", "distance", "inliers_plain", "inliers_mirrored")
            + ("peak_plain", "peak_mirrored", "mirrored", "overlap", "method", "status")
        }
        fixed, moving = places[pair.fixed], places[pair.moving]
        row["used"] = moving.via == pair.fixed or fixed.via == pair.moving
        row["chosen"] = _handedness(pair.rigid, pair.mirrored, fixed, moving, row["overlap"])
        rigid, dice = None, None
        outline, target = outlines.get(pair.moving), outlines.get(pair.fixed)
        if pair.distance == 1 and outline is not None and target is not None:
            rigid, dice = other_handedness.align_outlines(
                target, outline, not pair.mirrored, max_rotation_rad
            )
            dice = round(dice, 4)
        row["other"] = _handedness(rigid, not pair.mirrored, fixed, moving, dice)
        rows.append(row)
    return rows


def _handedness(
    rigid: Rigid | None, flipped: bool, fixed: StackRow, moving: StackRow, dice: float | None
) -> dict[str, Any]:
    """One handedness of a pair, aligned to the fixed section as scanned, as the page reads it.

    Parameters
    ----------
    flipped : whether the moving section was flipped when `rigid` was determined.
    fixed, moving : the two sections in the stack.
    """
    if rigid is not None and fixed.mirrored:
        # both are seen from the other side, so x counts from the right
        rigid = unmirror(rigid, moving.width_um, fixed.width_um)
    place = None
    if rigid is not None:
        place = {
            "angle_rad": round(math.remainder(rigid.angle_rad, 2 * math.pi), 7),
            "x_um": round(rigid.x_um, 2),
            "y_um": round(rigid.y_um, 2),
        }
    return {"flipped": flipped != fixed.mirrored, "place": place, "dice": dice}


def repair_rows(repairs: Sequence[RepairRow]) -> list[dict[str, Any]]:
    """All repairs, the largest first, with the radius of a ball of the same volume."""
    return [
        {
            "kind": row.kind,
            "volume_mm3": round(row.volume_mm3, 2),
            "radius_mm": round(float(np.cbrt(row.volume_mm3 * 3 / 4 / np.pi)), 2),
            "at_mm": [round(at_mm, 2) for at_mm in (row.r_mm, row.a_mm, row.s_mm)],
        }
        for row in sorted(repairs, key=lambda row: row.volume_mm3, reverse=True)
    ]


def page_values(
    brain: BrainResults,
    summaries: Sequence[SectionSummary],
    numbers: pd.DataFrame,
    changes: list[dict[str, Any]] | None,
    proposed: Mapping[int, Mapping[str, str]],
    max_rotation_rad: float,
    supplied: Sequence[str],
    mapped: bool,
) -> dict[str, Any]:
    """Everything that the template `brain.html` needs.

    Parameters
    ----------
    numbers : as `section_numbers.read` returns them.
    changes : since an earlier run; None if there is none to compare with.
    proposed, max_rotation_rad : see `section_rows` and `pair_rows`.
    supplied : names of the files in `manual/` that replace results of the workflow.
    mapped : whether a map of areas is planned.
    """
    rows = section_rows(brain, summaries, numbers, changes or [], proposed)
    shapes = [row["shape"] for row in rows if "shape" in row]
    width, height = max((s[0] for s in shapes), default=4), max((s[1] for s in shapes), default=3)
    surfaces = {h: brain.surface(h) for h in brain.sides}
    thickness = {h: brain.thickness(h) for h in brain.sides}
    data = {
        "brain": brain.name,
        "folder": brain.name,
        "unit_um": UNIT_UM,
        "rows": rows,
        "pairs": pair_rows(brain, summaries, max_rotation_rad),
        "numbers": [vars(number) for number in NUMBERS],
        "medians": {n.name: _plain(numbers[n.name].median()) for n in NUMBERS},
        "compared": changes is not None,
        "mapped": mapped,
        "repairs": repair_rows(brain.repairs),
        "repair_colours": figures.REPAIR_COLOURS,
        "middle_mm": figures.middle_mm(brain.tissue).tolist(),
        "template_middle_mm": figures.middle_mm(brain.template_tissue).tolist(),
        "colours": COLOURS | {name: colour_stops(of) for name, of in COLOUR_MAPS.items()},
    }
    scripts = "\n".join((WEB / name).read_text("utf-8") for name in SCRIPTS)
    sides = {"R": "the right hemisphere", "L": "the left hemisphere"}
    alarms = [row.alarm for row in brain.surface_table] + [row.alarm for row in brain.checks]
    return {
        "brain": brain.name,
        "numbers": headline_numbers(brain),
        "sheet": rows,
        "curves": markup(figures.stack_curves(rows)),
        "shape": f"{width} / {height}",
        "sides": {"right": sides[brain.image_right]},
        "colours": COLOURS,
        "changes": changes,
        "supplied": supplied,
        "mapped": mapped,
        "repair_colours": figures.REPAIR_COLOURS,
        "legend": markup(figures.thickness_legend()),
        "views": surface_views.pictures(surfaces, thickness),
        "surfaces": [row for row in brain.surface_table if not row.is_absent],
        "surface_numbers": surface_views.numbers(brain.surface_table, thickness),
        "alarms": [alarm for alarm in alarms if alarm],
        "statuses": statuses(brain.points),
        "checks": [
            (row, f"{row.value:.3g} {row.unit}" if np.isfinite(row.value) else "none")
            for row in sorted(
                brain.checks, key=lambda row: (not row.has_failed, not row.needs_a_look)
            )
        ],
        "data": data,
        "scripts": markup(scripts),
    }


def colour_stops(name: str) -> list[list[int]]:
    """Seventeen colours of a colour map of matplotlib, 0 to 255."""
    return np.rint(mpl.colormaps[name](np.linspace(0, 1, 17))[:, :3] * 255).astype(int).tolist()


def _plain(value: Any, digits: int = 5) -> Any:
    """A value of a table in JSON; NaN becomes None."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str | bool | int):
        return value
    return round(value, digits) if np.isfinite(value) else None
