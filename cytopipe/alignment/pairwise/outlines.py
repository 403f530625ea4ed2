"""Two sections laid onto each other by their outlines alone, where their pair cannot be used."""

from pathlib import Path

import numpy as np

from cytopipe.alignment.acceptance import judge_pair
from cytopipe.alignment.pairwise import coarse, image_registration
from cytopipe.alignment.pairwise.prepared_section import PreparedSection, prepare_section
from cytopipe.formats.images import read_labels
from cytopipe.formats.tables import UNCERTAIN, PairRow, SegmentationRow, rigid_columns
from cytopipe.numerics.geometry import resample_labels
from cytopipe.study.config import Alignment

# pixels of an outline along a pixel of the coarse search; chosen, not measured
_FINER = 8


def read_outline(row: SegmentationRow, labels_path: Path, params: Alignment) -> PreparedSection:
    """A section as its labels show it: the stain is that of gray and of white matter."""
    labels = read_labels(labels_path, row.page)
    spacing_um = max(params.coarse_um / _FINER, row.spacing_um)
    rows, columns = (int(np.ceil(n * row.spacing_um / spacing_um)) for n in labels.shape)
    labels = resample_labels(
        labels, row.spacing_um, (rows, columns), spacing_um, row.full_spacing_um
    )
    # gray values of a slide, of gray and of white matter
    stain = np.choose(labels, [230, 110, 170]).astype(np.float32)
    return prepare_section(row, stain, labels, spacing_um, spacing_um)


def pair_by_outline(
    fixed: PreparedSection,
    moving: PreparedSection,
    fixed_mirrored: bool,
    moving_mirrored: bool,
    params: Alignment,
) -> PairRow:
    """The pair of two sections of known handedness; at best uncertain."""
    source = moving.flipped if fixed_mirrored != moving_mirrored else moving
    step = np.radians(params.rotation_step_deg)
    max_rotation = np.radians(params.max_rotation_deg)
    start, _ = coarse.search(fixed, source, params.coarse_um, max_rotation, step)[0]
    rigid = image_registration.refine_outline(fixed, source, start, params.coarse_um / 2) or start
    overlap = image_registration.overlap(fixed, source, rigid)
    status = judge_pair(False, overlap, params.min_overlap, "outline")
    return PairRow(
        brain=fixed.row.brain,
        fixed=fixed.row.section,
        moving=moving.row.section,
        distance=0,
        inliers_plain=0,
        inliers_mirrored=0,
        peak_plain=np.nan,
        peak_mirrored=np.nan,
        log_odds_mirrored=np.nan,
        mirrored=source.is_flipped,
        **rigid_columns(rigid if status == UNCERTAIN else None),
        sigma_um=np.nan,
        residual_um=np.nan,
        overlap=overlap,
        agreement=0.0,
        displaced_share=0.0,
        displaced_um=0.0,
        tissue_mm2=min(fixed.tissue_mm2, moving.tissue_mm2),
        method="outline",
        status=status,
    )
