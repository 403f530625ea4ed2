from pathlib import Path

from cytopipe import logs, patches
from cytopipe.study.config import GeodesicTable

logs.to(snakemake.log[0])
patches.run_geodesic(
    surfaces={
        "L": Path(snakemake.input.surface_left),
        "R": Path(snakemake.input.surface_right),
    },
    table=Path(snakemake.output.table),
    params=GeodesicTable(**snakemake.params.patches),
)
