"""The notebooks of the documentation run, on a small study."""

import shutil
from pathlib import Path

import nbformat
import numpy as np
import pytest
from empty_study import ROOT
from nbclient import NotebookClient

import cytopipe
from cytopipe.formats.images import write_pyramid
from cytopipe.learning import networks
from cytopipe.learning.models import Model, save_model

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


@pytest.fixture
def study(shell_study_folder: Path, tmp_path: Path) -> Path:
    """The study of shells, with scans, which are noise."""
    folder = tmp_path / "study"
    shutil.copytree(shell_study_folder, folder)
    noise = np.random.default_rng(1).integers(0, 256, (700, 700), np.uint8)
    for section in cytopipe.open_study(folder).brain("B01").sections:
        path = folder / section.image
        path.parent.mkdir(exist_ok=True)
        write_pyramid(noise, path, section.spacing_um, 2 * section.spacing_um, tile=64)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    plan = networks.Plan("small", patch_px=32, head="projection", outputs=16)
    network = Model(networks.build(plan, 1), spacing_um=128.0, classes=(), version=1, params={})
    save_model(network, "A small network with random weights.", tmp_path / "model")
    return tmp_path / "model"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(
    path: Path, study: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CYTOPIPE_STUDY", str(study))
    monkeypatch.setenv("CYTOPIPE_MODEL", str(model))
    notebook = nbformat.read(path, as_version=4)
    shown = [len(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]
    NotebookClient(notebook, timeout=300).execute()
    again = [len(cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]
    # the page shows an output wherever the notebook has one, pictures included
    assert again == shown and sum(shown) >= 4
