use rule job as reconstruction_volume with:
    """Stack the labels of a brain's sections into one volume and repair defects, or use a supplied volume."""
    input:
        labels=chunks_of("results/segmentation/{brain}/{chunk}.tif"),
        tables=chunks_of("results/segmentation/{brain}/{chunk}.parquet"),
        stack="results/alignment/{brain}/stack.parquet",
        supplied_tissue=manual("manual/{brain}/tissue.nii.gz"),
    output:
        volume="results/reconstruction/{brain}/whole.nii.gz",
        repairs="results/reconstruction/{brain}/repairs-whole.parquet",
    log:
        "logs/reconstruction/{brain}-volume.log",
    benchmark:
        "benchmarks/reconstruction/{brain}-volume.tsv"
    # it runs alone: the chunks are finished, and the surface waits for it
    threads: 2
    resources:
        mem_mb=6000,
        runtime=60,
    params:
        cuts=declared_cuts,
        params=config["reconstruction"],
        version=version("reconstruction"),


use rule job as reconstruction with:
    """Exclude what a person has marked as not cortex, and drop loose fragments."""
    input:
        # not read, but it must exist when a person is asked for the mask
        proposed_exclusion,
        volume="results/reconstruction/{brain}/whole.nii.gz",
        volume_repairs="results/reconstruction/{brain}/repairs-whole.parquet",
        exclusion=manual_exclusion,
    output:
        tissue="results/reconstruction/{brain}/tissue.nii.gz",
        repairs="results/reconstruction/{brain}/repairs.parquet",
    log:
        "logs/reconstruction/{brain}.log",
    benchmark:
        "benchmarks/reconstruction/{brain}.tsv"
    resources:
        mem_mb=of_voxels(600, 70, config["reconstruction"]["voxel_mm"]),
        runtime=of_voxels(10, 0.6, config["reconstruction"]["voxel_mm"]),
    params:
        missing_exclusion=config["study"]["missing_exclusion"],
        params=config["reconstruction"],
        version=version("reconstruction"),
