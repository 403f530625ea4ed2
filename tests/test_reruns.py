"""What reruns after a change: every row of docs/reruns.md, on a finished study of empty files."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import empty_study
import pytest
import yaml
from empty_study import ATLAS, DEFAULTS, ROOT

from cytopipe.__main__ import STAGES
from cytopipe.study import config as study_config

PAGE = (ROOT / "docs" / "reruns.md").read_text()
ROLES = {"B01": "seen", "B02": "transfer", "B03": "unseen"}
NUMBERS = (0, 15, 480, 495, 960, 975)
SCAN = ("B01", 480)  # no pyramid yet
CONFIG = {
    **ATLAS,
    "study": {"annotations": "annotations", "audit": True},
    "patches": {
        "datasets": {
            "annotated": DEFAULTS["patches"]["datasets"]["areas"] | {"source": "annotations"}
        }
    },
    "evaluation": {"tasks": {"embedding": []}, "parcellation": {"annotated": "annotated"}},
}


class Study:
    """A finished study, and what a person does to it."""

    def __init__(self, folder: Path, house: Path) -> None:
        self.folder, self.house = folder, house
        self.ancient: Mapping[str, set[str]] = {}

    def save(self, name: str, content: str = "new") -> None:
        """A file as a person writes it now, with another content than the empty file before."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)

    def remove(self, name: str) -> None:
        (self.folder / name).unlink()

    def edit(self, name: str, old: str, new: str) -> None:
        text = (self.folder / name).read_text()
        assert text.count(old) == 1, (name, old)
        self.save(name, text.replace(old, new))

    def configure(self, **changes: Any) -> None:
        """Values of config.yaml."""
        path = self.folder / "config" / "config.yaml"
        self.save(
            "config/config.yaml",
            yaml.safe_dump(study_config.merge(study_config.read(path), changes)),
        )

    def add_section(self, brain: str, number: int) -> None:
        image = f"images/{brain}_{number}.ome.tif"
        self.save(image)
        rows = (self.folder / "config" / "sections.tsv").read_text()
        self.save("config/sections.tsv", f"{rows}{brain}\t{number}\t{image}\t1\t20\n")

    def add_brain(self, brain: str, role: str) -> None:
        roles = (self.folder / "config" / "brains.tsv").read_text()
        self.save("config/brains.tsv", f"{roles}{brain}\t{role}\n")
        for number in NUMBERS:
            self.add_section(brain, number)

    def mark(self, brain: str, number: int, column: str) -> None:
        """A yes in a column of sections.tsv that is empty in all other rows."""
        header, *rows = (self.folder / "config" / "sections.tsv").read_text().splitlines()
        key = f"{brain}\t{number}\t"
        marked = [f"{row}\t{'yes' if row.startswith(key) else ''}" for row in rows]
        self.save("config/sections.tsv", "\n".join([f"{header}\t{column}", *marked]) + "\n")

    def freeze(self) -> "Study":
        """`--consider-ancient pretraining=patches pretraining_release=patches`."""
        self.ancient = {"pretraining": {"patches"}, "pretraining_release": {"patches"}}
        return self

    def raise_version(self, stage: str) -> None:
        """VERSION of a stage, in a copy of the workflow."""
        self.house = Path(shutil.copytree(self.house, self.folder.parent / "house"))
        path = self.house / "cytopipe" / f"{stage}.py"
        if not path.exists():
            path = self.house / "cytopipe" / stage / "__init__.py"
        text, count = re.subn(r"^VERSION = ", "VERSION = 9", path.read_text(), flags=re.MULTILINE)
        assert count == 1, path
        path.write_text(text)

    def touch_script(self, name: str) -> None:
        self.house = Path(shutil.copytree(self.house, self.folder.parent / "house"))
        (self.house / "workflow" / "scripts" / name).touch()

    def dry_run(self) -> empty_study.Plan:
        return empty_study.dry_run(self.folder, self.house, self.ancient)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the workflow, in which a VERSION can be raised."""
    house = tmp_path_factory.mktemp("house")
    for name in ("workflow", "cytopipe"):
        shutil.copytree(ROOT / name, house / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "Snakefile", house)
    return house


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, house: Path) -> Path:
    study = empty_study.write(
        tmp_path_factory.mktemp("finished"), ROLES, NUMBERS, CONFIG, scans=[SCAN]
    )
    for name in ("areas/B01/00015.geojson", "layers/layers.tsv", "layers/a.tif"):
        empty_study.lay_down(study / "annotations" / name)
    empty_study.finish(study, house)
    return study


@pytest.fixture
def study(finished: Path, house: Path, tmp_path: Path) -> Study:
    """A copy of the finished study, which a test may change."""
    return Study(shutil.copytree(finished, tmp_path / "study"), house)


# what docs/reruns.md says in its first column -> how it is done
CHANGES: dict[str, Callable[[Study], object]] = {
    "nothing": lambda study: None,
    # inputs
    "an image, images/B03_480.ome.tif": lambda study: study.save("images/B03_480.ome.tif"),
    "a scan without levels, images/B01_480.png": lambda study: study.save("images/B01_480.png"),
    "a file below 1 MB is rewritten with the same content": lambda study: study.save(
        "images/B03_480.ome.tif", ""
    ),
    "mirrored in sections.tsv, B03 15": lambda study: study.mark("B03", 15, "mirrored"),
    "the same for a scan without levels, B01 480": lambda study: study.mark("B01", 480, "mirrored"),
    "excluded in sections.tsv, B03 15": lambda study: study.mark("B03", 15, "excluded"),
    "notes in sections.tsv, B03 15": lambda study: study.mark("B03", 15, "notes"),
    "a new section in an existing chunk, B03 510": lambda study: study.add_section("B03", 510),
    "a new section in a new chunk, B03 1440": lambda study: study.add_section("B03", 1440),
    "manual/B03/segmentation/00480.tif": lambda study: study.save(
        "manual/B03/segmentation/00480.tif"
    ),
    "excluded in manual/B03/sections.tsv, 15": lambda study: study.save(
        "manual/B03/sections.tsv", "section\texcluded\n15\tyes\n"
    ),
    "a placement in manual/B03/sections.tsv, 975": lambda study: study.save(
        "manual/B03/sections.tsv",
        "section\tonto\tangle_rad\tx_um\ty_um\n975\tstack\t0.1\t5\t5\n",
    ),
    "manual/B03/exclusion.nii.gz": lambda study: study.save("manual/B03/exclusion.nii.gz"),
    "manual/B03/tissue.nii.gz": lambda study: study.save("manual/B03/tissue.nii.gz"),
    "manual/B03/hemi-L_mid.surf.gii": lambda study: study.save("manual/B03/hemi-L_mid.surf.gii"),
    "manual/B03/hemi-R_white.obj": lambda study: study.save("manual/B03/hemi-R_white.obj"),
    "manual/B03/to-colin27.h5": lambda study: study.save("manual/B03/to-colin27.h5"),
    "manual/B03/transforms.tsv and a file that it lists": lambda study: (
        study.save("manual/B03/m.txt"),
        study.save(
            "manual/B03/transforms.tsv",
            "from\tto\tfile\ttype\tmoves\tframe\nstack\tcolin27\tm.txt\tmatrix\tpoints\tRAS\n",
        ),
    ),
    "an atlas, template.atlas or .areas": lambda study: study.save("template/atlas.nii.gz"),
    "the template, template.tissue": lambda study: study.save("template/tissue.nii.gz"),
    "an outlined area, areas/B01/00015.geojson": lambda study: study.save(
        "annotations/areas/B01/00015.geojson"
    ),
    "a patch with annotated layers, layers/a.tif": lambda study: study.save(
        "annotations/layers/a.tif"
    ),
    # brains and roles
    "a new brain B21, unseen": lambda study: study.add_brain("B21", "unseen"),
    "a new brain B21, seen": lambda study: study.add_brain("B21", "seen"),
    "a new brain B21, seen; the networks are frozen": lambda study: study.freeze().add_brain(
        "B21", "seen"
    ),
    "mirrored in sections.tsv, B01 15; the networks are frozen": lambda study: study.freeze().mark(
        "B01", 15, "mirrored"
    ),
    "the role of B02 changes from transfer to seen": lambda study: study.edit(
        "config/brains.tsv", "transfer", "seen"
    ),
    "the role of B03 changes from unseen to seen": lambda study: study.edit(
        "config/brains.tsv", "unseen", "seen"
    ),
    # config
    "a value of pyramids": lambda study: study.configure(pyramids={"tile": 256}),
    "a value of segmentation": lambda study: study.configure(segmentation={"iterations": 36}),
    "a value of alignment": lambda study: study.configure(alignment={"trials": 2001}),
    "a value of audit": lambda study: study.configure(audit={"min_confidence": 0.8}),
    "a value of reconstruction": lambda study: study.configure(reconstruction={"max_gap_mm": 99.0}),
    "a value of midsurface": lambda study: study.configure(midsurface={"edge_mm": 0.4}),
    "a value of midline": lambda study: study.configure(midline={"max_move_mm": 1.0}),
    "a value of coordinates": lambda study: study.configure(coordinates={"seed": 2}),
    "patches.datasets.pretrain": lambda study: study.configure(
        patches={"datasets": {"pretrain": {"seed": 2}}}
    ),
    "patches.datasets.areas": lambda study: study.configure(
        patches={"datasets": {"areas": {"seed": 2}}}
    ),
    "patches.layers": lambda study: study.configure(patches={"layers": {"seed": 2}}),
    "pretraining.common": lambda study: study.configure(pretraining={"common": {"sigma_mm": 5.0}}),
    "pretraining.runs.spatialnce": lambda study: study.configure(
        pretraining={"runs": {"spatialnce": {"epochs": 9}}}
    ),
    "a new training run, the transformer vit": lambda study: study.configure(
        pretraining={"runs": {"vit": {"architecture": "r50_vit"}}}
    ),
    "a new training run that continues, warm with start: spatialnce": lambda study: study.configure(
        pretraining={"runs": {"warm": {"start": "spatialnce"}}}
    ),
    "features.network": lambda study: study.configure(features={"network": {"batch_size": 32}}),
    "features.views, count: 2": lambda study: study.configure(features={"views": {"count": 2}}),
    "features.profiles": lambda study: study.configure(features={"profiles": {"samples": 16}}),
    "a value of one task, evaluation.retrieval": lambda study: study.configure(
        evaluation={"retrieval": {"shown": 3}}
    ),
    "the settings of one run, evaluation.areas.runs.spatialnce": lambda study: study.configure(
        evaluation={"areas": {"runs": {"spatialnce": {"optimiser": {"name": "adamw"}}}}}
    ),
    "a task is switched on, evaluation.tasks.embedding: all": lambda study: study.configure(
        evaluation={"tasks": {"embedding": "all"}}
    ),
    "a value of mapping": lambda study: study.configure(mapping={"smoothing_mm": 3.0}),
    "a value of report": lambda study: study.configure(report={"jpeg_quality": 70}),
    "study.image_right": lambda study: study.configure(study={"image_right": "L"}),
    "study.chunk_span": lambda study: study.configure(study={"chunk_span": 990}),
    # code
    **{f"VERSION of {stage}": partial(Study.raise_version, stage=stage) for stage in STAGES},
    "the script of all rules, workflow/scripts/run_stage.py": lambda study: study.touch_script(
        "run_stage.py"
    ),
    # results
    "results/report/index.html is deleted": lambda study: study.remove("results/report/index.html"),
    "results/report/B03/, the folder of a page, is deleted": lambda study: shutil.rmtree(
        study.folder / "results/report/B03"
    ),
    "results/evaluation/areas/spatialnce/figures.html is deleted": lambda study: study.remove(
        "results/evaluation/areas/spatialnce/figures.html"
    ),
    "results/pretraining/spatialnce/model/ is deleted": lambda study: shutil.rmtree(
        study.folder / "results/pretraining/spatialnce/model"
    ),
    "results/features/spatialnce/B03.npy is deleted": lambda study: study.remove(
        "results/features/spatialnce/B03.npy"
    ),
    "the same, and a value of evaluation.retrieval": lambda study: (
        study.remove("results/features/spatialnce/B03.npy"),
        study.configure(evaluation={"retrieval": {"shown": 3}}),
    ),
}


def table_under(heading: str) -> dict[str, str]:
    """First column of a table of the page, without its backticks -> second column."""
    _, _, after = PAGE.partition(f"| {heading} |")
    rows = re.match(r"[^\n]*\n\|[-|]+\|\n((?:\|.*\n)+)", after)
    assert rows is not None, f"docs/reruns.md has no table {heading}"
    cells = [[cell.strip() for cell in row.split("|")[1:3]] for row in rows[1].splitlines()]
    # a row of one cell is a heading
    return {first.replace("`", ""): second for first, second in cells if second}


NAMES = {name.removesuffix(" B01"): jobs for name, jobs in table_under("name").items()}
ROWS = table_under("what changed")


def patterns(text: str) -> list[str]:
    """Jobs in backticks and those of names in bold; in the table of names B01 stands for any."""
    found = []
    for name, brain, job in re.findall(r"(\*\*[^*]+\*\*)(?: (B\d+|all|\*))?|`([^`]+)`", text):
        of_name = NAMES[name].replace("B01", "*" if brain == "all" else brain) if name else ""
        found += [job] if job else patterns(of_name)
    return found


def those_like(jobs: set[str], wanted: list[str]) -> set[str]:
    return {job for job in jobs if any(fnmatchcase(job, pattern) for pattern in wanted)}


def test_every_row_is_tried_and_every_change_has_a_row() -> None:
    assert list(ROWS) == list(CHANGES)


@pytest.mark.slow
@pytest.mark.parametrize("change", ROWS)
def test_a_dry_run_lists_what_the_page_says(study: Study, change: str) -> None:
    CHANGES[change](study)
    plan = study.dry_run()
    run, _, kept = ROWS[change].partition(" but not ")
    for pattern in patterns(run):
        assert those_like(plan.every, [pattern]), f"{pattern}: no such job"
    expected = those_like(plan.every, patterns(run)) - those_like(plan.every, patterns(kept))
    assert plan.listed == expected


@pytest.mark.slow
def test_the_command_lists_the_same(study: Study) -> None:
    """What the tests above take from Snakemake's objects, `snakemake -n` prints."""
    study.add_brain("B21", "unseen")
    command = [sys.executable, "-m", "snakemake", "-n", "--directory", str(study.folder)]
    run = subprocess.run(command, cwd=study.house, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    printed = {
        " ".join([rule, *re.findall(r"=([^,\n]+)", wildcards)])
        for rule, wildcards in re.findall(
            r"^(?:local)?rule (\w+):\n(?: {4}(?!wildcards).*\n)*(?: {4}wildcards: (.*)\n)?",
            run.stdout + run.stderr,
            re.MULTILINE,
        )
    }
    assert printed == study.dry_run().listed
