use rule job as midline with:
    """Cut the mid-surfaces by the sections of one chunk and push the points onto the midline."""
    input:
        stack="results/alignment/{brain}/stack.parquet",
        labels="results/segmentation/{brain}/{chunk}.tif",
        segmentation="results/segmentation/{brain}/{chunk}.parquet",
        surfaces=hemispheres(
            "results/midsurface/{brain}/hemi-{hemisphere}_mid.surf.gii"
        ),
        thickness=hemispheres(
            "results/midsurface/{brain}/hemi-{hemisphere}_thickness.shape.gii"
        ),
        curvature=hemispheres(
            "results/midsurface/{brain}/hemi-{hemisphere}_curvature.shape.gii"
        ),
        depth="results/midsurface/{brain}/depth.nii.gz",
        hemispheres="results/midsurface/{brain}/hemispheres.nii.gz",
        exclusion=manual_exclusion,
    output:
        midline="results/midline/{brain}/{chunk}.parquet",
    log:
        "logs/midline/{brain}/{chunk}.log",
    benchmark:
        "benchmarks/midline/{brain}/{chunk}.tsv"
    resources:
        mem_mb=memory_of_sections("segmentation", config["reconstruction"]["voxel_mm"]),
        runtime=minutes_of_chunk("segmentation", seconds=10),
    params:
        keyed_by=HEMISPHERES,
        params=config["midline"],
        version=version("midline"),
