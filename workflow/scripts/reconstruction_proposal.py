from pathlib import Path

from cytopipe import coordinates, logs
from cytopipe.study.config import Coordinates

logs.to(snakemake.log[0])
coordinates.run_proposal(
    brain=snakemake.wildcards.brain,
    volume=Path(snakemake.input.volume),
    template=Path(snakemake.input.template),
    exclusion=Path(snakemake.input.exclusion),
    proposed=Path(snakemake.output.proposed),
    params=Coordinates(**snakemake.params.coordinates),
)
