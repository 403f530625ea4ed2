"""The section `midsurface`."""

from cytopipe.study.config.base import ConfigSection, field


class Midsurface(ConfigSection):
    """The method of CytoNet, section 3.2, which gives only the edge length."""

    band_mm: float = field(
        "The border between the hemispheres may lie at most this far from the symmetry plane.",
        unit="mm",
        gt=0,
    )
    plane_only_from_mm: float = field(
        "From this voxel size on, the symmetry plane alone separates the hemispheres, because the "
        "fissure is no longer visible.",
        unit="mm",
        ge=0,
    )
    laplace_tolerance: float = field(
        "The largest error of the depth, which runs from 0 to 1.", gt=0, le=0.01
    )
    poisson_depth: int = field(
        "The octree depth of the Poisson reconstruction: 9 means cells of 0.35 mm in a hemisphere "
        "of 170 mm.",
        ge=4,
        le=12,
    )
    edge_mm: float = field(
        "The target length of the surface's edges, one voxel.",
        unit="mm",
        source="CytoNet 3.2",
        gt=0,
    )
    remesh_iterations: int = field(
        "The number of rounds of isotropic remeshing. 3 rounds leave 11 % of the edges outside "
        "0.8 to 1.33 of their target, 6 leave 5 %, 10 leave 3 %.",
        ge=1,
        le=50,
    )
    farthest_mm: float = field(
        "Thickness is measured along streamlines, at most this far to either side of the "
        "mid-surface.",
        unit="mm",
        gt=0,
    )
    smoothing_rounds: int = field(
        "How often thickness and curvature are averaged over neighbouring vertices; both carry "
        "the staircase of the voxels.",
        ge=0,
    )
    open_sulci: bool = field(
        "Whether fused banks of sulci are carved open before the Laplacian. In a test with filled "
        "sulci at 1 mm, the depth error (95th percentile) falls from 0.43 to 0.27 beside them "
        "and rises from 0.084 to 0.088 elsewhere; the thresholds were chosen on that hemisphere.",
        source="ACE of CRUISE (Han et al., NeuroImage 23, 2004)",
    )
