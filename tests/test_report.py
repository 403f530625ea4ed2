"""The pages: what they show lies where it is said to lie, and they need nothing else."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from shell_study import FULL_UM, WIDTH_UM, ball, write_results, write_truth

from cytopipe import report
from cytopipe.formats import tables, truth_table
from cytopipe.formats.sections import Section
from cytopipe.formats.surfaces import Surface
from cytopipe.formats.volumes import Volume, regular_affine
from cytopipe.numerics.geometry import mirror
from cytopipe.report import figures, renderings, study_page, thumbnails
from cytopipe.report.truth import judged
from cytopipe.report.truth_folder import TruthBrain

PARAMS = report.Params(thumbnail_um=600, jpeg_quality=80, baselines=("untrained",))


# --- thumbnails


@pytest.mark.parametrize("mirrored", [False, True])
def test_points_lie_on_what_they_mark_also_when_the_section_is_shown_flipped(
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
    # the mark itself was flipped as well: around the point it is still dark
    assert picture[30:33, round(columns.mean()) - 1 : round(columns.mean()) + 2].max() < 230


def test_a_grid_maps_as_the_frames_say() -> None:
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
    assert thumbnails.missing_numbers([140, 280, 560, 700, 1120, 1260]) == [420, 840, 980]
    assert thumbnails.missing_numbers([5]) == []


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


def test_what_is_nearer_hides_what_is_behind() -> None:
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
    # no holes: the disc of the far ball is filled as a circle is
    picture = renderings.render(back, np.ones(len(back.vertices)), colours, "from above", 0.25)
    covered = (picture[..., 1] < 255).sum() * 0.25**2
    assert covered == pytest.approx(np.pi * 81, rel=0.05)


@pytest.mark.parametrize("plane", figures.PLANES)
def test_letters_name_the_sides_of_a_slice(plane: str) -> None:
    _, across, along, sides = figures.PLANES[plane]
    for letter, at in zip(sides, ((0, 0), (0, 1), (1, 1), (1, 0)), strict=True):
        axis, sign = AXES[letter]
        data = np.zeros((20, 24, 28), np.uint8)
        lowest = [0, 0, 0]
        lowest[axis] = data.shape[axis] // 2 if sign > 0 else 0
        highest = list(data.shape)
        highest[axis] = data.shape[axis] if sign > 0 else data.shape[axis] // 2
        data[tuple(slice(a, b) for a, b in zip(lowest, highest, strict=True))] = 1
        volume = Volume(data, regular_affine(2.0, np.array([-20.0, -24.0, -28.0])))
        axes = Figure().subplots()
        figures._slice(axes, volume, plane, 0.0)
        (shown,) = axes.get_images()
        dark = np.argwhere(np.asarray(shown.get_array())[..., 0] < 200).mean(axis=0)[::-1]
        left, right, bottom, top = shown.get_extent()
        shape = np.asarray(shown.get_array()).shape[1::-1]
        assert (right - left, top - bottom) == (2 * data.shape[across], 2 * data.shape[along])
        assert shown.origin == "lower"
        direction, upper = at
        assert (dark[direction] > shape[direction] / 2) == bool(upper), letter


# --- pages


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pages and truth table of a study whose results are right."""
    root = tmp_path_factory.mktemp("study")
    truth = TruthBrain(write_truth(root / "truth"), "B01")
    files = write_results(truth, root / "results")
    numbers = sorted([*truth.with_tissue, 1220])
    report.run_brain(
        brain="B01",
        sections=[Section("B01", n, "", FULL_UM, 20.0) for n in numbers],
        images=[root / "results" / f"{n:05d}.ome.tif" for n in numbers],
        labels=[files["labels.tif"]],
        segmentations=[files["segmentation.parquet"]],
        stack=files["stack.parquet"],
        pairs=files["pairs.parquet"],
        tissue=files["tissue.nii.gz"],
        repairs=files["repairs.parquet"],
        surfaces={h: files[f"mid-{h}.surf.gii"] for h in "LR"},
        thickness={h: files[f"thickness-{h}.shape.gii"] for h in "LR"},
        table=files["surfaces.parquet"],
        midlines=[files["midline.parquet"]],
        points=files["points.parquet"],
        template=files["tissue.nii.gz"],
        page=root / "B01.html",
        params=PARAMS,
    )
    scores = [
        {"run": run, "task": "areas", "split": s, "fold": 0, "metric": "macro_f1", "value": v}
        for s in ("seen", "transfer")
        for run, v in (("spatialnce", 0.8), ("untrained", 0.5))
    ]
    tables.write(tables.SCORES, pd.DataFrame(scores), root / "scores.parquet")
    epochs = pd.DataFrame({"epoch": [0, 1], "step": [4, 8], "loss": [3.0, 2.5]})
    tables.write(tables.METRICS, epochs, root / "metrics.parquet")
    tables.write(tables.METRICS, epochs[:0], root / "untrained.parquet")
    report.run_truth(
        folder=root / "truth",
        brains=["B01"],
        labels=[files["labels.tif"]],
        segmentations=[files["segmentation.parquet"]],
        pairs=[files["pairs.parquet"]],
        stacks=[files["stack.parquet"]],
        tissues=[files["tissue.nii.gz"]],
        surfaces_left=[files["mid-L.surf.gii"]],
        surfaces_right=[files["mid-R.surf.gii"]],
        midlines=[files["midline.parquet"]],
        points=[files["points.parquet"]],
        affines=[files["affine.h5"]],
        scores=[root / "scores.parquet"],
        table=root / "truth.tsv",
        target="laplacian",
        spacing_mm=1.0,
        baselines=["untrained"],
    )
    report.run(
        roles={"B01": "seen"},
        pages=[root / "B01.html"],
        stacks=[files["stack.parquet"]],
        surfaces=[files["surfaces.parquet"]],
        points=[files["points.parquet"]],
        metrics={"spatialnce": root / "metrics.parquet", "untrained": root / "untrained.parquet"},
        scores=[root / "scores.parquet"],
        figures=[root / "evaluation" / "areas" / "spatialnce" / "figures.html"],
        table=root / "truth.tsv",
        page=root / "index.html",
    )
    return files | {name: root / name for name in ("B01.html", "index.html", "truth.tsv")}


def test_right_results_meet_every_goal(study: dict[str, Path]) -> None:
    frame = truth_table.read(study["truth.tsv"])
    assert frame[frame["met"] == "no"].empty
    assert (frame["met"] == "yes").sum() > 20
    values = frame.set_index("metric")["value"]
    assert values["the same, affine only, median"] == pytest.approx(3, abs=0.01)


@pytest.mark.parametrize("page", ["B01.html", "index.html"])
def test_pages_load_nothing_from_elsewhere(study: dict[str, Path], page: str) -> None:
    text = study[page].read_text()
    for source in re.findall(r'(?:src|href|xlink:href)="([^"]*)"', text):
        beside = ("index.html", "B01.html", "evaluation/areas/spatialnce/figures.")
        assert source.startswith(("data:", "#", *beside)), source[:60]
    assert "@import" not in text and "url(http" not in text


def test_the_brain_page_shows_all_sections_with_their_status(study: dict[str, Path]) -> None:
    text = study["B01.html"].read_text()
    shown = re.findall(r'<figure class="(\w*)" id="s(\d+)">(.*?)</figure>', text, re.DOTALL)
    by_number = {int(number): (mark, content) for mark, number, content in shown}
    assert list(by_number) == sorted(by_number)
    assert "mirrored" in by_number[1120][1] and "mirrored" not in by_number[1020][1]
    assert by_number[1220][0] == "bad" and "blank" in by_number[1220][1]
    assert by_number[1620][0] == "bad" and "missing" in by_number[1620][1]
    assert by_number[1020][0] == "" and "data:image/jpeg" in by_number[1020][1]
    for words in ("manual/B01/segmentation", "config/sections.tsv", "manual/B01/exclusion.nii.gz"):
        assert words in text


def test_pages_are_the_same_when_made_again(study: dict[str, Path], tmp_path: Path) -> None:
    again = {
        "roles": {"B01": "seen"},
        "pages": [study["B01.html"]],
        "stacks": [study["stack.parquet"]],
        "surfaces": [study["surfaces.parquet"]],
        "points": [study["points.parquet"]],
        "metrics": {},
        "scores": [],
        "figures": [],
        "table": None,
    }
    report.run(**again, page=tmp_path / "a.html")
    report.run(**again, page=tmp_path / "b.html")
    first = (tmp_path / "a.html").read_text()
    assert first == (tmp_path / "b.html").read_text()
    # neither truth nor training: said so, not shown empty
    assert "No network was trained" in first and "No scores" in first and "phantom" not in first


def test_figures_of_the_same_content_are_the_same_text(study: dict[str, Path]) -> None:
    stack = tables.read(tables.STACK, study["stack.parquet"])
    assert figures.drift_figure(stack) == figures.drift_figure(stack)
    assert "<svg" in figures.drift_figure(stack)[:5]
    assert figures.drift_figure(stack[:0]).startswith("<svg")  # nothing aligned: an empty plot


def test_missed_goals_and_best_scores_stand_out() -> None:
    rows = [
        judged("drift", "B01", 2.0, "mm", "at most", 1),
        judged("drift", "all", 0.5, "mm", "at most", 1),
    ]
    values = study_page.truth_values(pd.DataFrame(rows))
    assert [cell["bad"] for cell in values["rows"][0]["cells"]] == [True, False]
    assert (values["met"], values["judged"]) == (1, 2)
    scores = pd.DataFrame(
        [
            {
                "run": run,
                "task": "areas",
                "split": "seen",
                "fold": fold,
                "metric": "top1",
                "value": v,
            }
            for run, values in (("a", (0.2, 0.4)), ("b", (0.5, 0.5)))
            for fold, v in enumerate(values)
        ]
    )
    (task,) = study_page.score_tasks(scores, {"areas": {"a": "../areas/a/figures.html"}})
    (row,) = task["rows"]
    a, b = row["cells"]
    assert task["pages"][0]["picture"] == "../areas/a/figures.png"
    assert a["text"] == "0.300 ± 0.100" and not a["best"]
    assert b["best"]


def test_text_from_tables_cannot_become_markup(tmp_path: Path) -> None:
    values = study_page.page_values([], {}, tables.SCORES.empty(), None, {})
    brain = {"brain": "<script>", "role": "seen", "page": "a.html", "cells": []}
    report.brain_page.write_page("study.html", values | {"brains": [brain]}, tmp_path / "a.html")
    assert "<script>" not in (tmp_path / "a.html").read_text()
