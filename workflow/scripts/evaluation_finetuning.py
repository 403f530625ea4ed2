from pathlib import Path

from cytopipe import evaluation, logs
from cytopipe.study.config import FinetuningTask

logs.to(snakemake.log[0])
files = snakemake.input
evaluation.run_finetuning(
    patches=Path(files.patches),
    weights=Path(files.weights),
    atlas=[Path(path) for path in files.atlas],
    scores=Path(snakemake.output.scores),
    html=Path(snakemake.output.html),
    png=Path(snakemake.output.png),
    run_name=snakemake.wildcards.run,
    threads=snakemake.threads,
    params=FinetuningTask(**snakemake.params.evaluation),
)
