from pathlib import Path

from cytopipe import logs, pyramids
from cytopipe.study.sections import Section

logs.to(snakemake.log[0])
pyramids.run(
    section=Section(**snakemake.params.section),
    image=Path(snakemake.input.scan),
    pyramid=Path(snakemake.output.pyramid),
    params=pyramids.Params(**snakemake.params.pyramids),
)
