from pathlib import Path

from cytopipe import features, logs
from cytopipe.study.config import NetworkFeatures

logs.to(snakemake.log[0])
features.run_patches(
    patches=Path(snakemake.input.patches),
    weights=Path(snakemake.input.weights),
    backbone=Path(snakemake.output.backbone),
    projected=Path(snakemake.output.projected),
    rows=Path(snakemake.output.rows),
    threads=snakemake.threads,
    params=NetworkFeatures(**snakemake.params.features),
)
