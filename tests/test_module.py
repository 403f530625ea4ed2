"""Another Snakemake workflow can use this one as a module."""

import re
import subprocess
import sys
from pathlib import Path

import empty_study
import pytest
from empty_study import ROOT

from cytopipe import rule_job


@pytest.mark.slow
def test_another_workflow_can_use_this_one_as_a_module(tmp_path: Path) -> None:
    """As `snakedeploy` writes it; the rules get a prefix."""
    study = empty_study.write(tmp_path, {"B01": "seen"}, (0, 15, 480, 495))
    (study / "workflow").mkdir()
    (study / "workflow" / "Snakefile").write_text(
        'configfile: "config/config.yaml"\n'
        f'module cytopipe:\n    snakefile: "{ROOT}/Snakefile"\n    config: config\n'
        "use rule * from cytopipe as brains_*\n"
        "rule all:\n    default_target: True\n    input: rules.brains_all.input\n"
    )
    command = [sys.executable, "-m", "snakemake", "-n", "--directory", str(study)]
    done = subprocess.run(
        [*command, "--snakefile", str(study / "workflow" / "Snakefile")],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert re.search(r"brains_segmentation +2\n", done.stdout)
    assert rule_job.plain("brains_alignment_pairs") == "alignment_pairs"
    assert rule_job.plain("alignment") == "alignment"
    with pytest.raises(ValueError, match="is named after no stage"):
        rule_job.plain("brains_unknown")
