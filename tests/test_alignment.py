"""Pairs of sections with known displacements, and the stage on a small study."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from slice_pairs import (
    FULL_UM,
    HEIGHT_UM,
    PARAMS,
    SPACING_UM,
    WIDTH_UM,
    about_centre,
    brain_slice,
    displaced,
    prepared,
    worst_px,
)
from table_rows import row

from cytopipe import alignment
from cytopipe.alignment.pairwise import coarse, image_registration
from cytopipe.alignment.pairwise.pairs import align_pair
from cytopipe.alignment.pairwise.prepared_section import PreparedSection
from cytopipe.alignment.pairwise.surf_features import features_of
from cytopipe.formats.images import write_labels, write_pyramid
from cytopipe.formats.tables import (
    ACCEPTED,
    UNCERTAIN,
    PairRow,
    SegmentationRow,
    StackRow,
    read_rows,
    write_rows,
)
from cytopipe.numerics.geometry import Rigid, pixels_to_section
from cytopipe.study.sections import Section


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("degrees", [-5, 20, 40])
@pytest.mark.parametrize(("refine", "method"), [("none", "features"), ("texture", "texture")])
def test_pair_recovers_a_known_displacement(
    refine: str, method: str, degrees: float, flipped: bool
) -> None:
    rng = np.random.default_rng(7)
    image, labels = brain_slice(1)
    true = about_centre(degrees, 1500, -900)
    moved, moved_labels = displaced(image, labels, true, flipped)
    # another stain and other noise, as in the next section
    moved = 0.8 * moved + 30 + rng.normal(0, 4, moved.shape).astype(np.float32)
    fixed, moving = prepared(image, labels, 1), prepared(moved, moved_labels, 2)
    params = PARAMS.model_copy(update={"refine": refine})
    pair = align_pair(fixed, moving, features_of(fixed, 0.0, PARAMS), 1, params)
    assert (pair.status, pair.method, pair.mirrored) == (ACCEPTED, method, flipped)
    assert worst_px(pair.rigid, true) < (0.3 if refine == "none" else 0.06)
    assert pair.overlap > 0.97
    winner, loser = pair.inliers_plain, pair.inliers_mirrored
    if flipped:
        winner, loser = loser, winner
    assert winner > 50 > 15 > loser


def test_coarse_search_finds_rotation_and_shift() -> None:
    image, labels = brain_slice(1)
    true = about_centre(-33, 2500, 1200)
    moved, moved_labels = displaced(image, labels, true, False)
    fixed, moving = prepared(image, labels, 1), prepared(moved, moved_labels, 2)
    rigid, _ = coarse.search(fixed, moving, 2048, np.pi / 3, np.pi / 36)[0]
    assert abs(rigid.angle_rad - true.angle_rad) < np.radians(2.5)
    assert worst_px(rigid, true) < 10


def test_featureless_sections_are_uncertain() -> None:
    _, labels = brain_slice(1)
    smooth = np.where(labels > 0, 120, 230).astype(np.float32)
    true = about_centre(12, 3000, -2000)
    moved, moved_labels = displaced(smooth, labels, true, False)
    fixed, moving = prepared(smooth, labels, 1), prepared(moved, moved_labels, 2)
    params = PARAMS.model_copy(update={"min_inliers": 10_000})
    pair = align_pair(fixed, moving, features_of(fixed, 0.0, PARAMS), 1, params)
    assert pair.agreement <= PARAMS.min_agreement
    assert (pair.status, pair.method) == (UNCERTAIN, "outline")
    assert not pair.mirrored
    assert worst_px(pair.rigid, true) < 3


def test_sections_that_do_not_overlap_have_no_transform() -> None:
    _, labels = brain_slice(1)
    dot = np.zeros_like(labels)
    dot[100:112, 100:112] = 1
    fixed = prepared(np.where(labels, 120, 230).astype(np.float32), labels, 1)
    moving = prepared(np.where(dot, 120, 230).astype(np.float32), dot, 2)
    pair = align_pair(fixed, moving, features_of(fixed, 0.0, PARAMS), 1, PARAMS)
    assert pair.status == "too little overlap"
    assert pair.rigid is None


def test_confirmed_handedness_is_kept() -> None:
    image, labels = brain_slice(1)
    fixed, moving = prepared(image, labels, 1, False), prepared(image, labels, 2, True)
    pair = align_pair(fixed, moving, features_of(fixed, 0.0, PARAMS), 1, PARAMS)
    assert pair.mirrored
    assert pair.status != ACCEPTED
    assert pair.inliers_plain > pair.inliers_mirrored


def test_overlap_is_dice() -> None:
    image, labels = brain_slice(1)
    one = prepared(image, labels, 1)
    identity = Rigid(0.0, 0.0, 0.0, "moving", "fixed")
    assert image_registration.overlap(one, one, identity) == 1
    away = replace(identity, x_um=10 * WIDTH_UM)
    assert image_registration.overlap(one, one, away) == 0


def test_a_pair_follows_the_texture_not_the_anatomy() -> None:
    """The outline of the next section has moved, its texture has not."""
    image, labels = brain_slice(1)
    # the outline moves by 2.5 mm
    aside = np.roll(labels, 10, axis=1)
    both = np.where(labels > 0, image + np.choose(labels, [0, 110, 70]) - 230, 0)
    moved = (230 - np.choose(aside, [0, 110, 70]) + both * (aside > 0)).astype(np.float32)
    fixed, moving = prepared(image, labels, 1), prepared(moved, aside, 2)
    pair = align_pair(fixed, moving, features_of(fixed, 0.0, PARAMS), 1, PARAMS)
    assert (pair.method, pair.mirrored) == ("texture", False)
    assert worst_px(pair.rigid, Rigid(0.0, 0.0, 0.0, "moving", "fixed")) < 0.3
    assert pair.peak_plain > 3 * pair.peak_mirrored


def segmentation_row(section: int, page: int, labels: NDArray[np.uint8]) -> SegmentationRow:
    return row(
        SegmentationRow, brain="B01", section=section, page=page, width_um=WIDTH_UM,
        height_um=HEIGHT_UM, full_spacing_um=FULL_UM, spacing_um=SPACING_UM,
        tissue_mm2=np.count_nonzero(labels) * (SPACING_UM / 1000) ** 2,
        status="ok" if labels.any() else "blank",
    )  # fmt: skip


def test_labels_of_half_the_spacing_land_within_half_a_pixel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sizes are not multiples of the factor: labels stretched to them would be off by more."""
    rows, columns = (20, 219), (300, 379)  # first and last of a box
    labels = np.zeros((241, 391), np.uint8)
    labels[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1] = 1
    image, table, label_file = (tmp_path / name for name in ("0.ome.tif", "0.parquet", "0.tif"))
    # no level has the spacing, so the image is resized
    write_pyramid(np.where(labels, 120, 230).astype(np.uint8), image, FULL_UM, FULL_UM)
    write_rows(
        SegmentationRow, [replace(segmentation_row(0, 0, labels), spacing_um=FULL_UM)], table
    )
    write_labels([labels], label_file)
    sections: list[PreparedSection] = []
    monkeypatch.setattr(alignment, "features_of", lambda section, *_: sections.append(section))
    alignment.run_pairs(
        sections=[Section("B01", 0, str(image), FULL_UM, 20.0)],
        images=[image],
        tables=[table],
        labels=[label_file],
        chunk="00000",
        chunk_span=30,
        pairs=tmp_path / "pairs.parquet",
        params=PARAMS,
    )
    (section,) = sections
    assert section.labels.shape == section.image.shape
    for true, inside in zip((rows, columns), np.nonzero(section.labels), strict=True):
        edges = np.array([inside.min() - 0.5, inside.max() + 0.5])
        edges_um = pixels_to_section(edges, SPACING_UM, FULL_UM)
        true_um = pixels_to_section(np.array([true[0] - 0.5, true[1] + 0.5]), FULL_UM, FULL_UM)
        assert np.abs(edges_um - true_um).max() <= SPACING_UM / 2


def test_study_with_blank_and_mirrored_section(tmp_path: Path) -> None:
    image, labels = brain_slice(1)
    rng = np.random.default_rng(5)
    numbers = [0, 10, 20, 30, 40, 50]
    blank, turned = 20, 40
    true = {
        n: about_centre(float(d), 300.0 * d, -200.0 * d)
        for n, d in zip(numbers, (4, -7, 0, 9, -3, 6), strict=True)
    }
    sections, images, pages = [], [], {}
    for n in numbers:
        picture, page = displaced(image, labels, true[n], n == turned)
        if n == blank:
            picture, page = np.full_like(picture, 230), np.zeros_like(page)
        picture = np.clip(picture + rng.normal(0, 3, picture.shape), 0, 255)
        full = cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)
        images.append(tmp_path / f"{n}.ome.tif")
        write_pyramid(np.round(full).astype(np.uint8), images[-1], FULL_UM, SPACING_UM)
        sections.append(Section("B01", n, str(images[-1]), FULL_UM, 20.0))
        pages[n] = page
    tables, label_files, pair_files = [], [], []
    for chunk in (0, 30):
        members = [n for n in numbers if n // 30 * 30 == chunk]
        tables.append(tmp_path / f"{chunk}.parquet")
        label_files.append(tmp_path / f"{chunk}.tif")
        pair_files.append(tmp_path / f"pairs-{chunk}.parquet")
        rows = [segmentation_row(n, i, pages[n]) for i, n in enumerate(members)]
        write_rows(SegmentationRow, rows, tables[-1])
        write_labels([pages[n] for n in members], label_files[-1])
    again = tmp_path / "again.parquet"
    for i, until, written in ((0, 3, pair_files[0]), (1, 6, pair_files[1]), (1, 6, again)):
        alignment.run_pairs(
            sections=sections[:until],
            images=images[:until],
            tables=tables[: i + 1],
            labels=label_files[: i + 1],
            chunk=f"{30 * i:05d}",
            chunk_span=30,
            pairs=written,
            params=PARAMS,
        )
    assert again.read_bytes() == pair_files[1].read_bytes()
    assert [pair.moving for pair in read_rows(PairRow, pair_files[0])] == [10]
    fixed = [pair.fixed for pair in read_rows(PairRow, pair_files[1])]
    assert fixed == [10, 0, 30, 10, 40, 30]
    stack, pairs = tmp_path / "stack.parquet", tmp_path / "pairs.parquet"
    alignment.run(
        sections=sections,
        chunk_pairs=pair_files,
        tables=tables,
        labels=label_files,
        stack=stack,
        pairs=pairs,
        proposed=tmp_path / "proposed.tsv",
        image_right="R",
        params=PARAMS,
    )
    places = {place.section: place for place in read_rows(StackRow, stack)}
    assert [place.status for place in places.values()] == ["ok", "ok", "blank", "ok", "ok", "ok"]
    assert [number for number, place in places.items() if place.mirrored] == [turned]
    assert [place.z_um for place in places.values()] == [20.0 * n for n in numbers]
    assert not places[blank].is_placed
    assert places[blank].via == -1
    assert all(pair.status == ACCEPTED for pair in read_rows(PairRow, pairs))
    base = next(n for n in numbers if places[n].via == n)
    for n in set(numbers) - {blank}:
        expected = replace(true[n], target="x").then(replace(true[base].inverse(), source="x"))
        assert worst_px(places[n].placement.rigid, expected) < 0.2
