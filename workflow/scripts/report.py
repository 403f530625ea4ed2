from pathlib import Path

from cytopipe import logs, report

logs.to(snakemake.log[0])
files = snakemake.input
report.run(
    roles=snakemake.params.roles,
    **{
        name: [Path(path) for path in files[name]]
        for name in (
            "pages",
            "stacks",
            "surfaces",
            "points",
            "checks",
            "audits",
            "scores",
            "figures",
        )
    },
    metrics={
        run: Path(path) for run, path in zip(snakemake.params.runs, files.metrics, strict=True)
    },
    table=Path(files.table) if files.table else None,
    page=Path(snakemake.output.page),
)
