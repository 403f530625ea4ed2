"""`python -m cytopipe export`: results of a study in the formats of other tools."""

import importlib
from pathlib import Path
from typing import Any

from cytopipe import export
from cytopipe.commands.study_parser import study_parser
from cytopipe.files import InputError
from cytopipe.study import config as study_config
from cytopipe.study.sections import Section, chunk_of, read_brains, read_sections


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
    parser.add_argument("--components", type=int, default=3, help="gifti: of the features; 3")
    parser.add_argument("--clusters", type=int, default=12, help="gifti: of the features; 12")
    parser.add_argument("--seed", type=int, default=1, help="gifti: of the clusters; 1")
    parser.add_argument(
        "--reach-mm",
        type=float,
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

    # here, so that `cytopipe --help` does not wait for nibabel and SimpleITK
    from cytopipe.export.folder import whole_folder

    writer = importlib.import_module(f"cytopipe.export.{options.format}")
    brains = brains_of(options.study, options.brain, options.run)
    with whole_folder(options.to) as folder:
        writer.write(brains, folder, params)
    print(f"{options.to}: {', '.join(brain.name for brain in brains)} as {options.format}")
    return 0


def brains_of(study: Path, only: str | None, run_name: str | None) -> list[Any]:
    """The brains of a study, or one of them, with the paths of their results.

    Raises
    ------
    InputError
        If the study's tables or config are wrong, or it has no such brain or run.
    """
    from cytopipe.export.brain import Brain
    from cytopipe.formats.atlas import read_names

    config = study_config.read(study / "config" / "config.yaml")
    roles = read_brains(study / "config" / "brains.tsv")
    sections = read_sections(study / "config" / "sections.tsv", brains=list(roles))
    if only is not None and only not in roles:
        raise InputError(
            f"{study}/config/brains.tsv: has no brain {only!r}; use one of {', '.join(roles)}"
        )
    features = study / "results" / "features"
    if run_name is not None and not (features / run_name).is_dir():
        runs = sorted(path.name for path in features.glob("*") if path.is_dir())
        raise InputError(
            f"no features of the run {run_name!r} ({features / run_name}); "
            + (f"use one of {', '.join(runs)}" if runs else "run snakemake --until features")
        )
    template = config["template"]
    area_table = study / template["areas"] if template["areas"] else None
    return [
        Brain(
            name=name,
            template=template["name"],
            image_right=config["study"]["image_right"],
            sections=tuple(section for section in sections if section.brain == name),
            template_tissue=study / template["tissue"],
            area_names=read_names(area_table) if area_table else (),
            files=_files(study, name, sections, config, run_name),
        )
        for name in ([only] if only is not None else roles)
    ]


def _files(
    study: Path, brain: str, sections: list[Section], config: dict[str, Any], run_name: str | None
) -> Any:
    from cytopipe.export.brain import HEMISPHERES, Files

    results = study / "results"
    midsurface = results / "midsurface" / brain
    segmentation = results / "segmentation" / brain
    coordinates = results / "coordinates" / brain
    span = config["study"]["chunk_span"]
    chunks = sorted({chunk_of(s.section, span) for s in sections if s.brain == brain})
    name = config["template"]["name"]
    of_run = results / "features" / run_name if run_name is not None else None
    areas = results / "evaluation" / "areas" / run_name if run_name is not None else None
    return Files(
        points=coordinates / "points.parquet",
        stack=results / "alignment" / brain / "stack.parquet",
        tissue=results / "reconstruction" / brain / "tissue.nii.gz",
        depth=midsurface / "depth.nii.gz",
        hemispheres=midsurface / "hemispheres.nii.gz",
        transform=coordinates / f"to-{name}.h5",
        affine=coordinates / f"affine-to-{name}.h5",
        surfaces={h: midsurface / f"hemi-{h}_mid.surf.gii" for h in HEMISPHERES},
        thickness={h: midsurface / f"hemi-{h}_thickness.shape.gii" for h in HEMISPHERES},
        curvature={h: midsurface / f"hemi-{h}_curvature.shape.gii" for h in HEMISPHERES},
        chunks=tuple(
            (segmentation / f"{chunk}.tif", segmentation / f"{chunk}.parquet") for chunk in chunks
        ),
        features=of_run / f"{brain}.npy" if of_run else None,
        rows=of_run / f"{brain}.parquet" if of_run else None,
        predictions=areas / "predictions.parquet" if areas else None,
    )
