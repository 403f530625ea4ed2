"""Damaged results: arrays, weights, and tables of text are read as written, or refused by name."""

import logging
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mutations import damaged, rounds
from test_fuzz_volumes import read_or_refused

from cytopipe.formats import tables, truth_table
from cytopipe.formats.feature_arrays import read_features
from cytopipe.learning import checkpoints, networks
from cytopipe.learning.distances import read_geodesic
from cytopipe.learning.models import WEIGHTS, Model, load_model, save_model
from cytopipe.report import section_numbers

RANDOM = np.random.default_rng(11)
FEATURES = RANDOM.normal(size=(40, 6)).astype(np.float32)
PLAN = networks.Plan("small", 16, "projection", 4)


def arrays(path: Path) -> None:
    np.save(path, FEATURES)


def distances(path: Path) -> None:
    nodes = RANDOM.normal(size=(6, 3))
    sides = np.array(["L", "R"] * 3)
    table = np.abs(nodes[:, None] - nodes).sum(-1)
    np.savez_compressed(path, nodes_mm=nodes, hemisphere=sides, distances_mm=table)


def nearest(path: Path) -> Any:
    return read_geodesic(path, np.zeros((1, 3), np.float32), np.ones(1, bool))[1]


def weights(path: Path) -> None:
    content = {"params": {"spacing_um": 2.0}, "version": 1, "plan": asdict(PLAN), "classes": []}
    encoder = networks.build(PLAN, seed=1)
    checkpoints.save({**content, "weights": encoder.state_dict()}, path)


def parameters(path: Path) -> Any:
    encoder, _ = checkpoints.load_encoder(path)
    return torch.cat([value.ravel() for value in encoder.state_dict().values()]).numpy()


def released(path: Path) -> None:
    model = Model(networks.build(PLAN, seed=1), 2.0, (), 1, {"spacing_um": 2.0})
    save_model(model, "# A card\n", path.parent)


def of_model(path: Path) -> Any:
    return load_model(path.parent)


def truths(path: Path) -> None:
    row = tables.TruthRow
    frame = {c.name: {"str": "a", "bool": True}.get(c.dtype, 1) for c in tables.columns(row)}
    truth_table.write([row(**frame)] * 4, path)


def numbers(path: Path) -> None:
    path.write_text("\t".join(section_numbers.COLUMNS) + "\n")


# the name of a valid file, how it is made and read
CASES: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    "run.npy": (arrays, lambda path: np.array(read_features(path, 40))),
    WEIGHTS: (released, of_model),
    "config.yaml": (released, of_model),
    "truth.tsv": (truths, truth_table.read),
    "B01.tsv": (numbers, section_numbers.read),
}
# files with checksums: whatever can still be read is what was written
CHECKED: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    "geodesic.npz": (distances, nearest),
    "final.pt": (weights, parameters),
}


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


@pytest.mark.parametrize("name", CASES)
def test_a_damaged_result_is_read_or_refused(tmp_path: Path, name: str) -> None:
    write, read = CASES[name]
    path = tmp_path / "model" / name
    path.parent.mkdir()
    write(path)
    read(path)
    for mutation, content in damaged(path.read_bytes(), rounds(210), head=400):
        path.write_bytes(content)
        read_or_refused(read, path, mutation, also="model")


@pytest.mark.parametrize("name", CHECKED)
def test_a_result_with_a_checksum_is_read_rightly_or_refused(tmp_path: Path, name: str) -> None:
    write, read = CHECKED[name]
    path = tmp_path / name
    write(path)
    right = read(path)
    # a network takes a while to build
    for mutation, content in damaged(path.read_bytes(), min(rounds(84), 1000), head=2000):
        path.write_bytes(content)
        result = read_or_refused(read, path, mutation)
        if result is not None:
            np.testing.assert_array_equal(result, right, err_msg=mutation)
