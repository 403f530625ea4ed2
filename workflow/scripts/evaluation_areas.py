from pathlib import Path

from cytopipe import evaluation, logs
from cytopipe.study.config import AreasTask

logs.to(snakemake.log[0])
files = snakemake.input
evaluation.run_areas(
    patches=Path(files.patches),
    **{
        name: [Path(path) for path in files[name]]
        for name in ("features", "projected", "rows", "weights", "atlas")
    },
    scores=Path(snakemake.output.scores),
    predictions=Path(snakemake.output.predictions),
    html=Path(snakemake.output.html),
    png=Path(snakemake.output.png),
    run_name=snakemake.wildcards.run,
    threads=snakemake.threads,
    params=AreasTask(**snakemake.params.evaluation),
)
