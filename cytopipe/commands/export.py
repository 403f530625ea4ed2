"""`python -m cytopipe export`: write results of a study in the formats of other tools."""

import importlib
from pathlib import Path

from cytopipe import export, open_study
from cytopipe.commands.study_parser import number, study_parser, whole_number
from cytopipe.files import InputError, atomic_folder


def run(arguments: list[str]) -> int:
    """Write results of a study in the format of another tool, into a new folder."""
    formats = "\n".join(f"  {name:13}{meaning}" for name, meaning in export.FORMATS.items())
    parser = study_parser("export", run, f"\n\n{formats}")
    parser.add_argument("--format", required=True, choices=list(export.FORMATS))
    parser.add_argument("--brain", help="one brain; all of config/brains.tsv by default")
    parser.add_argument("--to", type=Path, required=True, help="folder to make")
    parser.add_argument(
        "--run", help="gifti: the run whose features and predicted areas to show on the surfaces"
    )
    parser.add_argument(
        "--components", type=whole_number, default=3, help="gifti: of the features; 3"
    )
    parser.add_argument(
        "--clusters", type=whole_number, default=12, help="gifti: of the features; 12"
    )
    parser.add_argument("--seed", type=whole_number, default=1, help="gifti: of the clusters; 1")
    parser.add_argument(
        "--reach-mm",
        type=number,
        help="gifti, nifti, bids: largest distance from a point to a vertex or voxel that gets its "
        "value; half the distance of sections plus 2 mm by default",
    )
    options = parser.parse_args(arguments)
    for name in ("components", "clusters", "reach_mm"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise InputError(f"--{name.replace('_', '-')} is {value}; give a number above 0")
    params = export.Params(
        options.run, options.components, options.clusters, options.seed, options.reach_mm
    )

    # imported here, so that `cytopipe --help` does not wait for nibabel and SimpleITK
    writer = importlib.import_module(f"cytopipe.export.{options.format}")
    study = open_study(options.study)
    if options.run is not None and options.run not in study.runs:
        others = f"use one of {', '.join(study.runs)}"
        remedy = others if study.runs else "run snakemake --until features"
        raise InputError(f"{options.study}: no features of the run {options.run!r}; {remedy}")
    brains = [study.brain(name) for name in ([options.brain] if options.brain else study.brains)]
    with atomic_folder(options.to, replace=False) as folder:
        writer.write(brains, folder, params)
    print(f"{options.to}: {', '.join(brain.name for brain in brains)} as {options.format}")
    return 0
