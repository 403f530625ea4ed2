from pathlib import Path

from cytopipe import logs, pretraining

logs.to(snakemake.log[0])
pretraining.run(
    patches=Path(snakemake.input.patches),
    geodesic=Path(snakemake.input.geodesic) if snakemake.input.geodesic else None,
    final=Path(snakemake.output.final),
    metrics=Path(snakemake.output.metrics),
    record=Path(snakemake.output.record),
    threads=snakemake.threads,
    params=pretraining.Params(**snakemake.params.pretraining),
)
