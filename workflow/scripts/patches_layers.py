from pathlib import Path

from cytopipe import logs, patches
from cytopipe.study.config import LayerSplit

logs.to(snakemake.log[0])
patches.run_layers(
    table=Path(snakemake.input.table),
    patches=Path(snakemake.output.patches),
    params=LayerSplit(**snakemake.params.patches),
)
