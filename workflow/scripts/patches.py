from pathlib import Path

from cytopipe import logs, patches
from cytopipe.formats.sections import Section
from cytopipe.study.config import DataSet

logs.to(snakemake.log[0])
patches.run(
    points=dict(zip(snakemake.params.roles, map(Path, snakemake.input.points), strict=True)),
    roles=snakemake.params.roles,
    sections=[Section(**row) for row in snakemake.params.sections],
    annotations=[Path(path) for path in snakemake.input.annotations],
    patches=Path(snakemake.output.patches),
    params=DataSet(**snakemake.params.patches),
)
