"""The section `midsurface`."""

from cytopipe.study.config.base import ConfigSection, field


class Midsurface(ConfigSection):
    """The method of CytoNet, section 3.2, which gives only the edge length."""

    band: float = field(
        "Tissue farther from the symmetry plane than this belongs to its side; of the distance of "
        "the farthest tissue. In a human brain 0.3 is 20 mm, and the cortex crosses the plane by "
        "up to 14 mm.",
        gt=0,
        lt=1,
    )
    callosum: float = field(
        "The potential in the white matter is 0 in the left hemisphere and 1 in the right one. "
        "Where it differs from both by more than this, the white matter is that of the corpus "
        "callosum, on which no cortex lies. Of one person's gray matter, 0.1 cm3 went to the wrong "
        "side with 0.25 to 0.3, 0.2 cm3 with 0.4, 0.9 cm3 with 0.5.",
        gt=0,
        le=0.5,
    )
    clear_mm: float = field(
        "Gray matter farther than this from the white matter of both hemispheres must be nearer to "
        "one of them by this much; otherwise it belongs to neither. No cortex is as thick; the "
        "strands below the callosum lie farther from any gyrus.",
        unit="mm",
        gt=0,
    )
    symmetry_mm: float = field(
        "The symmetry plane is looked for on voxels of about this size.", unit="mm", gt=0
    )
    widest_bridge: float = field(
        "Two hemispheres touch over at most this area, in units of the tissue's volume to the "
        "power of 2/3. Those of one person have 0.09 to 0.21, turned or with missing lobes; a "
        "single hemisphere that is cut in two has 0.98 to 1.44. Brain stem and cerebellum add to "
        "it where they are not excluded.",
        gt=0,
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
    white_lining: float = field(
        "Enclosed background is a hole in white matter, and not a pocket of a sulcus, if white "
        "matter lines more than this share of it.",
        ge=0,
        le=1,
    )
    white_around: float = field(
        "Background counts as white matter if at least this share of the directions from it meets "
        "white matter of the same hemisphere first: ventricles, and excluded nuclei, which may be "
        "open to the outside. In a head with deep structures, at 1 mm, 0.5 lowers the distance of "
        "95 % of the mid-surface from the true one from 3.7 to 2.8 mm.",
        gt=0,
        le=1,
    )
    mend_cortex: bool = field(
        "Whether white matter apart from the rest counts as cortex if it lies in the outer half of "
        "it, since it is pale layer I, and enclosed background if it lies in the inner half, since "
        "it is a vessel or a bubble and no sulcus."
    )
    open_sulci: bool = field(
        "Whether touching banks of sulci are separated before the Laplacian by a sheet without "
        "thickness. One person's folds, cut into sections and stacked at 0.5 mm: 6.9 % of the "
        "cortex lies more than 1.5 mm from the mid-surface without white_lining and open_sulci, "
        "4.2 % without open_sulci, 0.7 % with both.",
        source="ACE of CRUISE (Han et al., NeuroImage 23, 2004)",
    )
    sulcus_share: float = field(
        "Fronts from the white matter are those of two banks if they meet at this share of the "
        "usual thickness or more; nearer, they belong to the fundus of an open sulcus. On the same "
        "folds 0.8 loses 1.4 % of the cortex, 0.5 loses 0.4 % but shifts the surface at fundi.",
        gt=0,
        le=1,
    )
    sheet_evidence: float = field(
        "A sheet between banks ends where there is less evidence for two banks: the distance from "
        "the white matter, over its mean in the sheet around, plus a quarter of sulcus_fall's "
        "measure. Sheets then do not run into the fundus; 0 keeps them whole. On the head, 77 % of "
        "the voxels of whole sheets lie within 0.5 mm of a true pial surface, and 89 % with 1.15.",
        ge=0,
        le=1.5,
    )
    sulcus_fall: float = field(
        "Fronts meet where the distance to the white matter falls by this to both sides together: "
        "by 2 if they meet head on, by 0 within one front.",
        unit="voxels per step",
        gt=0,
        le=2,
    )
    usual_thickness_mm: float = field(
        "The usual thickness is the mean within about this distance: it differs between areas.",
        unit="mm",
        gt=0,
    )
    pocket_mm3: float = field(
        "Enclosed space of at most this size in the solid inside the mid-surface is filled; larger "
        "space is opened to the outside where its wall is thinnest.",
        unit="mm3",
        ge=0,
    )
    fairing_rounds: int = field(
        "The rounds of smoothing that remove the voxels' staircase before the Poisson "
        "reconstruction.",
        ge=0,
    )
    lost_mm: float = field(
        "Gray matter farther than this from the mid-surface counts as lost, more than any cortex "
        "that has a surface in its middle.",
        unit="mm",
        gt=0,
    )
    most_buried: float = field(
        "A surface is doubtful if a larger share of the gray matter is lost inside it. On one "
        "person's folds at 0.5 mm the share is 0.001 where 0.7 % of the cortex is missed by more "
        "than 1.5 mm, 0.003 where 1.8 % is, 0.012 where 4 % is, 0.023 where 7 % is.",
        ge=0,
        le=1,
    )
    most_missed: float = field(
        "A surface is doubtful if a larger share of the gray matter at half depth is lost: the "
        "surface should run there and does not, because a gyrus was cut off. Surfaces of "
        "fsaverage5 and of one person's folds have a share of 0 to 0.0009; chosen, not measured on "
        "surfaces that lack a gyrus. Tips in which the depth itself is wrong are not seen.",
        ge=0,
        le=1,
    )
    most_lost: float = field(
        "A surface is doubtful if a larger share of the gray matter is lost. Thick crowns and "
        "poles have a share of 0.008 on fsaverage5 and of 0.016 on one person's folds; surfaces "
        "without the walls of deep sulci had 0.031 and 0.090.",
        ge=0,
        le=1,
    )
    most_unassigned: float = field(
        "Both surfaces are doubtful if a larger share of the tissue belongs to no hemisphere. "
        "Whole brains have a share of 0 to 0.0005; those whose parts hang together no more had "
        "0.013 to 0.05. 0.005 of a human brain is the volume of a gyrus.",
        ge=0,
        le=1,
    )
