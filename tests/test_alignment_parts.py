"""Whether parts of the tissue confirm a pair, on slices that mislead a correlation of the whole."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from slice_pairs import (
    COLUMNS,
    PARAMS,
    ROWS,
    SPACING_UM,
    about_centre,
    brain_slice,
    displaced,
    prepared,
    worst_px,
)

from cytopipe.alignment.pairwise import image_registration, pairs
from cytopipe.alignment.pairwise.pairs import align_pair
from cytopipe.alignment.pairwise.parts import Parts, displaced_part, parts_of
from cytopipe.alignment.pairwise.surf_features import features_of
from cytopipe.formats.tables import ACCEPTED, UNCERTAIN, PairRow
from cytopipe.numerics.geometry import Rigid

HERE = Rigid(0.0, 0.0, 0.0, "moving", "fixed")


def pair_of(
    one: tuple[NDArray[np.float32], NDArray[np.uint8]],
    other: tuple[NDArray[np.float32], NDArray[np.uint8]],
) -> PairRow:
    fixed, moving = prepared(*one, 1), prepared(*other, 2)
    return align_pair(fixed, moving, features_of(fixed, 0.0, PARAMS), 1, PARAMS)


def test_every_part_of_a_section_confirms_its_own_texture_and_none_another() -> None:
    image, labels = brain_slice(1)
    fixed = prepared(image, labels, 1)
    same = parts_of(fixed, fixed, HERE, PARAMS.part_um)
    assert same.agreement == 1
    assert same.score == pytest.approx(1, abs=1e-5)
    away = parts_of(fixed, fixed, Rigid(0.0, 1024.0, -512.0, "moving", "fixed"), PARAMS.part_um)
    assert away.agreement == 0
    assert np.median(away.offsets_um, axis=0).tolist() == [-1024.0, 512.0]
    strange = parts_of(fixed, prepared(*brain_slice(2), 2), HERE, PARAMS.part_um)
    assert strange.agreement < 0.3


def test_too_few_parts_confirm_nothing() -> None:
    image, labels = brain_slice(1)
    few = np.zeros_like(labels)
    few[100:108, 100:108] = 1
    speck = prepared(image, few, 1)
    assert parts_of(speck, speck, HERE, PARAMS.part_um).agreement == 0


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_sections_that_share_only_the_outline_are_uncertain(seed: int) -> None:
    image, labels = brain_slice(1)
    other, _ = brain_slice(seed)
    pair = pair_of((image, labels), displaced(other, labels, about_centre(8, 1500, -900), False))
    assert pair.status == UNCERTAIN
    assert pair.agreement <= PARAMS.min_agreement
    assert np.isnan(pair.sigma_um)
    assert abs(pair.log_odds_mirrored) < 5
    assert not pair.mirrored


def test_an_outline_that_the_parts_confirm_only_before_its_refinement_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def is_confirmed(fit: pairs._Fit, _: object) -> bool:
        asked.append(fit.method)
        return asked.count("outline") == 1 and fit.method == "outline"

    monkeypatch.setattr(pairs._Fit, "is_confirmed", is_confirmed)
    image, labels = brain_slice(1)
    other, _ = brain_slice(2)
    row = pair_of((image, labels), (other, labels))
    assert asked.count("outline") >= 2
    assert row.method == "outline" and row.status == UNCERTAIN


def with_folia(turn_deg: float, rest: NDArray[np.float32]) -> NDArray[np.float32]:
    """The slice with strong stripes in a sixth of it, turned against the rest."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    c, s = np.cos(np.radians(turn_deg)), np.sin(np.radians(turn_deg))
    u, v = x - 100, y - 150
    along, across = c * u + s * v, c * v - s * u
    stripes = np.sin(along * 0.9 + 2 * np.sin(across / 4)) * np.cos(across * 0.23 + 1)
    return np.where(np.hypot(u, v) < 26, 130 + 110 * stripes, rest).astype(np.float32)


def test_a_part_of_strong_contrast_does_not_turn_the_rest() -> None:
    """Folia of a cerebellum that lies otherwise on the slide: the pair follows the cerebrum."""
    rng = np.random.default_rng(3)
    image, labels = brain_slice(1)
    # the rest has changed, as between distant sections; the folia have not
    fresh = ndimage.gaussian_filter(rng.normal(size=image.shape), 2)
    changed = image + np.where(labels > 0, 14 * fresh / fresh.std(), 0).astype(np.float32)
    pair = pair_of((with_folia(0.0, image), labels), (with_folia(8.0, changed), labels))
    assert (pair.status, pair.mirrored) == (ACCEPTED, False)
    assert abs(np.degrees(pair.angle_rad)) < 1
    assert worst_px(pair.rigid, HERE) < 4


@pytest.mark.parametrize("degrees", [-170, -135, -80, 100, 160, 180])
@pytest.mark.parametrize("flipped", [False, True])
def test_slides_that_were_laid_in_any_way(degrees: float, flipped: bool) -> None:
    image, labels = brain_slice(1)
    true = about_centre(degrees, 1500, -900)
    fixed = prepared(image, labels, 1)
    moving = prepared(*displaced(image, labels, true, flipped), 2)
    params = PARAMS.model_copy(update={"max_rotation_deg": 180.0})
    pair = align_pair(fixed, moving, features_of(fixed, 0.0, PARAMS), 1, params)
    assert (pair.status, pair.mirrored) == (ACCEPTED, flipped)
    assert worst_px(pair.rigid, true) < 0.3


def pleated(
    image: NDArray[np.float32], labels: NDArray[np.uint8], from_column: int, shift_px: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The slice with what is right of a column moved to the left by `shift_px`, over the rest."""
    moved_image, moved_labels = np.full_like(image, 230), np.zeros_like(labels)
    moved_image[:, :from_column] = image[:, :from_column]
    moved_labels[:, :from_column] = labels[:, :from_column]
    there, tissue = image[:, from_column:], labels[:, from_column:] > 0
    start = from_column - shift_px
    for target, source in ((moved_image, there), (moved_labels, labels[:, from_column:])):
        part = target[:, start : COLUMNS - shift_px]
        part[tissue] = source[tissue]
    return moved_image, moved_labels


@pytest.mark.parametrize("share", [0.2, 0.35])
def test_a_displaced_part_makes_a_pair_uncertain_and_its_error_large(share: float) -> None:
    image, labels = brain_slice(1)
    column = int(np.quantile(np.nonzero(labels)[1], 1 - share))
    pair = pair_of((image, labels), pleated(image, labels, column, 8))
    assert pair.agreement > PARAMS.min_agreement
    assert pair.status == UNCERTAIN
    assert pair.displaced_share == pytest.approx(share, abs=0.1)
    assert pair.displaced_um == pytest.approx(8 * SPACING_UM, abs=SPACING_UM)
    # the place of the section may as well be that of the part
    assert 2 * pair.sigma_um >= pair.displaced_um
    assert worst_px(pair.rigid, HERE) < 2  # of 8


def test_a_lobe_that_was_also_turned_makes_a_pair_uncertain() -> None:
    image, labels = brain_slice(1)
    column = int(np.quantile(np.nonzero(labels)[1], 0.75))
    # about its own middle, and away from the rest
    turned = about_centre(8, -2300, -3000)
    lobe_image, lobe_labels = image.copy(), labels.copy()
    lobe_labels[:, :column], lobe_image[:, :column] = 0, 230
    there_image, there = displaced(lobe_image, lobe_labels, turned, False)
    moved_image, moved_labels = image.copy(), labels.copy()
    moved_image[:, column:], moved_labels[:, column:] = 230, 0
    moved_image[there > 0], moved_labels[there > 0] = there_image[there > 0], there[there > 0]
    pair = pair_of((image, labels), (moved_image, moved_labels))
    assert pair.agreement > PARAMS.min_agreement
    assert (pair.status, pair.displaced_share > 0.1) == (UNCERTAIN, True)
    assert worst_px(pair.rigid, HERE) < 2


def test_a_part_that_is_missing_is_not_displaced() -> None:
    image, labels = brain_slice(1)
    column = int(np.quantile(np.nonzero(labels)[1], 0.7))
    torn_image, torn_labels = image.copy(), labels.copy()
    torn_image[:, column:], torn_labels[:, column:] = 230, 0
    sections = prepared(image, labels, 1), prepared(torn_image, torn_labels, 2)
    parts = parts_of(*sections, HERE, PARAMS.part_um)
    assert 0.6 < parts.agreement < 0.8
    assert displaced_part(*sections, HERE, parts, PARAMS) == (0, 0)


def test_a_transform_between_two_parts_is_confirmed_by_neither() -> None:
    image, labels = brain_slice(1)
    column = int(np.quantile(np.nonzero(labels)[1], 0.5))
    fixed, moving = prepared(image, labels, 1), prepared(*pleated(image, labels, column, 6), 2)
    between = Rigid(0.0, 3 * SPACING_UM, 0.0, "moving", "fixed")
    parts = parts_of(fixed, moving, between, PARAMS.part_um)
    assert (np.hypot(*parts.offsets_um.T) <= PARAMS.part_um).mean() > 0.8
    assert parts.agreement < PARAMS.min_agreement
    share, far_um = displaced_part(fixed, moving, between, parts, PARAMS)
    assert share == pytest.approx(0.5, abs=0.15)
    assert far_um >= 3 * SPACING_UM


def test_layers_that_move_between_sections_do_not_pull_the_texture() -> None:
    """The anatomy of the second section has moved by 3 pixels; its vessels and grain have not."""
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(ROWS, COLUMNS))
    grain = sum(ndimage.gaussian_filter(noise, s) * s for s in (1.5, 3))
    sections = []
    for number, moved in ((1, 0), (2, 3)):
        _, labels = brain_slice(1)
        labels = np.roll(labels, moved, axis=0)
        depth = ndimage.distance_transform_edt(labels > 0)
        stripe = 40 * np.exp(-(((depth - 8) / 2) ** 2)) * (labels == 1)
        stain = np.choose(labels, [0, 110, 70]) + stripe + 5 * grain / grain.std() * (labels > 0)
        sections.append(prepared((230 - stain).astype(np.float32), labels, number))
    rigid = image_registration.refine_texture(*sections, HERE)
    assert worst_px(rigid, HERE) < 0.3


def test_the_error_is_large_where_the_agreeing_parts_lie_in_one_corner() -> None:
    columns, rows = np.meshgrid(np.arange(6.0), np.arange(4.0))
    centres_um = 20_000 * np.stack([columns.ravel(), rows.ravel()], axis=1)
    everywhere, corner = np.zeros((2, 24, 2))
    # the tiles beyond the first columns show no texture
    corner[centres_um[:, 0] > 20_000] = np.nan
    sigma_um, of_corner_um = (
        Parts(centres_um, offsets_um, np.ones(24), np.ones(24), 768.0, 256.0, 80).sigma_um
        for offsets_um in (everywhere, corner)
    )
    # the mean of a third of the tiles is 1.7 times less exact, and the rest is extrapolated
    assert of_corner_um > 2.5 * sigma_um > 0
