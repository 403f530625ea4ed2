from pathlib import Path

from cytopipe import logs, patches

logs.to(snakemake.log[0])
patches.run_layers(
    table=Path(snakemake.input.table),
    patches=Path(snakemake.output.patches),
    params=patches.LayerParams(**snakemake.params.patches),
)
