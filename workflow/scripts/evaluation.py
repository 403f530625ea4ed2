from pathlib import Path

from cytopipe import evaluation, logs

logs.to(snakemake.log[0])
evaluation.run(
    parts=[Path(path) for path in snakemake.input.scores],
    scores=Path(snakemake.output.scores),
)
