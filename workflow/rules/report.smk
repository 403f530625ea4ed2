# What a person looks at: one page per brain, and one page for the study.

AUDITS = (
    brains_of("results/alignment/{brain}/audit.parquet")
    if config["study"]["audit"]
    else []
)


use rule job as report_brain with:
    """Show the results of one brain, from its sections to its points in the template."""
    input:
        labels=chunks_of("results/segmentation/{brain}/{chunk}.tif"),
        segmentations=chunks_of("results/segmentation/{brain}/{chunk}.parquet"),
        stack="results/alignment/{brain}/stack.parquet",
        pairs="results/alignment/{brain}/pairs.parquet",
        proposed="results/alignment/{brain}/proposed-sections.tsv",
        audit=audit_of_brain,
        tissue="results/reconstruction/{brain}/tissue.nii.gz",
        repairs="results/reconstruction/{brain}/repairs.parquet",
        surfaces=hemispheres(
            "results/midsurface/{brain}/hemi-{hemisphere}_mid.surf.gii"
        ),
        thickness=hemispheres(
            "results/midsurface/{brain}/hemi-{hemisphere}_thickness.shape.gii"
        ),
        curvature=hemispheres(
            "results/midsurface/{brain}/hemi-{hemisphere}_curvature.shape.gii"
        ),
        table="results/midsurface/{brain}/surfaces.parquet",
        midlines=chunks_of("results/midline/{brain}/{chunk}.parquet"),
        points="results/coordinates/{brain}/points.parquet",
        checks="results/coordinates/{brain}/checks.parquet",
        template=config["template"]["tissue"] or [],
        supplied_tissue=manual("manual/{brain}/tissue.nii.gz"),
        supplied_surfaces=manual_surfaces,
        earlier=earlier_numbers_of_brain,
    output:
        numbers="results/report/{brain}.tsv",
        pictures=directory("results/report/{brain}"),
        # written last; it loads the pictures
        page="results/report/{brain}.html",
    log:
        "logs/report/{brain}.log",
    benchmark:
        "benchmarks/report/{brain}.tsv"
    resources:
        mem_mb=of_sections(1500, 5),
        runtime=of_sections(10, 0.1),
    params:
        keyed_by=HEMISPHERES,
        sections=readable_rows_of_brain,
        images=images_of_brain,
        mapped=bool(MAPPED),
        max_rotation_deg=config["alignment"]["max_rotation_deg"],
        params=config["report"],
        version=version("report"),


use rule job as report_map with:
    """Add the map of areas to the page of one brain."""
    input:
        page="results/report/{brain}.html",
        points="results/coordinates/{brain}/points.parquet",
        stack="results/alignment/{brain}/stack.parquet",
        area_map="results/mapping/{brain}.parquet",
        area_names=config["template"]["areas"] or [],
        scores="results/mapping/scores.parquet",
        clusters=parcellation_of_brain,
        truth=TRUTH,
    output:
        script="results/report/{brain}-map.js",
    log:
        "logs/report/{brain}-map.log",
    benchmark:
        "benchmarks/report/{brain}-map.tsv"
    resources:
        mem_mb=of_sections(1500, 5),
        runtime=of_sections(10, 0.1),
    params:
        run=MAPPED,
        role=role_of_brain,
        smoothing_mm=config["mapping"]["smoothing_mm"],
        false_alarms=config["mapping"]["false_alarms"],
        version=version("report"),


use rule job as report with:
    """Show the study: its brains, networks, scores and, for a phantom, the truth table."""
    input:
        pages=brains_of("results/report/{brain}.html"),
        stacks=brains_of("results/alignment/{brain}/stack.parquet"),
        surfaces=brains_of("results/midsurface/{brain}/surfaces.parquet"),
        points=brains_of("results/coordinates/{brain}/points.parquet"),
        checks=brains_of("results/coordinates/{brain}/checks.parquet"),
        audits=AUDITS,
        metrics=expand("results/pretraining/{run}/metrics.parquet", run=RUNS),
        scores=every_task("scores.parquet") + MAP_SCORES,
        figures=every_task("figures.html"),
        table=TRUTH,
    output:
        page="results/report/index.html",
    log:
        "logs/report/index.log",
    benchmark:
        "benchmarks/report/index.tsv"
    params:
        keyed_by=RUNS,
        roles=ROLES,
        version=version("report"),
