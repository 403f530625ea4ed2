import re
from pathlib import Path

import numpy as np
import pytest

from cytopipe.evaluation import charts


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
