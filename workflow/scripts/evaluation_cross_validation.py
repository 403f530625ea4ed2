from pathlib import Path

from cytopipe import evaluation, logs
from cytopipe.study.config import AreasTask

logs.to(snakemake.log[0])
files = snakemake.input
evaluation.run_cross_validation(
    patches=dict(zip(snakemake.params.brains, map(Path, files.patches), strict=True)),
    features=[Path(path) for path in files.features],
    rows=[Path(path) for path in files.rows],
    scores=Path(snakemake.output.scores),
    html=Path(snakemake.output.html),
    png=Path(snakemake.output.png),
    run_name=snakemake.wildcards.run,
    threads=snakemake.threads,
    params=AreasTask(**snakemake.params.evaluation),
)
