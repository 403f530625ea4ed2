"""`python -m cytopipe init STUDY --images DIR`: make a study from the scans of a brain."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cytopipe.commands import add_brain, template
from cytopipe.commands.add_brain import ScanRow
from cytopipe.files import InputError, atomic_folder
from cytopipe.formats import volumes
from cytopipe.formats.images import open_pyramid
from cytopipe.study import config as study_config
from cytopipe.study import scans
from cytopipe.study.config.deriving import LARGE_MM, Derived, Stack, changed, derive
from cytopipe.study.consistency.template import RECORD

_LOOKED_AT = 5  # sections around the middle whose tissue is measured
_OVERVIEW_PX = 1000  # the longer side of what is looked at
_ABOUT = """The config of this study: every value of the workflow, one section per stage. A value
that differs from that of a human brain at 1 um per pixel has a line above it that says why."""


def run(arguments: list[str]) -> int:
    """Make a study from the scans of a brain: its config, its tables and a template.

    The config fits the distance of the sections, the size of pixels and the size of the brain. It
    has no networks: the study ends with points and pages. Add other brains with `add-brain`.
    """
    parser = argparse.ArgumentParser("cytopipe init", description=run.__doc__)
    parser.add_argument("study", type=Path, help="the folder of the new study")
    parser.add_argument("--brain", help="its name; by default that of the folder of scans")
    add_brain.add_options(parser)
    parser.add_argument(
        "--template",
        choices=("icbm152_2009a", "none"),
        help="none: the study ends with points in the brain's own space; by default icbm152_2009a "
        "for brains as large as a human's",
    )
    parser.add_argument(
        "--width-mm",
        type=float,
        help="of a whole brain of this species, if the sections show a part of it; by default the "
        "width of the tissue",
    )
    options = parser.parse_args(arguments)
    if (options.study / "config").exists():
        raise InputError(
            f"{options.study} is a study already; add a brain to it: cytopipe add-brain NAME "
            f"--study {options.study} --images DIR"
        )
    brain = options.brain or _name_of(options.bids or options.images)
    add_brain.check_new(options.study, brain)
    rows = add_brain.listed(options, brain)
    if options.width_mm is not None and not 0 < options.width_mm < float("inf"):
        raise InputError(f"--width-mm {options.width_mm:g}: give a positive number of mm")
    stack = stack_of(rows, options.width_mm)
    name = options.template or ("icbm152_2009a" if stack.width_mm >= LARGE_MM else "none")
    config, values = config_of(stack, name)
    _tell(stack, name, values)
    if options.dry_run:
        print("nothing was written (--dry-run)")
        return 0
    options.study.mkdir(parents=True, exist_ok=True)
    if name != "none" and not (options.study / "template").exists():
        with atomic_folder(options.study / "template", replace=False) as folder:
            volumes.write(template.tissue_of(name), folder / "tissue.nii.gz", f"{RECORD}{name}")
    reasons = {value.path: value.why for value in values}
    with atomic_folder(options.study / "config", replace=False) as folder:
        (folder / "config.yaml").write_text(study_config.commented(config, reasons, _ABOUT))
        cells = add_brain.cells_of(options.study, brain, rows, options.background)
        add_brain.write(folder, brain, options.role, cells, known=False)
    print(
        f"wrote {options.study / 'config'}\nnext: cytopipe check --study {options.study}\n"
        "the run will stop once, for a mask of what is not cortex (study.missing_exclusion)"
    )
    return 0


def stack_of(rows: Sequence[ScanRow], width_mm: float | None = None) -> Stack:
    """What the scans of a brain say of it.

    Parameters
    ----------
    width_mm : of a whole brain; by default that of the tissue.

    Raises
    ------
    InputError
        If there are too few sections, or none in the middle shows tissue.
    """
    numbers = [row.scan.section for row in rows]
    step = scans.step_of(numbers)
    if not step:
        raise InputError(f"{rows[0].scan.path.parent}: has one section; a study needs a stack")
    thickness_mm = float(np.median([row.thickness_um for row in rows])) / 1000
    return Stack(
        spacing_um=min(row.spacing_um for row in rows),
        step=step,
        section_mm=step * thickness_mm,
        length_mm=(max(numbers) - min(numbers) + step) * thickness_mm,
        width_mm=width_mm or _width_mm(rows),
    )


def _width_mm(rows: Sequence[ScanRow]) -> float:
    """Median width of what stands out from the slide in sections around the middle."""
    readable = [row for row in rows if row.examination is not None]
    start = max(0, (len(readable) - _LOOKED_AT) // 2)
    widths = [_tissue_mm(row) for row in readable[start : start + _LOOKED_AT]]
    return float(np.median(widths))


def _tissue_mm(row: ScanRow) -> float:
    """Width of the tissue in a scan, without the outermost hundredth on each side."""
    from skimage.filters import threshold_otsu

    assert row.examination is not None
    full = row.examination.levels[0]
    overview_um = row.spacing_um * max(full.width, full.height) / _OVERVIEW_PX
    with open_pyramid(row.scan.path, row.spacing_um) as pyramid:
        image = pyramid.read_at(max(overview_um, row.spacing_um))
    dark = image <= threshold_otsu(image)
    # what covers less of the scan is tissue, whether it is darker than the slide or not
    columns = (dark if dark.mean() < 0.5 else ~dark).sum(axis=0).cumsum()
    first, last = np.searchsorted(columns, np.array([0.01, 0.99]) * columns[-1])
    return float(last - first + 1) * max(overview_um, row.spacing_um) / 1000


def config_of(stack: Stack, template_name: str) -> tuple[dict[str, Any], list[Derived]]:
    """The config of a study without networks, and its values that differ from config.yaml."""
    defaults = study_config.read(study_config.DEFAULTS)
    values = derive(stack, defaults)
    config = changed(defaults, values)
    tissue = None if template_name == "none" else config["template"]["tissue"]
    config["template"] = {**config["template"], "name": template_name, "tissue": tissue}
    config["pretraining"] = {**config["pretraining"], "runs": {}}
    study_config.check(config)
    return config, values


def _tell(stack: Stack, template_name: str, values: Sequence[Derived]) -> None:
    size = (
        "the values for a human brain fit"
        if stack.extents == 1
        else f"{stack.extents:.2g} of a human's; if this is a part of a brain, give --width-mm"
    )
    print(
        f"  stack       {stack.length_mm:.4g} mm, sections {stack.section_mm:.4g} mm apart\n"
        f"  width       {stack.width_mm:.3g} mm in the middle: {size}\n"
        f"  template    {template_name}\n"
        "  left, right the right of an image is the brain's right (study.image_right: R), unless "
        "a section is mirrored; correct it if your scans differ"
    )
    print(f"  config      {len(values)} values differ from those of a human brain at 1 um:")
    for value in values:
        print(f"    {'.'.join(value.path)}: {value.value:g} ({value.why})")


def _name_of(folder: Path) -> str:
    """The name of a folder as the name of a brain."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", folder.resolve().name).strip("-") or "brain"
