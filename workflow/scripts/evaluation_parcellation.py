from pathlib import Path

from cytopipe import evaluation, logs
from cytopipe.study.config import ParcellationTask

logs.to(snakemake.log[0])
files = snakemake.input
evaluation.run_parcellation(
    **{name: Path(files[name]) for name in ("points", "features", "rows")},
    **{
        name: Path(files[name]) if files[name] else None
        for name in ("annotated", "annotated_features", "annotated_rows")
    },
    scores=Path(snakemake.output.scores),
    html=Path(snakemake.output.html),
    png=Path(snakemake.output.png),
    run_name=snakemake.wildcards.run,
    params=ParcellationTask(**snakemake.params.evaluation),
)
