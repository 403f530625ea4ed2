use rule job as alignment_pairs with:
    """Align the sections of one chunk to the usable ones before them, as scanned and mirrored."""
    input:
        images=images_of_chunk_and_before,
        tables=chunk_and_before("results/segmentation/{brain}/{chunk}.parquet"),
        labels=chunk_and_before("results/segmentation/{brain}/{chunk}.tif"),
    output:
        pairs="results/alignment/{brain}/pairs-{chunk}.parquet",
    log:
        "logs/alignment/{brain}/pairs-{chunk}.log",
    benchmark:
        "benchmarks/alignment/{brain}/pairs-{chunk}.tsv"
    resources:
        mem_mb=memory_of_sections("alignment"),
        runtime=minutes_of_chunk("alignment", seconds=20),
    params:
        sections=rows_of_chunk_and_before,
        chunk_span=config["study"]["chunk_span"],
        params=config["alignment"],
        version=version("alignment"),


use rule job as alignment with:
    """Decide which sections are mirrored, and place all sections around the centre section."""
    input:
        chunk_pairs=chunks_of("results/alignment/{brain}/pairs-{chunk}.parquet"),
        tables=chunks_of("results/segmentation/{brain}/{chunk}.parquet"),
        labels=chunks_of("results/segmentation/{brain}/{chunk}.tif"),
    output:
        stack="results/alignment/{brain}/stack.parquet",
        pairs="results/alignment/{brain}/pairs.parquet",
        # in the form of manual/{brain}/sections.tsv: what a person should decide
        proposed="results/alignment/{brain}/proposed-sections.tsv",
    log:
        "logs/alignment/{brain}/stack.log",
    benchmark:
        "benchmarks/alignment/{brain}/stack.tsv"
    params:
        sections=rows_of_brain,
        image_right=config["study"]["image_right"],
        params=config["alignment"],
        version=version("alignment"),


use rule job as alignment_audit with:
    """Propose sections that look mirrored, swapped or misplaced, for a person to decide."""
    input:
        images=images_of_brain,
        tables=chunks_of("results/segmentation/{brain}/{chunk}.parquet"),
        labels=chunks_of("results/segmentation/{brain}/{chunk}.tif"),
    output:
        findings="results/alignment/{brain}/audit.parquet",
        # in the form of manual/{brain}/sections.tsv
        proposed="results/alignment/{brain}/audit-sections.tsv",
    log:
        "logs/alignment/{brain}/audit.log",
    benchmark:
        "benchmarks/alignment/{brain}/audit.tsv"
    resources:
        mem_mb=sized(1500),
        runtime=of_sections(20, 1),
    params:
        sections=audited_rows_of_brain,
        max_rotation_deg=config["alignment"]["max_rotation_deg"],
        params=config["audit"],
        version=version("alignment"),
