"""A brain's page: everything that a person looks at before trusting its points."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from cytopipe import provenance
from cytopipe.files import InputError, whole
from cytopipe.formats import images
from cytopipe.formats.sections import Section
from cytopipe.formats.surfaces import Surface
from cytopipe.formats.volumes import Volume
from cytopipe.report import figures, renderings, thumbnails
from cytopipe.report.params import Params

SURFACE_WIDTH_PX = 300
MIDSURFACE_VIEWS = (
    ("L", "from the left", "left hemisphere, lateral"),
    ("L", "from the right", "left hemisphere, medial"),
    ("R", "from the left", "right hemisphere, medial"),
    ("R", "from the right", "right hemisphere, lateral"),
)


def write_page(template: str, values: dict[str, Any], page: Path) -> None:
    """Fill one of the package's templates; strings are escaped, figures are not."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    with whole(page) as beside:
        text = environment.get_template(template).render(
            values, provenance=markup(provenance.meta())
        )
        beside.write_text(text, encoding="utf-8")


def markup(svg: str) -> Any:
    """An element that is to stand in a page as it is."""
    return jinja2.utils.markupsafe.Markup(svg)  # type: ignore[attr-defined]


def mark_of(status: str) -> str:
    """How a status is marked: not at all, as unsure, or as bad."""
    if status == "ok":
        return ""
    return "unsure" if status == "uncertain" else "bad"


def sheet(
    sections: Sequence[Section],
    scans: Sequence[Path],
    labels: dict[int, tuple[Path, int, float]],
    stack: pd.DataFrame,
    midline: pd.DataFrame,
    params: Params,
) -> Iterator[dict[str, Any]]:
    """What the contact sheet shows of each section, missing numbers included, in order.

    Parameters
    ----------
    scans : image of each of `sections`.
    labels : label file, page and spacing in um by section number.
    stack, midline : STACK and MIDLINE of the brain.
    """
    rows = {int(row["section"]): row for row in stack.to_dict("records")}
    usable = midline[midline["status"] == "ok"]
    scanned = dict(
        zip([s.section for s in sections], zip(sections, scans, strict=True), strict=True)
    )
    for number in sorted([*scanned, *thumbnails.missing_numbers(list(scanned))]):
        entry: dict[str, Any] = {"section": number, "mirrored": False, "picture": "", "note": ""}
        if number not in scanned:
            yield entry | {"mark": "bad", "status": "missing", "note": "not in sections.tsv"}
            continue
        section, path = scanned[number]
        row = rows.get(number)
        status = row["status"] if row is not None else "not in the stack"
        mirrored = bool(row is not None and row["mirrored"])
        entry |= {"mirrored": mirrored, "status": status, "mark": mark_of(status)}
        try:
            with images.open_pyramid(path, section.spacing_um) as pyramid:
                spacing_um = max(params.thumbnail_um, pyramid.full_spacing_um)
                image = pyramid.to_8_bit(pyramid.read_at(spacing_um))
                width_um = (pyramid.levels[0].width - 1) * pyramid.full_spacing_um
        except InputError:
            yield entry | {"note": "not readable"}
            continue
        tissue, white = [], []
        if number in labels:
            file, page, spacing_um = labels[number]
            found = images.read_labels(file, page)
            tissue = thumbnails.boundaries_um(found, 1, spacing_um, section.spacing_um)
            white = thumbnails.boundaries_um(found, 2, spacing_um, section.spacing_um)
        grid = thumbnails.Grid(
            max(params.thumbnail_um, section.spacing_um),
            section.spacing_um,
            width_um if mirrored else None,
        )
        at = usable.loc[usable["section"] == number, ["x_um", "y_um"]].to_numpy()
        picture = thumbnails.draw(image, grid, tissue, white, at)
        entry["points"] = len(at)
        entry["picture"] = thumbnails.jpeg_uri(picture, params.jpeg_quality)
        entry["shape"] = picture.shape[1], picture.shape[0]
        yield entry


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
    """Points of each hemisphere by status."""
    counts = pd.crosstab(points["hemisphere"], points["status"])
    columns = sorted(counts.columns, key=lambda name: (name != "ok", name))
    ordered = counts.reindex(columns=columns).to_numpy()
    rows = [
        (hemisphere, [f"{number:,}" for number in of])
        for hemisphere, of in zip(counts.index, ordered, strict=True)
    ]
    return {"columns": columns, "rows": rows}


def repair_rows(repairs: pd.DataFrame) -> list[dict[str, Any]]:
    """Number and volume of each kind of repair."""
    return [
        {
            "kind": kind,
            "number": len(of),
            "total": float(of["volume_mm3"].sum()),
            "largest": float(of["volume_mm3"].max()),
        }
        for kind, of in repairs.groupby("kind")
    ]


def numbers(
    sections: Sequence[Section], stack: pd.DataFrame, midline: pd.DataFrame, points: pd.DataFrame
) -> list[tuple[str, str]]:
    """The line of numbers at the top."""
    placed = stack["angle_rad"].notna()
    usable = points[points["status"] == "ok"]
    moved = midline.loc[midline["status"] == "ok", "refined_um"]
    return [
        ("sections", str(len(sections))),
        ("in the stack", str(int(placed.sum()))),
        ("of them uncertain", str(int((placed & (stack["status"] != "ok")).sum()))),
        ("mirrored", str(int((placed & stack["mirrored"]).sum()))),
        ("usable points", f"{len(usable):,}"),
        ("of all", f"{len(usable) / max(len(points), 1):.0%}"),
        ("median refinement", f"{moved.median() / 1000:.2f} mm" if len(moved) else "none"),
        ("with an area", f"{(usable['area'] != '').mean():.0%}" if len(usable) else "none"),
    ]


def page_values(
    brain: str,
    shown: list[dict[str, Any]],
    top: list[tuple[str, str]],
    stack: pd.DataFrame,
    pairs: pd.DataFrame,
    tissue: Volume,
    repairs: pd.DataFrame,
    surfaces: dict[str, Surface],
    thickness: dict[str, Any],
    table: pd.DataFrame,
    points: pd.DataFrame,
    template: Volume,
) -> dict[str, Any]:
    """Everything that the template `brain.html` needs."""
    near = pairs[pairs["distance"] == 1].sort_values("moving")
    handed = near[near["mirrored"] | (near["status"] != "accepted")]
    defects = repairs[repairs["kind"] == "defect"]
    largest = ""
    if len(defects):
        centre = defects.nlargest(1, "volume_mm3")[["r_mm", "a_mm", "s_mm"]].to_numpy()[0]
        largest = figures.repairs_figure(tissue, repairs, centre, "defect")
    measured = table.assign(
        thickness_mm=[float(np.nanmedian(thickness[h])) for h in table["hemisphere"]]
    )
    right = stack["image_right"].iloc[0] if len(stack) else "R"
    shapes = [entry["shape"] for entry in shown if "shape" in entry]
    width, height = max((s[0] for s in shapes), default=4), max((s[1] for s in shapes), default=3)
    middle = figures.repairs_figure(tissue, repairs, figures.middle_mm(tissue), "middle")
    return {
        "brain": brain,
        "numbers": top,
        "sheet": shown,
        "shape": f"{width} / {height}",
        "sides": {"right": {"R": "the right hemisphere", "L": "the left hemisphere"}[right]},
        "colours": {
            "pial": thumbnails.PIAL,
            "white": thumbnails.WHITE,
            "point": thumbnails.POINT,
        },
        "inliers": markup(figures.inlier_figure(pairs, stack)),
        "handed": handed.to_dict("records"),
        "drift": markup(figures.drift_figure(stack)),
        "slices": markup(middle),
        "repair_slices": markup(largest),
        "repairs": repair_rows(repairs),
        "repair_colours": figures.REPAIR_COLOURS,
        "legend": markup(figures.thickness_legend()),
        "views": views(surfaces, thickness),
        "surfaces": measured.to_dict("records"),
        "points": markup(figures.points_figure(template, points)),
        "statuses": statuses(points),
    }
