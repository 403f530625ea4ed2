from pathlib import Path

from cytopipe import evaluation, logs

logs.to(snakemake.log[0])
evaluation.run_areas(
    patches=Path(snakemake.input.patches),
    features=dict(zip(snakemake.params.brains, map(Path, snakemake.input.features), strict=True)),
    rows=dict(zip(snakemake.params.brains, map(Path, snakemake.input.rows), strict=True)),
    scores=Path(snakemake.output.scores),
    run_name=snakemake.wildcards.run,
    threads=snakemake.threads,
    params=evaluation.AreaParams(**snakemake.params.areas),
)
