"""Alignment against known displacements, and the stack against chains that are exact."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mahotas.features import surf as mahotas_surf
from numpy.typing import NDArray
from scipy import ndimage

from cytopipe import alignment
from cytopipe.alignment import coarse, registration, surf
from cytopipe.alignment.features import features_of
from cytopipe.alignment.pairs import ACCEPTED, UNCERTAIN, Pair, align_pair
from cytopipe.alignment.ransac import rigid_consensus
from cytopipe.alignment.stack import CONFLICT, choose_base, compose, judge, mirror_flags, unmirror
from cytopipe.alignment.views import View, make_view
from cytopipe.formats.images import write_labels, write_pyramid
from cytopipe.formats.sections import Section
from cytopipe.formats.tables import PAIRS, SEGMENTATION, STACK, read, write
from cytopipe.numerics.geometry import Rigid, mirror

FULL_UM, SPACING_UM = 128.0, 256.0
ROWS, COLUMNS = 240, 280
WIDTH_UM, HEIGHT_UM = (2 * COLUMNS - 1) * FULL_UM, (2 * ROWS - 1) * FULL_UM
CORNERS_UM = np.array([[0, 0], [WIDTH_UM, 0], [0, HEIGHT_UM], [WIDTH_UM, HEIGHT_UM]])
PARAMS = alignment.Params(
    spacing_um=SPACING_UM,
    coarse_um=2048.0,
    max_rotation_deg=60.0,
    rotation_step_deg=5.0,
    octaves=4,
    max_features=800,
    max_ratio=0.85,
    inlier_um=512.0,
    trials=1000,
    min_inliers=10,
    min_margin=2.0,
    refine="texture",
    texture_um=SPACING_UM,
    reach_um=10000.0,
    min_peak=7.5,
    min_overlap=0.5,
    min_tissue_share=0.15,
    neighbours=2,
    seed=1,
)


def brain_slice(seed: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """A lobed, asymmetric slice on bright ground, with texture of several sizes; and its labels."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:ROWS, :COLUMNS]
    around = np.arctan2(y - ROWS / 2, x - COLUMNS / 2)
    radius = np.hypot((x - COLUMNS / 2) / (COLUMNS * 0.36), (y - ROWS / 2) / (ROWS * 0.30))
    edge = 1 + 0.08 * np.sin(3 * around + 1) + 0.05 * np.sin(7 * around)
    labels = np.where(radius < 0.8 * edge, 2, np.where(radius < edge, 1, 0)).astype(np.uint8)
    noise = rng.normal(size=labels.shape)
    structure = sum(ndimage.gaussian_filter(noise, s) * s for s in (1.5, 3, 6))
    structure = structure / np.std(structure)
    image = 230 - np.choose(labels, [0, 110, 70]) + np.where(labels > 0, 18 * structure, 0)
    return np.clip(image, 0, 255).astype(np.float32), labels


def view(
    image: NDArray[np.float32], labels: NDArray[np.uint8], number: int, flag: bool | None = None
) -> View:
    return make_view(
        number, image, labels, SPACING_UM, SPACING_UM, FULL_UM, WIDTH_UM, HEIGHT_UM, flag
    )


def displaced(
    image: NDArray[np.float32], labels: NDArray[np.uint8], rigid: Rigid, flipped: bool
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The section of which `rigid`, after the flip if `flipped`, makes the given one."""
    blank = view(np.ones_like(image), np.ones_like(labels), 0)
    matrix = np.eye(3)
    matrix[:2, :2], matrix[:2, 2] = rigid.rotation, (rigid.x_um, rigid.y_um)
    matrix = np.linalg.inv(blank.frame(False)) @ matrix @ blank.frame(flipped)
    size, ground = (COLUMNS, ROWS), 230.0
    back = cv2.WARP_INVERSE_MAP
    image = cv2.warpAffine(
        image, matrix[:2], size, flags=cv2.INTER_CUBIC | back, borderValue=ground
    )
    labels = cv2.warpAffine(labels, matrix[:2], size, flags=cv2.INTER_NEAREST | back)
    if flipped:
        image, labels = image[:, ::-1], labels[:, ::-1]
    return np.ascontiguousarray(image), np.ascontiguousarray(labels)


def about_centre(degrees: float, x_um: float, y_um: float) -> Rigid:
    turn = Rigid(np.radians(degrees), 0.0, 0.0, "moving", "fixed")
    centre = np.array([WIDTH_UM, HEIGHT_UM]) / 2
    x, y = centre - turn(centre) + (x_um, y_um)
    return replace(turn, x_um=float(x), y_um=float(y))


def worst_px(found: Rigid | None, true: Rigid) -> float:
    """Distance of the two at the image's corners."""
    assert found is not None
    off = np.linalg.norm(found(CORNERS_UM) - true(CORNERS_UM), axis=1)
    return float(off.max() / SPACING_UM)


# --- features


@pytest.mark.parametrize("size", [3.0, 5.0, 8.0])
def test_blob_is_found_where_it_is(size: float) -> None:
    x, y = 101.3, 95.7
    row, column = np.mgrid[:200, :210]
    blob = 255 * np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * size**2))
    found = surf.detect(blob.astype(np.float32), 4, 10)
    near = found[np.hypot(found[:, 0] - x, found[:, 1] - y) < 2]
    assert len(near) > 0
    assert np.hypot(near[0, 0] - x, near[0, 1] - y) < 0.1
    assert near[0, 4] == -1  # bright: negative Laplacian


def test_detector_finds_what_mahotas_finds() -> None:
    image, _ = brain_slice(3)
    theirs = mahotas_surf.surf(image.astype(np.float64), 4, 6, 1, threshold=1.0, max_points=150)
    ours = surf.detect(image, 4, 2000)
    apart = np.linalg.norm(theirs[:, None, [1, 0]] - ours[None, :, :2], axis=2)
    # mahotas is off by up to a step of the octave (its interpolation has the wrong sign)
    assert (apart.min(1) < 4).mean() > 0.9


def test_descriptor_ignores_brightness_and_contrast() -> None:
    image, _ = brain_slice(4)
    points = surf.detect(image, 4, 100)
    plain = surf.describe(image, points)
    paler = surf.describe(image * 0.5 + 60, points)
    np.testing.assert_allclose(plain, paler, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(plain, axis=1), 1, atol=1e-5)


def test_consensus_survives_wrong_matches() -> None:
    rng = np.random.default_rng(0)
    true = about_centre(8, 900, -400)
    points = rng.uniform(0, WIDTH_UM, (120, 2))
    targets = true(points)
    targets[:80] = rng.uniform(0, WIDTH_UM, (80, 2))
    found, inliers = rigid_consensus(points, targets, 0.0, 0.5, 50.0, 2000, 1)
    assert inliers[80:].all()
    assert inliers[:80].sum() <= 1
    assert worst_px(found, true) < 0.05


def test_consensus_of_nothing_is_none() -> None:
    points = np.zeros((1, 2))
    assert rigid_consensus(points, points, 0.0, 1.0, 10.0, 10, 0)[0] is None
    twins = np.zeros((5, 2))
    assert rigid_consensus(twins, twins, 0.0, 1.0, 10.0, 10, 0)[0] is None


# --- pairs


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
    fixed, moving = view(image, labels, 1), view(moved, moved_labels, 2)
    params = replace(PARAMS, refine=refine)
    pair = align_pair(fixed, moving, features_of(fixed, False, 0.0, 4, 800), 1, params)
    assert (pair.status, pair.method, pair.mirrored) == (ACCEPTED, method, flipped)
    assert worst_px(pair.rigid, true) < (0.3 if refine == "none" else 0.05)
    assert pair.overlap > 0.97
    winner, loser = pair.inliers_plain, pair.inliers_mirrored
    if flipped:
        winner, loser = loser, winner
    assert winner > 50 > 15 > loser


def test_coarse_search_finds_rotation_and_shift() -> None:
    image, labels = brain_slice(1)
    true = about_centre(-33, 2500, 1200)
    moved, moved_labels = displaced(image, labels, true, False)
    found = coarse.search(
        view(image, labels, 1), view(moved, moved_labels, 2), False, 2048, np.pi / 3, np.pi / 36
    )
    assert abs(found.rigid.angle_rad - true.angle_rad) < np.radians(2.5)
    assert worst_px(found.rigid, true) < 10


def test_featureless_sections_are_uncertain_and_no_identity() -> None:
    _, labels = brain_slice(1)
    smooth = np.where(labels > 0, 120, 230).astype(np.float32)
    true = about_centre(12, 3000, -2000)
    moved, moved_labels = displaced(smooth, labels, true, False)
    fixed, moving = view(smooth, labels, 1), view(moved, moved_labels, 2)
    params = replace(PARAMS, min_inliers=10_000)
    pair = align_pair(fixed, moving, features_of(fixed, False, 0.0, 4, 800), 1, params)
    assert max(pair.peak_plain, pair.peak_mirrored) < PARAMS.min_peak
    assert (pair.status, pair.method) == (UNCERTAIN, "outline")
    assert not pair.mirrored
    assert worst_px(pair.rigid, true) < 3


def test_sections_that_do_not_overlap_have_no_transform() -> None:
    _, labels = brain_slice(1)
    dot = np.zeros_like(labels)
    dot[100:112, 100:112] = 1
    fixed = view(np.where(labels, 120, 230).astype(np.float32), labels, 1)
    moving = view(np.where(dot, 120, 230).astype(np.float32), dot, 2)
    pair = align_pair(fixed, moving, features_of(fixed, False, 0.0, 4, 800), 1, PARAMS)
    assert pair.status == "too little overlap"
    assert pair.rigid is None


def test_confirmed_handedness_is_kept() -> None:
    image, labels = brain_slice(1)
    fixed, moving = view(image, labels, 1, False), view(image, labels, 2, True)
    pair = align_pair(fixed, moving, features_of(fixed, False, 0.0, 4, 800), 1, PARAMS)
    assert pair.mirrored
    assert pair.status != ACCEPTED
    assert pair.inliers_plain > pair.inliers_mirrored


def test_overlap_is_dice() -> None:
    image, labels = brain_slice(1)
    one = view(image, labels, 1)
    identity = Rigid(0.0, 0.0, 0.0, "moving", "fixed")
    assert registration.overlap(one, one, False, identity) == 1
    away = replace(identity, x_um=10 * WIDTH_UM)
    assert registration.overlap(one, one, False, away) == 0


def test_texture_finds_what_anatomy_hides() -> None:
    """Texture runs straight on while the anatomy moves: the transform must follow the texture."""
    image, labels = brain_slice(1)
    # the next section's outline lies 2.5 mm aside, its texture where it was
    aside = np.roll(labels, 10, axis=1)
    both = np.where(labels > 0, image + np.choose(labels, [0, 110, 70]) - 230, 0)
    moved = (230 - np.choose(aside, [0, 110, 70]) + both * (aside > 0)).astype(np.float32)
    fixed, moving = view(image, labels, 1), view(moved, aside, 2)
    pair = align_pair(fixed, moving, features_of(fixed, False, 0.0, 4, 800), 1, PARAMS)
    assert (pair.method, pair.mirrored) == ("texture", False)
    assert worst_px(pair.rigid, Rigid(0.0, 0.0, 0.0, "moving", "fixed")) < 0.3
    assert pair.peak_plain > 3 * pair.peak_mirrored


# --- stack


def exact_pair(
    fixed: int, moving: int, true: dict[int, Rigid], flags: dict[int, bool], distance: int = 1
) -> Pair:
    """The pair that perfect matching finds: both sections as scanned, the moving one flipped if
    the two differ."""
    rigid = true[moving].then(true[fixed].inverse())
    if flags[fixed]:
        rigid = unmirror(rigid, WIDTH_UM, WIDTH_UM)
    differ = flags[fixed] != flags[moving]
    counts = (3, 60) if differ else (60, 3)
    rigid = replace(rigid, source="moving", target="fixed")
    return Pair(
        fixed=fixed,
        moving=moving,
        distance=distance,
        inliers_plain=counts[0],
        inliers_mirrored=counts[1],
        peak_plain=np.nan,
        peak_mirrored=np.nan,
        mirrored=differ,
        rigid=rigid,
        residual_um=90.0,
        overlap=0.9,
        tissue_mm2=900.0,
        method="features",
        status=ACCEPTED,
    )


angles = st.floats(-3.0, 3.0)
shifts = st.floats(-1e5, 1e5)


@given(angles, shifts, shifts, st.floats(1e3, 2e5), st.floats(1e3, 2e5), shifts, shifts)
def test_unmirror_commutes_with_the_mirror(
    angle: float, x: float, y: float, source: float, target: float, px: float, py: float
) -> None:
    rigid = Rigid(angle, x, y, "a", "b")
    point = np.array([px, py])
    seen_from_behind = unmirror(rigid, source, target)
    np.testing.assert_allclose(
        seen_from_behind(mirror(point, source)), mirror(rigid(point), target), atol=1e-6
    )
    assert np.linalg.det(seen_from_behind.rotation) == pytest.approx(1)


@st.composite
def chains(draw: st.DrawFn) -> tuple[dict[int, Rigid], dict[int, bool]]:
    count = draw(st.integers(3, 12))
    true = {
        100 * i: Rigid(draw(angles), draw(shifts), draw(shifts), str(100 * i), "true")
        for i in range(count)
    }
    mirrored = draw(st.lists(st.integers(0, count - 1), max_size=(count - 1) // 2, unique=True))
    return true, {100 * i: i in mirrored for i in range(count)}


@settings(deadline=None)
@given(chains(), st.data())
def test_exact_pairs_give_the_exact_stack(
    chain: tuple[dict[int, Rigid], dict[int, bool]], data: st.DataObject
) -> None:
    true, flags = chain
    numbers = sorted(true)
    near = [exact_pair(a, b, true, flags) for a, b in pairwise(numbers)]
    far = [exact_pair(a, b, true, flags, 2) for a, b in zip(numbers, numbers[2:], strict=False)]
    lost = data.draw(st.integers(0, len(near)))
    near = [p if i != lost else replace(p, status="x", rigid=None) for i, p in enumerate(near)]
    found = mirror_flags(numbers, near + far, {}, PARAMS)
    assert found == flags
    base = data.draw(st.sampled_from(numbers))
    places = compose(base, near + far, found, dict.fromkeys(numbers, WIDTH_UM))
    # without its only neighbour's pair an end section is still reached across
    assert set(places) == set(numbers)
    for number, place in places.items():
        expected = true[number].then(true[base].inverse())
        np.testing.assert_allclose(place.rigid(CORNERS_UM), expected(CORNERS_UM), atol=1e-3)
        assert np.linalg.det(place.rigid.rotation) == pytest.approx(1)


def straight(count: int) -> tuple[list[int], dict[int, Rigid]]:
    numbers = [100 * i for i in range(count)]
    return numbers, {n: Rigid(0.01 * n, 5.0 * n, 0.0, str(n), "true") for n in numbers}


def test_section_without_pairs_is_bridged() -> None:
    numbers, true = straight(5)
    flags = dict.fromkeys(numbers, False)
    bad = 200
    pairs = [exact_pair(a, a + 100, true, flags) for a in numbers[:-1] if bad not in (a, a + 100)]
    pairs.append(exact_pair(100, 300, true, flags, 2))
    places = compose(0, pairs, flags, dict.fromkeys(numbers, WIDTH_UM))
    assert bad not in places
    assert [places[n].via for n in (100, 300, 400)] == [0, 100, 300]


def test_uncertain_pairs_are_walked_around_and_passed_on() -> None:
    numbers, true = straight(4)
    flags = dict.fromkeys(numbers, False)
    pairs = [exact_pair(a, a + 100, true, flags) for a in numbers[:-1]]
    pairs[1] = replace(pairs[1], status=UNCERTAIN)
    places = compose(0, pairs, flags, dict.fromkeys(numbers, WIDTH_UM))
    assert [places[n].certain for n in numbers] == [True, True, False, False]
    pairs.append(exact_pair(100, 300, true, flags, 2))
    places = compose(0, pairs, flags, dict.fromkeys(numbers, WIDTH_UM))
    assert all(place.certain for place in places.values())
    assert (places[300].via, places[200].via) == (100, 300)


def test_one_wrong_pair_is_outvoted_and_not_used() -> None:
    numbers, true = straight(6)
    flags = dict.fromkeys(numbers, False)
    pairs = [exact_pair(a, a + 100, true, flags) for a in numbers[:-1]]
    pairs += [exact_pair(a, a + 200, true, flags, 2) for a in numbers[:-2]]
    pairs[2] = replace(pairs[2], mirrored=True, inliers_plain=12, inliers_mirrored=40)
    found = mirror_flags(numbers, pairs, {}, PARAMS)
    assert not any(found.values())
    final = judge(pairs, found, 900.0, 0.15)
    assert [p.status for p in final] == [ACCEPTED] * 2 + [CONFLICT] + [ACCEPTED] * 6
    assert set(compose(0, final, found, dict.fromkeys(numbers, WIDTH_UM))) == set(numbers)


def test_texture_peaks_count_where_inliers_are_few() -> None:
    numbers, true = straight(5)
    flags = {n: n == 200 for n in numbers}
    pairs = [exact_pair(a, a + 100, true, flags) for a in numbers[:-1]]
    dull = [
        replace(
            p,
            inliers_plain=4,
            inliers_mirrored=4,
            peak_plain=4.5 if p.mirrored else 15.0,
            peak_mirrored=15.0 if p.mirrored else 4.5,
        )
        for p in pairs
    ]
    assert mirror_flags(numbers, dull, {}, PARAMS) == flags


def test_confirmed_flag_decides_the_hand_of_all() -> None:
    numbers, true = straight(5)
    flags = {n: n == 200 for n in numbers}
    pairs = [exact_pair(a, a + 100, true, flags) for a in numbers[:-1]]
    assert mirror_flags(numbers, pairs, {}, PARAMS) == flags
    turned = mirror_flags(numbers, pairs, {200: False}, PARAMS)
    assert turned == {n: n != 200 for n in numbers}


def test_little_tissue_is_uncertain_and_no_base() -> None:
    numbers, true = straight(3)
    flags = dict.fromkeys(numbers, False)
    pairs = [exact_pair(a, a + 100, true, flags) for a in numbers[:-1]]
    pairs[1] = replace(pairs[1], tissue_mm2=100.0)
    assert [p.status for p in judge(pairs, flags, 1000.0, 0.15)] == [ACCEPTED, UNCERTAIN]
    assert choose_base(numbers, {0: 900.0, 100: 50.0, 200: 800.0}, pairs, 0.15) == 0


# --- files


def segmentation_row(section: int, page: int, labels: NDArray[np.uint8]) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys(SEGMENTATION.names, 0.0)
    tissue_mm2 = np.count_nonzero(labels) * (SPACING_UM / 1000) ** 2
    row |= {"brain": "B01", "section": section, "page": page, "width_um": WIDTH_UM}
    row |= {"height_um": HEIGHT_UM, "full_spacing_um": FULL_UM, "spacing_um": SPACING_UM}
    row |= {"background": "bright", "tissue_mm2": tissue_mm2}
    row |= {"status": "ok" if labels.any() else "blank"}
    return row


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
        write(SEGMENTATION, pd.DataFrame(rows), tables[-1])
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
    assert read(PAIRS, pair_files[0])["moving"].tolist() == [10]
    assert read(PAIRS, pair_files[1])["fixed"].tolist() == [10, 0, 30, 10, 40, 30]
    stack, pairs = tmp_path / "stack.parquet", tmp_path / "pairs.parquet"
    alignment.run_stack(
        sections=sections,
        pairs=pair_files,
        tables=tables,
        stack=stack,
        all_pairs=pairs,
        image_right="R",
        params=PARAMS,
    )
    placed = read(STACK, stack).set_index("section")
    assert placed["status"].tolist() == ["ok", "ok", "blank", "ok", "ok", "ok"]
    assert placed.index[placed["mirrored"]].tolist() == [turned]
    assert placed["z_um"].tolist() == [20.0 * n for n in numbers]
    assert np.isnan(placed.loc[blank, "angle_rad"])
    assert placed.loc[blank, "via"] == -1
    assert (read(PAIRS, pairs)["status"] == ACCEPTED).all()
    base = next(n for n in numbers if placed.loc[n, "via"] == n)
    for n in set(numbers) - {blank}:
        row = placed.loc[n]
        found = Rigid(row["angle_rad"], row["x_um"], row["y_um"], "moving", "fixed")
        expected = replace(true[n], target="x").then(replace(true[base].inverse(), source="x"))
        assert worst_px(found, expected) < 0.2
