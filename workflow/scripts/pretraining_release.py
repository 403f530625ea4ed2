from pathlib import Path

from cytopipe import logs, pretraining

logs.to(snakemake.log[0])
pretraining.run_release(
    weights=Path(snakemake.input.weights),
    patches=Path(snakemake.input.patches),
    folder=Path(snakemake.output.weights).parent,
    roles=snakemake.params.roles,
    template=snakemake.params.template,
    licence="",
)
