"""A study with one brain per disturbance, and its run through Snakemake.

Disturbances of one kind that need the same config share a study, because a start of Snakemake
costs more than the segmentation of a few sections. Their brains share the anatomy: the seed decides
texture, stain, damage, place and noise of every section.
"""

import json
import os
import pickle
import shutil
import subprocess
import sys
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from cytopipe import logs, threads
from cytopipe.commands.phantom import write_config
from cytopipe.files import atomic_write
from cytopipe.formats import volumes
from cytopipe.phantom import VERSION
from cytopipe.phantom.brain import fill, make_brain
from cytopipe.phantom.study import make_template, write_brain
from cytopipe.study import config as study_config
from cytopipe.study.config import Phantom
from trust.disturbances import KINDS, Disturbance, Values

REPOSITORY = Path(__file__).parents[2]
# what the tests of a config value that concerns another stage would complain about
BASE = study_config.read(REPOSITORY / "config" / "presets" / "small.yaml")
# parameters that change the anatomy, and so need surfaces and depth of their own
_ANATOMY = ("surfaces", "geometry", "depth_voxel_mm", "template_voxel_mm", "bend_mm", "bend_scale")
_ANATOMY += ("bend_wavelengths_mm", "areas", "callosum_mm", "callosum_radius_mm", "image_right")
_SEED_OF_ANATOMY = 1


@dataclass(frozen=True)
class Panel:
    """The disturbances of one kind with one config, on one brain, with one seed.

    Attributes
    ----------
    folder : of the study.
    phantom : the `phantom` section of the brain's preset.
    """

    folder: Path
    kind: str
    phantom: Values
    seed: int
    disturbances: Sequence[Disturbance]

    @property
    def config(self) -> Values:
        """The study's config, as a change of the repository's."""
        base = {key: value for key, value in BASE.items() if key != "phantom"}
        base = study_config.merge(base, {"study": {"chunk_span": 100000, "truth": "truth"}})
        base = study_config.merge(base, KINDS[self.kind].config)
        if self.phantom.get("geometry", {}).get("deep_structures"):
            # nobody draws a mask here
            base = study_config.merge(base, {"study": {"missing_exclusion": "truth"}})
        return study_config.merge(base, self.disturbances[0].config)

    def params(self, disturbance: Disturbance) -> Phantom:
        """The phantom of a disturbance."""
        values = study_config.merge(self.phantom, KINDS[self.kind].phantom)
        values = study_config.merge(values, disturbance.phantom)
        values |= {"seed": self.seed, "brains": {disturbance.name: "seen"}}
        return Phantom(**values)


def panels(
    folder: Path, name: str, phantom: Values, seed: int, rows: Sequence[Disturbance]
) -> list[Panel]:
    """The studies that the rows of one brain and seed need."""
    groups: dict[tuple[str, str], list[Disturbance]] = {}
    for row in rows:
        groups.setdefault((row.kind, json.dumps(row.config, sort_keys=True)), []).append(row)
    found = []
    for (kind, config), members in groups.items():
        own = "" if config == "{}" else f"-{members[0].name}"
        found.append(Panel(folder / f"{kind}{own}-{name}-{seed}", kind, phantom, seed, members))
    return found


def make(panel: Panel, workers: int) -> None:
    """Make the study of a panel; brains that are there with the same parameters stay."""
    (panel.folder / "config").mkdir(parents=True, exist_ok=True)
    write_config(panel.folder, panel.config, "tests/trust")
    missing = [row for row in panel.disturbances if not _is_made(panel, row)]
    if workers > 1 and len(missing) > 1:
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            list(pool.map(partial(_make_brain, panel), missing))
    else:
        for row in missing:
            _make_brain(panel, row)
    params = panel.params(panel.disturbances[0])
    scale = {
        "truth_spacing_um": params.truth_spacing_um,
        "coordinates_spacing_um": params.coordinates_spacing_um,
    }
    _write(panel.folder / "truth" / "truth.yaml", yaml.safe_dump(scale))
    sheets = [
        pd.read_csv(panel.folder / "parts" / f"{row.name}.tsv", sep="\t")
        for row in panel.disturbances
    ]
    sheet = pd.concat(sheets)
    sheet["excluded"] = sheet.get("excluded", pd.Series(0, sheet.index)).fillna(0).astype(int)
    _write(panel.folder / "config" / "sections.tsv", sheet.to_csv(sep="\t", index=False))
    brains = "".join(f"{row.name}\tseen\n" for row in panel.disturbances)
    _write(panel.folder / "config" / "brains.tsv", f"brain\trole\n{brains}")


def _write(path: Path, text: str) -> None:
    """Write a file, unless it has this text: a newer file would rerun what depends on it."""
    if not path.exists() or path.read_text() != text:
        with atomic_write(path) as beside:
            beside.write_text(text)


def _record(panel: Panel, row: Disturbance) -> str:
    return yaml.safe_dump(panel.params(row).content())


def _is_made(panel: Panel, row: Disturbance) -> bool:
    record = panel.folder / "parts" / f"{row.name}.yaml"
    return record.exists() and record.read_text() == _record(panel, row)


def _make_brain(panel: Panel, row: Disturbance) -> None:
    logs.configure(None)
    threads.use(1)
    params = panel.params(row)
    template, brain, volumes_of_template = anatomy(panel.folder.parent, params)
    if panel.kind == "brain" and not (panel.folder / "template").exists():
        shutil.copytree(volumes_of_template, panel.folder / "template", dirs_exist_ok=True)
    brain = fill(
        row.name, brain.bend, brain.hemispheres, brain.tissue, brain.depth, params, brain.deep
    )
    sheet, _ = write_brain(panel.folder, template, brain)
    if panel.kind == "folds":
        path = panel.folder / "results" / "reconstruction" / row.name / "tissue.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        volumes.write(brain.tissue, path)
    _write(panel.folder / "parts" / f"{row.name}.tsv", sheet.to_csv(sep="\t", index=False))
    _write(panel.folder / "parts" / f"{row.name}.yaml", _record(panel, row))


def anatomy(folder: Path, params: Phantom) -> Any:
    """Template and brain with the anatomy of `params`, and the folder of the template's volumes.

    They are kept in `folder`: on true folds they take minutes.
    """
    values = params.content()
    key = {name: values[name] for name in _ANATOMY if name in values}
    key |= {"backwards": params.handling.backwards, "version": VERSION}
    digest = f"{zlib.crc32(json.dumps(key, sort_keys=True, default=str).encode()):08x}"
    path = folder / "anatomy" / f"{digest}.pickle"
    if not path.exists():
        logs.info(f"trust: anatomy {digest}, once")
        plain = params.model_copy(update={"seed": _SEED_OF_ANATOMY})
        template = make_template(path.with_suffix(".template"), plain)
        brain = make_brain("B01", template, plain)
        with atomic_write(path) as beside:
            beside.write_bytes(pickle.dumps((template, brain)))
    template, brain = pickle.loads(path.read_bytes())
    return template, brain, path.with_suffix(".template")


def targets(panel: Panel, row: Disturbance) -> list[str]:
    """The last results of a row, relative to the study."""
    brain = row.name
    return {
        "segmentation": [
            f"results/segmentation/{brain}/{chunk:05d}.parquet" for chunk in _chunks(panel, row)
        ],
        "alignment": [f"results/alignment/{brain}/stack.parquet"],
        "coordinates": [f"results/coordinates/{brain}/points.parquet"],
        "midsurface": [f"results/midsurface/{brain}/surfaces.parquet"],
    }[KINDS[panel.kind].until]


def _chunks(panel: Panel, row: Disturbance) -> list[int]:
    span = panel.config["study"]["chunk_span"]
    sheet = pd.read_csv(panel.folder / "parts" / f"{row.name}.tsv", sep="\t")
    return sorted({number // span * span for number in sheet["section"]})


def run(panel: Panel, cores: int) -> None:
    """Run the stages of all brains of a panel; a brain that fails stops none of the others."""
    wanted = [target for row in panel.disturbances for target in targets(panel, row)]
    only = ["--allowed-rules", "midsurface"] if panel.kind == "folds" else []
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile")]
    command += ["--directory", str(panel.folder), "--cores", str(cores), "--keep-going", "--quiet"]
    command += ["--rerun-incomplete", "--nolock", *only, "--", *wanted]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    subprocess.run(command, env=environment, check=False)
