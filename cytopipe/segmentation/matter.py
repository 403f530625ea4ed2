"""Gray and white matter, from the stain of the section itself.

The gray level is measured where tissue is gray for certain: along the surface, below layer I. The
stain relative to it shows two peaks if there is white matter, whose contrast need not be known.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cytopipe.numerics.bitmasks import dilated
from cytopipe.numerics.components import (
    Mask,
    connected_to_border,
    pieces,
)
from cytopipe.numerics.filters import mean_inside
from cytopipe.numerics.geometry import Floats
from cytopipe.numerics.snakes import chan_vese
from cytopipe.segmentation.parts import Levels
from cytopipe.segmentation.shape import without_rims
from cytopipe.segmentation.slide import Image, second_order
from cytopipe.study.config import Segmentation

# The relative stain is measured on blocks of this size. Gaussians of these widths, in blocks,
# average it.
_BLOCK_UM = 256.0
_FINE, _COARSE = 1.0, 3.0
# Shares of `rim_um` (which is less than the thickness of any cortex): gray matter is measured
# between the first two, below layer I and above white matter; white matter is looked for below the
# third. In human cortex of 2 to 4 mm with rim_um = 1500 these are 0.45, 1.3 and 0.7 mm.
_GRAY_FROM, _GRAY_TO, _WHITE_FROM = 0.3, 0.87, 0.47
# Rounds of the fit of the gray level. What is paler than the fit by more than 11 % or darker by
# more than 35 % is not taken for cortex: white matter at a cut, the granular layer of a cerebellum.
_ROUNDS, _PALER, _DARKER = 8, 0.12, 0.3
# What the terms of second order cost, as a share of the number of blocks: a small section gets an
# even gray level
_RIDGE = 0.02
# The histogram of the relative stain (1 is gray matter), and the starts of the mixture: contrasts,
# and the share of what is neither gray nor white matter
_RANGE, _BINS = (0.2, 1.6), 280
_STARTS, _NEITHER, _STEPS = (0.2, 0.35, 0.5), 0.05, 60


@dataclass(frozen=True)
class White:
    """White matter of a section.

    Attributes
    ----------
    mask : (rows, columns).
    contrast : of white to gray matter, as a share of that of slide to gray matter; NaN for none.
    levels : the two peaks of the relative stain; None unless they are far enough apart.
    """

    mask: Mask
    contrast: float
    levels: Levels | None


@dataclass(frozen=True)
class Peaks:
    """Two normal distributions: gray and white matter, in units of the gray level."""

    mean: Floats
    deviation: Floats
    share: Floats

    @property
    def contrast(self) -> float:
        return float(1 - self.mean[1] / self.mean[0])

    def dip(self) -> float:
        """The lowest density between the peaks over that of the lower peak; 1 without a dip."""
        x = np.linspace(self.mean[1], self.mean[0], 100)
        z = (x[:, None] - self.mean) / self.deviation
        density = (self.share / self.deviation * np.exp(-(z**2) / 2)).sum(axis=1)
        lowest = int(np.argmin(density))
        return float(density[lowest] / min(density[: lowest + 1].max(), density[lowest:].max()))


def split(
    stain: Image,
    tissue: Mask,
    spacing_um: float,
    params: Segmentation,
    expected: Levels | None = None,
) -> White:
    """Find the white matter in `tissue`.

    Parameters
    ----------
    stain : (rows, columns), gray values by which a pixel differs from the slide.
    expected : gray and white matter of neighbouring sections. They are used where the section has
        too little white matter to show a second peak.
    """
    nothing = White(np.zeros_like(tissue), float("nan"), None)
    level, relative, whole, deep = _relative_stain(stain, tissue, spacing_um, params)
    if np.count_nonzero(deep) < _BINS:
        return nothing
    peaks = two_peaks(mean_inside(relative, whole, _FINE)[deep])
    dip = peaks.dip()
    if dip > params.max_dip:
        # grain hides a small contrast, and broader averages hide little white matter
        dip = two_peaks(mean_inside(relative, whole, _COARSE)[deep]).dip()
    levels = None
    if peaks.contrast >= params.min_white and dip <= params.max_dip:
        levels = Levels(float(peaks.mean[0]), peaks.contrast)
    used = levels or expected
    if used is None:
        return nothing
    gray, contrast = used.gray, used.contrast
    cut = gray * (1 - contrast / 2)
    rows, columns = tissue.shape
    large = cv2.resize(level.astype(np.float32), (columns, rows), interpolation=cv2.INTER_LINEAR)
    share = np.where(tissue, stain / np.maximum(large, 1), gray).astype(np.float32)
    light = _contour(share, tissue, cut, gray * contrast, spacing_um, params)
    rim_px = params.rim_um / spacing_um
    white = without_rims(light, tissue, rim_px)
    palest = gray * (1 - params.min_body * contrast)
    white = _bodies(white, tissue, share, palest, rim_px, params)
    if not white.any():
        return White(white, float("nan"), levels)
    return White(white, contrast, levels)


def two_peaks(values: NDArray[np.floating]) -> Peaks:
    """Fit gray matter, near 1, and white matter, below it, by expectation maximisation.

    A third component of even density takes what is neither of them (vessels, ink, a pale rim, a
    granular layer), which would otherwise broaden gray matter over the valley.
    """
    counts, edges = np.histogram(values, bins=_BINS, range=_RANGE)
    x = (edges[1:, None] + edges[:-1, None]) / 2
    even = np.sqrt(2 * np.pi) / (_RANGE[1] - _RANGE[0])
    best, most = None, -np.inf
    for contrast in _STARTS:
        mean, deviation = np.array([1.0, 1 - contrast]), np.array([0.1, 0.08])
        share, neither = np.array([0.6, 0.4]) * (1 - _NEITHER), _NEITHER
        for _ in range(_STEPS):
            density = share * np.exp(-(((x - mean) / deviation) ** 2) / 2) / deviation
            total = density.sum(axis=1) + neither * even + 1e-300
            weights = density / total[:, None] * counts[:, None]
            number = weights.sum(axis=0) + 1e-9
            mean = (weights * x).sum(axis=0) / number
            deviation = np.sqrt((weights * (x - mean) ** 2).sum(axis=0) / number + 1e-4)
            share = number / max(counts.sum(), 1)
            neither = max(1 - float(share.sum()), 0.0)
        likelihood = float((counts * np.log(total)).sum())
        if likelihood > most:
            best, most = Peaks(mean, deviation, share), likelihood
    assert best is not None
    return (
        best if best.mean[0] > best.mean[1] else Peaks(*(np.flip(v) for v in vars(best).values()))
    )


def _relative_stain(
    stain: Image, tissue: Mask, spacing_um: float, params: Segmentation
) -> tuple[Floats, Image, Mask, Mask]:
    """On blocks: the gray level, the stain over it, whole blocks, and those below layer I."""
    step = max(1, round(_BLOCK_UM / spacing_um))
    rows, columns = (max(1, size // step) for size in tissue.shape)
    window = (slice(rows * step), slice(columns * step))

    def average(values: Image) -> Image:
        return np.asarray(cv2.resize(values, (columns, rows), interpolation=cv2.INTER_AREA))

    cover = average(tissue[window].astype(np.float32))
    total = average(np.where(tissue[window], stain[window], 0).astype(np.float32))
    mean = np.where(cover > 0, total / np.maximum(cover, 1e-6), 0)
    # the wall of a vessel inside the tissue does not count as surface
    outside = connected_to_border(np.pad(cover < 0.5, 1, constant_values=True))
    depth_um = cv2.distanceTransform((~outside).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    depth_um *= step * spacing_um
    whole = cover > 0.95
    surface = (
        whole & (depth_um > _GRAY_FROM * params.rim_um) & (depth_um < _GRAY_TO * params.rim_um)
    )
    level = _gray_level(mean, surface if surface.any() else whole)
    return (
        level,
        (mean / level).astype(np.float32),
        whole,
        whole & (depth_um > _WHITE_FROM * params.rim_um),
    )


def _gray_level(mean: Image, surface: Mask) -> Floats:
    """The stain of gray matter on blocks: a surface of second order of its logarithm."""
    terms = second_order(mean.shape)
    if not surface.any():
        return np.ones(mean.shape)
    x, y = terms[surface], np.log(np.maximum(mean[surface], 1))
    weights = np.zeros(terms.shape[-1])
    # the darker half: in a torn section, much of the surface is white matter
    weights[0] = np.percentile(y, 65)
    paler = _PALER + 0.08
    for _ in range(_ROUNDS):
        off = y - x @ weights
        kept = (off > -paler) & (off < _DARKER)
        if not kept.any():
            break
        penalty = np.diag([0.0] + [_RIDGE * kept.sum()] * (len(weights) - 1))
        weights = np.linalg.solve(x[kept].T @ x[kept] + penalty, x[kept].T @ y[kept])
        paler = _PALER
    return np.asarray(np.exp(terms @ weights))


def _contour(
    share: Image, tissue: Mask, cut: float, width: float, spacing_um: float, params: Segmentation
) -> Mask:
    """Where the relative stain is below `cut`, with a smooth outline (Chan-Vese, as in the paper).

    `width` is the difference between gray and white matter. What lies farther than that beyond
    either of them counts as that far, so that vessels and cells do not pull the contour.
    """
    inner = cv2.erode(tissue.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    even = mean_inside(share, inner, params.matter_um / spacing_um)
    # the outermost pixels are partly slide: they are what lies below them
    even[~tissue | (even == 0)] = cut + width / 2
    scaled = np.clip((even - cut) / (3 * width) + 0.5, 0, 1)
    integers = (scaled * 65535 + 0.5).astype(np.uint16)
    return chan_vese(integers, even < cut, params.iterations, params.smoothing) & tissue


def _bodies(
    white: Mask, tissue: Mask, share: Image, palest: float, rim_px: float, params: Segmentation
) -> Mask:
    """`white` without pieces that are patches of gray matter.

    Cortex that is cut along its surface shows layer I as a broad patch: much of its outline touches
    background, and most of it lies less deep than any cortex is thick. A patch of deeper layers has
    less contrast than white matter.
    """
    if not white.any():
        return white
    outside = connected_to_border(~tissue)
    scaled = np.clip(share * 100, 0, 255).astype(np.uint8)
    measured = pieces(white, outside, scaled)
    inside = measured.against <= params.max_contact * measured.outline
    below = measured.labels[white & ~dilated(outside, rim_px)]
    deep = np.bincount(below, minlength=len(measured.area)) >= measured.area / 2
    light = measured.total / measured.area <= palest * 100
    # the labels are -1 outside `white`, which reads the last entry
    return np.append(inside & deep & light, False)[measured.labels]
