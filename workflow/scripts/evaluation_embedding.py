from pathlib import Path

from cytopipe import evaluation, logs
from cytopipe.study.config import EmbeddingTask

logs.to(snakemake.log[0])
files = snakemake.input
evaluation.run_embedding(
    **{
        name: dict(zip(snakemake.params.roles, map(Path, files[name]), strict=True))
        for name in ("points", "backbone", "projected", "rows")
    },
    roles=snakemake.params.roles,
    scores=Path(snakemake.output.scores),
    html=Path(snakemake.output.html),
    png=Path(snakemake.output.png),
    run_name=snakemake.wildcards.run,
    params=EmbeddingTask(**snakemake.params.evaluation),
)
