# Downstream tasks: config["evaluation"]["tasks"] says which runs each task scores. Every task writes
# its scores, a page to explore and a picture; `evaluation` gathers the scores.


rule evaluation:
    """Gather the scores of all tasks and runs."""
    input:
        scores=every_task("scores.parquet"),
    output:
        scores="results/evaluation/scores.parquet",
    log:
        "logs/evaluation/scores.log",
    benchmark:
        "benchmarks/evaluation/scores.tsv"
    threads: 1
    resources:
        mem_mb=sized(1000),
        runtime=sized(10),
    params:
        version=version("evaluation"),
    script:
        "../scripts/evaluation.py"


rule evaluation_areas:
    """Predict brain areas from the features of one run by a linear probe."""
    input:
        atlas=atlas_if_any,
        patches=f"results/patches/{AREAS}.parquet",
        features=labelled_features(AREAS, ".npy"),
        projected=labelled_features(AREAS, "-projected.npy"),
        rows=labelled_features(AREAS, ".parquet"),
        weights=weights_of_run,
    output:
        scores="results/evaluation/areas/{run}/scores.parquet",
        predictions="results/evaluation/areas/{run}/predictions.parquet",
        html="results/evaluation/areas/{run}/figures.html",
        png="results/evaluation/areas/{run}/figures.png",
    log:
        "logs/evaluation/areas/{run}.log",
    benchmark:
        "benchmarks/evaluation/areas/{run}.tsv"
    threads: 1
    resources:
        mem_mb=sized(3000),
        runtime=sized(60),
    params:
        evaluation=config["evaluation"]["areas"],
        version=version("evaluation"),
    script:
        "../scripts/evaluation_areas.py"


rule evaluation_cross_validation:
    """Repeat the linear probe with each brain in turn as the transfer brain."""
    input:
        patches=expand(
            f"results/patches/{AREAS}-transfer-{{brain}}.parquet",
            brain=TRANSFER_CHOICES,
        ),
        features=labelled_features(AREAS, ".npy"),
        rows=labelled_features(AREAS, ".parquet"),
    output:
        scores="results/evaluation/cross_validation/{run}/scores.parquet",
        html="results/evaluation/cross_validation/{run}/figures.html",
        png="results/evaluation/cross_validation/{run}/figures.png",
    log:
        "logs/evaluation/cross_validation/{run}.log",
    benchmark:
        "benchmarks/evaluation/cross_validation/{run}.tsv"
    threads: 1
    resources:
        mem_mb=sized(3000),
        runtime=sized(240),
    params:
        brains=TRANSFER_CHOICES,
        evaluation=config["evaluation"]["areas"],
        version=version("evaluation"),
    script:
        "../scripts/evaluation_cross_validation.py"


rule evaluation_finetuning:
    """Train the network of one run further, together with a classifier of areas."""
    input:
        atlas=atlas_if_any,
        patches=f"results/patches/{FINETUNED}.parquet",
        weights="results/pretraining/{run}/final.pt",
    output:
        scores="results/evaluation/finetuning/{run}/scores.parquet",
        html="results/evaluation/finetuning/{run}/figures.html",
        png="results/evaluation/finetuning/{run}/figures.png",
    log:
        "logs/evaluation/finetuning/{run}.log",
    benchmark:
        "benchmarks/evaluation/finetuning/{run}.tsv"
    threads: 1
    resources:
        mem_mb=sized(4000),
        runtime=sized(1440),
    params:
        evaluation=config["evaluation"]["finetuning"],
        version=version("evaluation"),
    script:
        "../scripts/evaluation_finetuning.py"


rule evaluation_layers:
    """Segment cortical layers from the feature maps of one run, with ever more annotations."""
    input:
        patches="results/patches/layers.parquet",
        weights="results/pretraining/{run}/final.pt",
    output:
        scores="results/evaluation/layers/{run}/scores.parquet",
        html="results/evaluation/layers/{run}/figures.html",
        png="results/evaluation/layers/{run}/figures.png",
    log:
        "logs/evaluation/layers/{run}.log",
    benchmark:
        "benchmarks/evaluation/layers/{run}.tsv"
    threads: 1
    resources:
        mem_mb=sized(4000),
        runtime=sized(720),
    params:
        evaluation=config["evaluation"]["layers"],
        version=version("evaluation"),
    script:
        "../scripts/evaluation_layers.py"


rule evaluation_structure:
    """Predict position, shape and cells of the cortex from features and from intensity profiles."""
    input:
        surface=layer_maps(["mid.surf.gii"]),
        thickness=layer_maps([f"layer-{n}_thickness.shape.gii" for n in range(1, 7)]),
        layers="results/patches/layers.parquet" if POSSIBLE["layers"] else [],
        points=f"results/coordinates/{STRUCTURE_BRAIN}/points.parquet",
        features=f"results/features/{{run}}/{STRUCTURE_BRAIN}.npy",
        rows=f"results/features/{{run}}/{STRUCTURE_BRAIN}.parquet",
        profiles=f"results/features/profiles/{STRUCTURE_BRAIN}.npy",
        profile_rows=f"results/features/profiles/{STRUCTURE_BRAIN}.parquet",
        weights="results/pretraining/{run}/final.pt",
    output:
        scores="results/evaluation/structure/{run}/scores.parquet",
        html="results/evaluation/structure/{run}/figures.html",
        png="results/evaluation/structure/{run}/figures.png",
    log:
        "logs/evaluation/structure/{run}.log",
    benchmark:
        "benchmarks/evaluation/structure/{run}.tsv"
    threads: 1
    resources:
        mem_mb=sized(4000),
        runtime=sized(120),
    params:
        evaluation=settings_with_brain("structure", STRUCTURE_BRAIN),
        version=version("evaluation"),
    script:
        "../scripts/evaluation_structure.py"


rule evaluation_coordinates:
    """Learn positions from the features of one brain, and predict those of all others."""
    input:
        points=brains_of("results/coordinates/{brain}/points.parquet"),
        features=brains_of("results/features/{{run}}/{brain}.npy"),
        rows=brains_of("results/features/{{run}}/{brain}.parquet"),
    output:
        scores="results/evaluation/coordinates/{run}/scores.parquet",
        html="results/evaluation/coordinates/{run}/figures.html",
        png="results/evaluation/coordinates/{run}/figures.png",
    log:
        "logs/evaluation/coordinates/{run}.log",
    benchmark:
        "benchmarks/evaluation/coordinates/{run}.tsv"
    threads: 1
    resources:
        mem_mb=sized(8000),
        runtime=sized(120),
    params:
        brains=BRAINS,
        evaluation=settings_with_brain("coordinates", COORDINATES_BRAIN),
        version=version("evaluation"),
    script:
        "../scripts/evaluation_coordinates.py"


rule evaluation_parcellation:
    """Cluster the points of neighbouring areas, and see whether the clusters are the areas."""
    input:
        annotated=(
            f"results/patches/{PARCELLATION_SET}.parquet" if PARCELLATION_SET else []
        ),
        annotated_features=annotated_features(".npy"),
        annotated_rows=annotated_features(".parquet"),
        points=f"results/coordinates/{PARCELLATION_BRAIN}/points.parquet",
        features=f"results/features/{{run}}/{PARCELLATION_BRAIN}.npy",
        rows=f"results/features/{{run}}/{PARCELLATION_BRAIN}.parquet",
    output:
        scores="results/evaluation/parcellation/{run}/scores.parquet",
        html="results/evaluation/parcellation/{run}/figures.html",
        png="results/evaluation/parcellation/{run}/figures.png",
    log:
        "logs/evaluation/parcellation/{run}.log",
    benchmark:
        "benchmarks/evaluation/parcellation/{run}.tsv"
    threads: 1
    resources:
        mem_mb=sized(4000),
        runtime=sized(60),
    params:
        evaluation=settings_with_brain("parcellation", PARCELLATION_BRAIN),
        version=version("evaluation"),
    script:
        "../scripts/evaluation_parcellation.py"


rule evaluation_embedding:
    """Lay out the features of all brains in two and three dimensions, and compare their areas."""
    input:
        points=brains_of("results/coordinates/{brain}/points.parquet"),
        backbone=brains_of("results/features/{{run}}/{brain}.npy"),
        projected=brains_of("results/features/{{run}}/{brain}-projected.npy"),
        rows=brains_of("results/features/{{run}}/{brain}.parquet"),
    output:
        scores="results/evaluation/embedding/{run}/scores.parquet",
        html="results/evaluation/embedding/{run}/figures.html",
        png="results/evaluation/embedding/{run}/figures.png",
    log:
        "logs/evaluation/embedding/{run}.log",
    benchmark:
        "benchmarks/evaluation/embedding/{run}.tsv"
    threads: 1
    resources:
        mem_mb=sized(8000),
        runtime=sized(120),
    params:
        roles=ROLES,
        evaluation=config["evaluation"]["embedding"],
        version=version("evaluation"),
    script:
        "../scripts/evaluation_embedding.py"


rule evaluation_retrieval:
    """Find the patches whose features are nearest to those of a query."""
    input:
        points=brains_of("results/coordinates/{brain}/points.parquet"),
        backbone=brains_of("results/features/{{run}}/{brain}.npy"),
        projected=brains_of("results/features/{{run}}/{brain}-projected.npy"),
        rows=brains_of("results/features/{{run}}/{brain}.parquet"),
        weights="results/pretraining/{run}/final.pt",
    output:
        scores="results/evaluation/retrieval/{run}/scores.parquet",
        html="results/evaluation/retrieval/{run}/figures.html",
        png="results/evaluation/retrieval/{run}/figures.png",
    log:
        "logs/evaluation/retrieval/{run}.log",
    benchmark:
        "benchmarks/evaluation/retrieval/{run}.tsv"
    threads: 1
    resources:
        mem_mb=sized(16000),
        runtime=sized(120),
    params:
        brains=BRAINS,
        sections=readable_rows(BRAINS),
        run=settings_of_run,
        evaluation=config["evaluation"]["retrieval"],
        version=version("evaluation"),
    script:
        "../scripts/evaluation_retrieval.py"


rule evaluation_shortcuts:
    """Read brain, section, rotation, stain and vessels off the features, beside area and position."""
    input:
        points=brains_of("results/coordinates/{brain}/points.parquet"),
        backbone=brains_of("results/features/{{run}}/{brain}.npy"),
        projected=brains_of("results/features/{{run}}/{brain}-projected.npy"),
        rows=brains_of("results/features/{{run}}/{brain}.parquet"),
        segmentations=chunks_of_brains("results/segmentation/{brain}/{chunk}.parquet"),
        labels=chunks_of_brains("results/segmentation/{brain}/{chunk}.tif"),
        weights="results/pretraining/{run}/final.pt",
    output:
        scores="results/evaluation/shortcuts/{run}/scores.parquet",
        html="results/evaluation/shortcuts/{run}/figures.html",
        png="results/evaluation/shortcuts/{run}/figures.png",
    log:
        "logs/evaluation/shortcuts/{run}.log",
    benchmark:
        "benchmarks/evaluation/shortcuts/{run}.tsv"
    threads: 1
    resources:
        mem_mb=sized(8000),
        runtime=sized(240),
    params:
        roles=ROLES,
        sections=readable_rows(BRAINS),
        run=settings_of_run,
        evaluation=config["evaluation"]["shortcuts"],
        version=version("evaluation"),
    script:
        "../scripts/evaluation_shortcuts.py"


rule evaluation_attention:
    """Show where the class token of a transformer looks, head by head."""
    input:
        patches=f"results/patches/{ATTENDED}.parquet",
        weights="results/pretraining/{run}/final.pt",
    output:
        scores="results/evaluation/attention/{run}/scores.parquet",
        html="results/evaluation/attention/{run}/figures.html",
        png="results/evaluation/attention/{run}/figures.png",
    log:
        "logs/evaluation/attention/{run}.log",
    benchmark:
        "benchmarks/evaluation/attention/{run}.tsv"
    threads: 1
    resources:
        mem_mb=sized(4000),
        runtime=sized(60),
    params:
        evaluation=config["evaluation"]["attention"],
        version=version("evaluation"),
    script:
        "../scripts/evaluation_attention.py"
