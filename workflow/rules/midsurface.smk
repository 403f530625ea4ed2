use rule job as midsurface with:
    """Compute the cortical depth and the closed surface at half depth, one per hemisphere."""
    input:
        tissue=tissue_of,
        supplied_surfaces=manual_surfaces,
    output:
        depth="results/midsurface/{brain}/depth.nii.gz",
        hemispheres="results/midsurface/{brain}/hemispheres.nii.gz",
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
    log:
        "logs/midsurface/{brain}.log",
    benchmark:
        "benchmarks/midsurface/{brain}.tsv"
    # the template, too, for the distances along its surface
    wildcard_constraints:
        brain="|".join([*BRAINS, "template"]),
    # one per hemisphere
    threads: 2
    resources:
        mem_mb=of_voxels(1200, 130, config["reconstruction"]["voxel_mm"]),
        runtime=of_voxels(20, 1.2, config["reconstruction"]["voxel_mm"]),
    params:
        keyed_by=HEMISPHERES,
        declared_hemispheres=declared_hemispheres,
        params=config["midsurface"],
        version=version("midsurface"),
