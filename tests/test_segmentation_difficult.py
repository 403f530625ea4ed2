"""Segmentation of difficult scans: closed sulci, weak contrast, padding, frames, ink, 16 bits."""

import cv2
import numpy as np
import pytest
from scipy import ndimage
from test_segmentation import PAPER, PARAMS, SLIDE, dice

import cytopipe.segmentation as stage
from cytopipe.formats.images import read_labels, write_pyramid
from cytopipe.formats.images.gray import gray_range, to_8_bit
from cytopipe.formats.tables import NO_WHITE, OK
from cytopipe.segmentation import neighbours
from cytopipe.segmentation.section import Segmented, segment
from cytopipe.study.sections import Section

SPACING_UM = 128.0


def section(seed=0, contrast=0.5, layer_1=0.2, slide=SLIDE, stain=100.0, sulci_px=(), bare=False):
    """A section of 128 um with white matter of a given contrast, and its true labels.

    The pixels are averages of 5 x 5 finer ones, so a border is as dark as it is covered by tissue.
    Grain is 8 % of the stain and 0.4 mm wide.

    Parameters
    ----------
    layer_1 : by which share layer I, 250 um thick, is paler than gray matter.
    sulci_px : widths of straight sulci, in pixels, which reach 14 mm into the section.
    bare : without white matter.
    """
    random = np.random.default_rng(seed)
    rows, columns, fine = 300, 380, 5
    y, x = (np.mgrid[: rows * fine, : columns * fine] + 0.5) / fine
    down, right = y - rows / 2, x - columns / 2
    angle = np.arctan2(down, right)
    tissue = np.hypot(down / 115, right / 150) < 1 + 0.05 * np.cos(9 * angle + seed)
    for place, width in enumerate(sulci_px):
        middle = columns / 2 + 45 * (place - (len(sulci_px) - 1) / 2)
        tissue &= ~((np.abs(x - middle - 0.4) < width / 2) & (y < rows / 2 - 20))
    depth_um = ndimage.distance_transform_edt(tissue) * SPACING_UM / fine
    white = (depth_um > 2600) & (not bare)
    strength = np.where(white, 1 - contrast, np.where(depth_um < 250, 1 - layer_1, 1.0)) * tissue

    def average(values):
        return values.reshape(rows, fine, columns, fine).mean(axis=(1, 3))

    grain = ndimage.gaussian_filter(random.normal(size=(rows, columns)), 3)
    strength = average(strength) * (1 + 0.08 * grain / grain.std())
    image = slide - stain * strength + random.normal(size=strength.shape)
    covered = average(tissue.astype(float)) > 0.5
    labels = np.where(average(white.astype(float)) > 0.5, 2, covered).astype(np.uint8)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), labels


def scores(segmented, true):
    return [dice(segmented.labels == kind, true == kind) for kind in (1, 2)]


# --- sulci


@pytest.mark.parametrize("width_px", [1.0, 2.0, 4.0])
def test_a_narrow_sulcus_stays_open_as_wide_as_it_is(width_px):
    image, true = section(sulci_px=(width_px,) * 3)
    segmented = segment(image, SPACING_UM, PARAMS)
    inside = (slice(60, 125), slice(120, 260))
    missing = np.count_nonzero((segmented.labels[inside] > 0) & (true[inside] == 0))
    assert missing < 0.1 * np.count_nonzero(true[inside] == 0)
    too_wide = np.mean(segmented.labels[inside] == 0) / np.mean(true[inside] == 0) - 1
    assert abs(too_wide) < 0.15
    assert segmented.sulcal_after_mm > 0.95 * segmented.sulcal_before_mm
    assert segmented.remarks == ""


def test_the_papers_filters_close_it_and_the_section_says_so():
    image, _ = section(sulci_px=(2.0,) * 3)
    params = PAPER.model_copy(update={"filter_um": 5 * SPACING_UM})
    segmented = segment(image, SPACING_UM, params)
    assert segmented.sulcal_after_mm < 0.5 * segmented.sulcal_before_mm
    assert "sulci closed" in segmented.remarks


def test_a_sulcus_thinner_than_half_a_pixel_is_followed_as_a_bright_line():
    image, _ = section(sulci_px=(0.4,), layer_1=0.0)
    column = image.shape[1] // 2
    lines = segment(image, SPACING_UM, PARAMS).labels[60:120, column] == 0
    without = segment(image, SPACING_UM, PARAMS.model_copy(update={"line_contrast": 1.0}))
    assert lines.mean() > 0.6
    assert (without.labels[60:120, column] == 0).mean() < 0.4


def test_the_border_is_where_half_a_pixel_is_covered():
    image, true = section(sulci_px=(2.0,) * 2)
    labels = segment(image, SPACING_UM, PARAMS).labels
    outline = np.count_nonzero(ndimage.binary_dilation(true > 0) & (true == 0))
    excess = np.count_nonzero(labels) - np.count_nonzero(true)
    assert abs(excess) / outline * SPACING_UM < 25  # um


# --- gray and white matter


@pytest.mark.parametrize("contrast", [0.25, 0.35, 0.5])
@pytest.mark.parametrize("layer_1", [0.0, 0.5])
def test_white_matter_is_found_at_any_contrast(contrast, layer_1):
    image, true = section(contrast=contrast, layer_1=layer_1, sulci_px=(2.0,) * 2)
    segmented = segment(image, SPACING_UM, PARAMS)
    gray, white = scores(segmented, true)
    assert gray > 0.9 and white > 0.93
    assert segmented.white_contrast == pytest.approx(contrast, abs=0.06)


def test_a_gradient_of_the_stain_does_not_matter():
    image, true = section(contrast=0.35)
    across = np.linspace(0.7, 1.3, image.shape[1])
    uneven = np.rint(SLIDE - (SLIDE - image.astype(float)) * across)
    gray, white = scores(segment(uneven.clip(0, 255).astype(np.uint8), SPACING_UM, PARAMS), true)
    assert gray > 0.93 and white > 0.95


def test_white_matter_is_not_invented_where_there_is_none():
    """Whether neighbours have white matter or not; its absence in so deep a tissue is stated."""
    image, true = section(bare=True)
    for expected in (None, 0.45):
        segmented = segment(image, SPACING_UM, PARAMS, expected)
        assert not (segmented.labels == 2).any()
        assert dice(segmented.labels == 1, true == 1) > 0.99
        assert segmented.status == NO_WHITE
    # nothing is expected of a slice of cortex
    shallow = PARAMS.model_copy(update={"thickest_um": 50_000})
    assert segment(image, SPACING_UM, shallow).status == OK


def results(shares):
    """Sections of 1000 pixels of tissue with a share of white matter; None for a blank one."""
    out = []
    for share in shares:
        if share is None:
            out.append(Segmented.empty("blank"))
            continue
        labels = np.ones((1, 1000), np.uint8)
        labels[:, : round(1000 * share)] = 2
        contrast = 0.4 if share else np.nan
        out.append(Segmented(labels, "bright", 0.5, "", contrast, 1, 1, 9, "", OK, share > 0))
    return out


@pytest.mark.parametrize(
    ("shares", "bad"),
    [
        ((0.5, 0.5, 0.0, None, 0.5, 0.5), [2]),
        ((0.5, 0.5, 0.4, 0.3), []),
        ((0.0, 0.0, 0.0), []),
        ((0.0, 0.05, 0.08), []),
        ((0.4, 0.4, 0.4, 0.02), [3]),
    ],
)
def test_a_section_that_lacks_its_neighbours_white_matter_is_named(shares, bad):
    marked = neighbours.marked(results(shares), 0.1)
    assert [i for i, one in enumerate(marked) if one.status == NO_WHITE] == bad
    assert [i for i, one in enumerate(marked) if one.status == "blank"] == [
        i for i, share in enumerate(shares) if share is None
    ]


def test_a_small_section_at_a_pole_may_lack_white_matter():
    sections = results((0.0, 0.5, 0.5))
    pole = Segmented(np.ones((1, 300), np.uint8), *list(vars(sections[0]).values())[1:])
    assert neighbours.marked([pole, *sections[1:]], 0.1)[0].status == OK


def test_the_contrast_is_learnt_from_sections_that_show_it():
    sections = results((0.5, 0.0, None, 0.5))
    assert list(neighbours.without_evidence(sections)) == [1]
    assert neighbours.expected_contrast(sections, 1) == pytest.approx(0.4)
    assert neighbours.expected_contrast(results((0.0, None)), 0) is None


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


# --- what must not be lost


def test_white_matter_of_less_than_half_the_stain_stays_tissue_beside_a_ventricle():
    image, true = section(contrast=0.65)
    y, x = np.mgrid[:300, :380]
    ventricle = np.hypot((y - 150) / 12, (x - 190) / 60) < 1
    image[ventricle], true[ventricle] = SLIDE, 0
    # a strip of gray matter between two of white matter, as around a ventricle
    strip = (np.abs(y - 175) < 4) & (np.abs(x - 190) < 70)
    image[strip], true[strip] = SLIDE - 100, 1
    labels = segment(image, SPACING_UM, PARAMS).labels
    assert np.count_nonzero((labels == 0) != (true == 0)) < 0.005 * labels.size


def test_a_densely_stained_piece_is_not_ink():
    """A cerebellum: dense and pale leaves, apart from the cerebrum."""
    image, _ = section(contrast=0.5)
    y, x = np.mgrid[:300, :380]
    piece = np.hypot(y - 40, x - 50) < 30
    leaves = np.where((x // 4) % 2 == 0, 150, 70)
    image[piece] = (SLIDE - leaves)[piece]
    segmented = segment(image, SPACING_UM, PARAMS)
    assert segmented.remarks == ""
    assert (segmented.labels[piece] > 0).mean() > 0.99


def test_a_rectangular_piece_of_tissue_is_no_scan_in_padding():
    random = np.random.default_rng(3)
    image = np.full((300, 380), SLIDE, np.uint8)
    image[60:240, 80:300] = np.clip(random.normal(130, 12, (180, 220)), 0, 255)
    segmented = segment(image, SPACING_UM, PARAMS)
    assert np.count_nonzero(segmented.labels) == pytest.approx(180 * 220, rel=0.01)


def test_a_section_too_small_to_show_its_white_matter_learns_from_its_chunk(tmp_path):
    pale, true = section(contrast=0.25)
    small = np.full_like(pale, SLIDE)
    y, x = np.mgrid[:300, :380]
    near = np.hypot(y - 45, x - 190) < 30
    small[near] = pale[near]
    alone = segment(small, SPACING_UM, PARAMS)
    assert not alone.has_evidence and not (alone.labels == 2).any()
    paths, sections = [], []
    for number, image in enumerate((pale, small, pale), start=1):
        path = tmp_path / f"{number:05d}.ome.tif"
        write_pyramid(image, path, SPACING_UM, SPACING_UM)
        sections.append(Section("B01", number, str(path), SPACING_UM, 20.0))
        paths.append(path)
    stage.run(
        sections=sections,
        images=paths,
        manual=[],
        labels=tmp_path / "labels.tif",
        table=tmp_path / "table.parquet",
        params=PARAMS.model_copy(update={"spacing_um": SPACING_UM}),
    )
    white = read_labels(tmp_path / "labels.tif", 1) == 2
    assert dice(white, near & (true == 2)) > 0.8
