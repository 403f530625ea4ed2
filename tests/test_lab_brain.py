"""The brains of a lab, from a folder and a BIDS data set: added, run, corrected, exported."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import shapely
import tifffile
from empty_study import count_jobs
from shapely.geometry import shape
from slice_pairs import about_centre, brain_slice, displaced
from small_study import ROOT, SmallStudy
from table_rows import row

from cytopipe import __main__ as command_line
from cytopipe.formats.images import write_pyramid
from cytopipe.formats.tables import PointRow, SegmentationRow, StackRow, read, read_rows, write_rows
from cytopipe.study.corrections import corrected
from cytopipe.study.sections import read_sections

NUMBERS = (10, 20, 30, 40)
FACE_DOWN = 30
# degrees and um of each section
PLACES = {10: (4, 900), 20: (0, 0), 30: (-7, 1500), 40: (6, -800)}

STACK_FILE = "results/alignment/B21/stack.parquet"


def make_the_stack(study: Path) -> None:
    command = [sys.executable, "-m", "snakemake", "--directory", str(study), "--cores", "2"]
    run = subprocess.run([*command, STACK_FILE], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> SmallStudy:
    """A study without brains, with coarse pixels, a template, and two data sets of a lab."""
    study = SmallStudy(tmp_path_factory.mktemp("lab") / "study")
    for path in ("config/sections.tsv", "config/brains.tsv"):
        (study.folder / path).unlink()
    for folder in ("manual", "results", "images"):
        shutil.rmtree(study.folder / folder)
    study.config["study"]["chunk_span"] = 30
    for stage in ("segmentation", "alignment"):
        study.config[stage]["spacing_um"] = 256
    study.config["alignment"] |= {"max_features": 800, "inlier_um": 512}
    study.config["features"]["profiles"]["spacing_um"] = 256
    study.config["pretraining"]["common"]["spacing_um"] = 256
    study.write_config()
    image, labels = brain_slice(1, texture=9.0)
    random = np.random.default_rng(3)
    for number, (degrees, x_um) in PLACES.items():
        place = about_centre(degrees, x_um, 300)
        picture, _ = displaced(image, labels, place, number == FACE_DOWN)
        full = cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
        full = np.clip(full + random.normal(0, 3, full.shape), 0, 255).astype(np.uint8)
        scan = study.folder / "scans" / f"B21_slide7_{number:04d}.ome.tif"
        name = f"sub-22_sample-{number:04d}_stain-nissl_BF.ome.tif"
        micr = study.folder / "bids" / "sub-22" / "micr"
        for folder in (scan.parent, micr):
            folder.mkdir(parents=True, exist_ok=True)
        write_pyramid(full, scan, 128, 512)
        write_pyramid(np.maximum(full, 1) - np.uint8(1), micr / name, 128, 512)
    sidecar = {"PixelSize": [0.128] * 2, "PixelSizeUnits": "mm", "SliceThickness": 300}
    (study.folder / "bids" / "sub-22" / "sub-22_BF.json").write_text(json.dumps(sidecar))
    return study


@pytest.mark.slow
def test_from_a_folder_and_a_data_set_to_a_corrected_stack(study: SmallStudy, capsys) -> None:
    folder = str(study.folder)
    words = ["add-brain", "B21", "--study", folder, "--images", f"{folder}/scans"]
    assert command_line.main([*words, "--thickness-um", "300", "--role", "seen"]) == 0
    words = ["add-brain", "B22", "--study", folder, "--bids", f"{folder}/bids"]
    assert command_line.main(words) == 0
    sections = read_sections(study.sheet, ["B21", "B22"])
    assert [(s.brain, s.section) for s in sections] == [
        (brain, n) for brain in ("B21", "B22") for n in NUMBERS
    ]
    assert {(s.spacing_um, s.thickness_um) for s in sections} == {(128.0, 300.0)}
    assert command_line.main(["check", "--study", folder]) == 0

    make_the_stack(study.folder)
    alignment = study.folder / "results" / "alignment" / "B21"
    first = read(StackRow, alignment / "stack.parquet").set_index("section")
    assert first.index[first["mirrored"]].tolist() == [FACE_DOWN]
    assert (first["status"] == "ok").all()
    capsys.readouterr()
    assert command_line.main(["status", "--study", folder]) == 0
    assert "1 proposals to look at" in capsys.readouterr().out

    # copied unchanged, the proposal becomes a decision; a person also excludes another section
    manual = study.folder / "manual" / "B21" / "sections.tsv"
    manual.parent.mkdir(parents=True)
    proposed = (alignment / "proposed-sections.tsv").read_text()
    manual.write_text(proposed + "40\t\tyes\n")
    decided = {s.section: s for s in corrected(sections[:4], manual.parents[1])}
    assert decided[FACE_DOWN].mirrored and decided[40].excluded
    # both are in the second chunk of one brain
    assert count_jobs(study.folder, targets=[STACK_FILE]) == Counter(alignment_pairs=1, alignment=1)
    make_the_stack(study.folder)
    second = read(StackRow, alignment / "stack.parquet").set_index("section")
    assert second["status"].tolist() == ["ok", "ok", "ok", "excluded"]
    assert count_jobs(study.folder, targets=[STACK_FILE]).total() == 0
    assert command_line.main(["status", "--study", folder]) == 0
    message = capsys.readouterr().out
    assert "1 excluded: 40" in message and "proposals to look at" not in message

    export_to_qupath(study, alignment.parents[1])


def export_to_qupath(study: SmallStudy, results: Path) -> None:
    """Outlines of the sections fit their scans, according to shapely and tifffile.

    Four sections give no surface and so no points: a line of points is made up for each section.
    """
    chunks = sorted((results / "segmentation/B21").glob("*.par*"))
    segmented = {row.section: row for path in chunks for row in read_rows(SegmentationRow, path)}
    rows = [
        row(
            PointRow, point_id=f"B21-{n}-{i}", brain="B21", section=n, hemisphere="L",
            x_um=segmented[n].width_um / 2 + 1000.0 * i, y_um=segmented[n].height_um / 2,
            template=study.config["template"]["name"], status="ok",
        )
        for n in NUMBERS
        for i in range(4)
    ]  # fmt: skip
    (results / "coordinates/B21").mkdir(parents=True)
    write_rows(PointRow, rows, results / "coordinates/B21/points.parquet")
    to = study.folder / "exported"
    words = ["--study", str(study.folder), "--brain", "B21", "--to", str(to)]
    assert command_line.main(["export", *words, "--format", "geojson"]) == 0
    index = pd.read_csv(to / "sections.csv").set_index("section")
    assert index.index.tolist() == list(NUMBERS)
    for number, listed in index.iterrows():
        features = json.loads((to / listed["file"]).read_text())["features"]
        shapes = [shape(feature["geometry"]) for feature in features]
        outlines = shapely.union_all([s for s in shapes if s.geom_type == "MultiPolygon"])
        mm2 = outlines.area * (listed["pixel_um"] / 1000) ** 2
        assert mm2 == pytest.approx(segmented[number].tissue_mm2, rel=0.01)
        # pixels of the scan, counted from its corner: tissue is dark, the background bright
        scan = tifffile.imread(study.folder / listed["image"], level=0)[::3, ::3]
        y, x = 3 * np.indices(scan.shape) + 0.5
        inside = shapely.contains_xy(outlines, x, y)
        assert np.median(scan[inside]) < 200 < np.median(scan[~inside])
        (line,) = (s for s in shapes if s.geom_type == "LineString")
        assert line.length * listed["pixel_um"] == pytest.approx(3000, abs=1)  # rounded
