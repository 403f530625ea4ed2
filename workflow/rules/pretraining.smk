# Each run of config["pretraining"]["runs"] changes some settings of config["pretraining"]["common"].


use rule job as pretraining with:
    """Train a network by the positions of patches; an interrupted run continues."""
    input:
        patches=patches_of_run,
        geodesic=geodesic_of_run,
        start=start_of_run,
    output:
        final="results/pretraining/{run}/final.pt",
        metrics="results/pretraining/{run}/metrics.parquet",
        record="results/pretraining/{run}/params.yaml",
    log:
        "logs/pretraining/{run}.log",
    benchmark:
        "benchmarks/pretraining/{run}.tsv"
    # on SIGTERM or SIGUSR1 it saves a checkpoint and exits; the next attempt continues from it
    threads: 2
    # one process; docs/cluster.md says how to ask for several, on one machine or more
    resources:
        nodes=1,
        tasks_per_node=1,
        mpi="",
        mem_mb=sized(4000),
        runtime=sized(1440),
    params:
        params=settings_of_run,
        version=version("pretraining"),


use rule job as pretraining_release with:
    """Write a trained network as a folder that can be passed on and loaded anywhere."""
    input:
        trained="results/pretraining/{run}/final.pt",
        patches=patches_of_run,
    output:
        card="results/pretraining/{run}/model/README.md",
        settings="results/pretraining/{run}/model/config.yaml",
        weights="results/pretraining/{run}/model/weights.safetensors",
    log:
        "logs/pretraining/{run}-release.log",
    benchmark:
        "benchmarks/pretraining/{run}-release.tsv"
    resources:
        mem_mb=sized(2000),
        runtime=sized(10),
    params:
        roles=roles_of_run,
        template=config["template"]["name"],
        version=version("pretraining"),
