"""The kernels of the segmentation, compared with the library calls that define their results."""

import library_segmentation as library
import numpy as np
import pytest
from scipy import ndimage
from skimage import exposure, filters, morphology
from test_segmentation import PAPER, lobed

from cytopipe.numerics import clahe
from cytopipe.numerics import filters as fast
from cytopipe.numerics.bitmasks import dilated, pack, unpack
from cytopipe.numerics.components import edges_between, filled, pieces, touching, without_small
from cytopipe.numerics.histograms import histogram, mean
from cytopipe.numerics.snakes import chan_vese
from cytopipe.segmentation import paper
from cytopipe.segmentation.section import segment


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("size", [1, 3, 5])
def test_min_max_mean_equals_scipy(dtype, size):
    image = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, (37, 53), dtype, True)
    assert np.array_equal(
        fast.minimum_maximum_mean(image, size), library.minimum_maximum_mean(image, size)
    )


@pytest.mark.parametrize("sigma_px", [0.1, 0.25, 1.0, 2.3])
def test_gaussian_equals_skimage(sigma_px):
    image = np.random.default_rng(2).random((40, 31))
    expected = filters.gaussian(image, sigma_px)
    assert np.abs(fast.gaussian(image, sigma_px) - expected).max() < 1e-14


@pytest.mark.parametrize(
    ("length_um", "spacing_um", "size"),
    [(320, 64, 5), (320, 128, 3), (320, 256, 1), (320, 22, 15), (0, 64, 1)],
)
def test_filter_sizes_are_odd_and_scale(length_um, spacing_um, size):
    assert fast.odd_size(length_um, spacing_um) == size


@pytest.mark.parametrize(
    ("shape", "kernel_px"),
    [((60, 70), 250), ((100, 131), 17), ((250, 250), 250), ((251, 249), 250), ((3, 50), 7)],
)
def test_clahe_is_skimage_bit_for_bit(shape, kernel_px):
    image = np.random.default_rng(3).integers(20, 200, shape, np.uint8)
    image[: shape[0] // 2] //= 3
    image[:, : shape[1] // 2] = 100  # clipping matters in a tile of one value
    expected = exposure.equalize_adapthist(image, kernel_size=kernel_px)
    assert np.array_equal(clahe.equalize(image, kernel_px), expected)


@pytest.mark.parametrize("clip_limit", [0.003, 0.05, 1.0])
def test_clahe_clips_as_skimage(clip_limit):
    image, _ = lobed()
    expected = exposure.equalize_adapthist(image, kernel_size=62, clip_limit=clip_limit)
    assert np.array_equal(clahe.equalize(image, 62, clip_limit), expected)


def test_clahe_of_a_constant_image():
    assert not clahe.equalize(np.full((20, 30), 7, np.uint8), 8).any()


@pytest.mark.parametrize("shape", [(60, 70), (64, 64), (33, 129), (7, 5)])
@pytest.mark.parametrize(("iterations", "smoothing"), [(1, 0), (2, 1), (35, 1), (7, 2)])
def test_chan_vese_equals_skimage(shape, iterations, smoothing):
    rng = np.random.default_rng(4)
    blobs = ndimage.gaussian_filter(rng.normal(size=shape), 2) * 60000 + 30000
    image = np.clip(blobs + rng.normal(size=shape) * 3000, 0, 65535).astype(np.uint16)
    initial = image > np.median(image)
    expected = library.chan_vese(image, initial, iterations, smoothing)
    assert np.array_equal(chan_vese(image, initial, iterations, smoothing), expected)


def blobs(shape=(90, 83), seed=5):
    return ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1) > 0.1


@pytest.mark.parametrize("max_px", [0, 1, 20, 10_000])
def test_components_equal_skimage(max_px):
    mask = blobs()
    expected = morphology.remove_small_objects(mask, max_size=max_px, connectivity=1)
    assert np.array_equal(without_small(mask, max_px), expected)
    expected = morphology.remove_small_holes(mask, max_size=max_px, connectivity=1)
    assert np.array_equal(filled(mask, max_px), expected)


def test_components_with_a_seed():
    mask, seeds = blobs(), blobs(seed=6)
    assert np.array_equal(touching(mask, seeds), library.touching(mask, seeds))


def test_pieces_are_measured():
    white = np.zeros((9, 12), bool)
    white[3:6, 4:9] = True
    white[0, 0] = True
    other = np.zeros_like(white)
    other[:3, 2:] = True
    image = np.arange(108, dtype=np.uint8).reshape(9, 12)
    measured = pieces(white, other, image)
    assert measured.labels[0, 0] == 0
    assert (measured.labels[3:6, 4:9] == 1).all()
    assert (measured.labels == -1).sum() == 108 - 16
    assert measured.area.tolist() == [1, 15]
    assert measured.outline.tolist() == [4, 16]
    assert measured.against.tolist() == [0, 5]
    assert measured.total.tolist() == [0, int(image[3:6, 4:9].sum())]
    assert edges_between(white, other) == 5


@pytest.mark.parametrize("shape", [(20, 64), (31, 130), (5, 7)])
@pytest.mark.parametrize("radius_px", [0.0, 1.0, 1.5, 5.86, 23.4])
def test_dilation_by_a_disc_equals_the_distance_transform(shape, radius_px):
    mask = np.random.default_rng(9).random(shape) > 0.98
    mask[-1, -1] = True
    assert np.array_equal(unpack(pack(mask), shape[1]), mask)
    expected = ndimage.distance_transform_edt(~mask) <= radius_px
    assert np.array_equal(dilated(mask, radius_px), expected)


def test_otsu_equals_skimage():
    image, _ = lobed()
    counts = np.bincount(image.ravel(), minlength=256)
    expected = filters.threshold_otsu(hist=(counts, np.arange(256)))
    assert paper.otsu(counts) == expected


@pytest.mark.parametrize("spacing_um", [64.0, 128.0, 256.0])
def test_enhanced_contrast_equals_the_library_chain(spacing_um):
    image, _ = lobed()
    expected = library.enhance(image, spacing_um, PAPER)
    assert np.array_equal(paper.enhance(image, spacing_um, PAPER), expected)


@pytest.mark.parametrize(("pixels", "spacing_um"), [(260, 256.0), (520, 128.0)])
def test_all_labels_equal_the_library_chain(pixels, spacing_um):
    image, _ = lobed(pixels, seed=3, thickness_px=pixels // 26)
    segmented = segment(image, spacing_um, PAPER)
    expected = library.labels(image, spacing_um, PAPER, segmented.threshold)
    assert (expected == 2).any()
    assert np.array_equal(segmented.labels, expected)


def test_histogram_and_mean_of_a_mask():
    image = np.random.default_rng(10).integers(0, 65536, (40, 50), np.uint16)
    mask = blobs((40, 50))
    assert np.array_equal(histogram(image, mask), np.bincount(image[mask] >> 8, minlength=256))
    assert mean(image, mask) == pytest.approx(image[mask].mean())
    assert np.isnan(mean(image, np.zeros_like(mask)))
