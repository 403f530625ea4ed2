"""What Snakemake reruns after a correction, on a study that it ran itself.

The workflow is copied with scripts that only touch their outputs. Unlike with `--touch`, parameters
are then recorded as in a real run.
"""

import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from empty_study import ROOT, count_jobs
from test_workflow import write_study

from cytopipe.study.corrections import COLUMNS

pytestmark = pytest.mark.slow

STUB = """from pathlib import Path
for path in snakemake.output:
    Path(path).touch()
"""


class Study:
    def __init__(self, folder: Path) -> None:
        self.house, self.folder = folder / "house", folder / "study"
        self.folder.mkdir()
        for name in ("workflow", "config", "cytopipe"):
            shutil.copytree(ROOT / name, self.house / name)
        shutil.copy(ROOT / "Snakefile", self.house)
        for script in (self.house / "workflow" / "scripts").glob("*.py"):
            script.write_text(STUB)
        write_study(self.folder, {"B01": "seen", "B02": "unseen"})
        self.row = self.folder / "manual" / "B01" / "sections.tsv"
        self.row.parent.mkdir(parents=True)

    def run(self) -> None:
        command = [sys.executable, "-m", "snakemake", "--directory", str(self.folder)]
        command += ["--cores", "2", "--quiet", "all", "--until", "midline"]
        run = subprocess.run(command, cwd=self.house, capture_output=True, text=True)
        assert run.returncode == 0, run.stdout + run.stderr

    def planned(self) -> Counter[str]:
        return count_jobs(self.folder, self.house, until=["midline"])


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = Study(tmp_path_factory.mktemp("ran"))
    study.run()
    return study


@pytest.mark.parametrize(
    ("row", "pairs"),
    [
        ("480\tyes", 1),
        ("480\t\tyes", 1),
        ("495\t\t\tstack\t0.1\t5\t5", 1),
        ("0\tyes", 2),  # near the border, so a pair of the next chunk has it
        ("480\t\t\t\t\t\t\ta note", 0),
    ],
)
def test_a_corrected_row_reruns_its_pairs_and_the_later_stages(
    study: Study, row: str, pairs: int
) -> None:
    study.row.write_text("\t".join(COLUMNS) + f"\n{row}\n")
    try:
        jobs = study.planned()
    finally:
        study.row.unlink()
    assert jobs["alignment_pairs"] == pairs
    after = min(pairs, 1)
    assert jobs["alignment"] == jobs["reconstruction"] == jobs["midsurface"] == after
    assert jobs["midline"] == 2 * after
    assert jobs["segmentation"] == jobs["pyramids"] == 0


def test_a_mask_reruns_the_stages_from_the_reconstruction_on(study: Study) -> None:
    """The sections are not stacked again, and the other brain is left alone."""
    mask = study.row.with_name("exclusion.seg.nrrd")
    mask.touch()
    try:
        jobs = study.planned()
    finally:
        mask.unlink()
    assert jobs == Counter(reconstruction=1, midsurface=1, midline=2)
