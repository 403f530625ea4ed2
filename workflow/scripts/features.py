from pathlib import Path

from cytopipe import features, logs
from cytopipe.formats.sections import Section
from cytopipe.study.config import NetworkFeatures

logs.to(snakemake.log[0])
features.run_network(
    points=Path(snakemake.input.points),
    sections=[Section(**row) for row in snakemake.params.sections],
    weights=Path(snakemake.input.weights),
    backbone=Path(snakemake.output.backbone),
    projected=Path(snakemake.output.projected),
    rows=Path(snakemake.output.rows),
    threads=snakemake.threads,
    params=NetworkFeatures(**snakemake.params.features),
)
