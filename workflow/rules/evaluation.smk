# Downstream tasks: config["evaluation"]["tasks"] lists the runs that each task scores. Each task
# writes its scores and a page of figures; `evaluation` gathers the scores.


use rule job as evaluation with:
    """Gather the scores of all tasks and runs."""
    input:
        parts=every_task("scores.parquet"),
    output:
        scores="results/evaluation/scores.parquet",
    log:
        "logs/evaluation/scores.log",
    benchmark:
        "benchmarks/evaluation/scores.tsv"
    params:
        version=version("evaluation"),


# the other tasks inherit from this one: outputs, log and benchmark. Snakemake adds the params of a rule
# to those that it inherits, so a base has none but `params` and `version`
use rule job as evaluation_layers with:
    """Segment cortical layers from the feature maps of one run, with more and more annotations."""
    input:
        patches="results/patches/layers.parquet",
        weights="results/pretraining/{run}/final.pt",
    output:
        scores="results/evaluation/{task}/{run}/scores.parquet",
        html="results/evaluation/{task}/{run}/figures.html",
    log:
        "logs/evaluation/{task}/{run}.log",
    benchmark:
        "benchmarks/evaluation/{task}/{run}.tsv"
    wildcard_constraints:
        task="layers",
    resources:
        mem_mb=sized(4000),
        runtime=sized(720),
    params:
        params=config["evaluation"]["layers"],
        version=version("evaluation"),


use rule evaluation_layers as evaluation_areas with:
    """Predict brain areas from the features of one run by a linear probe."""
    input:
        atlas=atlas_if_any,
        patches=f"results/patches/{AREAS}.parquet",
        features=labelled_features(AREAS, ".npy"),
        projected=labelled_features(AREAS, "-projected.npy"),
        rows=labelled_features(AREAS, ".parquet"),
        views=views_of_run,
        weights=weights_of_run,
    output:
        scores="results/evaluation/{task}/{run}/scores.parquet",
        predictions="results/evaluation/{task}/{run}/predictions.parquet",
        classifier="results/evaluation/{task}/{run}/classifier.npz",
        html="results/evaluation/{task}/{run}/figures.html",
    wildcard_constraints:
        task="areas",
    resources:
        mem_mb=memory_of_probes,
        runtime=sized(60),
    params:
        params=settings_of_task("areas"),
        version=version("evaluation"),


use rule evaluation_layers as evaluation_cross_validation with:
    """Repeat the linear probe with each brain in turn as the transfer brain."""
    input:
        patches=cross_validation_sets(),
        features=labelled_features(AREAS, ".npy"),
        rows=labelled_features(AREAS, ".parquet"),
        views=views_of_run,
    wildcard_constraints:
        task="cross_validation",
    resources:
        mem_mb=memory_of_probes,
        runtime=sized(240),
    params:
        keyed_by=TRANSFER_CHOICES,
        params=settings_of_task("areas"),
        version=version("evaluation"),


use rule evaluation_layers as evaluation_finetuning with:
    """Fine-tune the network of one run together with a classifier of areas."""
    input:
        atlas=atlas_if_any,
        patches=f"results/patches/{FINETUNED}.parquet",
        weights="results/pretraining/{run}/final.pt",
    output:
        scores="results/evaluation/{task}/{run}/scores.parquet",
        html="results/evaluation/{task}/{run}/figures.html",
        network="results/evaluation/{task}/{run}/network.pt",
    wildcard_constraints:
        task="finetuning",
    # as in pretraining: it continues from a checkpoint, in one process or several
    threads: 2
    resources:
        nodes=1,
        tasks_per_node=1,
        mpi="",
        mem_mb=sized(4000),
        runtime=sized(1440),
    params:
        run=name_of_run,
        params=settings_of_task("finetuning"),
        version=version("evaluation"),


use rule evaluation_layers as evaluation_structure with:
    """Predict position, shape and cells of the cortex from features and intensity profiles."""
    input:
        surface=layer_maps(["mid.surf.gii"]),
        layer_thickness=layer_maps(
            [f"layer-{n}_thickness.shape.gii" for n in range(1, 7)]
        ),
        layer_patches=(
            "results/patches/layers.parquet"
            if "layers" not in tasks.left_out(config, ROLES, ANNOTATED)
            else []
        ),
        points=f"results/coordinates/{STRUCTURE_BRAIN}/points.parquet",
        features=f"results/features/{{run}}/{STRUCTURE_BRAIN}.npy",
        rows=f"results/features/{{run}}/{STRUCTURE_BRAIN}.parquet",
        profiles=f"results/features/profiles/{STRUCTURE_BRAIN}.npy",
        profile_rows=f"results/features/profiles/{STRUCTURE_BRAIN}.parquet",
        weights="results/pretraining/{run}/final.pt",
    wildcard_constraints:
        task="structure",
    resources:
        mem_mb=sized(4000),
        runtime=sized(120),
    params:
        keyed_by=HEMISPHERES,
        params=settings_with_brain("structure", STRUCTURE_BRAIN),
        version=version("evaluation"),


use rule evaluation_layers as evaluation_coordinates with:
    """Learn positions from the features of one brain, and predict them in all others."""
    input:
        points=brains_of("results/coordinates/{brain}/points.parquet"),
        features=brains_of("results/features/{{run}}/{brain}.npy"),
        rows=brains_of("results/features/{{run}}/{brain}.parquet"),
    wildcard_constraints:
        task="coordinates",
    resources:
        mem_mb=of_all_sections(3000, 1),
        runtime=sized(120),
    params:
        keyed_by=BRAINS,
        params=settings_with_brain("coordinates", COORDINATES_BRAIN),
        version=version("evaluation"),


use rule evaluation_layers as evaluation_parcellation with:
    """Cluster the points of neighbouring areas, and compare the clusters with the areas."""
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
        scores="results/evaluation/{task}/{run}/scores.parquet",
        clusters="results/evaluation/{task}/{run}/clusters.parquet",
        html="results/evaluation/{task}/{run}/figures.html",
    wildcard_constraints:
        task="parcellation",
    resources:
        mem_mb=sized(4000),
        runtime=sized(60),
    params:
        params=settings_with_brain("parcellation", PARCELLATION_BRAIN),
        version=version("evaluation"),


use rule evaluation_layers as evaluation_embedding with:
    """Embed the features of all brains in two and three dimensions, and compare their areas."""
    input:
        points=brains_of("results/coordinates/{brain}/points.parquet"),
        backbone=brains_of("results/features/{{run}}/{brain}.npy"),
        projected=brains_of("results/features/{{run}}/{brain}-projected.npy"),
        rows=brains_of("results/features/{{run}}/{brain}.parquet"),
        areas=config["template"]["areas"] or [],
    wildcard_constraints:
        task="embedding",
    resources:
        mem_mb=of_all_sections(3000, 0.8),
        runtime=sized(120),
    params:
        keyed_by=BRAINS,
        roles=ROLES,
        params=config["evaluation"]["embedding"],
        version=version("evaluation"),


use rule evaluation_layers as evaluation_retrieval with:
    """Find the patches whose features are nearest to those of a query."""
    input:
        points=brains_of("results/coordinates/{brain}/points.parquet"),
        backbone=brains_of("results/features/{{run}}/{brain}.npy"),
        projected=brains_of("results/features/{{run}}/{brain}-projected.npy"),
        rows=brains_of("results/features/{{run}}/{brain}.parquet"),
    wildcard_constraints:
        task="retrieval",
    resources:
        mem_mb=of_all_sections(2000, 2),
        runtime=sized(120),
    params:
        keyed_by=BRAINS,
        sections=readable_rows(BRAINS),
        patch_px=setting_of_run("patch_px"),
        spacing_um=setting_of_run("spacing_um"),
        params=config["evaluation"]["retrieval"],
        version=version("evaluation"),


use rule evaluation_layers as evaluation_shortcuts with:
    """Predict brain, section, rotation, stain and vessels, and area and position, from features."""
    input:
        points=brains_of("results/coordinates/{brain}/points.parquet"),
        backbone=brains_of("results/features/{{run}}/{brain}.npy"),
        projected=brains_of("results/features/{{run}}/{brain}-projected.npy"),
        rows=brains_of("results/features/{{run}}/{brain}.parquet"),
        segmentation=chunks_of_brains("results/segmentation/{brain}/{chunk}.parquet"),
        labels=chunks_of_brains("results/segmentation/{brain}/{chunk}.tif"),
        weights="results/pretraining/{run}/final.pt",
    wildcard_constraints:
        task="shortcuts",
    resources:
        mem_mb=of_all_sections(2500, 0.8),
        runtime=sized(240),
    params:
        keyed_by=BRAINS,
        roles=ROLES,
        sections=readable_rows(BRAINS),
        patch_px=setting_of_run("patch_px"),
        spacing_um=setting_of_run("spacing_um"),
        params=config["evaluation"]["shortcuts"],
        version=version("evaluation"),


use rule evaluation_layers as evaluation_attention with:
    """Show where the class token of a transformer looks, head by head."""
    input:
        patches=f"results/patches/{ATTENDED}.parquet",
        weights="results/pretraining/{run}/final.pt",
    wildcard_constraints:
        task="attention",
    resources:
        mem_mb=sized(4000),
        runtime=sized(60),
    params:
        params=config["evaluation"]["attention"],
        version=version("evaluation"),
