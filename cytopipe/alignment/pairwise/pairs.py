"""The rigid transform between two sections, tried as scanned and with one of them mirrored."""

from dataclasses import dataclass, replace

import numpy as np

from cytopipe.alignment.acceptance import PERSON, judge_pair
from cytopipe.alignment.pairwise import coarse, image_registration
from cytopipe.alignment.pairwise.prepared_section import PreparedSection
from cytopipe.alignment.pairwise.ransac import refit, rigid_consensus
from cytopipe.alignment.pairwise.surf_features import Features, features_of, match
from cytopipe.formats.tables import ACCEPTED, UNCERTAIN, PairRow, rigid_columns
from cytopipe.numerics.geometry import Rigid, unmirror
from cytopipe.study.config import Alignment


@dataclass(frozen=True)
class _Attempt:
    """One handedness: the transforms by the coarse search, the features and the texture."""

    moving: PreparedSection
    coarse: Rigid
    coarse_score: float
    features: Features
    by_features: Rigid | None
    inliers: int
    by_texture: Rigid | None
    peak: float  # NaN if the texture is not used


@dataclass(frozen=True)
class _Fit:
    """The transform by one method, and whether it is clear (see `align_pair`)."""

    flipped: bool
    rigid: Rigid
    overlap: float
    method: str
    clear: bool


def align_pair(
    fixed: PreparedSection,
    moving: PreparedSection,
    fixed_features: Features,
    distance: int,
    params: Alignment,
) -> PairRow:
    """Align `moving` to `fixed`.

    Each handedness is tried: a coarse rotation, SURF matches, RANSAC. The first of these methods
    that succeeds gives the transform:

    texture
        Vessels and grain correlate with a peak, on which the transform is refined. This comes first
        because a consensus of SURF features follows the anatomy, which moves between distant
        sections: 15 px of 256 um off at 5.6 mm, with 24 inliers against 6. The pair is clear if the
        other handedness has no peak and the refinement stays near this one.
    features
        There are enough inliers (the paper's method). The pair is clear if they are `min_margin`
        times those of the other handedness.
    outline
        The labels as a whole; never clear.

    The handedness is that of the higher peak, or of more inliers if there is no peak, unless a
    person confirmed both sections.

    Parameters
    ----------
    fixed_features : `features_of(fixed, 0, ...)`, the same for all partners.
    distance : 1 for neighbouring usable sections, 2 across one.
    """
    plain, mirrored = (
        _try(fixed, section, fixed_features, params) for section in (moving, moving.flipped)
    )
    tries = [plain, mirrored]
    if fixed.mirrored is not None and moving.mirrored is not None:
        tries = [tries[int(fixed.mirrored != moving.mirrored)]]
    fit = (
        _by_texture(fixed, tries, params)
        or _by_features(fixed, tries, fixed_features, params)
        or _by_outline(fixed, tries, params)
    )
    features = (mirrored if fit.flipped else plain).features
    return replace(
        _pair_row(fixed, moving, fit, distance, params),
        inliers_plain=plain.inliers,
        inliers_mirrored=mirrored.inliers,
        peak_plain=plain.peak,
        peak_mirrored=mirrored.peak,
        residual_um=_residual_um(fit.rigid, features, fixed_features, params),
    )


def manual_pair(
    fixed: PreparedSection, moving: PreparedSection, rigid: Rigid, distance: int, params: Alignment
) -> PairRow:
    """A pair whose transform a person gave; uncertain if suspiciously little tissue overlaps.

    Parameters
    ----------
    rigid : points of the moving section to the fixed one, each flipped first if it is mirrored. A
        person has confirmed both sections as mirrored or not.
    """
    flipped = fixed.mirrored != moving.mirrored
    if fixed.mirrored:
        # the fixed section of a pair is taken as scanned
        rigid = unmirror(rigid, moving.row.width_um, fixed.row.width_um)
    overlap = image_registration.overlap(fixed, moving.flipped if flipped else moving, rigid)
    fit = _Fit(flipped, rigid, overlap, PERSON, True)
    return _pair_row(fixed, moving, fit, distance, params)


def _pair_row(
    fixed: PreparedSection, moving: PreparedSection, fit: _Fit, distance: int, params: Alignment
) -> PairRow:
    """The row of a pair without the measurements of the attempts."""
    status = judge_pair(fit.clear, fit.overlap, params.min_overlap, fit.method)
    return PairRow(
        brain=fixed.row.brain,
        fixed=fixed.row.section,
        moving=moving.row.section,
        distance=distance,
        inliers_plain=0,
        inliers_mirrored=0,
        peak_plain=np.nan,
        peak_mirrored=np.nan,
        mirrored=fit.flipped,
        **rigid_columns(fit.rigid if status in (ACCEPTED, UNCERTAIN) else None),
        residual_um=np.nan,
        overlap=fit.overlap,
        tissue_mm2=min(fixed.tissue_mm2, moving.tissue_mm2),
        method=fit.method,
        status=status,
    )


def _try(
    fixed: PreparedSection, moving: PreparedSection, fixed_features: Features, params: Alignment
) -> _Attempt:
    step = np.radians(params.rotation_step_deg)
    max_rotation = np.radians(params.max_rotation_deg)
    start, score = coarse.search(fixed, moving, params.coarse_um, max_rotation, step)
    features = features_of(moving, start.angle_rad, params)
    matches = match(fixed_features, features, params.max_ratio)
    by_features, inliers = rigid_consensus(
        features.points_um[matches[:, 1]],
        fixed_features.points_um[matches[:, 0]],
        start.angle_rad,
        2 * step,
        params.inlier_um,
        params.trials,
        params.seed,
    )
    by_texture, peak = None, np.nan
    if params.refine == "texture":
        by_texture, peak = image_registration.search_texture(
            fixed, moving, start, 2 * step, params.reach_um
        )
    count = int(np.count_nonzero(inliers))
    return _Attempt(moving, start, score, features, by_features, count, by_texture, peak)


def _by_texture(fixed: PreparedSection, tries: list[_Attempt], params: Alignment) -> _Fit | None:
    best = max(tries, key=lambda attempt: attempt.peak)
    moving, start = best.moving, best.by_texture
    if start is None or best.peak < params.min_peak:
        return None
    # the other handedness must have no peak
    clear = all(attempt.peak < params.min_peak for attempt in tries if attempt is not best)
    rigid = image_registration.refine_texture(fixed, moving, start)
    # a refinement this far off has climbed another peak; chosen, not measured
    if rigid is None or _distance_um(rigid, start, moving) >= 8 * params.texture_um:
        rigid, clear = start, False
    overlap = image_registration.overlap(fixed, moving, rigid)
    return _Fit(moving.is_flipped, rigid, overlap, "texture", clear)


def _by_features(
    fixed: PreparedSection, tries: list[_Attempt], fixed_features: Features, params: Alignment
) -> _Fit | None:
    """The transform with more inliers, fitted again to guided matches.

    The ratio test drops most true matches; near a known transform, the best descriptor is mostly
    right.
    """
    best = max(tries, key=lambda attempt: (attempt.inliers, attempt.coarse_score))
    if best.inliers < params.min_inliers or best.by_features is None:
        return None
    clear = all(best.inliers >= params.min_margin * a.inliers for a in tries if a is not best)
    rigid, features = best.by_features, best.features
    for _ in range(2):
        matches = match(fixed_features, features, 1.0, rigid, 2 * params.inlier_um)
        points = features.points_um[matches[:, 1]]
        targets = fixed_features.points_um[matches[:, 0]]
        again, _ = refit(points, targets, rigid, params.inlier_um)
        if again is None:
            break
        rigid = again
    overlap = image_registration.overlap(fixed, best.moving, rigid)
    if overlap < params.min_overlap:
        return None  # a consensus that lays tissue on background is chance; try the outline
    return _Fit(best.moving.is_flipped, rigid, overlap, "features", clear)


def _by_outline(fixed: PreparedSection, tries: list[_Attempt], params: Alignment) -> _Fit:
    """The better overlap; as scanned, unless the mirrored one is better by a twentieth."""
    fits = []
    for attempt in tries:
        moving, start = attempt.moving, attempt.coarse
        rigid = image_registration.refine_outline(fixed, moving, start, params.coarse_um / 2)
        rigid = rigid or start
        overlap = image_registration.overlap(fixed, moving, rigid)
        fits.append(_Fit(moving.is_flipped, rigid, overlap, "outline", False))
    # a twentieth is chosen, not measured
    return max(fits, key=lambda fit: fit.overlap * (1 / 1.05 if fit.flipped else 1.0))


def _distance_um(one: Rigid, other: Rigid, section: PreparedSection) -> float:
    """The largest distance between two transforms at the corners of a section."""
    x, y = section.row.width_um, section.row.height_um
    corners = np.array([[0, 0], [x, 0], [0, y], [x, y]])
    return float(np.linalg.norm(one(corners) - other(corners), axis=1).max())


def _residual_um(rigid: Rigid, moving: Features, fixed: Features, params: Alignment) -> float:
    """Median distance of matched features after the fit; NaN without a match."""
    matches = match(fixed, moving, 1.0, rigid, params.inlier_um)
    if not len(matches):
        return np.nan
    off = rigid(moving.points_um[matches[:, 1]]) - fixed.points_um[matches[:, 0]]
    return float(np.median(np.linalg.norm(off, axis=1)))
