from pathlib import Path

from cytopipe import evaluation, logs
from cytopipe.study.config import CoordinatesTask

logs.to(snakemake.log[0])
files = snakemake.input
evaluation.run_coordinates(
    **{
        name: dict(zip(snakemake.params.brains, map(Path, files[name]), strict=True))
        for name in ("points", "features", "rows")
    },
    scores=Path(snakemake.output.scores),
    html=Path(snakemake.output.html),
    png=Path(snakemake.output.png),
    run_name=snakemake.wildcards.run,
    params=CoordinatesTask(**snakemake.params.evaluation),
)
