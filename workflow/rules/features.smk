# Features of each point of a brain: from the networks of the runs, and intensity profiles. Images are
# not inputs, here and later: if one changes, so do the points, and thousands of inputs slow planning.


use rule job as features with:
    """Embed each point of one brain by one run's network, before and after its projection head."""
    input:
        points="results/coordinates/{brain}/points.parquet",
        weights="results/pretraining/{run}/final.pt",
    output:
        backbone="results/features/{run}/{brain}.npy",
        projected="results/features/{run}/{brain}-projected.npy",
        rows="results/features/{run}/{brain}.parquet",
    log:
        "logs/features/{run}/{brain}.log",
    benchmark:
        "benchmarks/features/{run}/{brain}.tsv"
    wildcard_constraints:
        run="|".join(RUNS),
        brain="|".join(BRAINS),
    threads: FEATURE_THREADS
    resources:
        mem_mb=memory_of_features(of_sections(1500, 4)),
        runtime=of_sections(60, 1),
    params:
        sections=readable_rows_of_brain,
        params=config["features"]["network"],
        version=version("features"),


use rule job as features_profiles with:
    """Compute the mean intensity profile of each point of one brain: the baseline without a network."""
    input:
        points="results/coordinates/{brain}/points.parquet",
        stack="results/alignment/{brain}/stack.parquet",
    output:
        backbone="results/features/profiles/{brain}.npy",
        rows="results/features/profiles/{brain}.parquet",
    log:
        "logs/features/profiles/{brain}.log",
    benchmark:
        "benchmarks/features/profiles/{brain}.tsv"
    resources:
        mem_mb=of_sections(1000, 2),
        runtime=of_sections(20, 0.5),
    params:
        sections=readable_rows_of_brain,
        params=config["features"]["profiles"],
        version=version("features"),


use rule job as features_patches with:
    """Embed the patches of a data set drawn from annotated areas."""
    input:
        patches=embedded_sets,
        weights="results/pretraining/{run}/final.pt",
    output:
        backbone="results/features/{run}/patches-{dataset}.npy",
        projected="results/features/{run}/patches-{dataset}-projected.npy",
        rows="results/features/{run}/patches-{dataset}.parquet",
    log:
        "logs/features/{run}/patches-{dataset}.log",
    benchmark:
        "benchmarks/features/{run}/patches-{dataset}.tsv"
    wildcard_constraints:
        run="|".join(RUNS),
        dataset="|".join(config["patches"]["datasets"]),
    resources:
        mem_mb=sized(2000),
        runtime=sized(240),
    params:
        params=config["features"]["network"],
        version=version("features"),


use rule job as features_external with:
    """Embed each point of one brain by an external encoder: a baseline that was trained elsewhere."""
    input:
        points="results/coordinates/{brain}/points.parquet",
        card=external_file("card.yaml"),
        weights=external_file("weights.pt"),
    output:
        backbone="results/features/{run}/{brain}.npy",
        rows="results/features/{run}/{brain}.parquet",
    log:
        "logs/features/{run}/{brain}.log",
    benchmark:
        "benchmarks/features/{run}/{brain}.tsv"
    wildcard_constraints:
        # no run has this name: the rule is not used without external encoders
        run="|".join(EXTERNAL) or "no external encoder",
        brain="|".join(BRAINS),
    resources:
        mem_mb=of_sections(1500, 4),
        runtime=of_sections(60, 1),
    params:
        sections=readable_rows_of_brain,
        params=config["features"]["network"],
        version=version("features"),


use rule job as features_external_patches with:
    """Embed the patches of a data set drawn from annotated areas by an external encoder."""
    input:
        patches=embedded_sets,
        card=external_file("card.yaml"),
        weights=external_file("weights.pt"),
    output:
        backbone="results/features/{run}/patches-{dataset}.npy",
        rows="results/features/{run}/patches-{dataset}.parquet",
    log:
        "logs/features/{run}/patches-{dataset}.log",
    benchmark:
        "benchmarks/features/{run}/patches-{dataset}.tsv"
    wildcard_constraints:
        run="|".join(EXTERNAL) or "no external encoder",
        dataset="|".join(config["patches"]["datasets"]),
    threads: FEATURE_THREADS
    resources:
        mem_mb=memory_of_features(sized(2000)),
        runtime=sized(240),
    params:
        params=config["features"]["network"],
        version=version("features"),


use rule job as features_views with:
    """Embed augmented views of the training patches of a labelled data set, for linear probes."""
    input:
        patches=embedded_sets,
        weights="results/pretraining/{run}/final.pt",
    output:
        backbone="results/features/{run}/views-{dataset}.npy",
        projected="results/features/{run}/views-{dataset}-projected.npy",
        rows="results/features/{run}/views-{dataset}.parquet",
    log:
        "logs/features/{run}/views-{dataset}.log",
    benchmark:
        "benchmarks/features/{run}/views-{dataset}.tsv"
    wildcard_constraints:
        dataset="|".join(config["patches"]["datasets"]),
    threads: FEATURE_THREADS
    resources:
        mem_mb=memory_of_features(sized(4000)),
        runtime=sized(1440),
    params:
        views=config["features"]["views"],
        params=config["features"]["network"],
        version=version("features"),
