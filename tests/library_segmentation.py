"""The segmentation in scikit-image and scipy alone: slow, but it defines the right result."""

import numpy as np
from scipy import ndimage
from skimage import exposure, filters, measure, morphology, segmentation
from skimage.segmentation import morphsnakes

from cytopipe.numerics.filters import odd_size


def chan_vese(image, initial, iterations, smoothing):
    # scikit-image alternates two operators through this global: after an odd number of calls they
    # are exchanged, and the next result differs
    morphsnakes._curvop = morphsnakes._fcycle(
        [
            lambda u: morphsnakes.sup_inf(morphsnakes.inf_sup(u)),
            lambda u: morphsnakes.inf_sup(morphsnakes.sup_inf(u)),
        ]
    )
    contour = segmentation.morphological_chan_vese(
        image.astype(float), iterations, initial.astype(np.int8), smoothing=smoothing
    )
    return contour > 0


def minimum_maximum_mean(image, size):
    opened = ndimage.maximum_filter(ndimage.minimum_filter(image, size), size)
    return ndimage.uniform_filter(opened, size)


def touching(mask, seeds):
    labels = measure.label(mask, connectivity=1)
    return mask & np.isin(labels, np.unique(labels[seeds & mask]))


def enhance(image, spacing_um, params):
    size = odd_size(params.filter_um, spacing_um)
    even = minimum_maximum_mean(image, size)
    equalized = exposure.equalize_adapthist(
        even, kernel_size=round(params.clahe_um / spacing_um), clip_limit=params.clahe_clip
    )
    blurred = filters.gaussian(equalized, params.sigma_um / spacing_um)
    return minimum_maximum_mean((blurred * 65535 + 0.5).astype(np.uint16), size)


def otsu(values):
    counts = np.bincount(values >> 8, minlength=256)
    return filters.threshold_otsu(hist=(counts, np.arange(256)))


def contrast(image, light, dark, slide):
    low = image[dark].mean()
    return (image[light].mean() - low) / (slide - low)


def labels(image, spacing_um, params, threshold):
    """Labels of a section on a bright slide, cut at `threshold` (0 to 1)."""
    area = (spacing_um / 1000) ** 2
    enhanced = enhance(image, spacing_um, params)
    tissue = enhanced < threshold * 65536
    tissue = morphology.remove_small_objects(tissue, max_size=params.min_object_mm2 / area)
    tissue = morphology.remove_small_holes(tissue, max_size=params.max_hole_mm2 / area)
    # the slide
    width = max(1, min(image.shape) // 100)
    frame = np.ones(image.shape)
    frame[width:-width, width:-width] = 0
    weights = frame + np.pad(
        np.zeros((image.shape[0] - 2 * width, image.shape[1] - 2 * width)), width
    )
    # a corner lies in two of the four strips
    weights[:width, :width] = weights[:width, -width:] = 2
    weights[-width:, :width] = weights[-width:, -width:] = 2
    slide = np.median(np.repeat(image.ravel(), weights.ravel().astype(int)))
    # white matter
    light = tissue
    for _ in range(3):
        light = light & (enhanced >> 8 > otsu(enhanced[light]))
        if contrast(image, light, tissue & ~light, slide) >= params.min_white:
            break
    even = np.where(tissue, enhanced, round(enhanced[tissue & ~light].mean()))
    light = chan_vese(even, light, params.iterations, params.smoothing) & tissue
    # rims
    rim_px = params.rim_um / spacing_um
    deep = light & (ndimage.distance_transform_edt(tissue) > rim_px)
    near = ndimage.distance_transform_edt(~deep) <= rim_px + 1
    white = touching(light & near, deep)
    # patches
    kept = np.zeros_like(white)
    gray = tissue & ~white
    pieces = measure.label(white, connectivity=1)
    for region in measure.regionprops(pieces):
        piece = np.pad(pieces == region.label, 1)
        outside, slides = ~piece, np.pad(touching(~tissue, frame > 0), 1)
        edges = against = 0
        for axis in (0, 1):
            for step in (-1, 1):
                beyond = np.roll(piece, step, axis) & outside
                edges += beyond.sum()
                against += (beyond & slides).sum()
        if against <= params.max_contact * edges and (
            contrast(image, pieces == region.label, gray, slide) >= params.min_white
        ):
            kept |= pieces == region.label
    white = morphology.remove_small_objects(kept, max_size=params.min_white_mm2 / area)
    white = morphology.remove_small_holes(white, max_size=params.max_island_mm2 / area)
    return np.where(white, 2, np.where(tissue, 1, 0))
