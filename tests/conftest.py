"""The truth of the brain of `shell_study`, for all tests that score against it."""

from pathlib import Path

import pytest
from shell_study import write_truth

from cytopipe.report.truth_folder import TruthBrain


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_truth(tmp_path_factory.mktemp("shells") / "truth")


@pytest.fixture
def truth(folder: Path) -> TruthBrain:
    return TruthBrain(folder, "B01")
