# The truth table of a phantom study: the errors of all stages, and their goals.


use rule job as truth with:
    """Compare the results of a phantom study with its ground truth."""
    input:
        # the last file of the ground truth to be written
        f"{config['study']['truth']}/truth.yaml",
        labels=chunks_of_brains("results/segmentation/{brain}/{chunk}.tif"),
        segmentations=chunks_of_brains("results/segmentation/{brain}/{chunk}.parquet"),
        pairs=brains_of("results/alignment/{brain}/pairs.parquet"),
        stacks=brains_of("results/alignment/{brain}/stack.parquet"),
        wholes=brains_of("results/reconstruction/{brain}/whole.nii.gz"),
        exclusions=manual_exclusions,
        proposals=(
            brains_of("results/coordinates/{brain}/proposed-exclusion.nii.gz")
            if config["template"]["exclusion"]
            else []
        ),
        tissues=brains_of("results/reconstruction/{brain}/tissue.nii.gz"),
        surfaces_left=brains_of("results/midsurface/{brain}/hemi-L_mid.surf.gii"),
        surfaces_right=brains_of("results/midsurface/{brain}/hemi-R_mid.surf.gii"),
        midlines=chunks_of_brains("results/midline/{brain}/{chunk}.parquet"),
        points=brains_of("results/coordinates/{brain}/points.parquet"),
        affines=brains_of(
            f"results/coordinates/{{brain}}/affine-to-{config['template']['name']}.h5"
        ),
        scores=[
            f"results/evaluation/areas/{run}/scores.parquet"
            for run in runs_of_task("areas")
        ],
        areas=maps_of("results/mapping/{brain}.parquet"),
        area_names=config["template"]["areas"] or [],
    output:
        table="results/report/truth.tsv",
    log:
        "logs/report/truth.log",
    benchmark:
        "benchmarks/report/truth.tsv"
    resources:
        mem_mb=sized(3000),
        runtime=sized(30),
    params:
        folder=config["study"]["truth"],
        keyed_by=BRAINS,
        brains=BRAINS,
        roles=ROLES,
        masked=masked_brains,
        goals=config["report"]["goals"],
        target=config["midline"]["target"],
        spacing_mm=config["midline"]["spacing_mm"],
        baselines=config["report"]["baselines"],
        version=version("truth"),


use rule job as truth_exclusion with:
    """Mark what is not cortex as a person would, from the ground truth of a phantom."""
    input:
        f"{config['study']['truth']}/truth.yaml",
        stack="results/alignment/{brain}/stack.parquet",
        volume="results/reconstruction/{brain}/whole.nii.gz",
    output:
        mask="results/reconstruction/{brain}/true-exclusion.nii.gz",
    log:
        "logs/report/{brain}-true-exclusion.log",
    benchmark:
        "benchmarks/report/{brain}-true-exclusion.tsv"
    resources:
        mem_mb=of_voxels(1500, 150, config["reconstruction"]["voxel_mm"]),
        runtime=of_voxels(10, 1, config["reconstruction"]["voxel_mm"]),
    params:
        folder=config["study"]["truth"],
        version=version("truth"),
