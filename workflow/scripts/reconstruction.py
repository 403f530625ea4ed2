from pathlib import Path

from cytopipe import logs, reconstruction

logs.to(snakemake.log[0])
exclusion = snakemake.input.get("exclusion")
reconstruction.run(
    brain=snakemake.wildcards.brain,
    labels=[Path(path) for path in snakemake.input.labels],
    tables=[Path(path) for path in snakemake.input.tables],
    stack=Path(snakemake.input.stack),
    exclusion=Path(str(exclusion)) if exclusion else None,
    tissue=Path(snakemake.output.tissue),
    repairs=Path(snakemake.output.repairs),
    params=reconstruction.Params(**snakemake.params.reconstruction),
)
