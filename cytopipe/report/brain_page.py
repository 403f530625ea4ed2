"""The page of a brain: everything that a person checks before trusting its points."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import matplotlib as mpl
import numpy as np
import pandas as pd

from cytopipe import provenance
from cytopipe.files import atomic_write
from cytopipe.formats.surfaces import Surface
from cytopipe.formats.tables import (
    CheckRow,
    PairRow,
    RepairRow,
    SegmentationRow,
    StackRow,
    SurfaceRow,
)
from cytopipe.formats.volumes import Volume
from cytopipe.numerics.geometry import Rigid, unmirror
from cytopipe.report import (
    bundle,
    figures,
    other_handedness,
    renderings,
    section_numbers,
    thumbnails,
)
from cytopipe.report.section_files import UNIT_UM, Shown
from cytopipe.report.section_numbers import NUMBERS
from cytopipe.study.sections import Section

# what runs in the browser
WEB = Path(__file__).parent / "web"
SURFACE_WIDTH_PX = 300
# voxels along the longest axis of a volume on the page; about 0.6 mm in a human brain
LONGEST = 320
SCRIPTS = ("page.js", "section.js", "pairs.js", "curves.js", "planes.js", "surface.js")
MIDSURFACE_VIEWS = (
    ("L", "from the left", "left hemisphere, lateral"),
    ("L", "from the right", "left hemisphere, medial"),
    ("R", "from the left", "right hemisphere, medial"),
    ("R", "from the right", "right hemisphere, lateral"),
)
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


def write_page(template: str, values: dict[str, Any], page: Path) -> None:
    """Fill in one of the templates in web/; strings are escaped, figures are not."""
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


def views(surfaces: dict[str, Surface], thickness: dict[str, Any]) -> list[dict[str, Any]]:
    """Pictures of the hemispheres from both sides and of both from above."""
    shown = []
    for hemisphere, view, name in MIDSURFACE_VIEWS:
        shown.append((surfaces[hemisphere], thickness[hemisphere], view, name))
    left, right = surfaces["L"], surfaces["R"]
    both = Surface(
        np.concatenate([left.vertices, right.vertices]),
        np.concatenate([left.faces, right.faces + len(left.vertices)]).astype(np.int32),
    )
    values = np.concatenate([thickness["L"], thickness["R"]])
    shown += [(both, values, "from above", "both, from above")]
    shown += [(both, values, "from the front", "both, from the front")]
    extent = max(float(np.ptp(s.vertices, axis=0).max()) for s in surfaces.values())
    pixel_mm = extent / (1.5 * SURFACE_WIDTH_PX)
    out = []
    for surface, map_, view, name in shown:
        picture = renderings.render(surface, map_, figures.thickness_colours, view, pixel_mm)
        out.append(
            {
                "name": name,
                "letters": renderings.letters(view),
                "picture": thumbnails.jpeg_uri(picture, 88),
                "width": round(picture.shape[1] / 1.5),
            }
        )
    return out


def statuses(points: pd.DataFrame) -> dict[str, Any]:
    """Number of points by hemisphere and status."""
    counts = pd.crosstab(points["hemisphere"], points["status"])
    columns = sorted(counts.columns, key=lambda name: (name != "ok", name))
    ordered = counts.reindex(columns=columns).to_numpy()
    rows = [
        (hemisphere, [f"{number:,}" for number in of])
        for hemisphere, of in zip(counts.index, ordered, strict=True)
    ]
    return {"columns": columns, "rows": rows}


def check_rows(checks: Sequence[CheckRow]) -> list[dict[str, str]]:
    """Checks as text, the failed ones first."""
    return [
        {
            "check": row.check,
            "limit": row.limit,
            "status": row.status,
            "remedy": row.remedy,
            "value": f"{row.value:.3g} {row.unit}" if np.isfinite(row.value) else "none",
        }
        for row in sorted(checks, key=lambda row: not row.has_failed)
    ]


def summary(
    sections: Sequence[Section],
    stack: Sequence[StackRow],
    midline: pd.DataFrame,
    points: pd.DataFrame,
) -> list[tuple[str, str]]:
    """The numbers at the top of the page."""
    placed = [row for row in stack if row.is_placed]
    usable = points[points["status"] == "ok"]
    moved = midline.loc[midline["status"] == "ok", "refined_um"]
    return [
        ("sections", str(len(sections))),
        ("in the stack", str(len(placed))),
        ("of them uncertain", str(sum(row.is_uncertain for row in placed))),
        ("mirrored", str(sum(row.mirrored for row in placed))),
        ("usable points", f"{len(usable):,}"),
        ("of all", f"{len(usable) / max(len(points), 1):.0%}"),
        ("median refinement", f"{moved.median() / 1000:.2f} mm" if len(moved) else "none"),
        ("with an area", f"{(usable['area'] != '').mean():.0%}" if len(usable) else "none"),
    ]


def rows(
    shown: Sequence[Shown],
    sections: Sequence[Section],
    proposed: Mapping[int, Mapping[str, str]],
    numbers: pd.DataFrame,
    changes: Sequence[dict[str, Any]],
    segmentation: Sequence[tuple[SegmentationRow, Path]],
    stack: Sequence[StackRow],
    pairs: Sequence[PairRow],
) -> list[dict[str, Any]]:
    """What the page knows of each section, missing ones included; None for what there is not.

    Parameters
    ----------
    sections : with what a person decided about them.
    proposed : what the alignment proposes: mirrored, excluded, notes.
    segmentation : of all sections, each with its label file.
    """
    out = section_numbers.standing_out(numbers)
    measured = numbers.set_index("section")
    segmented = {row.section: (row, path) for row, path in segmentation}
    placed = {row.section: row for row in stack if row.is_placed}
    near = {pair.moving: pair for pair in pairs if pair.distance == 1}
    centre_mm = section_numbers.centres_mm(
        stack,
        {one.entry["section"]: one.centroid_um for one in shown if one.centroid_um is not None},
    )
    changed = {row["section"]: row["changes"] for row in changes}
    decided = {s.section: decided_words(s) for s in sections}
    found = []
    for one in shown:
        section = one.entry["section"]
        row: dict[str, Any] = {**one.entry, "out": out.get(section, [])}
        row |= {"decided": decided.get(section, ""), "proposed": proposed.get(section)}
        row |= {"changes": changed.get(section, []), "values": None, "via": -1, "labels": None}
        row |= dict.fromkeys(("x_mm", "y_mm", "angle_deg", "a_mm", "place"))
        row["dark"] = False
        if section in measured.index:
            row["values"] = {n.name: _plain(measured.at[section, n.name]) for n in NUMBERS}
            row["via"] = _plain(measured.at[section, "via"])
        if section in segmented:
            labels, path = segmented[section]
            row["dark"] = labels.background == "dark"
            if labels.is_usable:
                row["labels"] = {
                    "file": path.as_posix(),
                    "page": labels.page,
                    "spacing_um": _plain(labels.spacing_um),
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
        for name in ("inliers_plain", "inliers_mirrored"):
            row[name] = getattr(near[section], name) if section in near else None
        found.append(row)
    return found


def decided_words(section: Section) -> str:
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
    shown: Sequence[Shown],
    pairs: Sequence[PairRow],
    stack: Sequence[StackRow],
    most_rad: float,
) -> list[dict[str, Any]]:
    """Each pair as aligned and, for neighbours, with the other handedness aligned by the outline.

    Parameters
    ----------
    most_rad : largest rotation to try for the other handedness, as in the alignment.

    Returns
    -------
    For either handedness whether the moving section is `flipped`, and `place`, the transform that
    maps its points, flipped accordingly, to the fixed section, which is flipped if it is mirrored;
    in the format of manual/{brain}/sections.tsv. `place` is None if there is no transform.
    """
    outlines = {one.entry["section"]: one.outline for one in shown if one.outline is not None}
    places = {row.section: row for row in stack}
    found = []
    for pair in pairs:
        row = {
            name: _plain(getattr(pair, name))
            for name in ("fixed", "moving", "distance", "inliers_plain", "inliers_mirrored")
            + ("peak_plain", "peak_mirrored", "mirrored", "overlap", "method", "status")
        }
        fixed, moving = places[pair.fixed], places[pair.moving]
        row["used"] = moving.via == pair.fixed or fixed.via == pair.moving
        row["chosen"] = _try(pair.rigid, pair.mirrored, fixed, moving)
        row["chosen"]["dice"] = row["overlap"]
        row["other"] = _try(None, not pair.mirrored, fixed, moving) | {"dice": None}
        outline, onto = outlines.get(pair.moving), outlines.get(pair.fixed)
        if pair.distance == 1 and outline is not None and onto is not None:
            rigid, dice = other_handedness.lay(onto, outline, not pair.mirrored, most_rad)
            row["other"] = _try(rigid, not pair.mirrored, fixed, moving)
            row["other"]["dice"] = round(dice, 4)
        found.append(row)
    return found


def _try(rigid: Rigid | None, flipped: bool, fixed: StackRow, moving: StackRow) -> dict[str, Any]:
    """One handedness of a pair, aligned to the fixed section as scanned, in the form of the page.

    Parameters
    ----------
    flipped : whether the moving section was flipped when `rigid` was determined.
    fixed, moving : the two sections in the stack.
    """
    if rigid is not None and fixed.mirrored:
        # both are seen from the other side, so x counts from the right
        rigid = unmirror(rigid, moving.width_um, fixed.width_um)
    return {
        "flipped": flipped != fixed.mirrored,
        "place": None
        if rigid is None
        else {
            "angle_rad": round(rigid.angle_rad, 7),
            "x_um": round(rigid.x_um, 2),
            "y_um": round(rigid.y_um, 2),
        },
    }


def repair_rows(repairs: Sequence[RepairRow]) -> list[dict[str, Any]]:
    """All repairs by falling volume, with the radius of a ball of that volume."""
    return [
        {
            "kind": row.kind,
            "volume_mm3": round(row.volume_mm3, 2),
            "radius_mm": round(float(np.cbrt(row.volume_mm3 * 3 / 4 / np.pi)), 2),
            "at_mm": [round(at_mm, 2) for at_mm in (row.r_mm, row.a_mm, row.s_mm)],
        }
        for row in sorted(repairs, key=lambda row: row.volume_mm3, reverse=True)
    ]


def point_values(points: pd.DataFrame) -> dict[str, Any]:
    """The points that have a coordinate, in 0.1 mm, with a code for each area."""
    located = points[points["x_mm"].notna()]
    names = ["", *sorted(set(located["area"]) - {""})]
    codes = {name: code for code, name in enumerate(names)}
    places = np.rint(located[["x_mm", "y_mm", "z_mm"]].to_numpy(np.float64) * 10)
    return {
        "places": bundle.packed(places.astype(np.int16)),
        "areas": bundle.packed(located["area"].map(codes).to_numpy(np.uint16)),
        "sides": bundle.packed((located["hemisphere"] == "R").to_numpy(np.uint8)),
        "sections": bundle.packed(located["section"].to_numpy(np.int32)),
        "refined": bundle.packed(np.nan_to_num(located["refined_um"].to_numpy(np.float32))),
        # -1: unknown
        "sigma": bundle.packed(located["sigma_mm"].fillna(-1).to_numpy(np.float32)),
        "names": names,
    }


def page_values(
    brain: str,
    top: list[tuple[str, str]],
    of_sections: list[dict[str, Any]],
    pairs: list[dict[str, Any]],
    numbers: pd.DataFrame,
    changes: list[dict[str, Any]] | None,
    stack: Sequence[StackRow],
    tissue: Volume,
    template: Volume,
    repairs: Sequence[RepairRow],
    surfaces: dict[str, Surface],
    thickness: dict[str, Any],
    table: Sequence[SurfaceRow],
    points: pd.DataFrame,
    checks: Sequence[CheckRow],
    given: Sequence[str],
) -> dict[str, Any]:
    """Everything that the template `brain.html` needs.

    Parameters
    ----------
    given : names of supplied files that replace results of the workflow.
    """
    right = stack[0].image_right if stack else "R"
    shapes = [entry["shape"] for entry in of_sections if "shape" in entry]
    width, height = max((s[0] for s in shapes), default=4), max((s[1] for s in shapes), default=3)
    data = {
        "brain": brain,
        "folder": brain,
        "unit_um": UNIT_UM,
        "rows": of_sections,
        "pairs": pairs,
        "numbers": [vars(number) for number in NUMBERS],
        "medians": {n.name: _plain(numbers[n.name].median()) for n in NUMBERS},
        "compared": changes is not None,
        "repairs": repair_rows(repairs),
        "repair_colours": figures.REPAIR_COLOURS,
        "middle_mm": [float(x) for x in figures.middle_mm(tissue)],
        "template_middle_mm": [float(x) for x in figures.middle_mm(template)],
        "colours": COLOURS | {name: stops(of) for name, of in SCALES.items()},
    }
    scripts = "\n".join((WEB / name).read_text("utf-8") for name in SCRIPTS)
    return {
        "brain": brain,
        "numbers": top,
        "sheet": of_sections,
        "shape": f"{width} / {height}",
        "sides": {"right": {"R": "the right hemisphere", "L": "the left hemisphere"}[right]},
        "colours": COLOURS,
        "changes": changes,
        "given": given,
        "repair_colours": figures.REPAIR_COLOURS,
        "legend": markup(figures.thickness_legend()),
        "views": views(surfaces, thickness),
        "surfaces": [(row, float(np.nanmedian(thickness[row.hemisphere]))) for row in table],
        "statuses": statuses(points),
        "checks": check_rows(checks),
        "data": data,
        "scripts": markup(scripts),
    }


SCALES: Mapping[str, str] = {"viridis": "viridis", "cividis": "cividis", "diverging": "PuOr"}


def stops(name: str) -> list[list[int]]:
    """Seventeen colours of a colour map of matplotlib, 0 to 255."""
    shades = mpl.colormaps[name](np.linspace(0, 1, 17))[:, :3]
    return [[int(part) for part in colour] for colour in np.rint(shades * 255)]


def _plain(value: Any, digits: int = 5) -> Any:
    """A value of a table in JSON; NaN becomes None."""
    if isinstance(value, str | bool):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return int(value)
    return round(float(value), digits) if np.isfinite(value) else None
