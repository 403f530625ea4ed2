# The map: the area of every point, predicted by the classifier of the run mapping.run.


use rule job as mapping with:
    """Predict the area of every point of one brain."""
    input:
        points="results/coordinates/{brain}/points.parquet",
        features=f"results/features/{MAPPED}/{{brain}}.npy",
        rows=f"results/features/{MAPPED}/{{brain}}.parquet",
        classifier=f"results/evaluation/areas/{MAPPED}/classifier.npz",
        reference="results/mapping/reference.npz",
    output:
        areas="results/mapping/{brain}.parquet",
    log:
        "logs/mapping/{brain}.log",
    benchmark:
        "benchmarks/mapping/{brain}.tsv"
    resources:
        mem_mb=of_sections(1500, 5),
        runtime=of_sections(10, 0.2),
    params:
        params=config["mapping"],
        version=version("mapping"),


use rule job as mapping_reference with:
    """Measure on labelled points what is usual, and how sure the classifier may be."""
    input:
        patches=f"results/patches/{AREAS}.parquet",
        classifier=f"results/evaluation/areas/{MAPPED}/classifier.npz",
        features=features_of_labels(MAPPED, AREAS, ".npy"),
        rows=features_of_labels(MAPPED, AREAS, ".parquet"),
    output:
        reference="results/mapping/reference.npz",
    log:
        "logs/mapping/reference.log",
    benchmark:
        "benchmarks/mapping/reference.tsv"
    resources:
        mem_mb=sized(4000),
        runtime=sized(60),
    params:
        params=config["mapping"],
        version=version("mapping"),


use rule job as mapping_scores with:
    """Compare the maps with the labels of the test points, and say what smoothing gains."""
    input:
        patches=f"results/patches/{AREAS}.parquet",
        points=brains_of("results/coordinates/{brain}/points.parquet"),
        areas=brains_of("results/mapping/{brain}.parquet"),
    output:
        scores="results/mapping/scores.parquet",
    log:
        "logs/mapping/scores.log",
    benchmark:
        "benchmarks/mapping/scores.tsv"
    resources:
        mem_mb=sized(4000),
        runtime=sized(30),
    params:
        keyed_by=BRAINS,
        run=MAPPED,
        params=config["mapping"],
        version=version("mapping"),
