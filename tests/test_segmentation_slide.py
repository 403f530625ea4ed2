"""Segmentation of difficult scans: padding, frames, ink, labels, faint tissue, 16 bits."""

import cv2
import numpy as np
import pytest
from drawn_section import SPACING_UM, scores, section
from scipy import ndimage
from test_segmentation import PARAMS, SLIDE, dice

from cytopipe.formats.images.gray import gray_range, to_8_bit
from cytopipe.formats.tables import OK
from cytopipe.segmentation.section import segment

# --- the slide


def padded(image, true):
    return np.pad(image, 60, constant_values=255), np.pad(true, 60)


def turned_and_padded(image, true):
    rows, columns = image.shape
    matrix = cv2.getRotationMatrix2D((columns / 2, rows / 2), 8, 1)
    matrix[:, 2] += 50
    size = (columns + 100, rows + 100)
    return (
        cv2.warpAffine(image, matrix, size, borderValue=255),
        cv2.warpAffine(true, matrix, size, flags=cv2.INTER_NEAREST),
    )


def framed(image, true):
    """The black frame of a scanner, on two sides, with noise."""
    random = np.random.default_rng(0)
    image, true = np.pad(image, ((25, 0), (0, 40))), np.pad(true, ((25, 0), (0, 40)))
    frame = np.ones(image.shape, bool)
    frame[25:, :-40] = False
    image[frame] = random.integers(0, 9, int(frame.sum()))
    return image, true


def vignetted(image, true):
    y, x = (np.linspace(-1, 1, size) for size in image.shape)
    return (image * (1 - 0.1 * (y[:, None] ** 2 + x**2))).astype(np.uint8), true


def scanned_in_steps(image, true):
    """The scanner left out a corner, which is white like the padding."""
    image, true = padded(image, true)
    image[:110, :160], true[:110, :160] = 255, 0
    return image, true


@pytest.mark.parametrize("spoil", [padded, turned_and_padded, framed, vignetted, scanned_in_steps])
@pytest.mark.parametrize("slide", [SLIDE, 205])
def test_what_surrounds_the_slide_does_not_matter(spoil, slide):
    image, true = spoil(*section(sulci_px=(2.0, 3.0), slide=slide))
    segmented = segment(image, SPACING_UM, PARAMS)
    assert segmented.status == OK and segmented.remarks == ""
    gray, white = scores(segmented, true)
    assert gray > 0.96 and white > 0.97


@pytest.mark.parametrize("slide", [SLIDE, 205])
def test_half_the_light_in_the_corners_costs_no_tissue(slide):
    """The tissue takes the middle, so that little of the slide is near one gray level."""
    image, true = section(sulci_px=(2.0, 3.0), slide=slide, size=1.2)
    y, x = (np.linspace(-1, 1, size) for size in image.shape)
    image = (image * (1 - 0.25 * (y[:, None] ** 2 + x**2))).astype(np.uint8)
    segmented = segment(image, SPACING_UM, PARAMS)
    assert segmented.status == OK and segmented.remarks == ""
    assert min(scores(segmented, true)) > 0.98


@pytest.mark.parametrize("padding", [None, 0, 255])
def test_tissue_that_is_cut_off_is_found_and_said(padding):
    image, true = section()
    image, true = image[60:-20, 60:-60], true[60:-20, 60:-60]
    if padding is not None:
        image, true = np.pad(image, 40, constant_values=padding), np.pad(true, 40)
    segmented = segment(np.ascontiguousarray(image), SPACING_UM, PARAMS)
    assert segmented.remarks == "cut off"
    assert dice(segmented.labels > 0, true > 0) > 0.98


def test_a_scan_without_a_slide_says_so():
    image, _ = section(contrast=0.6)
    segmented = segment(np.ascontiguousarray(image[90:210, 100:280]), SPACING_UM, PARAMS)
    assert segmented.status != OK or "slide" in segmented.remarks


def test_a_hair_and_the_edge_of_a_cover_slip_are_not_tissue():
    image, true = section()
    cv2.line(image, (5, 20), (300, 8), 60, 2)
    cv2.rectangle(image, (3, 3), (376, 296), 120, 2)
    segmented = segment(image, SPACING_UM, PARAMS)
    assert segmented.remarks == ""
    assert dice(segmented.labels > 0, true > 0) > 0.99


@pytest.mark.parametrize("paper", [250, 200])
def test_a_label_on_a_blank_slide_is_not_tissue(paper):
    image = np.full((300, 380), SLIDE, np.float64)
    image[20:90, 20:140] = paper
    image += np.random.default_rng(4).normal(size=image.shape)
    image = image.clip(0, 255).astype(np.uint8)
    cv2.putText(image, "B01", (30, 70), 0, 1.5, 30, 4)
    segmented = segment(image, SPACING_UM, PARAMS)
    assert segmented.status == "blank"


def test_a_blank_scan_with_padding_is_blank():
    image = SLIDE - 20 + np.random.default_rng(5).normal(size=(300, 380))
    image = np.pad(image.astype(np.uint8), 50, constant_values=255)
    assert segment(image, SPACING_UM, PARAMS).status == "blank"


def test_ink_is_not_tissue():
    image, true = section()
    image[6:24, 10:70] = 30
    segmented = segment(image, SPACING_UM, PARAMS)
    assert segmented.remarks == "ink"
    assert not segmented.labels[6:24, 10:70].any()
    assert dice(segmented.labels > 0, true > 0) > 0.99
    empty = np.where(true > 0, SLIDE, image).astype(np.uint8)
    segmented = segment(empty, SPACING_UM, PARAMS)
    assert (segmented.status, segmented.remarks) == ("blank", "ink")


@pytest.mark.parametrize("stain", [15.0, 25.0])
def test_faint_tissue_is_found_and_said(stain):
    image, true = section(stain=stain, sulci_px=(4.0,))
    segmented = segment(image, SPACING_UM, PARAMS)
    assert dice(segmented.labels > 0, true > 0) > 0.98
    assert segmented.remarks == "faint"


def test_a_smooth_smear_is_not_tissue():
    y, x = np.mgrid[:300, :380]
    smear = 12 * np.exp(-(((y - 150) / 60) ** 2) - ((x - 190) / 80) ** 2)
    image = np.rint(SLIDE - smear + np.random.default_rng(1).normal(size=smear.shape))
    segmented = segment(image.astype(np.uint8), SPACING_UM, PARAMS)
    assert (segmented.status, segmented.remarks) == ("blank", "smear")


# --- 16 bits


@pytest.mark.parametrize("level", [60_000, 3000, 120])
def test_a_blank_slide_of_16_bits_is_blank(level):
    """Its noise must not be stretched to the full range."""
    noise = np.random.default_rng(2).normal(size=(300, 380))
    noise = noise + 3 * ndimage.gaussian_filter(noise, 20) / 0.014
    image = np.rint(level * (1 + 0.005 * noise)).astype(np.uint16)
    low, high = gray_range(image)
    assert high - low >= max(0.24 * level, 255)
    segmented = segment(to_8_bit(image, low, high), SPACING_UM, PARAMS)
    assert segmented.status == "blank"


def test_a_section_of_16_bits_is_like_one_of_8():
    image, true = section(sulci_px=(2.0,) * 2)
    deep = (image.astype(np.uint16) << 8) + 77
    segmented = segment(to_8_bit(deep, *gray_range(deep)), SPACING_UM, PARAMS)
    gray, white = scores(segmented, true)
    assert gray > 0.97 and white > 0.97


def test_a_rectangular_piece_of_tissue_is_no_scan_in_padding():
    random = np.random.default_rng(3)
    image = np.full((300, 380), SLIDE, np.uint8)
    image[60:240, 80:300] = np.clip(random.normal(130, 12, (180, 220)), 0, 255)
    segmented = segment(image, SPACING_UM, PARAMS)
    assert np.count_nonzero(segmented.labels) == pytest.approx(180 * 220, rel=0.01)
