from pathlib import Path

import numpy as np
import pytest

from cytopipe.evaluation import stored_features
from cytopipe.evaluation.stored_features import StoredFeatures, blocks_of, stored
from cytopipe.files import InputError


@pytest.fixture
def arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Two arrays on disk, `0.npy` and `1.npy`; blocks have seven rows."""
    monkeypatch.setattr(stored_features, "BLOCK", 7)
    random = np.random.default_rng(0)
    arrays = [random.normal(size=(rows, 5)).astype(np.float32) for rows in (30, 20)]
    for number, array in enumerate(arrays):
        np.save(tmp_path / f"{number}.npy", array)
    return arrays


def find(folder: Path, places: np.ndarray) -> StoredFeatures:
    return stored([folder / "0.npy", folder / "1.npy"], [30, 20], places)


def test_rows_are_read_in_any_order_and_repeatedly(
    arrays: list[np.ndarray], tmp_path: Path
) -> None:
    random = np.random.default_rng(1)
    files = random.integers(0, 2, 90)
    places = np.stack([files, random.integers(0, np.where(files, 20, 30))], axis=1)
    features = find(tmp_path, places)
    expected = np.stack([arrays[number][row] for number, row in places])
    assert features.shape == expected.shape and features.nbytes == expected.nbytes
    assert np.array_equal(features[:], expected)
    assert np.array_equal(features[5:40], expected[5:40])
    chosen = random.integers(0, 90, 50)
    assert np.array_equal(features[chosen], expected[chosen])
    assert np.array_equal(features.where(expected[:, 0] > 0)[:], expected[expected[:, 0] > 0])
    assert features[np.array([], int)].shape == (0, 5)
    blocks = list(blocks_of(features))
    assert max(map(len, blocks)) == 7 and np.array_equal(np.concatenate(blocks), expected)


def test_samples_with_a_nan_are_not_finite(arrays: list[np.ndarray], tmp_path: Path) -> None:
    arrays[0][[3, 29], [0, 4]] = np.nan, np.inf
    np.save(tmp_path / "0.npy", arrays[0])
    places = np.stack([np.zeros(30, int), np.arange(30)], axis=1)
    finite = stored([tmp_path / "0.npy"], [30], places).finite()
    assert np.flatnonzero(~finite).tolist() == [3, 29]


def test_files_that_are_not_whole_arrays_are_refused(
    arrays: list[np.ndarray], tmp_path: Path
) -> None:
    places = np.array([[0, 29], [1, 19]])
    features = find(tmp_path, places)
    whole = (tmp_path / "1.npy").read_bytes()
    (tmp_path / "1.npy").write_bytes(whole[:-4])
    with pytest.raises(InputError, match=r"1.npy: ends before row 19; delete it and rerun"):
        features[:]
    with pytest.raises(InputError, match=r"1.npy: not a readable array of features"):
        find(tmp_path, places)
    for wrong in (arrays[1].astype(float), np.asfortranarray(arrays[1])):
        np.save(tmp_path / "1.npy", wrong)
        with pytest.raises(InputError, match=r"1.npy: float.* not float32 rows"):
            find(tmp_path, places)
    np.save(tmp_path / "1.npy", arrays[1][:, :4].copy())
    with pytest.raises(InputError, match=r"different width: .*0.npy 5, .*1.npy 4"):
        find(tmp_path, places)
