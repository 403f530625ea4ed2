from pathlib import Path

from cytopipe import logs, midline
from cytopipe.study.config import Midline

logs.to(snakemake.log[0])
midline.run(
    brain=snakemake.wildcards.brain,
    stack=Path(snakemake.input.stack),
    labels=Path(snakemake.input.labels),
    segmentation=Path(snakemake.input.segmentation),
    surfaces={side: Path(snakemake.input[f"surface_{side}"]) for side in "LR"},
    thickness={side: Path(snakemake.input[f"thickness_{side}"]) for side in "LR"},
    curvature={side: Path(snakemake.input[f"curvature_{side}"]) for side in "LR"},
    midline=Path(snakemake.output.midline),
    params=Midline(**snakemake.params.midline),
)
