from pathlib import Path

from cytopipe import logs, reconstruction
from cytopipe.study.config import Reconstruction

logs.to(snakemake.log[0])
reconstruction.run_volume(
    brain=snakemake.wildcards.brain,
    labels=[Path(path) for path in snakemake.input.labels],
    tables=[Path(path) for path in snakemake.input.tables],
    stack=Path(snakemake.input.stack),
    given=[Path(path) for path in snakemake.input.given],
    volume=Path(snakemake.output.volume),
    repairs=Path(snakemake.output.repairs),
    workers=snakemake.threads,
    params=Reconstruction(**snakemake.params.reconstruction),
)
