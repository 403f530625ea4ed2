from pathlib import Path

from cytopipe import logs, midsurface
from cytopipe.study.config import Midsurface

# the processes of the two hemispheres read this file as well
if __name__ == "__main__":
    logs.to(snakemake.log[0])
    midsurface.run(
        brain=snakemake.wildcards.brain,
        tissue=Path(snakemake.input.tissue),
        given=[Path(path) for path in snakemake.input.given],
        depth=Path(snakemake.output.depth),
        hemispheres=Path(snakemake.output.hemispheres),
        surfaces={side: Path(snakemake.output[f"surface_{side}"]) for side in "LR"},
        thickness={side: Path(snakemake.output[f"thickness_{side}"]) for side in "LR"},
        curvature={side: Path(snakemake.output[f"curvature_{side}"]) for side in "LR"},
        table=Path(snakemake.output.table),
        workers=snakemake.threads,
        params=Midsurface(**snakemake.params.midsurface),
    )
