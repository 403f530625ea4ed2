from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cytopipe.evaluation import stored_features
from cytopipe.evaluation.similarity import unit_vectors
from cytopipe.evaluation.tasks import retrieval
from cytopipe.evaluation.tasks.retrieval import (
    most_similar,
    near_query,
    run_retrieval,
    trait_shares,
)
from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.formats.images import write_pyramid
from cytopipe.study.config import RetrievalTask
from cytopipe.study.sections import Section


def points_of(count: int, seed: int) -> pd.DataFrame:
    """Points of two brains, two sections each, scattered over 20 mm."""
    random = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            c.name: np.full(count, 0.5)
            for c in tables.columns(tables.PointRow)
            if c.dtype == "float64"
        }
    )
    frame[["x_um", "y_um"]] = random.uniform(2000, 18000, (count, 2))
    frame[["x_mm", "y_mm", "z_mm"]] = random.uniform(-50, 50, (count, 3))
    return frame.assign(
        point_id=[f"p{n}" for n in range(count)],
        brain=random.choice(["B01", "B02"], count),
        section=random.choice([1, 2], count),
        hemisphere=random.choice(["L", "R"], count),
        area=random.choice(["p", "q", ""], count),
        template="t",
        status="ok",
    )


def test_most_similar_is_brute_force() -> None:
    random = np.random.default_rng(0)
    values = unit_vectors(random.normal(size=(50, 4)))
    excluded = random.random((7, 50)) < 0.5
    excluded[3, 2:] = True  # only two are not excluded
    expected = np.full((7, 5), -1)
    for query in range(7):
        allowed = [n for n in range(50) if not excluded[query, n]]
        ordered = sorted(allowed, key=lambda n: -float(values[query] @ values[n]))[:5]
        expected[query, : len(ordered)] = ordered
    blocks = [(values[at], excluded[:, at]) for at in (slice(0, 3), slice(3, 30), slice(30, 50))]
    assert np.array_equal(most_similar(values[:7], blocks, 5), expected)


def test_near_query_by_hand() -> None:
    points = points_of(4, 0).assign(
        brain=["B01", "B01", "B01", "B02"], section=[1, 1, 2, 1],
        x_um=[0.0, 3000, 0, 0], y_um=[0.0, 4000, 0, 0],
    )  # fmt: skip
    assert near_query(points.iloc[:1], points, 5.0).tolist() == [[True, True, False, False]]
    assert near_query(points.iloc[:1], points, 4.9).tolist() == [[True, False, False, False]]
    assert near_query(points.iloc[:1], points, -1.0).tolist() == [[True, False, False, False]]


def test_shares_by_hand() -> None:
    points = points_of(4, 0).assign(
        brain=["B01", "B01", "B01", "B02"], section=[1, 2, 1, 1],
        area=["p", "p", "q", ""], hemisphere=list("LLRL"),
        x_mm=[0.0, 1, 2, np.nan], y_mm=0.0, z_mm=0.0,
    )  # fmt: skip
    neighbours = np.array([[1, 2, 3], [2, -1, -1]])
    got = trait_shares(points.iloc[[0, 3]], points, neighbours)
    assert got["same_area"] == pytest.approx(1 / 3)  # the query outside the areas does not count
    assert got["same_brain"] == pytest.approx(2 / 4)
    assert got["same_section"] == pytest.approx(1 / 4)  # section 1 of B02 is a different section
    assert got["same_hemisphere"] == pytest.approx(2 / 4)
    assert got["distance_mm"] == pytest.approx(1.5)


def test_chance_is_that_of_all_pairs() -> None:
    points = points_of(60, 1)
    every = np.array([[m for m in range(60) if m != n] for n in range(60)])
    got, expected = retrieval.chance_shares(points, points, 1), trait_shares(points, points, every)
    for name in ("same_area", "same_brain", "same_section", "same_hemisphere"):
        assert got[name] == pytest.approx(expected[name])
    assert got["distance_mm"] == pytest.approx(expected["distance_mm"], rel=0.03)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Features that encode area, brain or section, which neighbours must then share."""
    random = np.random.default_rng(0)
    points = points_of(200, 0)
    image = random.integers(0, 255, (160, 160)).astype(np.uint8)
    for brain in ("B01", "B02"):
        own = points[points.brain == brain]
        tables.write(tables.PointRow, own, tmp_path / f"{brain}-points.parquet")
        tables.write(tables.FeatureRow, own[["point_id", "status"]], tmp_path / f"{brain}.parquet")
        for trait, names in {"area": ["p", "q", ""], "section": [1, 2]}.items():
            number = own[trait].map({name: n for n, name in enumerate(names)}).to_numpy()
            values = np.eye(3)[number] + 0.05 * random.normal(size=(len(own), 3))
            np.save(tmp_path / f"{brain}-{trait}.npy", values.astype(np.float32))
        for section in (1, 2):
            write_pyramid(image, tmp_path / f"{brain}-{section}.ome.tif", 128.0, 128.0)
    return tmp_path


def run(folder: Path, listed: int = 2) -> pd.DataFrame:
    brains = ["B01", "B02"]
    run_retrieval(
        points={brain: folder / f"{brain}-points.parquet" for brain in brains},
        backbone={brain: folder / f"{brain}-section.npy" for brain in brains},
        projected={brain: folder / f"{brain}-area.npy" for brain in brains},
        rows={brain: folder / f"{brain}.parquet" for brain in brains},
        sections=[
            Section(b, n, str(folder / f"{b}-{n}.ome.tif"), 128.0, 20.0)
            for b in brains
            for n in range(1, listed + 1)
        ],
        patch_px=16,
        spacing_um=128.0,
        scores=folder / "scores.parquet",
        html=folder / "retrieval.html",
        run="x",
        params=RetrievalTask(queries_per_brain=20, neighbours=5, exclude_mm=6.0, shown=2, seed=1),
    )
    table = tables.read(tables.ScoreRow, folder / "scores.parquet")
    return table.pivot_table(index="metric", columns="split", values="value")


def test_neighbours_share_the_trait_that_the_features_encode(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(study)
    area, section = whole.projected, whole.backbone
    assert area["same_area"] == 1 and area["same_area far"] == 1
    assert abs(area["same_brain"] - area["same_brain chance"]) < 0.15
    assert section["same_area"] < 0.5
    # sections of the same number have the same features in both brains
    assert 0.35 < section["same_section"] < 0.65 and section["same_section chance"] < 0.3
    assert section["same_section far"] < section["same_section"]
    assert "Nearest patches, projected" in (study / "retrieval.html").read_text()
    monkeypatch.setattr(stored_features, "BLOCK", 7)
    pd.testing.assert_frame_equal(run(study), whole)


def test_a_section_that_is_not_listed_is_an_error(study: Path) -> None:
    with pytest.raises(InputError, match="section 2 has points but no row"):
        run(study, listed=1)
