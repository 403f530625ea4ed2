rule pyramids:
    """Make a tiled pyramid of a scan that has no levels."""
    input:
        scan=scan_of_section,
    output:
        pyramid="results/pyramids/{brain}/{section}.ome.tif",
    log:
        "logs/pyramids/{brain}/{section}.log",
    benchmark:
        "benchmarks/pyramids/{brain}/{section}.tsv"
    threads: 1
    resources:
        mem_mb=memory_of_scan,
        runtime=sized(60),
    params:
        section=row_of_section,
        pyramids=config["pyramids"],
        version=version("pyramids"),
    script:
        "../scripts/pyramids.py"
