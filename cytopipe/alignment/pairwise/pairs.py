"""The rigid transform between two sections, tried as scanned and with one of them mirrored."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from cytopipe.alignment.acceptance import judge_pair
from cytopipe.alignment.handedness import (
    log_odds_of_counts,
    log_odds_of_pair,
    log_odds_of_parts,
    usual_log_odds,
)
from cytopipe.alignment.links import PERSON
from cytopipe.alignment.pairwise import coarse, image_registration
from cytopipe.alignment.pairwise.parts import Parts, displaced_part, parts_of
from cytopipe.alignment.pairwise.prepared_section import PreparedSection
from cytopipe.alignment.pairwise.ransac import refit, rigid_consensus
from cytopipe.alignment.pairwise.surf_features import Features, features_of, match
from cytopipe.formats.tables import ACCEPTED, UNCERTAIN, PairRow, rigid_columns
from cytopipe.numerics.geometry import Floats, Rigid, unmirror
from cytopipe.study.config import Alignment


@dataclass(frozen=True)
class _Fit:
    """The transform by one method, and what the parts of the tissue say about it.

    `displaced_share` of the tissue lies `displaced_um` from where the transform puts it.
    """

    rigid: Rigid
    overlap: float
    method: str
    parts: Parts
    displaced_share: float = 0.0
    displaced_um: float = 0.0

    @property
    def sigma_um(self) -> float:
        """Error of the shift, x or y: two of it reach a part that is displaced."""
        return float(np.hypot(self.parts.sigma_um, self.displaced_um / 2))

    def is_confirmed(self, params: Alignment) -> bool:
        """Most parts of the tissue agree on it, and none of the others on another transform."""
        is_of_most = self.parts.agreement > params.min_agreement
        return is_of_most and self.is_explained(params) and not self.displaced_share

    def is_explained(self, params: Alignment) -> bool:
        """Most parts agree on it or on one other transform: some tissue may be displaced."""
        share = self.parts.agreement + self.displaced_share
        return self.overlap >= params.min_overlap and share > params.min_agreement


@dataclass(frozen=True)
class _Attempt:
    """One handedness: its transform, and the evidence for it."""

    moving: PreparedSection
    features: Features
    inliers_um: Floats  # (n, 2) of the consensus, in the fixed section
    peak: float  # NaN if the texture is not used
    fits: list[_Fit]  # by all methods that were tried

    def chosen(self, params: Alignment) -> _Fit:
        """The fit that the parts confirm; else that of the larger part of displaced tissue.

        If there is neither, that of the features, else of the outline.
        """
        fits = {fit.method: fit for fit in self.fits}
        if self.is_confirmed(params):
            return self.fits[-1]
        of_parts = [fit for fit in self.fits if fit.is_explained(params)]
        if of_parts:
            return max(of_parts, key=lambda fit: fit.parts.agreement)
        by_features = fits.get("features")
        # a consensus that lays tissue on background is chance
        if by_features is not None and by_features.overlap >= params.min_overlap:
            return by_features
        return fits["outline"]

    def is_confirmed(self, params: Alignment) -> bool:
        """`_fits` stops at the first fit that is confirmed."""
        return self.fits[-1].is_confirmed(params)

    @property
    def inliers(self) -> int:
        return len(self.inliers_um)

    @property
    def best_parts(self) -> Parts:
        return max((fit.parts for fit in self.fits), key=lambda parts: parts.score)


def align_pair(
    fixed: PreparedSection,
    moving: PreparedSection,
    fixed_features: Features,
    distance: int,
    params: Alignment,
) -> PairRow:
    """Align `moving` to `fixed`.

    Each handedness is tried: a coarse rotation, then these methods, until separate parts of the
    tissue confirm the transform of one (`parts`):

    texture
        Vessels and grain correlate with a peak, on which the transform is refined. This comes first
        because a consensus of SURF features follows the anatomy, which moves between distant
        sections: 15 px of 256 um off at 5.6 mm, with 24 inliers against 6. The height of the peak
        decides nothing: folia, or an outline that fits, give peaks of 8 to 13.
    features
        There are enough inliers (the paper's method).
    outline
        The labels as a whole.

    If none is confirmed, the next best rotations of the coarse search are tried. If that fails too,
    the transform is that of the features, or of the outline if there are too few of them, and the
    pair is uncertain.

    The moving section is mirrored if the evidence for that outweighs how rarely two sections
    differ, unless a person confirmed both sections.

    Parameters
    ----------
    fixed_features : `features_of(fixed, 0, ...)`, the same for all partners.
    distance : 1 for neighbouring usable sections, 2 across one.
    """
    plain = _try(fixed, moving, fixed_features, params)
    differ = None
    if fixed.mirrored is not None and moving.mirrored is not None:
        differ = fixed.mirrored != moving.mirrored
    # once one handedness is confirmed, the other is only needed for the evidence
    is_settled = plain.is_confirmed(params) and not differ
    mirrored = _try(fixed, moving.flipped, fixed_features, params, briefly=is_settled)
    log_odds = _log_odds_mirrored(fixed, plain, mirrored)
    is_mirrored = log_odds + usual_log_odds(params.mirrored_share) > 0
    if is_mirrored and is_settled:
        mirrored = _try(fixed, moving.flipped, fixed_features, params)
    chosen = mirrored if (is_mirrored if differ is None else differ) else plain
    fit = chosen.chosen(params)
    return replace(
        _pair_row(fixed, chosen.moving, fit, distance, params),
        inliers_plain=plain.inliers,
        inliers_mirrored=mirrored.inliers,
        peak_plain=plain.peak,
        peak_mirrored=mirrored.peak,
        log_odds_mirrored=log_odds,
        residual_um=_residual_um(fit.rigid, chosen.features, fixed_features, params),
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
    if fixed.mirrored:
        # the fixed section of a pair is taken as scanned
        rigid = unmirror(rigid, moving.row.width_um, fixed.row.width_um)
    if fixed.mirrored != moving.mirrored:
        moving = moving.flipped
    fit = _fit(fixed, moving, rigid, PERSON, params)
    return _pair_row(fixed, moving, fit, distance, params)


def _pair_row(
    fixed: PreparedSection, moving: PreparedSection, fit: _Fit, distance: int, params: Alignment
) -> PairRow:
    """The row of a pair without the measurements of the attempts."""
    confirmed, explained = fit.is_confirmed(params), fit.is_explained(params)
    status = judge_pair(confirmed, fit.overlap, params.min_overlap, fit.method)
    return PairRow(
        brain=fixed.row.brain,
        fixed=fixed.row.section,
        moving=moving.row.section,
        distance=distance,
        inliers_plain=0,
        inliers_mirrored=0,
        peak_plain=np.nan,
        peak_mirrored=np.nan,
        log_odds_mirrored=np.nan,
        mirrored=moving.is_flipped,
        **rigid_columns(fit.rigid if status in (ACCEPTED, UNCERTAIN) else None),
        sigma_um=fit.sigma_um if explained else np.nan,
        residual_um=np.nan,
        overlap=fit.overlap,
        agreement=fit.parts.agreement,
        displaced_share=fit.displaced_share if explained else 0.0,
        displaced_um=fit.displaced_um if explained else 0.0,
        tissue_mm2=min(fixed.tissue_mm2, moving.tissue_mm2),
        method=fit.method,
        status=status,
    )


def _log_odds_mirrored(fixed: PreparedSection, plain: _Attempt, mirrored: _Attempt) -> float:
    """Evidence that the two sections differ in handedness."""
    rows, columns = np.nonzero(fixed.mask)
    centre_um = (fixed.frame @ [columns.mean(), rows.mean(), 1])[:2]
    by_features = log_odds_of_counts(plain.inliers_um, mirrored.inliers_um, centre_um)
    one, other = plain.best_parts, mirrored.best_parts
    # both have the tiles of the fixed section
    by_texture = log_odds_of_parts(other.nearby - one.nearby, one.centres_um, centre_um)
    return log_odds_of_pair(by_features, by_texture)


def _try(
    fixed: PreparedSection,
    moving: PreparedSection,
    fixed_features: Features,
    params: Alignment,
    briefly: bool = False,
) -> _Attempt:
    """The attempt from the first start that is confirmed, else from that with most inliers.

    With `briefly`, only the best start, not refined, and no outline if another method gives a
    transform.
    """
    step = np.radians(params.rotation_step_deg)
    max_rotation = np.radians(params.max_rotation_deg)
    attempts = []
    for start, _ in coarse.search(fixed, moving, params.coarse_um, max_rotation, step):
        attempts.append(_from_start(fixed, moving, fixed_features, start, step, params, briefly))
        if briefly or attempts[-1].is_confirmed(params):
            return attempts[-1]
    # of equal numbers, the better coarse search
    return max(attempts, key=lambda attempt: attempt.inliers)


def _from_start(
    fixed: PreparedSection,
    moving: PreparedSection,
    fixed_features: Features,
    start: Rigid,
    step_rad: float,
    params: Alignment,
    briefly: bool,
) -> _Attempt:
    features = features_of(moving, start.angle_rad, params)
    matches = match(fixed_features, features, params.max_ratio)
    by_features, is_inlier = rigid_consensus(
        features.points_um[matches[:, 1]],
        fixed_features.points_um[matches[:, 0]],
        start.angle_rad,
        2 * step_rad,
        params.inlier_um,
        params.trials,
        params.seed,
    )
    inliers_um = fixed_features.points_um[matches[is_inlier, 0]]
    by_texture, peak = None, np.nan
    if params.refine == "texture":
        by_texture, peak = image_registration.search_texture(
            fixed, moving, start, 2 * step_rad, params.reach_um
        )

    tried: list[_Fit] = []

    def fits() -> Iterator[_Fit]:
        if by_texture is not None:
            # the tolerance of the parts exceeds the error of the search; this is slow
            refined = not briefly and image_registration.refine_texture(fixed, moving, by_texture)
            rigid = refined or by_texture
            # a refinement this far off has climbed another peak; chosen, not measured
            if _distance_um(rigid, by_texture, moving) >= 8 * params.texture_um:
                rigid = by_texture
            yield _fit(fixed, moving, rigid, "texture", params)
        if by_features is not None and len(inliers_um) >= params.min_inliers:
            rigid = _guided(by_features, features, fixed_features, params)
            yield _fit(fixed, moving, rigid, "features", params)
        if briefly and tried:
            return
        outline = image_registration.refine_outline(fixed, moving, start, params.coarse_um / 2)
        by_outline = _fit(fixed, moving, outline or start, "outline", params)
        if params.refine == "texture" and by_outline.is_confirmed(params):
            # parts that confirm an outline lie within their tolerance, and now lead closer
            closer = image_registration.refine_texture(fixed, moving, by_outline.rigid)
            yield _fit(fixed, moving, closer or by_outline.rigid, "outline", params)
        else:
            yield by_outline

    for fit in fits():
        tried.append(fit)
        if fit.is_confirmed(params):
            break
    return _Attempt(moving, features, inliers_um, peak, tried)


def _fit(
    fixed: PreparedSection, moving: PreparedSection, rigid: Rigid, method: str, params: Alignment
) -> _Fit:
    overlap = image_registration.overlap(fixed, moving, rigid)
    parts = parts_of(fixed, moving, rigid, params.part_um)
    displaced = 0.0, 0.0
    # the rest of the tissue may agree on another transform; without shared texture, it is not asked
    if 2 * parts.agreement > params.min_agreement:
        displaced = displaced_part(fixed, moving, rigid, parts, params)
    return _Fit(rigid, overlap, method, parts, *displaced)


def _guided(start: Rigid, moving: Features, fixed: Features, params: Alignment) -> Rigid:
    """The consensus fitted again to guided matches.

    The ratio test drops most true matches; near a known transform, the best descriptor is mostly
    right.
    """
    rigid = start
    for _ in range(2):
        matches = match(fixed, moving, 1.0, rigid, 2 * params.inlier_um)
        points, targets = moving.points_um[matches[:, 1]], fixed.points_um[matches[:, 0]]
        again, _ = refit(points, targets, rigid, params.inlier_um)
        if again is None:
            break
        rigid = again
    return rigid


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
