from pathlib import Path

from cytopipe import evaluation, logs
from cytopipe.formats.sections import Section
from cytopipe.study.config import RetrievalTask

logs.to(snakemake.log[0])
files = snakemake.input
evaluation.run_retrieval(
    **{
        name: dict(zip(snakemake.params.brains, map(Path, files[name]), strict=True))
        for name in ("points", "backbone", "projected", "rows")
    },
    sections=[Section(**row) for row in snakemake.params.sections],
    patch_px=snakemake.params.run["patch_px"],
    spacing_um=snakemake.params.run["spacing_um"],
    scores=Path(snakemake.output.scores),
    html=Path(snakemake.output.html),
    png=Path(snakemake.output.png),
    run_name=snakemake.wildcards.run,
    params=RetrievalTask(**snakemake.params.evaluation),
)
