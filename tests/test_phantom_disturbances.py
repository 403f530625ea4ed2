"""The phantom's stain, damage, slides and handling, each compared with what it is said to do."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ball_phantom import preset

from cytopipe.formats import tables
from cytopipe.phantom import run
from cytopipe.phantom.brain import Brain, Template, dissect, dissect_layers, fill, make_brain
from cytopipe.phantom.damage import Piece, SectionDamage
from cytopipe.phantom.handling import ScannedSection
from cytopipe.phantom.rendering import render
from cytopipe.phantom.study import _section_coordinates, scan_sections
from cytopipe.study.config import Phantom
from cytopipe.study.sections import read_sections

PLAIN: dict[str, Any] = {"stain_variation": 0.0, "texture": 0.0, "mirrored": 0, "dirty": 0}
PLAIN |= {"torn": 0, "blank": 0, "missing": 0}


def disturbed(brain: Brain, **changes: Any) -> Brain:
    params = Phantom(**{**brain.params.content(), "workers": 1, **PLAIN, **changes})
    return fill(brain.name, brain.bend, brain.hemispheres, brain.tissue, brain.depth, params)


def middle_of(brain: Brain) -> ScannedSection:
    sections = scan_sections(brain)
    return sections[len(sections) // 2]


def shown(
    brain: Brain, template: Template, section: ScannedSection
) -> tuple[np.ndarray, np.ndarray]:
    image = render(brain, template, section, 0, 0, section.rows, section.columns)
    return image, dissect(brain, template, section.whole(section.spacing_um), section).labels


def test_what_is_off_is_not_part_of_the_record() -> None:
    content = preset().content()
    assert not {"staining", "damage", "slide", "handling"} & set(content)
    assert preset(damage={"holes": 1.0}).content()["damage"] == {"holes": 1.0}


@pytest.mark.parametrize("contrast", [0.25, 0.5])
def test_white_matter_has_the_contrast_that_is_asked(
    brain: Brain, template: Template, contrast: float
) -> None:
    plain = disturbed(brain, staining={"white_contrast": contrast}, area_contrast=0.0)
    image, labels = shown(plain, template, middle_of(plain))
    slide, gray, white = (image[labels == value].mean() for value in range(3))
    # pixels at the rim of the brain are half slide
    assert (white - gray) / (slide - gray) == pytest.approx(contrast, abs=0.06)


def test_layer_one_is_paler_and_the_arachnoid_lies_outside(
    brain: Brain, template: Template
) -> None:
    before = disturbed(brain)
    section = middle_of(before)
    after = disturbed(brain, staining={"pale_layer": 0.6, "arachnoid": 0.2})
    difference = (
        shown(after, template, section)[0].astype(float) - shown(before, template, section)[0]
    )
    anatomy = dissect(before, template, section.whole(section.spacing_um), section)
    inner = (anatomy.layer > 1) & (anatomy.tissue == 1)
    assert np.abs(difference[inner]).max() <= 1
    assert difference[(anatomy.layer == 1) & (anatomy.tissue == 1)].mean() > 20
    outside = difference[anatomy.tissue == 0]
    assert 0.005 < (outside < -8).mean() < 0.2


@pytest.mark.parametrize(("kind", "least_mm2"), [("cracks", 0.3), ("holes", 1.0), ("blocks", 5.0)])
def test_lost_tissue_is_lost_in_image_and_truth(
    brain: Brain, template: Template, kind: str, least_mm2: float
) -> None:
    damaged = disturbed(brain, damage={kind: 6.0})
    section = middle_of(damaged)
    assert section.condition == "damaged"
    image, labels = shown(damaged, template, section)
    _, whole = shown(damaged, template, replace(section, damage=SectionDamage()))
    lost = (whole > 0) & (labels == 0)
    assert not ((whole == 0) & (labels > 0)).any()
    assert lost.sum() * (section.spacing_um / 1000) ** 2 > least_mm2
    # cracks are thinner than a pixel: some of the lost pixels are half tissue
    assert image[lost].mean() > image[labels > 0].mean() + 20


def test_a_moved_piece_keeps_its_anatomy_and_its_coordinates(
    brain: Brain, template: Template
) -> None:
    plain = disturbed(brain)
    section = middle_of(plain)
    grid = section.whole(section.spacing_um)
    still = dissect(plain, template, grid, section)
    middle = grid.to_stack(np.argwhere(still.labels > 0)[:, ::-1].mean(0))[:2]
    turn = np.deg2rad(8)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    away = np.array([4000.0, 0.0]) + middle - rotation @ middle
    piece = Piece(0.0, float(middle[0]), 1e9, False, rotation, away)
    moved = replace(section, damage=SectionDamage(pieces=(piece,)))
    labels = dissect(plain, template, grid, moved).labels
    assert (labels > 0).sum() == pytest.approx((still.labels > 0).sum(), rel=0.02)
    # a pixel of the piece has the coordinate of the place where it grew
    at = _section_coordinates(plain, moved, grid)
    row, column = (int(v) for v in np.argwhere(labels > 0)[-1])
    places = np.argwhere((labels > 0) & (np.arange(grid.columns) > grid.columns * 0.7))
    row, column = (int(value) for value in places[len(places) // 2])
    lies = grid.to_stack(np.array([column, row], float))[:2]
    grew = np.linalg.inv(rotation) @ (lies - away)
    assert grew[0] > middle[0]
    pixel = grid.to_pixels(np.append(grew, grid.z_um))
    expected = _section_coordinates(plain, section, grid)
    nearest = expected[round(pixel[1]), round(pixel[0])]
    np.testing.assert_allclose(at[row, column], nearest, atol=0.75 * section.spacing_um / 1000)


def test_a_fold_shows_two_layers_and_a_pleat_draws_the_rest_near(
    brain: Brain, template: Template
) -> None:
    for kind in ("flaps", "pleats"):
        damaged = disturbed(brain, damage={kind: 1.0})
        section = middle_of(damaged)
        grid = section.whole(section.spacing_um)
        layers = [a.labels > 0 for _, a in dissect_layers(damaged, template, grid, section)]
        assert len(layers) == (2 if kind == "flaps" else 3)
        twice = sum(layer.astype(int) for layer in layers) > 1
        image, labels = shown(damaged, template, section)
        assert twice.any()
        assert image[twice].mean() < image[(labels == 1) & ~twice].mean() - 20
        area = dissect(damaged, template, grid, replace(section, damage=SectionDamage())).labels > 0
        assert sum(layer.sum() for layer in layers) == pytest.approx(area.sum(), rel=0.02)


def test_padding_frame_and_bits_are_those_of_the_scanner(brain: Brain, template: Template) -> None:
    slide = {"padding_mm": 4.0, "frame_mm": 2.0}
    eight, sixteen = (
        disturbed(brain, slide={**slide, "bits": bits}, background=225) for bits in (8, 16)
    )
    section = middle_of(eight)
    image = shown(eight, template, section)[0]
    deep = shown(sixteen, template, middle_of(sixteen))[0]
    assert image.dtype == np.uint8
    assert deep.dtype == np.uint16
    np.testing.assert_allclose(deep / 257, image, atol=0.51)
    left, top, right, bottom = (section.marks.borders_um[0] / section.spacing_um).astype(int)
    assert (image[: top - 1] == 255).all()
    assert (image[:, -right + 1 :] == 255).all()
    frame = image[top + 2 : -bottom - 2, left + 2 : left + 7]
    assert (frame == 3).all()
    dark = disturbed(brain, slide={"vignetting": 0.4})
    image = shown(dark, template, middle_of(dark))[0].astype(float)
    corner, centre = image[:20, :20].mean(), image[:20, image.shape[1] // 2 - 10 :][:, :20].mean()
    assert corner / centre == pytest.approx(0.6 / 0.8, abs=0.05)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_cropped_scan_shows_a_part_of_the_whole_one(
    brain: Brain, template: Template, mirrored: bool
) -> None:
    plain = disturbed(brain)
    section = replace(middle_of(plain), mirrored=mirrored)
    whole = shown(plain, template, section)[1]
    part = shown(plain, template, section.cropped((20, 7, 11, 3)))[1]
    np.testing.assert_array_equal(part, whole[7:-3, 20:-11])
    cut = disturbed(brain, slide={"touching": 1.0, "touching_mm": 3.0})
    labels = shown(cut, template, middle_of(cut))[1]
    assert any(side.any() for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]))


def test_ink_labels_and_scratches_change_the_image_alone(brain: Brain, template: Template) -> None:
    plain = disturbed(brain)
    before, truth = shown(plain, template, middle_of(plain))
    for kind in ("ink", "labels", "scratches"):
        marked = disturbed(brain, slide={kind: 8.0})
        after, labels = shown(marked, template, middle_of(marked))
        np.testing.assert_array_equal(labels, truth)
        changed = before.astype(int) - after > 15
        assert 1e-4 < changed.mean() < 0.3, kind


def test_a_brain_numbered_backwards_shows_the_sections_in_reverse(
    brain: Brain, template: Template
) -> None:
    changes = {**PLAIN, "handling": {"backwards": True}}
    params = Phantom(**{**brain.params.content(), "workers": 1, **changes})
    reverse = make_brain("B01", template, params)
    for own, of_template in zip(reverse.hemispheres, template.hemispheres, strict=True):
        back = reverse.bend.to_template(own.pial)
        np.testing.assert_allclose(back, of_template.pial, atol=1e-6)
    sections = scan_sections(reverse)
    from_behind = [
        _section_coordinates(b, s, s.whole(2048.0))[..., 1].mean()
        for b, s in ((reverse, sections[3]), (reverse, sections[-3]), (brain, sections[3]))
    ]
    assert from_behind[0] > 0 > from_behind[1]
    assert from_behind[2] < 0


def test_slides_are_turned_left_out_and_excluded(params: Phantom, tmp_path: Path) -> None:
    handling = {
        "turned_deg": 180.0,
        "face_down": True,
        "gaps": [3],
        "excluded": 2,
        "excluded_before": 700,
    }
    changed = {**params.content(), "workers": 1, **PLAIN, "handling": handling}
    changed |= {"section_step": 140, "rotation_deg": 5, "annotated_every": 100, "layer_patches": 0}
    run(study=tmp_path, params=Phantom(**changed))
    truth = tables.read(tables.TruthSectionRow, tmp_path / "truth" / "B01" / "sections.parquet")
    assert truth["mirrored"].all()
    turned = np.rad2deg(truth["angle_rad"]) % 360
    assert turned.between(174, 186).all()
    assert truth["condition"].value_counts()[["missing", "excluded"]].to_dict() == {
        "missing": 3,
        "excluded": 2,
    }
    gone = np.flatnonzero(truth["condition"] == "missing")
    assert (np.diff(gone) == 1).all()
    sheet = read_sections(tmp_path / "config" / "sections.tsv", ["B01"])
    assert [s.section for s in sheet if s.excluded] == [420, 560]
    assert len(sheet) == len(truth) - 3


def test_only_the_sections_of_a_slab_are_cut(brain: Brain) -> None:
    whole = scan_sections(disturbed(brain))
    part = scan_sections(disturbed(brain, handling={"slab_mm": [10.0, 20.0]}))
    assert [s.section for s in part] == [s.section for s in whole if 1e4 <= s.z_um <= 2e4]
