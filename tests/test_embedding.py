import json
import re
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from table_rows import filled

from cytopipe.evaluation.clusters import calinski_harabasz, composition, purity, ward
from cytopipe.evaluation.similarity import (
    area_similarity,
    correlation,
    in_order,
    unit_vectors,
    within_and_between,
)
from cytopipe.evaluation.tasks.embedding import run_embedding, tsne_of, umap_of
from cytopipe.formats import tables
from cytopipe.study.config import EmbeddingTask

PARAMS = EmbeddingTask(
    most_per_brain=60, neighbours=10, min_distance=0.1, cluster_points=100, perplexity=15,
    clusters=4, seed=1,
)  # fmt: skip


def test_calinski_harabasz_by_its_formula() -> None:
    random = np.random.default_rng(0)
    labels = random.choice(["a", "b", "c", ""], 80)
    points = random.normal(size=(80, 3)) + (labels == "b")[:, None]
    kept = points[labels != ""]
    groups = [points[labels == name] for name in "abc"]
    between = sum(len(g) * ((g.mean(0) - kept.mean(0)) ** 2).sum() for g in groups)
    within = sum(((g - g.mean(0)) ** 2).sum() for g in groups)
    expected = (between / 2) / (within / (len(kept) - 3))
    assert calinski_harabasz(points, labels) == pytest.approx(expected)


def test_one_label_has_no_index() -> None:
    assert np.isnan(calinski_harabasz(np.eye(3), np.array(["a", "a", ""])))
    assert np.isnan(calinski_harabasz(np.eye(3), np.array(["a", "b", "c"])))


def test_ward_finds_groups_and_orders_them_by_size() -> None:
    random = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [10, 50, 30])
    values = np.eye(3)[truth] * 9 + random.normal(size=(90, 3))
    members = ward(values, 3)
    assert (members == np.array([2, 0, 1])[truth]).all()


def test_composition_and_purity_by_hand() -> None:
    clusters = np.array([0, 0, 0, 0, 1, 1])
    labels = np.array(["p", "p", "p", "q", "q", "r"])
    shares = composition(clusters, labels, ["p", "q", "r"])
    assert shares.tolist() == [[0.75, 0.25, 0], [0, 0.5, 0.5]]
    assert purity(clusters, labels) == pytest.approx((3 + 1) / 6)


def test_similarity_is_the_mean_of_all_pairs() -> None:
    random = np.random.default_rng(0)
    areas = ["a", "b", "c", "d"]
    labels = random.choice(["a", "b", ""], 40)
    labels[0] = "c"  # a single point; d has no points
    values = random.normal(1, 1, size=(40, 5))
    blocks = [(values[part], labels[part]) for part in (slice(15), slice(15, None))]
    got = area_similarity(blocks, areas)
    for (row, one), (column, other) in product(enumerate(areas), repeat=2):
        cosines = [
            values[i] @ values[j] / np.linalg.norm(values[i]) / np.linalg.norm(values[j])
            for i, j in product(np.flatnonzero(labels == one), np.flatnonzero(labels == other))
            if i != j
        ]
        expected = np.mean(cosines) if cosines else np.nan
        assert got[row, column] == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_areas_are_in_the_order_of_figure_2() -> None:
    """CytoNet Table 3: some of its rows, and an area without a lobe."""
    table = {"occipital": "hOc1 hOc2", "parietal": "1 3b PF hIP1", "limbic": "33 p32"}
    lobes = {name: lobe for lobe, names in table.items() for name in reversed(names.split())}
    one_side = ["hOc1", "hOc2", "1", "3b", "PF", "hIP1", "33", "p32", "FG1"]
    expected = [f"{side} {name}" for side in "LR" for name in one_side]
    assert in_order(reversed(expected), lobes) == expected
    assert in_order(expected, {}) == sorted(expected)


def test_correlation_uses_the_pairs_that_both_have() -> None:
    one = np.array([[9, 1, 2, 3.0], [1, 9, 4, 5], [2, 4, 9, np.nan], [3, 5, np.nan, 9]])
    other = -2 * one + 1
    other[0, 1] = other[1, 0] = np.nan
    np.fill_diagonal(other, 100)
    assert correlation(one, other) == pytest.approx(-1)
    assert np.isnan(correlation(one, np.ones((4, 4))))
    assert within_and_between(one) == (9, 3)


def test_unit_rows_and_zero_rows() -> None:
    assert unit_vectors(np.array([[3.0, 4], [0, 0]])).tolist() == pytest.approx(
        np.array([[0.6, 0.8], [0, 0]])
    )


def three_groups() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 30)
    return unit_vectors(np.eye(3)[truth] + 0.1 * random.normal(size=(90, 3))), truth


@pytest.mark.slow
def test_embeddings_separate_groups_and_depend_only_on_the_seed() -> None:
    values, truth = three_groups()
    flat, deep = umap_of(values, (2, 3), 10, 0.1, seed=1)
    assert flat.shape == (90, 2) and deep.shape == (90, 3)
    for points in (flat, deep, tsne_of(values, 15, seed=1)):
        distances = np.linalg.norm(points[:, None] - points, axis=-1) + np.eye(90) * 1e9
        assert (truth[distances.argmin(1)] == truth).all()
    assert np.array_equal(umap_of(values, (2,), 10, 0.1, seed=1)[0], flat)
    assert not np.array_equal(umap_of(values, (2,), 10, 0.1, seed=2)[0], flat)


def write_brain(folder: Path, brain: str, areas: np.ndarray, values: np.ndarray) -> None:
    """Points of a brain with their features; the first one is not usable."""
    count = len(areas)
    frame = pd.DataFrame(index=range(count)).assign(
        point_id=[f"{brain}-{n}" for n in range(count)], brain=brain, section=1, template="t",
        hemisphere=np.where(np.arange(count) % 2, "L", "R"), area=areas,
        status=["low_tissue"] + ["ok"] * (count - 1),
    )  # fmt: skip
    tables.write(
        tables.PointRow, filled(tables.PointRow, frame), folder / f"{brain}-points.parquet"
    )
    values[0] = np.nan
    np.save(folder / f"{brain}.npy", values.astype(np.float32))
    tables.write(tables.FeatureRow, frame[["point_id", "status"]], folder / f"{brain}.parquet")


def test_scores_reflect_how_the_features_were_made(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    names = np.array(["p", "q", "r", ""])
    brains = {"B01": "seen", "B02": "transfer", "B03": "unseen"}
    # areas in a triangle of unequal sides; in the unseen brain the sides are swapped
    angles = {"B01": [0, 0.5, 1.6, 3], "B02": [0, 0.5, 1.6, 3], "B03": [0, 1.1, 0.3, 3]}
    for brain in brains:
        label = random.integers(0, 4, 80)
        angle = np.array(angles[brain])[label] + 0.02 * random.normal(size=80)
        write_brain(
            tmp_path, brain, names[label], np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
        )
    arrays = {brain: tmp_path / f"{brain}.npy" for brain in brains}

    lobes = tmp_path / "areas.tsv"
    lobes.write_text("label\tname\themisphere\tlobe\n1\tr\t\tback\n2\tq\t\tfront\n3\tp\t\tfront\n")

    def run(projected: dict[str, Path], areas: list[Path]) -> pd.DataFrame:
        run_embedding(
            points={brain: tmp_path / f"{brain}-points.parquet" for brain in brains},
            backbone=arrays,
            projected=projected,
            rows={brain: tmp_path / f"{brain}.parquet" for brain in brains},
            areas=areas,
            roles={**brains, "B09": "seen"},
            scores=tmp_path / "scores.parquet",
            html=tmp_path / "embedding.html",
            run="x",
            params=PARAMS,
        )
        return tables.read(tables.ScoreRow, tmp_path / "scores.parquet")

    table = run({}, [])
    assert set(table.split) == {"backbone"} and table.value.notna().all()
    value = table.groupby("metric").value.mean()
    assert value["similarity_correlation"] > 0.99
    assert value["similarity_correlation unseen"] < 0.9
    assert value["similarity_within"] > 0.99 > value["similarity_between"]
    # as many clusters as areas, counting the points outside of them
    assert value["ward_purity_area"] > 0.8 > value["ward_purity_area chance"]
    assert value["chi_area features"] > 50 > value["chi_hemisphere features"]
    assert value["chi_area umap of a brain"] > 10 > value["chi_hemisphere umap of a brain"]
    assert "Areas in Ward clusters" in (tmp_path / "embedding.html").read_text()

    def order(page: str) -> list[str]:
        """The rows of the first similarity matrix of a page."""
        rows = re.search(r'"y": ?(\["[LR] .*?\])', page)
        assert rows is not None
        return list(json.loads(rows[1]))

    assert order((tmp_path / "embedding.html").read_text())[:3] == ["L p", "L q", "L r"]
    both = run(arrays, [lobes])
    ordered = ["L r", "L p", "L q", "R r", "R p", "R q"]
    assert order((tmp_path / "embedding.html").read_text()) == ordered
    assert set(both.split) == {"backbone", "projected"} and len(both) == 2 * len(table)
