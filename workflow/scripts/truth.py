from pathlib import Path

from cytopipe import logs, truth

logs.to(snakemake.log[0])
truth.run(
    folder=Path(snakemake.params.folder),
    brains=snakemake.params.brains,
    **{
        name: [Path(path) for path in paths]
        for name, paths in snakemake.input.items()
        if name != "truth"
    },
    table=Path(snakemake.output.table),
    target=snakemake.params.target,
    spacing_mm=snakemake.params.spacing_mm,
    baselines=snakemake.params.baselines,
)
