"""The pages show the right things at the right places, and load nothing from elsewhere."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_pages import write_brain_page
from shell_study import FULL_UM, WIDTH_UM, ball

from cytopipe import report
from cytopipe.files import InputError
from cytopipe.formats import tables, truth_table
from cytopipe.formats.surfaces import Surface
from cytopipe.numerics.geometry import mirror
from cytopipe.report import (
    figures,
    renderings,
    section_numbers,
    study_page,
    thumbnails,
)
from cytopipe.study.results import BrainResults
from cytopipe.study.scans import missing
from cytopipe.truth.scoring import judged

# --- thumbnails


@pytest.mark.parametrize("mirrored", [False, True])
def test_points_are_drawn_in_place_even_if_the_section_is_flipped(
    mirrored: bool,
) -> None:
    image = np.full((100, 120), 230, np.uint8)
    image[30:33, 20:23] = 0
    mark_um = np.array([[21.0, 31.0]]) * 512 + (512 - 128) / 2  # frame as scanned
    grid = thumbnails.Grid(512, 128, 120 * 512 - 128 if mirrored else None)
    picture = thumbnails.draw(image, grid, [], [], mark_um).astype(int)
    columns = np.flatnonzero((np.ptp(picture, axis=2) > 50).any(axis=0))
    rows = np.flatnonzero((np.ptp(picture, axis=2) > 50).any(axis=1))
    assert rows.mean() == pytest.approx(31, abs=0.6)
    assert columns.mean() == pytest.approx(119 - 21 if mirrored else 21, abs=0.6)
    # the mark was flipped as well: it is still dark around the point
    assert picture[30:33, round(columns.mean()) - 1 : round(columns.mean()) + 2].max() < 230


def test_a_mirrored_grid_flips_points() -> None:
    points = np.array([[1000.0, 2000.0]])
    flipped = thumbnails.Grid(512, FULL_UM, WIDTH_UM)
    plain = thumbnails.Grid(512, FULL_UM, None)
    assert flipped(points) == pytest.approx(plain(mirror(points, WIDTH_UM)))


def test_outlines_follow_the_edge_of_a_label() -> None:
    labels = np.zeros((40, 40), np.uint8)
    labels[10:20, :25] = 1
    labels[12:18, 5:20] = 2
    (tissue,) = thumbnails.boundaries_um(labels, 1, 256, 256)
    (white,) = thumbnails.boundaries_um(labels, 2, 256, 256)
    # pixel borders, in um from the centre of the first pixel; closed at the image's edge
    assert tissue.min(axis=0) == pytest.approx([-128, 9.5 * 256])
    assert tissue.max(axis=0) == pytest.approx([24.5 * 256, 19.5 * 256])
    assert white.min(axis=0) == pytest.approx([4.5 * 256, 11.5 * 256])


def test_gaps_in_the_numbering_are_shown() -> None:
    assert missing([140, 280, 560, 700, 1120, 1260]) == [420, 840, 980]
    assert missing([5]) == []


def test_8_bit_images_keep_their_stain() -> None:
    grid, nothing = thumbnails.Grid(512, 128, None), np.empty((0, 2))
    dark = np.full((4, 4), 90, np.uint8)
    assert (thumbnails.draw(dark, grid, [], [], nothing) == 90).all()


# --- surfaces and slices

AXES = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


@pytest.mark.parametrize("view", renderings.VIEWS)
def test_letters_name_the_sides_of_a_rendering(view: str) -> None:
    surface = ball("L", 10)
    surface = Surface(surface.vertices - surface.vertices.mean(axis=0), surface.faces)
    sides = dict(zip(renderings.letters(view), ((0, -1), (0, 1), (1, -1), (1, 1)), strict=True))
    for letter, (direction, side) in sides.items():
        axis, sign = AXES[letter]
        there = (surface.vertices[:, axis] * sign > 0).astype(float)
        picture = renderings.render(
            surface, there, lambda v: np.stack([v, v, v], axis=1), view, 0.5
        ).astype(float)
        drawn = np.where(picture[..., 0] < 254, picture[..., 0], 0)  # white is the background
        profile = drawn.sum(axis=direction)
        half = len(profile) // 2
        outer = profile[half:].sum() > profile[:half].sum()
        assert outer == (side > 0), (view, letter)


def test_near_surfaces_hide_those_behind() -> None:
    front, back = ball("R", 5), ball("R", 9)
    both = Surface(
        np.concatenate([front.vertices + (0, 30, 0), back.vertices]),
        np.concatenate([front.faces, back.faces + len(front.vertices)]),
    )
    values = np.repeat([0.0, 1.0], len(front.vertices))
    colours = lambda v: np.stack([v, 1 - v, 0 * v], axis=1)  # noqa: E731
    for view, hidden in (("from the front", False), ("from above", True)):
        picture = renderings.render(both, values, colours, view, 0.25)
        middle = picture[picture.shape[0] // 2, picture.shape[1] // 2]
        if not hidden:
            assert middle[1] > 200 and middle[0] == 0
        assert (picture[..., 0] > picture[..., 1]).sum() > 0
    # the disc of the far ball has no holes
    picture = renderings.render(back, np.ones(len(back.vertices)), colours, "from above", 0.25)
    covered = (picture[..., 1] < 255).sum() * 0.25**2
    assert covered == pytest.approx(np.pi * 81, rel=0.05)


# --- pages


def test_right_results_meet_every_goal(pages: dict[str, Path]) -> None:
    rows = truth_table.read(pages["truth.tsv"])
    assert not any(row.is_missed for row in rows)
    assert sum(row.met == "yes" for row in rows) > 20
    values = {row.metric: row.value for row in rows}
    assert values["the same, affine only, median"] == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize("page", ["B01.html", "index.html"])
def test_pages_load_nothing_from_elsewhere(pages: dict[str, Path], page: str) -> None:
    text = pages[page].read_text()
    for source in re.findall(r'(?:src|href|xlink:href)="([^"]*)"', text):
        beside = (
            "index.html",
            "B01.html",
            "B01/thumbnails/",
            "B01/plotly.js",
            "evaluation/areas/spatialnce/figures.html",
        )
        assert source.startswith(("data:", "#", *beside)), source[:60]
    assert "@import" not in text and "url(http" not in text


def test_the_brain_page_shows_all_sections_with_their_status(pages: dict[str, Path]) -> None:
    text = pages["B01.html"].read_text()
    shown = re.findall(r'<figure class="(\w*)" id="s(\d+)"[^>]*>(.*?)</figure>', text, re.DOTALL)
    by_number = {int(number): (mark, content) for mark, number, content in shown}
    assert list(by_number) == sorted(by_number)
    assert "mirrored" in by_number[1120][1] and "mirrored" not in by_number[1020][1]
    assert by_number[1220][0] == "bad" and "blank" in by_number[1220][1]
    assert by_number[1620][0] == "bad" and "missing" in by_number[1620][1]
    assert by_number[1020][0] == "" and "B01/thumbnails/01020.jpg" in by_number[1020][1]
    for words in (
        "manual/B01/segmentation",
        "manual/B01/sections.tsv",
        "manual/B01/exclusion.nii.gz",
    ):
        assert words in text
    folder = pages["B01.html"].with_suffix("")
    scanned = sorted(set(by_number) - {1620})
    for pattern in ("thumbnails/*.jpg", "sections/*.jpg", "sections/*.js"):
        assert [int(path.stem) for path in sorted(folder.glob(pattern))] == scanned


def test_the_files_of_a_brain_are_reproducible(pages: dict[str, Path], tmp_path: Path) -> None:
    again = write_brain_page(pages, tmp_path)
    here, there = pages["B01.html"].parent, again.parent
    names = [p.relative_to(here) for p in sorted(here.glob("B01*/**/*")) if p.is_file()]
    assert len(names) > 40
    for name in [*names, Path("B01.html"), Path("B01.tsv")]:
        assert (here / name).read_bytes() == (there / name).read_bytes(), name


def test_the_page_names_supplied_files(pages: dict[str, Path], tmp_path: Path) -> None:
    assert "Supplied files" not in pages["B01.html"].read_text()
    supplied = [tmp_path / name for name in ("tissue.nii.gz", "hemi-L_mid.surf.gii")]
    text = write_brain_page(pages, tmp_path, supplied=supplied).read_text()
    named = [f"<code>manual/B01/{path.name}</code>" for path in supplied]
    assert re.search(rf"Supplied files that replace .*:\n{named[0]}, {named[1]}\.</p>", text)


def test_pages_are_reproducible(pages: dict[str, Path], tmp_path: Path) -> None:
    again = {
        "roles": {"B01": "seen"},
        "pages": [pages["B01.html"]],
        "stacks": [pages["stack.parquet"]],
        "surfaces": [pages["surfaces.parquet"]],
        "points": [pages["points.parquet"]],
        "checks": [pages["checks.parquet"]],
        "audits": [],
        "metrics": {},
        "scores": [],
        "figures": [],
        "table": None,
    }
    report.run(**again, page=tmp_path / "a.html")
    report.run(**again, page=tmp_path / "b.html")
    first = (tmp_path / "a.html").read_text()
    assert first == (tmp_path / "b.html").read_text()
    # without truth and training the page has text instead of empty tables
    assert "audit" not in first
    assert "No network was trained" in first and "No scores" in first and "phantom" not in first


def test_findings_of_the_audit_are_proposed_on_both_pages(pages: dict[str, Path]) -> None:
    index = pages["index.html"].read_text()
    rows = re.findall(r'<a href="B01.html#section=(\d+)">\d+</a></td>.*?<td>([\d.]+)</td>', index)
    assert rows == [("1120", "0.991"), ("1220", "0.930")]
    assert "swapped with 1320" in index and "exchange &lt;them&gt;" in index
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page_of(pages))
    assert data is not None
    proposed = {row["section"]: row["proposed"] for row in json.loads(data[1])["rows"]}
    # the alignment proposed 1120 as well
    assert proposed[1120] == {
        "mirrored": "yes",
        "excluded": "",
        "notes": "with 1020 3 inliers; audit: mirrored, confidence 0.991",
    }
    assert (
        proposed[1220]["mirrored"] == "" and "audit: swapped with 1320" in proposed[1220]["notes"]
    )
    assert proposed[2120]["excluded"] == "yes" and proposed[1020] is None


def page_of(pages: dict[str, Path]) -> str:
    return pages["B01.html"].read_text()


def test_failed_checks_of_the_transform_to_the_template_stand_out(
    pages: dict[str, Path], tmp_path: Path
) -> None:
    """The brain's page lists them first, in red, with a remedy; the study's page counts them."""
    page = pages["B01.html"].read_text()
    assert "folded tissue" in page and "at most 0.001" in page
    good = tables.read_rows(tables.CheckRow, pages["checks.parquet"])
    bad = tables.CheckRow(
        "B01", "on its side", 0.02, "share", "at least 0.95", "failed", remedy="turn <it>"
    )
    tables.write_rows(tables.CheckRow, [*good, bad], tmp_path / "checks.parquet")
    page = write_brain_page(pages | {"checks.parquet": tmp_path / "checks.parquet"}, tmp_path)
    text = page.read_text()
    assert re.search(r'class="missed">0\.02 share</td>.*at least 0\.95', text)
    assert "turn &lt;it&gt;" in text and text.index("on its side") < text.index("folded tissue")
    names = {"stack": "stack", "surface_table": "surfaces", "points": "points", "checks": "checks"}
    good_files = {name: pages[f"{file}.parquet"] for name, file in names.items()}
    bad_files = good_files | {"checks": tmp_path / "checks.parquet"}
    counts = [
        study_page.brain_cells(BrainResults("B01", [], files))[-1]
        for files in (good_files, bad_files)
    ]
    assert counts == [{"text": "0", "bad": False}, {"text": "1", "bad": True}]
    assert study_page.BRAIN_COLUMNS[-1] == "failed checks"


def test_a_doubtful_surface_is_named_at_the_top_with_its_worst_places(
    pages: dict[str, Path], tmp_path: Path
) -> None:
    left, right = tables.read_rows(tables.SurfaceRow, pages["surfaces.parquet"])
    assert 'id="alarms"' not in page_of(pages)
    places = ["70 mm3 (9 buried) at R 45 A 98 S -110", "59 mm3 (0 buried) at R 1 A -2 S 3"]
    doubtful = replace(left, status="doubtful: lost", lost_places="; ".join(places))
    tables.write_rows(tables.SurfaceRow, [doubtful, right], tmp_path / "surfaces.parquet")
    page = write_brain_page(pages | {"surfaces.parquet": tmp_path / "surfaces.parquet"}, tmp_path)
    text = page.read_text()
    assert text.index("SURFACE L: doubtful: lost") < text.index('id="sections"')
    assert all(f'<button class="place">{place}</button>' in text for place in places)
    assert '<td class="missed">doubtful: lost</td>' in text


def test_figures_are_reproducible() -> None:
    table = pd.DataFrame({"epoch": [0, 1], "loss": [3.0, 2.0]})
    assert figures.training_figure({"a": table}) == figures.training_figure({"a": table})
    assert figures.training_figure({"a": table}).startswith("<svg")


def test_missed_goals_and_best_scores_stand_out() -> None:
    rows = [
        judged("drift", "B01", 2.0, "mm", "at most", 1),
        judged("drift", "all", 0.5, "mm", "at most", 1),
    ]
    values = study_page.truth_values(rows)
    assert [cell["bad"] for cell in values["rows"][0]["cells"]] == [True, False]
    assert (values["met"], values["judged"]) == (1, 2)
    scores = [
        tables.ScoreRow(run, "areas", "seen", fold, "top1", value)
        for run, values in (("a", (0.2, 0.4)), ("b", (0.5, 0.5)))
        for fold, value in enumerate(values)
    ]
    frame = tables.frame_of(tables.ScoreRow, scores)
    (task,) = study_page.score_tasks(frame, {"areas": {"a": "../areas/a/figures.html"}})
    (row,) = task["rows"]
    a, b = row["cells"]
    assert task["pages"] == {"a": "../areas/a/figures.html"}
    assert a["text"] == "0.300 ± 0.100" and not a["best"]
    assert b["best"]


def test_text_from_tables_cannot_become_markup(tmp_path: Path) -> None:
    values = study_page.page_values([], {}, tables.frame_of(tables.ScoreRow, []), None, {}, None)
    brain = {"brain": "<script>", "role": "seen", "page": "a.html", "cells": []}
    report.brain_page.write_page("study.html", values | {"brains": [brain]}, tmp_path / "a.html")
    assert "<script>" not in (tmp_path / "a.html").read_text()


# --- numbers of the sections


def test_numbers_show_which_section_is_wrong(pages: dict[str, Path]) -> None:
    numbers = section_numbers.read(pages["B01.tsv"]).set_index("section")
    # all cuts of the two balls have the same centre: nothing jumps
    inner = numbers.loc[1320:1720]
    assert inner["jump_mm"].max() < 0.1
    assert inner.index.tolist() == [1320, 1420, 1520, 1720] and (inner["usable"] == 100).all()
    assert np.isnan(numbers.loc[1220, "tissue_mm2"]) and numbers.loc[1220, "status"] == "blank"
    assert numbers["mirrored"].to_dict() == {n: n in (1120, 1920) for n in numbers.index}


def test_a_misplaced_section_jumps_by_its_error(pages: dict[str, Path]) -> None:
    stack = tables.read_rows(tables.StackRow, pages["stack.parquet"])
    moved = [
        replace(place, x_um=place.x_um + 3000) if place.section == 1420 else place
        for place in stack
    ]
    centroids = {place.section: np.array([WIDTH_UM / 2, 20_000.0]) for place in stack}
    at = section_numbers.centres_mm(moved, centroids)
    right = section_numbers.centres_mm(stack, centroids)
    assert (at - right).abs().sum().to_dict() == pytest.approx({"x_mm": 3, "y_mm": 0})
    values = pd.Series([1.0, 2.0, np.nan, 4.0, 9.0])
    assert section_numbers.neighbours(values).tolist()[1:4] == [2.5, 3.0, 5.5]
    assert section_numbers.neighbours(values).isna().tolist() == [True, False, False, False, True]


def test_outliers_are_far_on_the_worse_side() -> None:
    frame = pd.DataFrame({c: np.linspace(1, 2, 50) for c in section_numbers.COLUMNS})
    frame["section"] = np.arange(50)
    frame.loc[7, "residual_um"] = 40  # high is worse
    frame.loc[8, "residual_um"] = -40
    frame.loc[9, "overlap"] = -40  # low is worse
    frame.loc[10, "points"] = -40  # a pole has few: not judged
    outliers = section_numbers.outliers(frame)
    assert {s: names for s, names in outliers.items() if names} == {
        7: ["residual_um"],
        9: ["overlap"],
    }


def test_changes_since_an_earlier_run_are_named(pages: dict[str, Path], tmp_path: Path) -> None:
    now = section_numbers.read(pages["B01.tsv"])
    assert section_numbers.changes(now, now) == []
    before = now.copy()
    before.loc[before["section"] == 1420, ["status", "inliers", "via"]] = ["uncertain", 3, -1]
    before.loc[before["section"] == 1520, "mirrored"] = True
    before = before[before["section"] != 1820]
    section_numbers.write(before, tmp_path / "B01.tsv")
    changes = section_numbers.changes(section_numbers.read(tmp_path / "B01.tsv"), now)
    assert [row["section"] for row in changes] == [1420, 1520, 1820]
    assert changes[0]["changes"][0] == "status: uncertain → ok"
    assert changes[1]["changes"] == ["mirrored: yes → no"] and changes[2]["changes"] == ["new"]


def test_a_table_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "B01.tsv").write_text("section\tstatus\n1\tok\n")
    with pytest.raises(InputError, match=r"B01.tsv: not the numbers .*compare_with"):
        section_numbers.read(tmp_path / "B01.tsv")
    with pytest.raises(InputError, match=r"B02.tsv: not found; correct report.compare_with"):
        section_numbers.read(tmp_path / "B02.tsv")
