from pathlib import Path

from cytopipe import alignment, logs
from cytopipe.study.sections import Section

logs.to(snakemake.log[0])
alignment.run_audit(
    sections=[Section(**row) for row in snakemake.params.sections],
    images=[Path(path) for path in snakemake.input.images],
    tables=[Path(path) for path in snakemake.input.tables],
    labels=[Path(path) for path in snakemake.input.labels],
    found=Path(snakemake.output.found),
    proposed=Path(snakemake.output.proposed),
    params=alignment.Params(**snakemake.params.alignment),
)
