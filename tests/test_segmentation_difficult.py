"""Segmentation of difficult tissue: closed sulci, weak contrast, pale layer I, no white matter."""

from pathlib import Path

import numpy as np
import pytest
from drawn_section import SPACING_UM, scores, section
from scipy import ndimage
from test_segmentation import PAPER, PARAMS, SLIDE, dice

import cytopipe.segmentation as stage
from cytopipe.formats import tables
from cytopipe.formats.images import read_labels, write_pyramid
from cytopipe.formats.tables import NO_WHITE, OK
from cytopipe.segmentation import neighbours
from cytopipe.segmentation.parts import HALF_LEVEL, Levels
from cytopipe.segmentation.section import Segmented, segment
from cytopipe.study.sections import Section

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


def test_ink_and_a_broad_pale_rim_do_not_hide_white_matter():
    """What is neither gray nor white matter broadened the peak of gray matter over the valley."""
    image, true = section(contrast=0.25, layer_1=0.5, size=0.6)
    y, x = np.mgrid[:300, :380]
    tissue = true > 0
    image[tissue & (np.abs(x - 0.3 * y - 165) < 3)] = 60
    # cortex cut along its surface
    random = np.random.default_rng(1)
    for row, column in zip(random.integers(70, 230, 5), random.integers(90, 290, 5), strict=True):
        image[tissue & (true == 1) & (np.hypot(y - row, x - column) < 20)] += 45
    segmented = segment(image, SPACING_UM, PARAMS)
    assert segmented.white_contrast == pytest.approx(0.25, abs=0.03)
    assert scores(segmented, true)[1] > 0.85


def test_a_gradient_of_the_stain_does_not_matter():
    image, true = section(contrast=0.35)
    across = np.linspace(0.7, 1.3, image.shape[1])
    uneven = np.rint(SLIDE - (SLIDE - image.astype(float)) * across)
    gray, white = scores(segment(uneven.clip(0, 255).astype(np.uint8), SPACING_UM, PARAMS), true)
    assert gray > 0.93 and white > 0.95


def test_white_matter_is_not_invented_where_there_is_none():
    """Whether neighbours have white matter or not; its absence in so deep a tissue is stated."""
    image, true = section(bare=True)
    for expected in (None, Levels(1.0, 0.45)):
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
        contrast, levels = (0.4, Levels(0.95, 0.4)) if share else (np.nan, None)
        out.append(Segmented(labels, "bright", 0.5, HALF_LEVEL, contrast, 1, 1, 9, "", OK, levels))
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


def test_a_section_whose_tissue_may_have_been_taken_for_ink_is_left_out():
    sections = results((0.5, 0.5, 0.5, 0.5))
    rest = Segmented(np.ones((1, 100), np.uint8), *list(vars(sections[0]).values())[1:])
    marked = neighbours.marked([sections[0], rest.remarked("ink"), *sections[2:]], 0.1)
    assert marked[1].status == "blank" and marked[1].remarks == "ink"
    marked = neighbours.marked([sections[0].remarked("ink"), *sections[1:]], 0.1)
    assert marked[0].status == OK


def test_a_small_section_at_a_pole_may_lack_white_matter():
    sections = results((0.0, 0.5, 0.5))
    pole = Segmented(np.ones((1, 300), np.uint8), *list(vars(sections[0]).values())[1:])
    assert neighbours.marked([pole, *sections[1:]], 0.1)[0].status == OK


def test_the_levels_are_learnt_from_sections_that_show_them():
    sections = results((0.5, 0.0, None, 0.5))
    assert list(neighbours.without_evidence(sections)) == [1]
    assert neighbours.expected_levels(sections, 1) == Levels(0.95, 0.4)
    assert neighbours.expected_levels(results((0.0, None)), 0) is None


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


def test_a_brain_is_not_ink_beside_a_crumb():
    """All tissue but one pale crumb was dropped as ink, since it was darker than the rest."""
    image, true = section(contrast=0.5)
    image[5:14, 5:14] = SLIDE - 25
    segmented = segment(image, SPACING_UM, PARAMS)
    assert "ink" not in segmented.remarks
    assert (segmented.labels[true > 0] > 0).mean() > 0.98


def segmented_chunk(folder, images):
    """Labels and remarks of sections that are segmented together."""
    sections = []
    for number, image in enumerate(images, start=1):
        path = folder / f"{number:05d}.ome.tif"
        write_pyramid(image, path, SPACING_UM, SPACING_UM)
        sections.append(Section("B01", number, str(path), SPACING_UM, 20.0))
    stage.run(
        sections=sections,
        images=[Path(section.image) for section in sections],
        manual=[],
        labels=folder / "labels.tif",
        table=folder / "table.parquet",
        params=PARAMS.model_copy(update={"spacing_um": SPACING_UM}),
    )
    table = tables.read(tables.SegmentationRow, folder / "table.parquet")
    pages = [read_labels(folder / "labels.tif", page) for page in table["page"]]
    return pages, table["remarks"].tolist()


def test_a_small_section_that_does_not_show_its_white_matter_learns_from_its_chunk(tmp_path):
    pale, _ = section(contrast=0.25)
    small, true = section(contrast=0.18, size=0.4)
    alone = segment(small, SPACING_UM, PARAMS)
    assert alone.levels is None and not (alone.labels == 2).any()
    labels, remarks = segmented_chunk(tmp_path, [pale, small, pale])
    assert dice(labels[1] == 2, true == 2) > 0.8
    assert remarks == ["", "white by neighbours", ""]
    labels, remarks = segmented_chunk(tmp_path, [small])
    assert not (labels[0] == 2).any() and remarks == ["white unknown"]


def test_the_gray_level_is_that_of_the_chunk_where_most_of_a_section_is_white():
    """The most frequent stain was taken for gray matter, and half of the white matter with it."""
    image, true = section(contrast=0.26, size=0.8)
    assert np.count_nonzero(true == 2) > 1.5 * np.count_nonzero(true == 1)
    grain = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=image.shape), 4)
    image = np.clip(image - (true > 0) * 10 * grain / grain.std(), 0, 255).astype(np.uint8)
    assert segment(image, SPACING_UM, PARAMS).levels is None
    expected = Levels(gray=0.97, contrast=0.26)
    gray, white = scores(segment(image, SPACING_UM, PARAMS, expected), true)
    assert gray > 0.8 and white > 0.88


def test_layer_1_that_is_cut_along_the_surface_is_gray():
    image, true = section(contrast=0.4)
    y, x = np.mgrid[:300, :380]
    depth_um = ndimage.distance_transform_edt(true > 0) * SPACING_UM
    patch = (np.hypot(y - 150, x - 40) < 30) & (depth_um > 0) & (depth_um < 2300)
    image[patch] = SLIDE - 55
    assert np.count_nonzero(patch) * (SPACING_UM / 1000) ** 2 > 10
    gray, white = scores(segment(image, SPACING_UM, PARAMS), true)
    assert gray > 0.97 and white > 0.97


def test_white_matter_reaches_the_wall_of_a_cut():
    image, true = section(contrast=0.5)
    image[:, 190:], true[:, 190:] = SLIDE, 0
    segmented = segment(image, SPACING_UM, PARAMS)
    assert scores(segmented, true)[1] > 0.985
    wall = segmented.labels[110:190, 188]
    assert (wall == 2).mean() > 0.95
    assert 1 < segmented.contact_ratio < 100


def test_white_matter_around_gray_matter_is_doubtful():
    """Deep nuclei without cortex, or another stain: the two may be mistaken for each other."""
    y, x = np.mgrid[:300, :380]
    radius = np.hypot(y - 150, x - 190)
    random = np.random.default_rng(6)
    stain = np.where(radius < 60, 100.0, 50.0) * (radius < 110)
    image = SLIDE - stain * (1 + 0.05 * random.normal(size=radius.shape))
    segmented = segment(image.clip(0, 255).astype(np.uint8), SPACING_UM, PARAMS)
    assert segmented.status != OK or "white outside" in segmented.remarks
