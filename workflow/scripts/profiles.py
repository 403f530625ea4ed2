from pathlib import Path

from cytopipe import features, logs
from cytopipe.formats.sections import Section
from cytopipe.study.config import Profiles

logs.to(snakemake.log[0])
features.run_profiles(
    points=Path(snakemake.input.points),
    stack=Path(snakemake.input.stack),
    sections=[Section(**row) for row in snakemake.params.sections],
    backbone=Path(snakemake.output.backbone),
    rows=Path(snakemake.output.rows),
    params=Profiles(**snakemake.params.features),
)
