"""The rigid transform between two sections, tried as scanned and with one of them mirrored."""

from dataclasses import dataclass

import numpy as np

from cytopipe.alignment.pairwise import coarse, image_registration
from cytopipe.alignment.pairwise.features import Features, features_of, match, match_near
from cytopipe.alignment.pairwise.prepared_section import PreparedSection
from cytopipe.alignment.pairwise.ransac import refit, rigid_consensus
from cytopipe.formats.tables import ACCEPTED, UNCERTAIN, PairRow, rigid_columns
from cytopipe.numerics.geometry import Rigid, unmirror
from cytopipe.study.config import Alignment

PERSON = "person"  # method of a pair that a person laid onto one another


@dataclass(frozen=True)
class _Attempt:
    """One handedness tried: the coarse transform, the features' one and the texture's one."""

    flipped: bool
    start: coarse.Coarse
    features: Features
    rigid: Rigid | None
    inliers: int
    peak: image_registration.Peak | None

    @property
    def height(self) -> float:
        return self.peak.height if self.peak else np.nan


@dataclass(frozen=True)
class _Fit:
    flipped: bool
    rigid: Rigid
    overlap: float
    method: str
    certain: bool


def align_pair(
    fixed: PreparedSection,
    moving: PreparedSection,
    fixed_features: Features,
    distance: int,
    params: Alignment,
) -> PairRow:
    """Align `moving` to `fixed`.

    Both hands are tried: a coarse rotation, SURF matches, RANSAC. Three ways to the transform
    follow, the first that holds is taken:

    texture
        vessels and grain correlate with a clear peak; the transform is refined on them. Found
        because a consensus of SURF features follows the anatomy, which moves between distant
        sections: 15 px of 256 um off at 5.6 mm, with 24 inliers against 6.
    features
        enough inliers, clearly more than for the other hand (the paper's way); the closed-form
        fit is repeated on matches sought where it expects them.
    outline
        the labels as a whole; never better than uncertain.

    The hand is that of the clearer peak, or of more inliers where there is no peak, unless a
    person confirmed both sections. Too little overlap of tissue leaves no transform.

    Parameters
    ----------
    fixed_features : `features_of(fixed, False, 0, ...)`, the same for all partners.
    distance : 1 for neighbouring usable sections, 2 across one.
    """
    plain, mirrored = (_try(fixed, moving, f, fixed_features, params) for f in (False, True))
    tries = [plain, mirrored]
    if fixed.mirrored is not None and moving.mirrored is not None:
        tries = [tries[int(fixed.mirrored != moving.mirrored)]]
    fit = (
        _by_texture(fixed, moving, tries, params)
        or _by_features(fixed, moving, tries, fixed_features, params)
        or _by_outline(fixed, moving, tries, params)
    )
    status = ACCEPTED if fit.certain else UNCERTAIN
    if fit.overlap < params.min_overlap:
        status = "too little overlap"
    chosen = mirrored if fit.flipped else plain
    return PairRow(
        brain=fixed.brain,
        fixed=fixed.section,
        moving=moving.section,
        distance=distance,
        inliers_plain=plain.inliers,
        inliers_mirrored=mirrored.inliers,
        peak_plain=plain.height,
        peak_mirrored=mirrored.height,
        mirrored=fit.flipped,
        **rigid_columns(fit.rigid if status in (ACCEPTED, UNCERTAIN) else None),
        residual_um=_residual_um(fit.rigid, chosen.features, fixed_features, params),
        overlap=fit.overlap,
        tissue_mm2=min(fixed.tissue_mm2, moving.tissue_mm2),
        method=fit.method,
        status=status,
    )


def given_pair(
    fixed: PreparedSection, moving: PreparedSection, rigid: Rigid, distance: int, params: Alignment
) -> PairRow:
    """A pair that a person laid onto one another; uncertain if suspiciously little tissue overlaps.

    Parameters
    ----------
    rigid : points of the moving section to the fixed one, each flipped first if it is mirrored.
        Both views have been confirmed as mirrored or not.
    """
    flipped = fixed.mirrored != moving.mirrored
    if fixed.mirrored:
        # a pair's fixed section is taken as scanned
        rigid = unmirror(rigid, moving.width_um, fixed.width_um)
    overlap = image_registration.overlap(fixed, moving, flipped, rigid)
    return PairRow(
        brain=fixed.brain,
        fixed=fixed.section,
        moving=moving.section,
        distance=distance,
        inliers_plain=0,
        inliers_mirrored=0,
        peak_plain=np.nan,
        peak_mirrored=np.nan,
        mirrored=flipped,
        **rigid_columns(rigid),
        residual_um=np.nan,
        overlap=overlap,
        tissue_mm2=min(fixed.tissue_mm2, moving.tissue_mm2),
        method=PERSON,
        status=ACCEPTED if overlap >= params.min_overlap else UNCERTAIN,
    )


def _try(
    fixed: PreparedSection,
    moving: PreparedSection,
    flipped: bool,
    fixed_features: Features,
    params: Alignment,
) -> _Attempt:
    step = np.radians(params.rotation_step_deg)
    start = coarse.search(
        fixed, moving, flipped, params.coarse_um, np.radians(params.max_rotation_deg), step
    )
    angle = start.rigid.angle_rad
    features = features_of(moving, flipped, angle, params.octaves, params.max_features)
    matches = match(fixed_features, features, params.max_ratio)
    rigid, inliers = rigid_consensus(
        features.points_um[matches[:, 1]],
        fixed_features.points_um[matches[:, 0]],
        angle,
        2 * step,
        params.inlier_um,
        params.trials,
        params.seed,
    )
    peak = None
    if params.refine == "texture":
        peak = image_registration.search_texture(
            fixed, moving, flipped, start.rigid, 2 * step, params.reach_um
        )
    return _Attempt(flipped, start, features, rigid, int(np.count_nonzero(inliers)), peak)


def _by_texture(
    fixed: PreparedSection, moving: PreparedSection, tries: list[_Attempt], params: Alignment
) -> _Fit | None:
    heights = sorted((a.height for a in tries if a.peak), reverse=True)
    if not heights or heights[0] < params.min_peak:
        return None
    best = max(tries, key=lambda a: a.height)
    assert best.peak is not None
    # the other hand's peak must be noise
    clear = len(heights) == 1 or heights[1] < params.min_peak
    rigid = image_registration.refine_texture(fixed, moving, best.flipped, best.peak.rigid)
    near = rigid is not None and _apart_um(rigid, best.peak.rigid, moving) < 8 * params.texture_um
    if rigid is None or not near:
        rigid, clear = best.peak.rigid, False
    dice = image_registration.overlap(fixed, moving, best.flipped, rigid)
    return _Fit(best.flipped, rigid, dice, "texture", clear)


def _by_features(
    fixed: PreparedSection,
    moving: PreparedSection,
    tries: list[_Attempt],
    fixed_features: Features,
    params: Alignment,
) -> _Fit | None:
    """The transform of more inliers, fitted again on guided matches.

    The ratio test drops most true matches; knowing the transform, the nearest descriptor within
    twice the inlier distance is mostly right.
    """
    best = max(tries, key=lambda a: (a.inliers, a.start.score))
    if best.inliers < params.min_inliers or best.rigid is None:
        return None
    clear = all(best.inliers >= params.min_margin * a.inliers for a in tries if a is not best)
    rigid, features = best.rigid, best.features
    for _ in range(2):
        expected = rigid(features.points_um)
        near = match_near(fixed_features, features, expected, 2 * params.inlier_um)
        points, targets = features.points_um[near[:, 1]], fixed_features.points_um[near[:, 0]]
        again, _ = refit(points, targets, rigid, params.inlier_um)
        if again is None:
            break
        rigid = again
    dice = image_registration.overlap(fixed, moving, best.flipped, rigid)
    # a consensus that lays tissue on background is chance: the outline may know better
    return (
        _Fit(best.flipped, rigid, dice, "features", clear) if dice >= params.min_overlap else None
    )


def _by_outline(
    fixed: PreparedSection, moving: PreparedSection, tries: list[_Attempt], params: Alignment
) -> _Fit:
    """The better overlap; as scanned, unless the mirrored one is better by a twentieth."""
    found = []
    for attempt in tries:
        start = attempt.start.rigid
        refined = image_registration.refine_outline(
            fixed, moving, attempt.flipped, start, params.coarse_um / 2
        )
        rigid = refined or start
        dice = image_registration.overlap(fixed, moving, attempt.flipped, rigid)
        found.append(_Fit(attempt.flipped, rigid, dice, "outline", False))
    return max(found, key=lambda fit: fit.overlap * (1.0 if not fit.flipped else 1 / 1.05))


def _apart_um(one: Rigid, other: Rigid, view: PreparedSection) -> float:
    """The largest distance between two transforms at the corners of a section."""
    x, y = view.width_um, view.height_um
    corners = np.array([[0, 0], [x, 0], [0, y], [x, y]])
    return float(np.linalg.norm(one(corners) - other(corners), axis=1).max())


def _residual_um(rigid: Rigid, moving: Features, fixed: Features, params: Alignment) -> float:
    near = match_near(fixed, moving, rigid(moving.points_um), params.inlier_um)
    if not len(near):
        return np.nan
    off = rigid(moving.points_um[near[:, 1]]) - fixed.points_um[near[:, 0]]
    return float(np.median(np.linalg.norm(off, axis=1)))
