"""Mistakes of a lab that look right: each is reported before any job runs, with what to do."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from empty_study import ROOT, count_jobs
from snakemake.exceptions import MissingInputException, WorkflowError

from cytopipe import __main__ as command_line
from cytopipe.formats import volumes
from cytopipe.formats.images import write_pyramid
from cytopipe.study import config as study_config
from cytopipe.study.consistency.template import RECORD

pytestmark = pytest.mark.slow

# every 140th section of 20 um is on a slide: 162 mm, as long as a human brain
NUMBERS = range(140, 140 * 59, 140)
PIXEL_UM = 1000
ROLES = {"A01": "seen", "A02": "unseen"}


class Lab:
    """A study in order, of two brains of 58 coarse scans."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = [
            [brain, number, f"images/{brain}_{number}.ome.tif", PIXEL_UM, 20]
            for brain in ROLES
            for number in NUMBERS
        ]
        self.roles = dict(ROLES)
        self.config: dict[str, Any] = study_config.merge(
            study_config.read(ROOT / "config" / "config.yaml"),
            {
                "study": {"chunk_span": 3360, "missing_exclusion": "go_on"},
                "template": {"name": "phantom"},
                "segmentation": {"spacing_um": PIXEL_UM},
                "alignment": {"spacing_um": PIXEL_UM, "texture_um": PIXEL_UM},
                "reconstruction": {"voxel_mm": 1.4, "max_gap_mm": 6.0},
                "pretraining": {"common": {"spacing_um": PIXEL_UM}},
                "features": {"profiles": {"spacing_um": PIXEL_UM}},
            },
        )

    def write(self) -> None:
        config = self.folder / "config"
        config.mkdir(exist_ok=True)
        head = "brain\tsection\timage\tspacing_um\tthickness_um\n"
        rows = ["\t".join(map(str, row)) + "\n" for row in self.rows]
        (config / "sections.tsv").write_text(head + "".join(rows))
        roles = "".join(f"{brain}\t{role}\n" for brain, role in self.roles.items())
        (config / "brains.tsv").write_text("brain\trole\n" + roles)
        (config / "config.yaml").write_text(yaml.safe_dump(self.config))

    def replace(self, column: int, value: Callable[[list[Any]], Any]) -> None:
        for row in self.rows:
            row[column] = value(row)


def make_files(folder: Path) -> None:
    """The scans and the template."""
    random = np.random.default_rng(5)
    (folder / "images").mkdir()
    for brain in ROLES:
        for number in NUMBERS:
            image = random.integers(80, 90, (110, 150)).astype(np.uint8)
            path = folder / "images" / f"{brain}_{number}.ome.tif"
            write_pyramid(image, path, PIXEL_UM, 2 * PIXEL_UM, tile=64)
    tissue = np.zeros((40, 60, 40), np.uint8)
    tissue[5:35, 3:57, 5:35] = 1
    tissue[8:32, 6:54, 8:32] = 2
    volume = volumes.Volume(tissue, volumes.regular_affine(3.0, np.full(3, -60.0)))
    volumes.write(volume, folder / "template" / "tissue.nii.gz", f"{RECORD}phantom")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    make_files(folder)
    return folder


@pytest.fixture
def lab(tmp_path: Path, files: Path) -> Lab:
    shutil.copytree(files, tmp_path / "study")
    return Lab(tmp_path / "study")


def thickness_in_mm(lab: Lab) -> None:
    lab.replace(4, lambda row: 0.02)


def thickness_in_nm(lab: Lab) -> None:
    lab.replace(4, lambda row: 20_000)


def thickness_of_200(lab: Lab) -> None:
    lab.replace(4, lambda row: 200)


def numbers_of_slides(lab: Lab) -> None:
    lab.replace(1, lambda row: row[1] // 140)


def same_paths(lab: Lab) -> None:
    lab.replace(2, lambda row: f"images/A01_{row[1]}.ome.tif")


def copies(lab: Lab) -> None:
    for number in NUMBERS:
        names = [f"images/{brain}_{number}.ome.tif" for brain in ROLES]
        shutil.copyfile(*(lab.folder / name for name in names))


def no_template(lab: Lab) -> None:
    (lab.folder / "template" / "tissue.nii.gz").unlink()


def template_of_another_name(lab: Lab) -> None:
    lab.config["template"]["name"] = "colin27"


def gap_below_the_spacing(lab: Lab) -> None:
    lab.config["reconstruction"]["max_gap_mm"] = 2.0


def misspelt_run(lab: Lab) -> None:
    lab.config["evaluation"]["tasks"]["layers"] = ["spatialnec"]


def nobody_to_train_on(lab: Lab) -> None:
    lab.roles = dict.fromkeys(ROLES, "unseen")


def moved_scans(lab: Lab) -> None:
    (lab.folder / "images").rename(lab.folder / "scans")


MISTAKES = {
    thickness_in_mm: "thickness of A01: 0.02 um; 20 um given in mm.*correct thickness_um",
    thickness_in_nm: "thickness of A01: 20000 um; 20 um given in nm.*correct thickness_um",
    thickness_of_200: "sections 140 to 8120 of 200 um are 1624 mm long; no brain is longer "
    "than 400 mm.*correct thickness_um",
    numbers_of_slides: "sections 1 to 58 of 20 um are 1.16 mm long.*may be those of slides",
    same_paths: r"shares scans with A01 \(58\), such.*training and in the test: remove one",
    copies: r"shares scans with A01 \(58\), such.*training and in the test: remove one",
    no_template: "template/tissue.nii.gz: not found.*cytopipe template",
    template_of_another_name: "was made as phantom, but template.name is colin27.*set template.na",
    gap_below_the_spacing: "are 2.8 mm apart; reconstruction.max_gap_mm is 2.*raise max_gap_mm",
    misspelt_run: "evaluation.tasks.layers names the run 'spatialnec'; there are spatialnce, untr",
    nobody_to_train_on: "network spatialnce .* has no brain to train on.*A01 unseen.*write seen",
    moved_scans: "images/A01_140.ome.tif",
}


def test_a_study_in_order_is_planned_and_checked(lab: Lab, capsys) -> None:
    lab.write()
    assert command_line.main(["check", "--study", str(lab.folder)]) == 0
    assert "in order; warnings: 0" in capsys.readouterr().out
    assert count_jobs(lab.folder)["segmentation"] == 6


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_is_reported_before_any_job(lab: Lab, capsys, caplog, mistake) -> None:
    mistake(lab)
    lab.write()
    with pytest.raises((WorkflowError, MissingInputException)) as stopped:  # by `snakemake -n`
        count_jobs(lab.folder)
    # the message of an exception that an input function raised is that of its cause
    said = f"{stopped.value} {stopped.value.__cause__ or ''} {caplog.text}"
    assert re.search(MISTAKES[mistake], said, re.DOTALL), said
    assert command_line.main(["check", "--study", str(lab.folder)]) == 1
    said = capsys.readouterr().out
    assert re.search(MISTAKES[mistake], said, re.DOTALL), said
    assert not (lab.folder / "results").exists()


def test_a_start_says_the_same_and_runs_no_job(lab: Lab) -> None:
    thickness_of_200(lab)
    nobody_to_train_on(lab)
    lab.write()
    command = [sys.executable, "-m", "snakemake", "--directory", str(lab.folder), "--cores", "1"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 1
    assert "no brain is longer than 400 mm" in run.stderr
    assert not (lab.folder / "results").exists()


def test_a_run_of_the_first_stages_is_only_warned_of_what_later_ones_lack(lab: Lab) -> None:
    nobody_to_train_on(lab)
    gap_below_the_spacing(lab)
    lab.write()
    command = [sys.executable, "-m", "snakemake", "--directory", str(lab.folder), "-n"]
    run = subprocess.run(
        [*command, "--until", "alignment"], cwd=ROOT, capture_output=True, text=True
    )
    said = run.stdout + run.stderr  # a dry run speaks on stdout
    assert run.returncode == 0, said
    assert "max_gap_mm is 2" in said and "has no brain to train on" in said
