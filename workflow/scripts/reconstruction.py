from pathlib import Path

from cytopipe import logs, reconstruction
from cytopipe.study.config import Reconstruction

logs.to(snakemake.log[0])
reconstruction.run(
    brain=snakemake.wildcards.brain,
    volume=Path(snakemake.input.volume),
    volume_repairs=Path(snakemake.input.volume_repairs),
    exclusion=[Path(path) for path in snakemake.input.exclusion],
    missing_exclusion=snakemake.params.missing_exclusion,
    tissue=Path(snakemake.output.tissue),
    repairs=Path(snakemake.output.repairs),
    params=Reconstruction(**snakemake.params.reconstruction),
)
