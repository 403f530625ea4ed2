"""Segmentation: known labels, failures, and labels drawn by a person."""

import errno
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import yaml
from scipy import ndimage

import cytopipe.segmentation as stage
from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.formats.images import read_labels, write_pyramid
from cytopipe.numerics.components import connected_to_border, edges_between
from cytopipe.segmentation import paper
from cytopipe.segmentation.section import segment
from cytopipe.segmentation.shape import sulcal_boundary_px, sulcal_zone, without_rims
from cytopipe.study import config as study_config
from cytopipe.study.config import Segmentation
from cytopipe.study.sections import Section

CONFIG = Path(__file__).parents[1] / "config" / "config.yaml"
PARAMS = Segmentation(**yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["segmentation"])
# the paper's chain, and the minimum that suits the tissue of `lobed`
PAPER = PARAMS.model_copy(update={"method": "paper", "min_contrast": 0.1, "min_white": 0.35})
SLIDE = 234


def lobed(pixels=260, seed=0, gray_value=135, white_value=190, thickness_px=10):
    """A section of 256 um with deep sulci, layer I, stain gradient, grain; and its true labels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:pixels, :pixels] / pixels - 0.5
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    tissue = radius < 0.3 + 0.09 * np.cos(7 * angle + seed)
    # a narrow sulcus
    tissue &= ~((np.abs(y + 0.02) < 1.5 / pixels) & (x < -0.15))
    depth = ndimage.distance_transform_edt(tissue)
    labels = np.where(depth > thickness_px, 2, np.where(tissue, 1, 0)).astype(np.uint8)
    layer_1 = (depth > 0) & (depth <= 2)
    image = np.choose(labels, [SLIDE, gray_value, white_value]).astype(float)
    image[layer_1] = gray_value + 0.4 * (white_value - gray_value)
    grain = ndimage.gaussian_filter(rng.normal(size=image.shape), 2)
    image += tissue * (8 * grain / grain.std() + 16 * x + 3 * rng.normal(size=image.shape))
    image += ~tissue * 2 * rng.normal(size=image.shape)
    return np.clip(np.round(image), 0, 255).astype(np.uint8), labels


def dice(one, other):
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


# --- the background


def test_valleys_separate_peaks_and_ignore_ripples():
    bins = np.arange(256)
    peaks = sum(h * np.exp(-(((bins - c) / 15) ** 2)) for h, c in ((50, 60), (80, 150), (900, 230)))
    ripples = peaks * (1 + 0.1 * np.sin(bins))
    first, second = paper.valleys(ripples, 0.5)
    assert 85 < first < 120
    assert 175 < second < 205


def test_a_histogram_without_a_minimum_falls_back_on_otsu():
    image = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    value, source = paper.threshold(image, image < 30000, 0.5, "slide")
    assert source == "otsu"
    assert abs(value - 0.5) < 0.01


@pytest.mark.parametrize("tissue_share", [0.01, 0.1, 0.5])
def test_the_threshold_separates_slide_and_white_matter_not_white_and_gray(tissue_share):
    """Where tissue is scarce, the minimum nearest the Otsu threshold is the wrong one."""
    rng = np.random.default_rng(6)
    count = int(tissue_share * 100_000)
    values = np.concatenate(
        [rng.normal(80, 18, count), rng.normal(180, 12, count), rng.normal(240, 4, 200_000)]
    )
    image = (np.clip(values, 0, 255) * 256).astype(np.uint16)[None]
    true = np.arange(image.size)[None] < 2 * count
    clear = true & (rng.random(image.shape) < 0.9)
    value, source = paper.threshold(image, clear, 0.5, "slide")
    assert source == "minimum"
    assert 205 / 256 < value < 232 / 256


# --- gray and white matter


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("inverted", [False, True])
def test_a_section_is_labelled(seed, inverted):
    image, true = lobed(seed=seed)
    segmented = segment(255 - image if inverted else image, 256.0, PARAMS)
    assert segmented.status == "ok"
    assert segmented.background == ("dark" if inverted else "bright")
    assert dice(segmented.labels == 1, true == 1) > 0.92
    assert dice(segmented.labels == 2, true == 2) > 0.97
    assert segmented.contact_ratio > 5
    # layer I is light, but white matter does not touch the background around the brain
    assert edges_between(segmented.labels == 2, connected_to_border(segmented.labels == 0)) == 0


def test_labels_do_not_depend_on_single_gray_values():
    image, _ = lobed()
    changed = image.copy()
    changed[130, 130] += 1
    labels = segment(image, 256.0, PARAMS).labels
    assert (labels != segment(changed, 256.0, PARAMS).labels).mean() < 1e-3


def test_the_margin_of_the_scan_does_not_matter():
    image, _ = lobed()
    wide = np.pad(image, 150, mode="reflect", reflect_type="even")
    wide = np.where(np.pad(np.ones(image.shape, bool), 150), wide, SLIDE).astype(np.uint8)
    labels = segment(wide, 256.0, PARAMS).labels[150:-150, 150:-150]
    assert (labels != segment(image, 256.0, PARAMS).labels).mean() < 0.01


def test_a_section_without_white_matter_gets_none():
    image, true = lobed(thickness_px=200)
    segmented = segment(image, 256.0, PARAMS)
    assert dice(segmented.labels == 1, true == 1) > 0.97
    assert not (segmented.labels == 2).any()


def test_little_white_matter_is_found():
    image, true = lobed(thickness_px=34)
    assert 0 < (true == 2).sum() < 0.12 * (true > 0).sum()
    segmented = segment(image, 256.0, PARAMS)
    assert dice(segmented.labels == 2, true == 2) > 0.9


def test_a_narrow_sulcus_stays_open_and_is_measured():
    image, true = lobed()
    segmented = segment(image, 256.0, PARAMS)
    assert (segmented.labels[125, 20:80] == 0).all() or (segmented.labels[124, 20:80] == 0).all()
    zone = sulcal_zone(true > 0, PARAMS.sulcus_um / 256)
    open_mm = sulcal_boundary_px(true > 0, zone) * 0.256
    assert segmented.sulcal_after_mm == segmented.sulcal_before_mm
    assert segmented.sulcal_after_mm == pytest.approx(open_mm, rel=0.1)


def test_a_fused_sulcus_shortens_the_sulcal_boundary():
    tissue = np.zeros((80, 100), bool)
    tissue[10:70, 10:90] = True
    tissue[38:41, 10:60] = False
    zone = sulcal_zone(tissue, 12)
    fused = tissue.copy()
    fused[38:41, 10:12] = True  # two pixels at its mouth close the whole sulcus
    # two banks of 50 pixels and a bottom of 3; the disc rounds the mouth slightly
    assert 99 <= sulcal_boundary_px(tissue, zone) <= 103
    assert sulcal_boundary_px(fused, zone) == 0


def test_a_light_rim_is_gray_and_a_cut_edge_is_white():
    tissue = np.zeros((60, 120), bool)
    tissue[10:50, 10:110] = True
    light = np.zeros_like(tissue)
    light[10:12, 10:110] = True  # layer I
    light[20:40, 60:110] = True  # white matter, open to the background at the right
    white = without_rims(light, tissue, 6)
    assert not white[10:12].any()
    assert np.array_equal(white[20:40], light[20:40])


@pytest.mark.parametrize("value", [0, 30, 128, 255])
def test_an_empty_slide_is_blank(value):
    rng = np.random.default_rng(7)
    image = np.clip(value + 3 * rng.normal(size=(200, 300)), 0, 255).astype(np.uint8)
    segmented = segment(image, 256.0, PARAMS)
    assert segmented.status == "blank"
    assert not segmented.labels.any()


def test_dust_and_shading_do_not_make_tissue():
    rng = np.random.default_rng(8)
    image = 225 + 15 * np.linspace(-1, 1, 300) + 2 * rng.normal(size=(200, 300))
    for row, column in rng.integers(5, 190, (40, 2)):
        image[row : row + 2, column : column + 2] = 40
    segmented = segment(np.clip(image, 0, 255).astype(np.uint8), 256.0, PARAMS)
    assert segmented.status == "blank"


def test_dirt_beside_the_tissue_is_not_tissue():
    image, true = lobed()
    image[5:40] -= 60  # a dark smear along the edge of the slide
    image[200:203, 240:243] = 20
    segmented = segment(image, 256.0, PARAMS)
    assert segmented.status == "ok"
    assert dice(segmented.labels[45:] > 0, true[45:] > 0) > 0.97


def test_the_same_section_at_another_resolution():
    image, true = lobed(pixels=520, thickness_px=20)
    segmented = segment(image, 128.0, PARAMS)
    assert dice(segmented.labels == 1, true == 1) > 0.92
    assert dice(segmented.labels == 2, true == 2) > 0.97


def test_the_border_is_connected_by_edges():
    mask = np.eye(5, dtype=bool)
    mask[0, 0] = False
    assert connected_to_border(mask).sum() == 1


# --- files


@pytest.fixture
def chunk(tmp_path):
    """Images of a good, a blank and an excluded section, and a function that runs the stage."""
    image, _ = lobed()
    images = {140: image, 280: np.full((100, 120), SLIDE, np.uint8), 420: image}
    sections, paths = [], []
    for number, pixels in images.items():
        path = tmp_path / f"{number:05d}.ome.tif"
        write_pyramid(pixels, path, 256.0, 256.0)
        sections.append(Section("B01", number, str(path), 256.0, 20.0, excluded=number == 420))
        paths.append(path)

    def run(manual=(), **changed):
        stage.run(
            sections=sections,
            images=paths,
            manual=list(manual),
            labels=tmp_path / "labels.tif",
            table=tmp_path / "table.parquet",
            params=PARAMS.model_copy(update={"spacing_um": 256.0, **changed}),
        )
        table = tables.read(tables.SegmentationRow, tmp_path / "table.parquet")
        return table, [read_labels(tmp_path / "labels.tif", page) for page in table["page"]]

    return paths, run


def test_every_section_has_a_row_and_a_page(chunk):
    _, run = chunk
    table, pages = run()
    assert table["section"].tolist() == [140, 280, 420]
    assert table["status"].tolist() == ["ok", "blank", "excluded"]
    assert [page.shape for page in pages] == [(260, 260), (1, 1), (1, 1)]
    assert table["tissue_mm2"][0] == pytest.approx(np.count_nonzero(pages[0]) * 0.256**2)
    assert table["width_um"][0] == 259 * 256
    assert pd.isna(table["threshold"][1])


def test_two_runs_write_the_same_bytes(chunk):
    paths, run = chunk
    run()
    first = [(paths[0].parent / name).read_bytes() for name in ("labels.tif", "table.parquet")]
    run()
    assert first == [
        (paths[0].parent / name).read_bytes() for name in ("labels.tif", "table.parquet")
    ]


def test_an_unreadable_section_is_a_row_unless_there_are_too_many(chunk):
    paths, run = chunk
    paths[0].write_bytes(b"broken")
    table, pages = run(max_failed=0.4)
    assert table["status"].tolist() == ["unreadable", "blank", "excluded"]
    assert pages[0].shape == (1, 1)
    with pytest.raises(InputError, match=r"1 of 3 sections .*\n.*00140\.ome\.tif"):
        run(max_failed=0.2)


def test_labels_drawn_by_a_person_replace_the_computed_ones(chunk, tmp_path):
    _, run = chunk
    drawn = np.zeros((260, 260), np.uint8)
    drawn[50:100, 50:100] = 1
    drawn[60:90, 60:90] = 2
    (tmp_path / "manual").mkdir()
    path = tmp_path / "manual" / "00140.tif"
    tifffile.imwrite(path, drawn)
    table, pages = run([path])
    assert np.array_equal(pages[0], drawn)
    assert table["white_mm2"][0] == pytest.approx(900 * 0.256**2)
    assert table["threshold_from"][0] == "manual"
    assert table["status"].tolist() == ["ok", "blank", "excluded"]


@pytest.mark.parametrize(
    ("drawn", "name", "message"),
    [
        (np.zeros((9, 9), np.uint8), "00140.tif", r"\(9, 9\).*\(260, 260\)"),
        (np.full((260, 260), 3, np.uint8), "00140.tif", "contains the value 3"),
        (np.zeros((260, 260), np.uint8), "00141.tif", "no section 00141 in this chunk"),
    ],
)
def test_wrong_manual_labels_are_refused(chunk, tmp_path, drawn, name, message):
    _, run = chunk
    (tmp_path / "manual").mkdir()
    tifffile.imwrite(tmp_path / "manual" / name, drawn)
    with pytest.raises(InputError, match=message):
        run([tmp_path / "manual" / name])


def test_a_failing_file_system_fails_the_job(chunk, monkeypatch):
    """As an InputError it would become a row with the status unreadable, which is not retried."""
    _, run = chunk

    def fail(*_, **__):
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(tifffile.FileHandle, "read", fail)
    with pytest.raises(OSError, match="input/output"):
        run(max_failed=1.0)


def test_a_section_without_tissue_is_a_row_with_a_status(tmp_path: Path) -> None:
    """The status is blank, and the page of labels is empty."""
    blank = np.random.default_rng(1).integers(228, 234, (200, 200)).astype(np.uint8)
    write_pyramid(blank, tmp_path / "15.ome.tif", 64, 256, tile=64)
    section = Section("B01", 15, "15.ome.tif", 64.0, 20.0)
    config = study_config.read(study_config.DEFAULTS)["segmentation"]
    stage.run(
        sections=[section],
        images=[tmp_path / "15.ome.tif"],
        manual=[],
        labels=tmp_path / "labels.tif",
        table=tmp_path / "table.parquet",
        params=Segmentation(**config),
    )
    rows = tables.read(tables.SegmentationRow, tmp_path / "table.parquet")
    assert rows["status"].tolist() == ["blank"]
    assert not read_labels(tmp_path / "labels.tif", 0).any()
