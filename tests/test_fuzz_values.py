"""Valid JSON and YAML with other values: each reader reads them or raises InputError."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mutations import changed_json, rounds
from test_fuzz_volumes import SLICES, contours, read_or_refused

from cytopipe.formats import anchorings
from cytopipe.study import annotations, bids, config

# places and values of one kind of file are few: more rounds would repeat them
FEW, MOST = 150, 2000

SIDECAR = {"PixelSize": [0.5, 0.5], "PixelSizeUnits": "um", "SliceThickness": 20}


def contour_json(path: Path) -> str:
    contours(path)
    return path.read_text()


def scans_of(path: Path) -> Any:
    return bids.scans_of(path.parents[2], "01")


CASES: dict[str, tuple[Callable[[Path], str], Callable[[Path], Any]]] = {
    "a.json": (lambda path: json.dumps(SLICES), anchorings.read),
    "a.geojson": (contour_json, lambda path: annotations.read_contours(path, (60, 60))),
    "sub-01/micr/sub-01_sample-0015_BF.json": (lambda path: json.dumps(SIDECAR), scans_of),
}


@pytest.mark.parametrize("name", CASES)
def test_json_of_any_values_is_read_or_refused(tmp_path: Path, name: str) -> None:
    valid, read = CASES[name]
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if "sub-" in name:
        path.with_suffix(".tif").write_bytes(b"")
    text = valid(path)
    path.write_text(text)
    read(path)
    for mutation, content in changed_json(text, min(rounds(FEW), MOST)):
        path.write_text(content)
        read_or_refused(read, path, mutation, also="sub-01_sample-0015_BF.tif")


def test_a_config_of_any_values_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    content = config.read(config.DEFAULTS)
    for mutation, text in changed_json(json.dumps(content), min(rounds(FEW), MOST)):
        path.write_text(yaml.safe_dump(json.loads(text)))
        read_or_refused(lambda it: config.check(config.read(it), it.name), path, mutation)
    assert np.isfinite(content["reconstruction"]["voxel_mm"])
