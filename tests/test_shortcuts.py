from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from table_rows import filled, row

from cytopipe.evaluation import staining
from cytopipe.evaluation.tasks import shortcuts
from cytopipe.formats import tables
from cytopipe.formats.images import write_labels, write_pyramid
from cytopipe.study.config import ShortcutsTask
from cytopipe.study.sections import Section

FOLDS = np.arange(400) % 4


def noise(seed: int, count: int = 400, width: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def test_a_class_is_predicted_if_the_features_contain_it() -> None:
    labels = np.random.default_rng(1).choice(["a", "b", "c"], 400, p=[0.8, 0.1, 0.1])
    values = noise(0)
    # chance is a third even if two of the three labels are rare
    assert shortcuts.class_accuracy(values, labels, FOLDS) == pytest.approx(1 / 3, abs=0.12)
    values[:, :3] += 8 * (labels[:, None] == ["a", "b", "c"])
    assert shortcuts.class_accuracy(values, labels, FOLDS) > 0.99
    assert np.isnan(shortcuts.class_accuracy(values, labels, np.zeros(400, int)))
    assert np.isnan(shortcuts.class_accuracy(values[:0], labels[:0], FOLDS[:0]))


def test_a_number_is_predicted_if_the_features_contain_it() -> None:
    values, target = noise(0), noise(1)[:, 0].astype(float)
    assert shortcuts.number_r2(values, target, FOLDS) == pytest.approx(0, abs=0.1)
    # half of the variance is in the features
    seen = values[:, 0] + target
    assert shortcuts.number_r2(values, seen, FOLDS) == pytest.approx(0.5, abs=0.1)
    seen[:50] = np.nan
    assert shortcuts.number_r2(values, seen, FOLDS) == pytest.approx(0.5, abs=0.1)


def test_a_relation_within_a_slab_does_not_transfer_to_other_slabs() -> None:
    # each fold has its own direction of the target, so nothing transfers
    values, target = noise(0), noise(1)[:, 0].astype(float)
    values[np.arange(400), FOLDS] = target
    shuffled = np.random.default_rng(0).permutation(FOLDS)
    by_slab = shortcuts.number_r2(values, target, FOLDS)
    assert by_slab < 0.1 < shortcuts.number_r2(values, target, shuffled)


def test_slabs_are_assigned_to_folds_in_turn() -> None:
    points = pd.DataFrame({"z_stack_um": [0, 1999, 2000, 4000, 6500.0]})
    assert shortcuts.folds_of(points, 2.0, 3).tolist() == [0, 0, 1, 2, 0]


@pytest.mark.parametrize("staining_of", ["section", "none"])
def test_adjacent_sections_differ_by_their_staining(staining_of: str) -> None:
    points = pd.DataFrame(
        {"section": np.repeat([1, 2, 3, 4], 100), "hemisphere": np.tile(["L", "R"], 200)}
    )
    values = noise(0)
    if staining_of == "section":
        values[:, 0] += 5 * (points.section % 2)
    accuracies = shortcuts.section_accuracies(values, points, 2, seed=1)
    expected = 0.99 if staining_of == "section" else 0.5
    assert len(accuracies) == 2 and accuracies.mean() == pytest.approx(expected, abs=0.1)


def test_rotated_distance_is_brute_force() -> None:
    turned = np.random.default_rng(0).normal(1, 1, size=(6, 4, 5)).astype(np.float32)
    u = turned / np.linalg.norm(turned, axis=2, keepdims=True)
    own = np.mean([1 - u[i, 0] @ u[i, t] for i in range(6) for t in (1, 2, 3)])
    others = np.mean([1 - u[i, 0] @ u[j, 0] for i in range(6) for j in range(6) if i != j])
    assert shortcuts.rotated_distance(turned) == pytest.approx(own / others, rel=1e-5)
    assert shortcuts.rotated_distance(np.repeat(turned[:, :1], 4, 1)) == pytest.approx(0, abs=1e-6)


def test_a_shifted_brain_is_foreign_and_another_unseen_one_is_not() -> None:
    brains = np.repeat(["B1", "B2", "B3", "far", "like"], 80)
    values = noise(0) + 3
    values[brains == "far", 0] -= 9
    roles = {"B1": "seen", "B2": "seen", "B3": "transfer", "far": "unseen", "like": "unseen"}
    foreign = shortcuts.foreignness(values, brains, roles, 5)
    assert np.mean([foreign[b] for b in ("B1", "B2", "B3")]) == pytest.approx(1)
    assert foreign["like"] == pytest.approx(1, abs=0.15) and foreign["far"] > 1.5
    assert shortcuts.foreignness(values, brains, {"B1": "seen", "far": "unseen"}, 5) == {}


def test_patches_are_rotated_by_quarter_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    class Corner:
        def to(self, device: object) -> None:
            """There are no weights to move."""

        def embed(self, patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return patches[:, 0, :1] / 255, patches.mean((1, 2))[:, None] / 255

    monkeypatch.setattr(shortcuts.checkpoints, "load_encoder", lambda _: (Corner(), {}))
    windows = np.array([[[10, 20], [30, 40]], [[1, 2], [3, 4]]], np.uint8)
    corner, mean = shortcuts.embed_rotated(None, [windows[:1], windows[1:]])  # type: ignore[arg-type]
    # anticlockwise: the upper right corner moves to the upper left
    assert np.allclose(corner[..., 0] * 255, [[10, 20, 40, 30], [1, 2, 4, 3]])
    assert np.allclose(mean[..., 0] * 255, [[25] * 4, [2.5] * 4])


def test_vessels_are_gray_matter_as_bright_as_the_slide() -> None:
    image = np.full((20, 20), 230, np.uint8)
    labels = np.zeros((20, 20), np.uint8)
    image[5:15, 5:15], labels[5:15, 5:15] = 100, 1
    image[7:9, 7:12] = 220
    assert [staining.median_level(image, labels, n) for n in (0, 1)] == [230, 100]
    assert staining.vessel_share(image, labels == 1, 230, 100) == pytest.approx(0.1)
    assert np.isnan(staining.vessel_share(image, labels == 9, 230, 100))


def test_run_predicts_the_staining_that_the_features_contain(tmp_path: Path) -> None:
    """Two brains of eight sections; the only feature is the section's gray value."""
    random = np.random.default_rng(0)
    brains, count = {"B1": "seen", "B2": "transfer"}, 8 * 24
    labels = np.zeros((60, 60), np.uint8)
    labels[5:55, 5:55] = 1
    sections, tiffs, chunks = [], [], []
    for brain in brains:
        grays = random.permutation(np.arange(80, 160, 10))
        for number, gray in enumerate(grays):
            image = np.where(labels == 1, gray, 230) + random.integers(-3, 4, labels.shape)
            path = tmp_path / f"{brain}-{number}.ome.tif"
            write_pyramid(image.astype(np.uint8), path, 128.0, 128.0)
            sections.append(Section(brain, number, str(path), 128.0, 1000.0))
        tiffs.append(tmp_path / f"{brain}-labels.tif")
        chunks.append(tmp_path / f"{brain}-labels.parquet")
        write_labels([labels] * 8, tiffs[-1])
        chunk = [
            row(
                tables.SegmentationRow, brain=brain, section=n, page=n, spacing_um=128.0,
                status="ok",
            )
            for n in range(8)
        ]  # fmt: skip
        tables.write_rows(tables.SegmentationRow, chunk, chunks[-1])
        frame = pd.DataFrame(index=range(count)).assign(
            point_id=[f"{brain}-{n}" for n in range(count)], brain=brain, status="ok",
            section=np.repeat(np.arange(8), 24), hemisphere=np.tile(["L", "R"], count // 2),
            area=random.choice(["p", "q"], count), template="t",
        )  # fmt: skip
        frame[["x_um", "y_um"]] = random.uniform(1500, 6000, (count, 2))
        frame[["x_mm", "y_mm", "z_mm"]] = random.normal(size=(count, 3))
        frame["z_stack_um"] = 1000.0 * frame.section
        frame = filled(tables.PointRow, frame)
        tables.write(tables.PointRow, frame, tmp_path / f"{brain}-points.parquet")
        tables.write(
            tables.FeatureRow, frame[["point_id", "status"]], tmp_path / f"{brain}.parquet"
        )
        values = random.normal(size=(count, 4))
        values[:, 0] = grays[frame.section] + random.normal(size=count)
        np.save(tmp_path / f"{brain}.npy", values.astype(np.float32))
    shortcuts.run_shortcuts(
        points={b: tmp_path / f"{b}-points.parquet" for b in brains},
        backbone={b: tmp_path / f"{b}.npy" for b in brains},
        projected={},
        rows={b: tmp_path / f"{b}.parquet" for b in brains},
        roles=brains, sections=sections, segmentation=chunks, labels=tiffs, weights=None,
        patch_px=16, spacing_um=128.0, run="x", threads=1,
        scores=tmp_path / "scores.parquet", html=tmp_path / "x.html",
        params=ShortcutsTask(
            points_per_brain=100, turned_per_brain=10, section_pairs=3, slab_mm=1.0, folds=4,
            neighbours=5, batch_size=8, seed=1,
        ),
    )  # fmt: skip
    table = tables.read(tables.ScoreRow, tmp_path / "scores.parquet")
    value = table.set_index("metric").value
    assert value["section_staining"] > 0.9 and value["section"] > 0.95
    assert value["area"] == pytest.approx(0.5, abs=0.12) and value["area chance"] == 0.5
    assert value["y_mm"] < 0.1 and value["brain"] < 0.75
    assert "rotation" not in value.index and (tmp_path / "x.html").exists()
