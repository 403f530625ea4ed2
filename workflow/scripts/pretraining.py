from pathlib import Path

from cytopipe.cluster import launching

launching.run(
    stage="pretraining",
    files={
        "patches": snakemake.input.patches,
        "geodesic": snakemake.input.geodesic or None,
        "final": snakemake.output.final,
        "metrics": snakemake.output.metrics,
        "record": snakemake.output.record,
    },
    params=snakemake.params.pretraining,
    threads=snakemake.threads,
    nodes=snakemake.resources.nodes,
    processes_per_node=snakemake.resources.tasks_per_node,
    launcher=snakemake.resources.mpi,
    log=Path(snakemake.log[0]),
)
