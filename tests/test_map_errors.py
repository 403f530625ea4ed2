"""The map in the truth table: true areas at points, and the rows of each role."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
from table_rows import filled

from cytopipe.formats import tables
from cytopipe.truth.ground_truth import TruthBrain
from cytopipe.truth.map_errors import map_rows, true_areas

NAMES = {1: "P", 2: "Q"}


def ground_truth() -> TruthBrain:
    """A section of 4 x 3 pixels of 200 um from level 0 of 100 um; section 9 has no tissue."""
    page = np.array([[0, 1, 1, 2], [0, 1, 2, 2], [0, 0, 3, 2]], np.uint8)
    fake: Any = SimpleNamespace(
        with_tissue=[7],
        spacing_um=200.0,
        full_spacing_um={7: 100.0},
        page=lambda section, name: page,
    )
    return cast(TruthBrain, fake)


def test_the_area_is_that_of_the_pixel_under_the_point() -> None:
    # the centre of pixel (column c, row r) lies at 200 c + 50, 200 r + 50 um
    points = pd.DataFrame(
        {
            "section": [7, 7, 7, 7, 7, 9, 7],
            "x_um": [250.0, 340.0, 360.0, 650.0, 50.0, 250.0, 450.0],
            "y_um": [50.0, 50.0, 250.0, 450.0, 50.0, 50.0, 450.0],
        }
    )
    areas = true_areas(ground_truth(), filled(tables.PointRow, points), NAMES)
    # outside the cortex, in a section without tissue, and a label without a name: no area
    assert areas.tolist() == ["P", "P", "Q", "Q", "", "", ""]


def test_points_beyond_the_image_have_no_area() -> None:
    points = pd.DataFrame({"section": 7, "x_um": [-500.0, 5000.0], "y_um": [50.0, 50.0]})
    areas = true_areas(ground_truth(), filled(tables.PointRow, points), NAMES)
    assert areas.tolist() == ["", ""]


def test_each_role_has_its_rows() -> None:
    truth = np.array(["P", "P", "Q", "Q", ""])
    frame = pd.DataFrame(
        {
            "predicted": ["P", "Q", "Q", "", "P"],
            "mapped": ["P", "P", "Q", "", "P"],
            "status": ["ok", "unlike_training", "ok", "low_tissue", "ok"],
        }
    )
    areas = filled(tables.MapRow, frame)
    roles = {"B01": "seen", "B02": "seen", "B03": "unseen"}
    rows = map_rows(dict.fromkeys(roles, (truth, areas)), roles)
    values = {(row.metric, row.brain): row.value for row in rows}
    # the fourth has no prediction, the fifth no true area
    assert values["map, points with their true area, seen", "B02"] == 1
    assert values["map, macro-F1 before smoothing, seen", "all"] == np.mean([2 / 3, 2 / 3])
    assert values["map, points unlike the training data, unseen", "B03"] == 1 / 3
    assert ("map, macro-F1, unseen", "all") not in values  # a single brain
    assert all(row.goal == row.met == "" for row in rows)
