"""The map of areas on the page of a brain, for the study of two balls whose map is known."""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser import Browser
from report_pages import write_brain_page
from shell_study import MIDDLE_MM, ball
from table_rows import filled

from cytopipe import open_study, report
from cytopipe.files import InputError
from cytopipe.formats import tables, truth_table
from cytopipe.formats.tables import ScoreRow, TruthRow
from cytopipe.report import bundle, renderings
from cytopipe.study.areas import foreign_alarm

SCORES = {"map accuracy": 0.9, "map macro_f1": 0.8} | {
    "prediction accuracy": 0.7,
    "prediction macro_f1": 0.6,
}


def write_map(study: Path, folder: Path, **changed: Any) -> dict[str, Any]:
    """The script of the map of B01 for a page in `folder`, as the page reads it."""
    brain = open_study(study).brain("B01")
    (folder / "B01").mkdir(parents=True, exist_ok=True)
    surfaces = {side: brain.surface(side) for side in "LR"}
    values = bundle.surface_values(surfaces, {}, 10**6)
    bundle.write_script(folder / "B01" / "surface.js", "surface", values)
    scores = [ScoreRow("plain", "mapping", "transfer", 1, m, v) for m, v in SCORES.items()]
    tables.write_rows(ScoreRow, scores, folder / "scores.parquet")
    rows = [
        TruthRow(f"map, {words}, transfer", "B01", value, "", "", "")
        for words, value in (
            ("points with their true area", 0.95),
            ("macro-F1", 0.9),
            ("macro-F1 before smoothing", 0.8),
        )
    ]
    truth_table.write(rows, folder / "truth.tsv")
    arguments = {
        "brain": "B01",
        "page": folder / "B01.html",
        "points": brain.files["points"],
        "stack": brain.files["stack"],
        "area_map": brain.files["area_map"],
        "area_names": study / "template" / "areas.tsv",
        "scores": folder / "scores.parquet",
        "clusters": None,
        "truth": folder / "truth.tsv",
        "script": folder / "B01-map.js",
        "run": "plain",
        "role": "transfer",
        "smoothing_mm": 2.5,
        "false_alarms": 0.05,
    }
    report.run_map(**arguments | changed)
    text = (folder / "B01-map.js").read_text()
    return dict(json.loads(text[text.index(",") + 1 : text.index(");\n")]))


def codes(map_values: dict[str, Any], hemisphere: str, layer: str) -> np.ndarray:
    packed = map_values["surfaces"][hemisphere][layer]
    return np.frombuffer(gzip.decompress(base64.b64decode(packed["gzip"])), packed["dtype"])


def test_vertices_have_the_areas_of_their_points(shell_study_folder: Path, tmp_path: Path) -> None:
    """The map exchanges front and back; before smoothing all was back."""
    values = write_map(shell_study_folder, tmp_path)
    assert values["names"] == ["no area", "front", "back", "unlike the training data"]
    assert list(values["layers"]) == ["atlas", "map", "prediction"]
    for side in "LR":
        atlas, mapped, before = (codes(values, side, layer) for layer in values["layers"])
        assert len(atlas) == len(ball(side, MIDDLE_MM).vertices)
        judged = (mapped > 0) & (mapped < 3)
        assert judged.mean() > 0.5 and (mapped == 3).any()
        assert (mapped[judged & (atlas == 1)] == 2).all()
        assert (mapped[judged & (atlas == 2)] == 1).all()
        assert (before[judged] == 2).all()


def test_the_legend_and_the_words_say_what_the_map_is_worth(
    shell_study_folder: Path, tmp_path: Path
) -> None:
    values = write_map(shell_study_folder, tmp_path)
    brain = open_study(shell_study_folder).brain("B01")
    front = (brain.points["area"][brain.usable] == "front").mean()
    legend = {row["name"]: row for row in values["legend"]}
    assert legend["front"]["shares"][0] == f"{front:.1%}"
    assert legend["front"]["shares"][2] == ""  # no prediction is front
    assert set(legend) == {"front", "back", "unlike the training data"}
    about = " ".join(values["about"])
    assert "run plain" in about and "no label of this brain" in about and "over 2.5 mm" in about
    assert "90.0% have their area on the map (macro-F1 0.80); before smoothing 70.0%" in about
    assert "95.0% of the points have their area (macro-F1 0.90; before smoothing 0.80)" in about
    numbers = {meaning: value for value, meaning in values["numbers"]}
    assert numbers["unlike the training data (5.0% expected)"].startswith("10.")
    assert numbers["median probability of the prediction"] == "0.70"
    assert numbers["points whose area is that of the atlas"] == "0%"
    assert values["alarm"] == ""
    assert [len(layer["views"]) for layer in values["pictures"]] == [6, 6, 6]
    plain = write_map(shell_study_folder, tmp_path, truth=None, role="unseen", smoothing_mm=0.0)
    assert "truth" not in " ".join(plain["about"]) and "not smoothed" in " ".join(plain["about"])


def test_clusters_are_a_layer_of_their_own(shell_study_folder: Path, tmp_path: Path) -> None:
    brain = open_study(shell_study_folder).brain("B01")
    path = Path(str(brain.files["parcellation"]).replace("{run}", "plain"))
    values = write_map(shell_study_folder, tmp_path, clusters=path)
    assert values["names"][4:] == ["cluster 1", "cluster 2"]
    assert len({tuple(colour) for colour in values["colours"]}) == 6
    atlas, clusters = (codes(values, "L", layer) for layer in ("atlas", "clusters"))
    assert set(clusters[atlas == 1]) == {5} and set(clusters[atlas == 2]) == {4}
    assert set(clusters) <= {0, 4, 5}


def test_too_many_foreign_points_are_an_alarm() -> None:
    status = ["unlike_training"] * 6 + ["ok"] * 94 + ["low_tissue"] * 50
    predicted = ["P"] * 100 + [""] * 50
    frame = pd.DataFrame({"status": status, "predicted": predicted})
    area_map = filled(tables.MapRow, frame)
    assert foreign_alarm(area_map, 0.05) == ""
    assert foreign_alarm(area_map, 0.01).startswith("6% of the points are unlike")
    assert "no point has features" in foreign_alarm(area_map[100:], 0.01)


def test_a_map_of_other_points_is_refused(shell_study_folder: Path, tmp_path: Path) -> None:
    brain = open_study(shell_study_folder).brain("B01")
    assert brain.area_map is not None
    tables.write(tables.MapRow, brain.area_map[1:], tmp_path / "map.parquet")
    with pytest.raises(InputError, match="belongs to other points than"):
        write_map(shell_study_folder, tmp_path, area_map=tmp_path / "map.parquet")
    with pytest.raises(InputError, match=r"surface\.js: not a readable script of the page"):
        write_map(shell_study_folder, tmp_path, page=tmp_path / "B02.html")


def test_labels_are_not_interpolated() -> None:
    """A triangle with the labels 1, 1 and 9 shows no label between them."""
    surface = ball("L", 10.0)
    labels = np.where(surface.vertices[:, 2] > surface.vertices[:, 2].mean(), 9.0, 1.0)
    seen: list[np.ndarray] = []

    def colours(values: np.ndarray) -> np.ndarray:
        seen.append(values)
        return np.zeros((len(values), 3))

    renderings.render(surface, labels, colours, "from the left", 0.2, labels=True)
    assert set(np.concatenate(seen)) == {1.0, 9.0}


@pytest.mark.slow
def test_the_page_shows_the_map_once_it_is_there(
    browser: Browser, pages: dict[str, Path], shell_study_folder: Path, tmp_path: Path
) -> None:
    page = write_brain_page(pages, tmp_path, mapped=True)
    browser.open(page)
    assert browser.js("byId('map-content').hidden && byId('map-pending') !== null")
    browser.errors.clear()  # the browser reports the missing script

    write_map(shell_study_folder, tmp_path)
    page = write_brain_page(pages, tmp_path, mapped=True)  # its surface is that of its own points
    values = write_map(shell_study_folder, tmp_path)
    browser.open(page)
    browser.wait_for("!byId('map-content').hidden")
    said = browser.js("byId('map-content').textContent")
    assert "front" in said and "unlike the training data" in said and "run plain" in said
    browser.js("byId('surface-canvas').scrollIntoView({block: 'center'})")
    browser.wait_for("brainPlanes && surfaceView && byId('surface-map').options.length === 6")
    browser.js("byId('surface-map').value = 'map'; byId('surface-map').onchange()")
    shown = browser.js("[...surfaceView.meshes[0].rgba255.slice(0, 4000)]")
    pixels = {tuple(shown[i : i + 3]) for i in range(0, len(shown), 4)}
    assert pixels <= {tuple(colour) for colour in values["colours"]} and len(pixels) > 1
    place = ball("R", MIDDLE_MM).vertices[100].tolist()
    browser.js(f"moveTo(brainPlanes, {place})")
    assert "map, smoothed along the cortex: " in browser.js("byId('surface-readout').textContent")
    browser.js("byId('surface-map').value = 'hemisphere'; byId('surface-map').onchange()")
    assert len(browser.js("[...surfaceView.meshes[0].rgba255]")) == 4
