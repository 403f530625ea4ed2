# Data sets of patches, by the names in config["patches"]["datasets"]; annotated layers; distances.


use rule job as patches with:
    """Draw the patches of one data set from the points of its brains or from annotated areas."""
    input:
        # found through the params and beside the annotations
        area_names_of_dataset,
        warp_of_dataset,
        points=points_of_dataset,
        annotations=contours_of_dataset,
    output:
        patches="results/patches/{dataset}.parquet",
    log:
        "logs/patches/{dataset}.log",
    benchmark:
        "benchmarks/patches/{dataset}.tsv"
    wildcard_constraints:
        dataset=r"(?!layers\.parquet)[^/]+",
    resources:
        mem_mb=of_all_sections(1000, 1.6),
        runtime=sized(30),
    params:
        keyed_by=brains_of_dataset,
        roles=roles_of_dataset,
        sections=readable_rows_of_dataset,
        params=settings_of_dataset,
        version=version("patches"),


use rule job as patches_layers with:
    """Check and split the patches in which a person has annotated cortical layers."""
    input:
        # the images and masks that the table lists
        annotations_under("layers"),
        table=f"{config['study']['annotations']}/layers/layers.tsv",
    output:
        patches="results/patches/layers.parquet",
    log:
        "logs/patches/layers.log",
    benchmark:
        "benchmarks/patches/layers.tsv"
    resources:
        mem_mb=sized(1000),
        runtime=sized(30),
    params:
        params=config["patches"]["layers"],
        version=version("patches"),


use rule job as patches_geodesic with:
    """Measure distances along the template's mid-surface between nodes spread over it."""
    input:
        surfaces=hemispheres(
            "results/midsurface/template/hemi-{hemisphere}_mid.surf.gii"
        ),
    output:
        table="results/patches/geodesic.npz",
    log:
        "logs/patches/geodesic.log",
    benchmark:
        "benchmarks/patches/geodesic.tsv"
    resources:
        mem_mb=sized(8000),
        runtime=sized(60),
    params:
        keyed_by=HEMISPHERES,
        params=config["patches"]["geodesic"],
        version=version("patches"),
