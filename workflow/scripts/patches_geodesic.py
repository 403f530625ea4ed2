from pathlib import Path

from cytopipe import logs, patches

logs.to(snakemake.log[0])
patches.run_geodesic(
    surfaces={
        "L": Path(snakemake.input.surface_left),
        "R": Path(snakemake.input.surface_right),
    },
    table=Path(snakemake.output.table),
    params=patches.GeodesicParams(**snakemake.params.patches),
)
