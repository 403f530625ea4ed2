from pathlib import Path

from cytopipe import evaluation, logs
from cytopipe.study.config import AttentionTask

logs.to(snakemake.log[0])
files = snakemake.input
evaluation.run_attention(
    patches=Path(files.patches),
    weights=Path(files.weights),
    scores=Path(snakemake.output.scores),
    html=Path(snakemake.output.html),
    png=Path(snakemake.output.png),
    run_name=snakemake.wildcards.run,
    threads=snakemake.threads,
    params=AttentionTask(**snakemake.params.evaluation),
)
