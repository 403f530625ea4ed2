rule midline:
    """Cut the mid-surfaces by the sections of one chunk and push the points onto the midline."""
    input:
        stack="results/alignment/{brain}/stack.parquet",
        labels="results/segmentation/{brain}/{chunk}.tif",
        segmentation="results/segmentation/{brain}/{chunk}.parquet",
        surface_L="results/midsurface/{brain}/hemi-L_mid.surf.gii",
        surface_R="results/midsurface/{brain}/hemi-R_mid.surf.gii",
        thickness_L="results/midsurface/{brain}/hemi-L_thickness.shape.gii",
        thickness_R="results/midsurface/{brain}/hemi-R_thickness.shape.gii",
        curvature_L="results/midsurface/{brain}/hemi-L_curvature.shape.gii",
        curvature_R="results/midsurface/{brain}/hemi-R_curvature.shape.gii",
    output:
        midline="results/midline/{brain}/{chunk}.parquet",
    log:
        "logs/midline/{brain}/{chunk}.log",
    benchmark:
        "benchmarks/midline/{brain}/{chunk}.tsv"
    threads: 1
    resources:
        mem_mb=memory_of_sections("segmentation"),
        runtime=minutes_of_chunk("segmentation", seconds=10),
    params:
        midline=config["midline"],
        version=version("midline"),
    script:
        "../scripts/midline.py"
