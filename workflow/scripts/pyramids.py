from pathlib import Path

from cytopipe import logs, pyramids
from cytopipe.formats.sections import Section
from cytopipe.study.config import Pyramids

logs.to(snakemake.log[0])
pyramids.run(
    section=Section(**snakemake.params.section),
    image=Path(snakemake.input.scan),
    pyramid=Path(snakemake.output.pyramid),
    params=Pyramids(**snakemake.params.pyramids),
)
