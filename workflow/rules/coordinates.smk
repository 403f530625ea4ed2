use rule job as coordinates with:
    """Compute the template coordinate and the atlas area of each point of a brain."""
    input:
        midlines=chunks_of("results/midline/{brain}/{chunk}.parquet"),
        stack="results/alignment/{brain}/stack.parquet",
        tissue="results/reconstruction/{brain}/tissue.nii.gz",
        template=config["template"]["tissue"] or [],
        template_exclusion=config["template"]["exclusion"] or [],
        atlas=config["template"]["atlas"] or [],
        areas=config["template"]["areas"] or [],
        supplied_transform=manual(
            f"manual/{{brain}}/to-{config['template']['name']}{config['coordinates']['given_suffix']}"
        ),
        # transforms.tsv first, then the files that it names
        chains=supplied_transforms,
        anchoring_target=anchoring_target,
    output:
        transform=f"results/coordinates/{{brain}}/to-{config['template']['name']}.h5",
        affine=f"results/coordinates/{{brain}}/affine-to-{config['template']['name']}.h5",
        checks="results/coordinates/{brain}/checks.parquet",
        points="results/coordinates/{brain}/points.parquet",
    log:
        "logs/coordinates/{brain}.log",
    benchmark:
        "benchmarks/coordinates/{brain}.tsv"
    resources:
        mem_mb=of_voxels(1500, 1300, config["coordinates"]["registration_mm"]),
        runtime=of_voxels(20, 20, config["coordinates"]["registration_mm"]),
    params:
        template_name=config["template"]["name"],
        image_right=config["study"]["image_right"],
        declared_hemispheres=declared_hemispheres,
        params=config["coordinates"],
        version=version("coordinates"),


use rule job as coordinates_proposal with:
    """Transfer the template's mask of non-cortical tissue to a brain, for a person to correct."""
    input:
        volume="results/reconstruction/{brain}/whole.nii.gz",
        template=config["template"]["tissue"] or [],
        exclusion=config["template"]["exclusion"] or [],
    output:
        proposed="results/coordinates/{brain}/proposed-exclusion.nii.gz",
    log:
        "logs/coordinates/{brain}-proposal.log",
    benchmark:
        "benchmarks/coordinates/{brain}-proposal.tsv"
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        declared_hemispheres=declared_hemispheres,
        params=config["coordinates"],
        version=version("coordinates"),
