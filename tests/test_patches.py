from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from table_rows import filled

from cytopipe import patches
from cytopipe.files import InputError
from cytopipe.formats import tables, transforms
from cytopipe.patches import datasets
from cytopipe.study.config import DataSet
from cytopipe.study.sections import Section

ROLES = {"B01": "seen", "B02": "transfer", "B03": "unseen"}


def points_of(brain: str) -> pd.DataFrame:
    """Ten sections of twenty points; three of four are in area P, the others in Q."""
    count = 200
    frame = pd.DataFrame(index=range(count))
    frame["brain"] = brain
    frame["section"] = np.repeat(np.arange(10) * 15, 20)
    frame["point_id"] = [f"{brain}-{n}" for n in range(count)]
    frame["x_mm"] = np.arange(count, dtype=float)
    frame["area"] = np.where(np.arange(count) % 4, "P", "Q")
    frame["area_probability"] = 0.9
    frame["status"] = "ok"
    return filled(tables.PointRow, frame)


def drawn(tmp_path: Path, changed: pd.DataFrame | None = None, **settings: object) -> pd.DataFrame:
    points = {}
    for brain in ROLES:
        points[brain] = tmp_path / f"{brain}.parquet"
        frame = changed if changed is not None and brain == "B01" else points_of(brain)
        tables.write(tables.PointRow, frame, points[brain])
    values = {
        "purpose": "pretraining",
        "source": "atlas",
        "roles": ["seen", "transfer"],
        "transfer": None,
        "count": None,
        "per_area": None,
        "min_probability": 0.5,
        "areas": None,
        "min_brains": 1,
        "raster_um": 64.0,
        "point_spacing_mm": 1.0,
        "test_every": 5,
        "warp": None,
        "warp_moves": "points",
        "seed": 1,
        **settings,
    }
    patches.run(
        points=points,
        roles=ROLES,
        sections=[
            Section(brain, section, f"{brain}_{section}.tif", 2.0, 20.0)
            for brain in ROLES
            for section in np.arange(10) * 15
        ],
        annotations=[],
        patches=tmp_path / "set.parquet",
        params=DataSet(**values),  # type: ignore[arg-type]
    )
    return tables.read(tables.PatchRow, tmp_path / "set.parquet")


def test_pretraining_draws_without_replacement_from_its_roles(tmp_path: Path) -> None:
    table = drawn(tmp_path, count=150)
    assert len(table) == 150 and table.point_id.is_unique
    assert set(table.brain) == {"B01", "B02"} and set(table.split) == {"pretrain"}
    assert (table.image == table.brain + "_" + table.section.astype(str) + ".tif").all()
    assert (table.full_spacing_um == 2).all()
    assert not table.equals(drawn(tmp_path, count=150, seed=2))
    assert len(drawn(tmp_path)) == 400


def test_points_without_status_ok_or_coordinate_are_skipped(tmp_path: Path) -> None:
    points = points_of("B01")
    points.loc[:9, "status"] = "low_tissue"
    points.loc[10:19, "z_mm"] = np.nan
    table = drawn(tmp_path, points, roles=["seen"])
    assert sorted(table.x_mm) == list(range(20, 200))


def test_too_many_patches_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="count is 401, only 400 points"):
        drawn(tmp_path, count=401)


def test_every_fifth_annotated_section_is_for_testing(tmp_path: Path) -> None:
    points = points_of("B01")
    points.loc[points.section == 0, "area"] = ""  # not annotated
    points.loc[points.section == 15, "area_probability"] = 0.4  # an uncertain label
    table = drawn(tmp_path, points, purpose="areas", roles=["seen", "transfer", "unseen"])
    seen = table[table.brain == "B01"]
    assert set(seen.section[seen.split == "seen"]) == {90}  # annotated: 30, 45, 60, 75, 90, ...
    assert set(seen.section[seen.split == "train"]) == {30, 45, 60, 75, 105, 120, 135}
    assert (table.split[table.brain == "B02"] == "transfer").all()
    assert (table.split[table.brain == "B03"] == "unseen").all()
    assert len(seen) == 160


def test_training_areas_are_balanced_and_test_areas_are_not(tmp_path: Path) -> None:
    table = drawn(tmp_path, purpose="areas", roles=["seen", "transfer"], per_area=70)
    train = table[table.split == "train"]
    assert train.area.value_counts().to_dict() == {"P": 70, "Q": 70}
    # 40 points of Q, drawn 70 times
    assert train.point_id[train.area == "Q"].nunique() <= 40
    transfer = table[table.split == "transfer"]
    assert transfer.area.value_counts().to_dict() == {"P": 150, "Q": 50}
    assert transfer.point_id.is_unique


def test_areas_are_named_and_known_in_enough_brains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(datasets, "info", said.append)
    points = points_of("B01")
    points.loc[:3, "area"] = ["R", "S", "S", "T"]
    everywhere = {"purpose": "areas", "roles": ["seen", "transfer", "unseen"]}
    assert set(drawn(tmp_path, points, **everywhere).area) == {"P", "Q", "R", "S", "T"}
    assert len(said) == 1  # the number of patches
    # all brains of the data set count, the unseen one as well
    assert set(drawn(tmp_path, points, **everywhere, min_brains=3).area) == {"P", "Q"}
    assert "areas left out: R (brains: 1), S (brains: 1), T (brains: 1)" in said
    table = drawn(tmp_path, points, **everywhere, areas=["Q", "S", "nowhere"])
    assert set(table.area) == {"Q", "S"}
    assert "areas left out: P (brains: 3), R (brains: 1), T (brains: 1)" in said
    assert "areas without a point: nowhere" in said
    assert set(drawn(tmp_path, points, **everywhere, min_brains=2, areas=["Q", "S"]).area) == {"Q"}
    with pytest.raises(InputError, match=r"none of the 600 points .* change areas or min_brains"):
        drawn(tmp_path, points, **everywhere, min_brains=4)
    # pretraining knows no areas
    assert len(drawn(tmp_path, points, min_brains=4, areas=["Q", "S"])) == 400


def test_a_role_without_a_brain_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(ROLES, "B03")
    with pytest.raises(InputError, match=r"no brain has the role unseen; correct role in"):
        drawn(tmp_path, roles=["unseen"])


def test_points_of_which_none_is_usable_are_an_error(tmp_path: Path) -> None:
    points = points_of("B01").assign(status="unrefined")
    with pytest.raises(InputError, match="none of the 200 points of B01 is usable"):
        drawn(tmp_path, points, roles=["seen"])


def test_the_transfer_brain_can_be_chosen(tmp_path: Path) -> None:
    all_roles = ["seen", "transfer", "unseen"]
    table = drawn(tmp_path, purpose="areas", roles=all_roles, transfer="B01")
    splits = {brain: set(rows.split) for brain, rows in table.groupby("brain")}
    assert splits == {"B01": {"transfer"}, "B02": {"train", "seen"}, "B03": {"unseen"}}
    for impossible in ("B03", "B09"):
        with pytest.raises(InputError, match=f"transfer is '{impossible}'; name a brain"):
            drawn(tmp_path, purpose="areas", roles=all_roles, transfer=impossible)


@pytest.mark.parametrize("moves", ["points", "image"])
def test_a_warp_carries_coordinates_to_another_template(tmp_path: Path, moves: str) -> None:
    # doubles and shifts R by 3 mm; an image moves the other way
    matrix = np.diag([2.0, 1, 1, 1])
    matrix[0, 3] = 3
    path = tmp_path / "to-other.h5"
    transforms.write(transforms.affine_transform(matrix, "phantom", "other"), path)
    plain = drawn(tmp_path, roles=["seen"]).x_mm.to_numpy()
    table = drawn(tmp_path, roles=["seen"], warp=str(path), warp_moves=moves)
    expected = 2 * plain + 3 if moves == "points" else (plain - 3) / 2
    np.testing.assert_allclose(table.x_mm, expected, atol=1e-9)


def test_points_that_a_warp_does_not_cover_are_dropped(tmp_path: Path) -> None:
    # a field from 10 to 50 mm along R
    affine = np.diag([10.0, 10, 10, 1])
    affine[:3, 3] = [10, -20, -20]
    field = transforms.field_transform(np.full((5, 5, 5, 3), 1.0), affine, "phantom", "other")
    transforms.write(field, tmp_path / "field.h5")
    table = drawn(tmp_path, roles=["seen"], warp=str(tmp_path / "field.h5"))
    assert table.x_mm.tolist() == pytest.approx(list(range(11, 52)))
    with pytest.raises(InputError, match=r"none of the 200 points .* direction above all"):
        far = points_of("B01").assign(x_mm=500.0)
        drawn(tmp_path, far, roles=["seen"], warp=str(tmp_path / "field.h5"))
