rule midsurface:
    """Compute the depth in the cortex and the closed surface at half depth, a hemisphere each."""
    input:
        tissue=tissue_of,
        given=manual_surfaces,
    output:
        depth="results/midsurface/{brain}/depth.nii.gz",
        hemispheres="results/midsurface/{brain}/hemispheres.nii.gz",
        surface_L="results/midsurface/{brain}/hemi-L_mid.surf.gii",
        surface_R="results/midsurface/{brain}/hemi-R_mid.surf.gii",
        thickness_L="results/midsurface/{brain}/hemi-L_thickness.shape.gii",
        thickness_R="results/midsurface/{brain}/hemi-R_thickness.shape.gii",
        curvature_L="results/midsurface/{brain}/hemi-L_curvature.shape.gii",
        curvature_R="results/midsurface/{brain}/hemi-R_curvature.shape.gii",
        table="results/midsurface/{brain}/surfaces.parquet",
    log:
        "logs/midsurface/{brain}.log",
    benchmark:
        "benchmarks/midsurface/{brain}.tsv"
    # the template too, where distances are measured along its surface
    wildcard_constraints:
        brain="|".join([*BRAINS, "template"]),
    # the hemispheres side by side
    threads: 2
    resources:
        mem_mb=of_voxels(1200, 130, config["reconstruction"]["voxel_mm"]),
        runtime=of_voxels(20, 1.2, config["reconstruction"]["voxel_mm"]),
    params:
        midsurface=config["midsurface"],
        version=version("midsurface"),
    script:
        "../scripts/midsurface.py"
