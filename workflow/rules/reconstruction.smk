rule reconstruction:
    """Stack the labels of a brain's sections into one volume, repaired and cleaned."""
    input:
        labels=chunks_of("results/segmentation/{brain}/{chunk}.tif"),
        tables=chunks_of("results/segmentation/{brain}/{chunk}.parquet"),
        stack="results/alignment/{brain}/stack.parquet",
        exclusion=manual("manual/{brain}/exclusion.nii.gz"),
    output:
        tissue="results/reconstruction/{brain}/tissue.nii.gz",
        repairs="results/reconstruction/{brain}/repairs.parquet",
    log:
        "logs/reconstruction/{brain}.log",
    benchmark:
        "benchmarks/reconstruction/{brain}.tsv"
    threads: 1
    resources:
        mem_mb=of_voxels(600, 70, config["reconstruction"]["voxel_mm"]),
        runtime=of_voxels(10, 0.6, config["reconstruction"]["voxel_mm"]),
    params:
        reconstruction=config["reconstruction"],
        version=version("reconstruction"),
    script:
        "../scripts/reconstruction.py"
