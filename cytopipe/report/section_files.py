"""What the page shows of each section: thumbnail, image at screen resolution, contours, points."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats import images
from cytopipe.formats.tables import OK
from cytopipe.numerics.geometry import Floats, pixels_to_section
from cytopipe.report import bundle, thumbnails
from cytopipe.report.other_handedness import Outline
from cytopipe.study.config import Report
from cytopipe.study.results import BrainResults
from cytopipe.study.scans import missing

# contours and points are whole multiples of it; chosen, not measured: well below a tissue pixel
UNIT_UM = 10.0
# pixel size of the grid on which outlines are aligned; chosen, not measured: a second per pair
OUTLINE_UM = 1500.0
# class of a status in the contact sheet; all others are "bad"
MARKS = {"ok": "", "uncertain": "unsure"}
POINT_STATUSES = (
    "ok",
    "low_tissue",
    "unrefined",
    "off_depth",
    "thin",
    "uncertain_place",
    "excluded",
)


@dataclass(frozen=True)
class SectionSummary:
    """What the page needs to know of a section besides its files.

    Attributes
    ----------
    entry : number, status and picture for the contact sheet, and a digest of the scan's pixels.
    centroid_um : (2,) centre of the tissue, frame of the section as scanned; None without tissue.
    outline : the tissue; None without tissue.
    """

    entry: dict[str, Any]
    centroid_um: Floats | None = None
    outline: Outline | None = None


def centroids_of(summaries: Iterable[SectionSummary]) -> dict[int, Floats]:
    """Centre of the tissue of each section that has any, by section number."""
    return {s.entry["section"]: s.centroid_um for s in summaries if s.centroid_um is not None}


def write_all(
    brain: BrainResults, scans: Sequence[Path], folder: Path, params: Report
) -> Iterator[SectionSummary]:
    """Write the files of every section; yield the summaries of all, in order.

    Missing section numbers have a summary, too. The files, by five-digit section number:
    thumbnails/NNNNN.jpg shows the section with outlines and points, flipped back if it is mirrored;
    sections/NNNNN.jpg is the image alone and sections/NNNNN.js what is drawn on it, both as
    scanned.

    Parameters
    ----------
    scans : the image of each of `brain.sections`.
    """
    for name in ("thumbnails", "sections"):
        (folder / name).mkdir()
    labels = {row.section: (row, path) for row, path in brain.segmentation if row.is_usable}
    remarks = {row.section: row.remarks for row, _ in brain.segmentation}
    places = {row.section: row for row in brain.stack}
    points = dict(iter(brain.midline.groupby("section")))
    scanned = {s.section: (s, path) for s, path in zip(brain.sections, scans, strict=True)}
    for number in sorted([*scanned, *missing(list(scanned))]):
        entry: dict[str, Any] = {"section": number, "mirrored": False, "picture": "", "note": ""}
        entry["scan"] = ""
        if number not in scanned:
            entry |= {"mark": "bad", "status": "missing", "note": "not in sections.tsv"}
            yield SectionSummary(entry)
            continue
        section, path = scanned[number]
        place = places.get(number)
        status = place.status if place else "not in the stack"
        mirrored = place is not None and place.mirrored
        entry |= {"mirrored": mirrored, "status": status, "mark": MARKS.get(status, "bad")}
        if status == OK and remarks.get(number):
            entry |= {"status": remarks[number], "mark": "unsure"}
        try:
            image, spacing_um = _image(path, section.spacing_um, params.section_px)
        except InputError:
            yield SectionSummary(entry | {"note": "not readable"})
            continue
        # tells this section from that of the same number in another study
        entry["scan"] = hashlib.sha256(image.tobytes()).hexdigest()[:16]
        width_um = place.width_um if place else np.nan
        if not np.isfinite(width_um):
            width_um = image.shape[1] * spacing_um - section.spacing_um
        of_section = points.get(number, brain.midline[:0])
        tissue = white = list[Floats]()
        centroid, outline = None, None
        if number in labels:
            row, labels_path = labels[number]
            label_um, pixels = row.spacing_um, images.read_labels(labels_path, row.page)
            tissue, white = (
                thumbnails.boundaries_um(pixels, kind, label_um, section.spacing_um)
                for kind in (1, 2)
            )
            inside = pixels_to_section(
                np.argwhere(pixels > 0)[:, ::-1].astype(np.float64), label_um, section.spacing_um
            )
            if len(inside):
                centroid = inside.mean(axis=0)
                outline = _outline(pixels, label_um, section.spacing_um, width_um)
        name = f"{number:05d}"
        content = thumbnails.jpeg(image, params.jpeg_quality)
        (folder / "sections" / f"{name}.jpg").write_bytes(content)
        values = {
            # left edge of the image, then its size
            "left": -section.spacing_um / 2 / UNIT_UM,
            "width": image.shape[1] * spacing_um / UNIT_UM,
            "height": image.shape[0] * spacing_um / UNIT_UM,
            "mirror_at": width_um / UNIT_UM,
            "box": box_of([*tissue, of_section[["x_um", "y_um"]].to_numpy()]),
            "tissue": path_of(tissue, spacing_um / 2),
            "white": path_of(white, spacing_um / 2),
            "points": point_values(of_section),
        }
        bundle.write_script(folder / "sections" / f"{name}.js", f"section {number}", values)
        small_um = max(params.thumbnail_um, spacing_um)
        if small_um > spacing_um:
            image = images.shrunk(image, small_um / spacing_um)
        grid = thumbnails.Grid(small_um, section.spacing_um, width_um if mirrored else None)
        usable_um = of_section.loc[of_section["status"] == "ok", ["x_um", "y_um"]].to_numpy()
        picture = thumbnails.draw(image, grid, tissue, white, usable_um)
        content = thumbnails.jpeg(picture, params.jpeg_quality)
        (folder / "thumbnails" / f"{name}.jpg").write_bytes(content)
        entry["points"] = len(usable_um)
        entry["picture"] = f"{name}.jpg"
        entry["shape"] = picture.shape[1], picture.shape[0]
        yield SectionSummary(entry, centroid, outline)


def path_of(lines: list[Floats], tolerance_um: float) -> str:
    """Closed lines (n, 2) um as an SVG path in `UNIT_UM`, simplified to `tolerance_um`."""
    parts = []
    for line in lines:
        kept = cv2.approxPolyDP(line.astype(np.float32)[:, None], tolerance_um, True)[:, 0]
        corners = np.rint(kept / UNIT_UM).astype(int)
        steps = np.diff(corners, axis=0)  # z closes the path
        if len(steps) < 2:
            continue
        x, y = corners[0]
        parts.append(f"M{x} {y}l" + " ".join(f"{dx} {dy}" for dx, dy in steps) + "z")
    return "".join(parts)


def box_of(lines: list[Floats]) -> list[int] | None:
    """Left, top, width and height of lines (n, 2) um in `UNIT_UM`, with a margin of 4 %."""
    corners = np.concatenate([np.empty((0, 2)), *lines]) / UNIT_UM
    if not len(corners):
        return None
    low, high = corners.min(axis=0), corners.max(axis=0)
    margin = 0.04 * (high - low).max()
    return [int(x) for x in np.rint([*(low - margin), *(high - low + 2 * margin)])]


def point_values(midline: pd.DataFrame) -> list[int]:
    """Five numbers per point: x, y, x and y before the refinement in `UNIT_UM`, and the status."""
    places = midline[["x_um", "y_um", "x_cut_um", "y_cut_um"]].to_numpy() / UNIT_UM
    codes = {status: code for code, status in enumerate(POINT_STATUSES)}
    status_codes = midline["status"].map(codes).fillna(len(codes))
    return np.column_stack([np.rint(places), status_codes]).astype(int).ravel().tolist()


def _image(path: Path, full_um: float, width_px: int) -> tuple[NDArray[np.uint8], float]:
    """A scan in 8 bits with about `width_px` columns, and its pixel size in um."""
    with images.open_pyramid(path, full_um) as pyramid:
        spacing_um = max(full_um, pyramid.levels[0].width * full_um / width_px)
        return pyramid.to_8_bit(pyramid.read_at(spacing_um)), spacing_um


def _outline(
    labels: NDArray[np.uint8], spacing_um: float, full_um: float, width_um: float
) -> Outline:
    """The tissue on a coarse grid."""
    step = max(1, round(OUTLINE_UM / spacing_um))
    first = step // 2
    at = (
        np.argwhere(labels[first::step, first::step] > 0)[:, ::-1].astype(np.float64) * step + first
    )
    return Outline(pixels_to_section(at, spacing_um, full_um), width_um, step * spacing_um)
