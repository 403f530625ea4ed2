from pathlib import Path

from cytopipe import alignment, logs
from cytopipe.formats.sections import Section
from cytopipe.study.config import Alignment

logs.to(snakemake.log[0])
alignment.run_audit(
    sections=[Section(**row) for row in snakemake.params.sections],
    images=[Path(path) for path in snakemake.input.images],
    tables=[Path(path) for path in snakemake.input.tables],
    labels=[Path(path) for path in snakemake.input.labels],
    found=Path(snakemake.output.found),
    proposed=Path(snakemake.output.proposed),
    params=Alignment(**snakemake.params.alignment),
)
