use rule job as pyramids with:
    """Make a tiled pyramid of a scan that cannot be read in place."""
    input:
        image=scan_of_section,
    output:
        pyramid="results/pyramids/{brain}/{section}.ome.tif",
    log:
        "logs/pyramids/{brain}/{section}.log",
    benchmark:
        "benchmarks/pyramids/{brain}/{section}.tsv"
    resources:
        mem_mb=memory_of_scan,
        runtime=sized(120),
    params:
        section=row_of_section,
        params=config["pyramids"],
        version=version("pyramids"),
