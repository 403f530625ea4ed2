from pathlib import Path

from cytopipe import evaluation, logs
from cytopipe.study.config import StructureTask

logs.to(snakemake.log[0])
files = snakemake.input
evaluation.run_structure(
    **{
        name: Path(files[name])
        for name in ("points", "features", "rows", "profiles", "profile_rows", "weights")
    },
    surface={"LR"[n]: Path(path) for n, path in enumerate(files.surface)},
    layer_thickness={
        "LR"[first // 6]: [Path(path) for path in files.thickness[first : first + 6]]
        for first in range(0, len(files.thickness), 6)
    },
    layer_patches=Path(files.layers) if files.layers else None,
    scores=Path(snakemake.output.scores),
    html=Path(snakemake.output.html),
    png=Path(snakemake.output.png),
    run_name=snakemake.wildcards.run,
    threads=snakemake.threads,
    params=StructureTask(**snakemake.params.evaluation),
)
