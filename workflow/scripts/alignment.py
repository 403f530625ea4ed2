from pathlib import Path

from cytopipe import alignment, logs
from cytopipe.formats.sections import Section
from cytopipe.study.config import Alignment

logs.to(snakemake.log[0])
alignment.run_stack(
    sections=[Section(**row) for row in snakemake.params.sections],
    pairs=[Path(path) for path in snakemake.input.pairs],
    tables=[Path(path) for path in snakemake.input.tables],
    stack=Path(snakemake.output.stack),
    all_pairs=Path(snakemake.output.pairs),
    proposed=Path(snakemake.output.proposed),
    image_right=snakemake.params.image_right,
    params=Alignment(**snakemake.params.alignment),
)
