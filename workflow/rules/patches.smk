# Data sets of patches by name: config["patches"]["datasets"].


rule patches:
    """Draw the patches of one data set from the points of its brains."""
    input:
        points=points_of_dataset,
    output:
        patches="results/patches/{dataset}.parquet",
    log:
        "logs/patches/{dataset}.log",
    benchmark:
        "benchmarks/patches/{dataset}.tsv"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        roles=roles_of_dataset,
        sections=readable_rows_of_dataset,
        patches=dataset_settings,
        version=version("patches"),
    script:
        "../scripts/patches.py"
