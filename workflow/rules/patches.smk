# Data sets of patches by name: config["patches"]["datasets"]; annotated layers; distances.


rule patches:
    """Draw the patches of one data set from the points of its brains, or from annotated areas."""
    input:
        points=points_of_dataset,
        annotations=contours_of_dataset,
        area_names=area_names_of_dataset,
        warp=warp_of_dataset,
    output:
        patches="results/patches/{dataset}.parquet",
    log:
        "logs/patches/{dataset}.log",
    benchmark:
        "benchmarks/patches/{dataset}.tsv"
    wildcard_constraints:
        dataset=r"(?!layers\.parquet)[^/]+",
    threads: 1
    resources:
        mem_mb=sized(8000),
        runtime=sized(30),
    params:
        roles=roles_of_dataset,
        sections=readable_rows_of_dataset,
        patches=settings_of_dataset,
        version=version("patches"),
    script:
        "../scripts/patches.py"


rule patches_layers:
    """Check and split the patches in which a person has outlined the cortical layers."""
    input:
        table=f"{config['study']['annotations']}/layers/layers.tsv",
        files=annotations_under("layers"),
    output:
        patches="results/patches/layers.parquet",
    log:
        "logs/patches/layers.log",
    benchmark:
        "benchmarks/patches/layers.tsv"
    threads: 1
    resources:
        mem_mb=sized(1000),
        runtime=sized(30),
    params:
        patches=config["patches"]["layers"],
        version=version("patches"),
    script:
        "../scripts/patches_layers.py"


rule patches_geodesic:
    """Measure distances along the template's mid-surface between places spread over it."""
    input:
        surface_left="results/midsurface/template/hemi-L_mid.surf.gii",
        surface_right="results/midsurface/template/hemi-R_mid.surf.gii",
    output:
        table="results/patches/geodesic.npz",
    log:
        "logs/patches/geodesic.log",
    benchmark:
        "benchmarks/patches/geodesic.tsv"
    threads: 1
    resources:
        mem_mb=sized(8000),
        runtime=sized(60),
    params:
        patches=config["patches"]["geodesic"],
        version=version("patches"),
    script:
        "../scripts/patches_geodesic.py"
