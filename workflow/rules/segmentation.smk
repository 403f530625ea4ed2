use rule job as segmentation with:
    """Label background, gray and white matter in the sections of one chunk."""
    input:
        images=images_of_chunk,
        manual=manual_segmentations_of_chunk,
    output:
        labels="results/segmentation/{brain}/{chunk}.tif",
        table="results/segmentation/{brain}/{chunk}.parquet",
    log:
        "logs/segmentation/{brain}/{chunk}.log",
    benchmark:
        "benchmarks/segmentation/{brain}/{chunk}.tsv"
    resources:
        mem_mb=memory_of_sections("segmentation"),
        runtime=minutes_of_chunk("segmentation", seconds=10),
    params:
        sections=scans_of_chunk,
        params=config["segmentation"],
        version=version("segmentation"),
