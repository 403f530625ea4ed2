from pathlib import Path

from cytopipe import logs, segmentation
from cytopipe.formats.sections import Section
from cytopipe.study.config import Segmentation

logs.to(snakemake.log[0])
segmentation.run(
    sections=[Section(**row) for row in snakemake.params.sections],
    images=[Path(path) for path in snakemake.input.images],
    manual=[Path(path) for path in snakemake.input.manual],
    labels=Path(snakemake.output.labels),
    table=Path(snakemake.output.table),
    params=Segmentation(**snakemake.params.segmentation),
)
