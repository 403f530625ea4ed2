import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cytopipe.evaluation import charts
from cytopipe.evaluation.dots import PICTURE_PX, Colours, drawn_evenly, picture, png


def panels() -> list[charts.Panel]:
    random = np.random.default_rng(0)
    points = random.normal(size=(60, 3))
    axes = ("x (mm)", "y (mm)", "z (mm)")
    colours = {"brain": np.repeat(["B01", "B02"], 30), "y": points[:, 1]}
    hover = {"point": [f"p<{n}>" for n in range(60)]}
    curves = {"a": ([1, 2], [0.1, 0.2], [0, 0])}
    pictures = [np.zeros((4, 4), np.uint8)] * 3
    return [
        charts.scatter("flat", "All points.", axes[:2], points[:, :2], colours, hover),
        charts.scatter("deep", "In 3D.", axes, points, colours, {}),
        charts.lines("curve", "R2.", "n", "R2", curves, log_x=True),
        charts.bars("bars", "Shares.", "share", ["0", "1"], {"seen": ([0.4, 0.6], [0, 0])}),
        charts.boxes("boxes", "Margins.", "hops", "margin", {"0": points[:, 0], "1": []}),
        charts.matrix(
            "matrix", "Similarity.", ["a"], ["b", "c"], np.array([[0.0, 1]]), "x", "y", "share"
        ),
        charts.pictures("grid", "Patches.", pictures, list("abc"), 2),
    ]


def test_a_page_needs_no_network(tmp_path: Path) -> None:
    charts.write("Some <task>", panels(), tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    body = page[page.index("<body>") :]
    assert "Some &lt;task&gt;" in body and "Patches." in body
    assert not re.search(r"<(script|img|link)[^>]*(src|href)=\"http", page)
    assert [f'id="panel-{n}"' in body for n in range(7)] == [True] * 7


def test_the_same_panels_give_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        charts.write("x", panels(), tmp_path / f"{name}.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


@pytest.mark.parametrize("count", [3, 30])
def test_each_category_has_its_own_colour(count: int) -> None:
    names = np.array([f"P{n:02d}" for n in range(count)])
    scatter = charts.scatter("x", "", ("a", "b"), np.zeros((count, 2)), {"area": names}, {})
    traces = scatter.figure.data
    assert [trace.name for trace in traces] == names.tolist()
    assert len({trace.marker.color for trace in traces}) == count


def test_many_points_are_a_picture_and_a_few_to_point_at(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    count = 30_000
    points = random.normal(size=(count, 3)).astype(np.float32)
    points[7] = np.nan
    colours = {"brain": random.choice(["B01", "B02", "B03"], count), "y": points[:, 1]}
    hover = {"point": [f"B01-00480-{n:05d}" for n in range(count)]}
    flat = charts.scatter("flat", "All.", ("a", "b"), points[:, :2], colours, hover)
    deep = charts.scatter("deep", "All.", ("a", "b", "c"), points, colours, hover)
    for panel in (flat, deep):
        shown = [len(trace.x) for trace in panel.figure.data]
        assert sum(shown[:3]) == shown[3] == charts.INTERACTIVE
        assert "1,000" in panel.caption and "30,000 points" in panel.caption
    assert len(flat.figure.layout.images) == 2 and not deep.figure.layout.images
    _, button = flat.figure.layout.updatemenus[0].buttons
    assert button.args[1]["images[0].visible"] is False and button.args[1]["images[1].visible"]
    charts.write("x", [flat, deep], tmp_path / "x.html")
    plotly = len(charts.get_plotlyjs())
    assert (tmp_path / "x.html").stat().st_size < plotly + 800_000


def test_a_picture_has_each_point_at_its_place_in_its_colour() -> None:
    points = np.array([[0.0, 0], [4, 0], [4, 2], [0, 2]])
    drawn = picture(points, Colours.of(["a", "b", "b", "a"])).convert("RGBA")
    image = np.asarray(Image.open(io.BytesIO(png(picture(points, Colours.of(list("abba")))))))
    rgba = np.asarray(drawn)[..., :3]
    assert drawn.size == (PICTURE_PX + 2, PICTURE_PX // 2 + 2)
    blue, orange = [0, 114, 178], [230, 159, 0]  # Okabe and Ito
    corners = [rgba[row, column].tolist() for row in (0, -1) for column in (0, -1)]
    assert corners == [blue, orange, blue, orange]
    assert (image != 255).sum() == 4 * 4  # every other pixel is transparent


def test_rows_are_drawn_by_their_share() -> None:
    codes = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [700, 200, 100]))
    drawn = drawn_evenly(codes, 50)
    assert (np.diff(drawn) > 0).all()
    assert np.abs(np.bincount(codes[drawn]) - [35, 10, 5]).max() <= 1
    assert drawn_evenly(codes, 1000).tolist() == list(range(1000))
