from pathlib import Path

from cytopipe import evaluation, logs
from cytopipe.formats.sections import Section
from cytopipe.study.config import ShortcutsTask

logs.to(snakemake.log[0])
files = snakemake.input
evaluation.run_shortcuts(
    **{
        name: dict(zip(snakemake.params.roles, map(Path, files[name]), strict=True))
        for name in ("points", "backbone", "projected", "rows")
    },
    roles=snakemake.params.roles,
    sections=[Section(**row) for row in snakemake.params.sections],
    segmentation=[Path(path) for path in files.segmentations],
    labels=[Path(path) for path in files.labels],
    weights=Path(files.weights),
    patch_px=snakemake.params.run["patch_px"],
    spacing_um=snakemake.params.run["spacing_um"],
    scores=Path(snakemake.output.scores),
    html=Path(snakemake.output.html),
    png=Path(snakemake.output.png),
    run_name=snakemake.wildcards.run,
    threads=snakemake.threads,
    params=ShortcutsTask(**snakemake.params.evaluation),
)
