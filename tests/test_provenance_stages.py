"""Every stage records the provenance of its files, however it is started."""

import importlib
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

from cytopipe import __main__ as command_line
from cytopipe import arguments
from cytopipe.commands.provenance import read
from cytopipe.formats import images
from cytopipe.study import config as study_config

ROOT = Path(__file__).parents[1]


def runs_of_stages() -> list[tuple[str, Callable[..., None]]]:
    return [
        (f"{stage}.{name}", function)
        for stage in command_line.STAGES
        for name, function in inspect.getmembers(
            importlib.import_module(f"cytopipe.{stage}"), inspect.isfunction
        )
        if name == "run" or name.startswith("run_")
    ]


def test_every_run_of_every_stage_says_what_it_writes() -> None:
    runs = runs_of_stages()
    assert len(runs) >= len(command_line.STAGES)
    for name, run in runs:
        assert arguments.outputs_of(run), f"{name}: no argument is an Output"
        assert hasattr(run, "__wrapped__"), f"{name}: decorate it with provenance.recorded"


@pytest.mark.slow
def test_a_rule_and_the_command_line_leave_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Snakemake and the command line record the scan, the rows and the params of a segmentation."""
    monkeypatch.chdir(tmp_path)
    rows, columns = np.mgrid[:200, :200]
    image = np.where(np.hypot(rows - 100, columns - 100) < 70, 110, 235).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 12, (200, 200), dtype=np.uint8)
    images.write_pyramid(image + noise, Path("images/a.ome.tif"), 256, 512)
    config = study_config.read(ROOT / "config" / "config.yaml")
    config["segmentation"]["spacing_um"] = 256
    config["template"] |= {"atlas": None, "areas": None}
    Path("config").mkdir()
    Path("config/config.yaml").write_text(yaml.safe_dump(config))
    Path("config/brains.tsv").write_text("brain\trole\nB01\tseen\n")
    Path("config/sections.tsv").write_text(
        "brain\tsection\timage\tspacing_um\tthickness_um\nB01\t0\timages/a.ome.tif\t256\t20\n"
    )
    labels = Path("results/segmentation/B01/00000.tif")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    done = subprocess.run(
        [*command, "--cores", "1", str(labels)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    command_line.main(
        ["segmentation", "--sections", "config/sections.tsv", "--config", "config/config.yaml"]
        + ["--images", "images/a.ome.tif", "--labels", "hand/a.tif", "--table", "hand/a.parquet"]
    )
    for by_rule, by_hand in (
        (labels, Path("hand/a.tif")),
        (labels.with_suffix(".parquet"), Path("hand/a.parquet")),
    ):
        assert by_rule.read_bytes() == by_hand.read_bytes()
    record = read(labels)
    assert record["command"] == record["stage"] == "segmentation"
    assert record["params"] == config["segmentation"]
    assert record["inputs"]["images"] == [
        {"path": "images/a.ome.tif", "bytes": Path("images/a.ome.tif").stat().st_size}
    ]
    assert record["arguments"]["sections"]["rows"] == 1
