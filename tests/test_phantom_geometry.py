"""The head's geometry compared with formulas on balls: sulci, cuts, symmetry, deep structures."""

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ball_phantom import MIDDLE_MM, PIAL_MM, WHITE_MM, ball

from cytopipe.files import InputError
from cytopipe.formats import surfaces
from cytopipe.formats.volumes import Volume, regular_affine
from cytopipe.numerics.geometry import Rigid
from cytopipe.numerics.laplace import laplace_depth
from cytopipe.phantom import downloads
from cytopipe.phantom.anatomy import Hemisphere, tissue_volume
from cytopipe.phantom.bending import draw_bend
from cytopipe.phantom.brain import TURNS, Template, dissect, make_brain
from cytopipe.phantom.deep import NUMBERS, STEP_MM, Deep, excluded, label_whole
from cytopipe.phantom.deep_shares import add_structures
from cytopipe.phantom.handling import canvas_size
from cytopipe.phantom.shaping import (
    centred,
    close_sulci,
    opposite_bank_mm,
    symmetric,
    with_gaps,
)
from cytopipe.phantom.study import _write_anatomy as write_anatomy
from cytopipe.phantom.study import scan_sections
from cytopipe.study.config import Geometry, Phantom


def two_in_one(gap_mm: float) -> Hemisphere:
    """One mesh of two balls side by side, as if they were the banks of a sulcus."""
    parts = []
    for radius in (PIAL_MM, WHITE_MM):
        a = ball(radius, (0, 0, 0), rings=60)
        b = ball(radius, (0, 2 * PIAL_MM + gap_mm, 0), rings=60)
        parts.append(np.concatenate([a.vertices, b.vertices]))
        faces = np.concatenate([a.faces, b.faces + len(a.vertices)])
    return Hemisphere("L", parts[0], parts[1], faces)


def test_the_opposite_bank_is_as_far_as_the_gap() -> None:
    hemisphere = two_in_one(0.8)
    distance = opposite_bank_mm(hemisphere, 1.5)
    assert distance.min() == pytest.approx(0.8, abs=0.03)
    # away from the gap, the balls curve apart
    there = hemisphere.pial[np.isfinite(distance)]
    middle = PIAL_MM + 0.4
    assert (np.abs(there[:, 1] - middle) < 1.2).all()
    assert np.isinf(opposite_bank_mm(two_in_one(2.0), 1.5)).all()


def test_narrow_sulci_close_and_wide_ones_stay() -> None:
    narrow = two_in_one(0.5)
    closed = close_sulci(narrow, 1.5, 0.05)
    distance = opposite_bank_mm(closed, 1.5)
    assert 0.03 < distance.min() < 0.2
    thickness = [np.linalg.norm(h.pial - h.white, axis=1) for h in (narrow, closed)]
    np.testing.assert_allclose(*thickness, atol=1e-9)
    wide = two_in_one(1.6)
    np.testing.assert_array_equal(close_sulci(wide, 1.5, 0.05).pial, wide.pial)


def test_the_depth_is_zero_where_banks_touch() -> None:
    """Balls pressed together share a disc; without a gap, the depth in its middle is above 0."""
    hemisphere = close_sulci(two_in_one(0.4), 2.5, 0.0)
    tissue = tissue_volume([hemisphere], 0.5)
    i, j, k = np.rint(tissue.to_indices(np.array([0, PIAL_MM + 0.2, 0]))).astype(int)
    across = (i, slice(j - 1, j + 2), k)
    assert (tissue.data[across] == 1).all()
    assert laplace_depth(tissue.data)[across].min() > 0.02
    assert laplace_depth(with_gaps(tissue, [hemisphere]))[across].min() == 0


def test_two_tilted_balls_are_set_upright() -> None:
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0] * 0.08
    skew = turn - turn.T
    rotation = np.linalg.solve(np.eye(3) - skew / 2, np.eye(3) + skew / 2)
    hemispheres = []
    for side, x in (("L", -20.0), ("R", 20.0)):
        # not a ball, so that the fit has something to hold on
        shape = ball(12, (0, 0, 0)).vertices * [1.0, 2.5, 1.6] + [x, 0, 0]
        points = shape @ rotation.T + [4.0, 5, 6]
        hemispheres.append(Hemisphere(side, points, points, ball(12, (0, 0, 0)).faces))
    left, right = centred(hemispheres)
    np.testing.assert_allclose(left.mid.mean(0)[1:], right.mid.mean(0)[1:], atol=0.1)
    assert left.mid[:, 0].mean() == pytest.approx(-right.mid[:, 0].mean(), abs=0.1)


def test_a_symmetric_brain_is_its_own_mirror_image() -> None:
    a = ball(18, (-17.0, 0, 0))
    left, right = symmetric(Hemisphere("L", a.vertices, a.vertices, a.faces))
    np.testing.assert_array_equal(left.pial * [-1, 1, 1], right.pial)
    assert left.pial[:, 0].max() < 0
    outward = surfaces.Surface(right.pial, right.faces)
    corners = outward.vertices[outward.faces]
    volume = np.einsum("ni,ni->n", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert volume > 0


@pytest.mark.parametrize("cut", TURNS)
def test_a_turned_bend_and_its_inverse_agree(cut: str) -> None:
    bend = draw_bend(np.random.default_rng(1), 4.0, [50, 110], 0.04)
    bend = replace(bend, turn=TURNS[cut]).moved_by(np.array([80.0, 90, -70]))
    points = np.random.default_rng(2).uniform(-70, 70, (50, 3))
    np.testing.assert_allclose(bend.to_template(bend.to_stack(points)), points, atol=1e-6)
    assert np.linalg.det(TURNS[cut]) == pytest.approx(1)


def changed(params: Phantom, **geometry: object) -> Phantom:
    return params.model_copy(update={"geometry": Geometry(**geometry)})


def test_sagittal_sections_go_from_right_to_left(template: Template, params: Phantom) -> None:
    brain = make_brain("B01", template, changed(params, cut="sagittal"))
    middle = {h.side: float(h.mid[:, 1].mean()) for h in brain.hemispheres}
    assert middle["L"] - middle["R"] == pytest.approx(2 * MIDDLE_MM, abs=4)


def test_a_brain_of_one_hemisphere_ends_at_the_midline(template: Template, params: Phantom) -> None:
    brain = make_brain("B01", template, changed(params, hemispheres="L"))
    assert [h.side for h in brain.hemispheres] == ["L"]
    tissue = np.argwhere(brain.tissue.data > 0)
    at = brain.bend.to_template(brain.tissue.to_mm(tissue))
    assert at[:, 0].max() < 1
    assert at[:, 0].min() < -MIDDLE_MM


def test_a_missing_block_is_missing_everywhere(
    template: Template, params: Phantom, tmp_path: Path
) -> None:
    brain = make_brain("B01", template, changed(params, missing_block=(0.0, 0.0, 1.0, 5.0)))
    section = next(s for s in scan_sections(brain)[4:] if s.condition == "good")
    window = section.whole(256)
    anatomy = dissect(brain, template, window, section)
    rows, columns = np.nonzero(anatomy.tissue > 0.5)
    from cytopipe.numerics.geometry import stack_to_ras

    points = stack_to_ras(window.to_stack(np.stack([columns, rows], axis=1)), "R")
    height = brain.bend.to_template(points)[:, 2]
    assert 4 < height.max() < 5.3
    assert brain.tissue.data.any(axis=(0, 1)).sum() > brain.cut_tissue().data.any(axis=(0, 1)).sum()
    write_anatomy(brain, tmp_path)
    pial, white = (surfaces.read(tmp_path / f"hemi-L_{k}.surf.gii") for k in ("pial", "white"))
    lost = brain.bend.to_template(pial.vertices)[:, 2] > 5.1
    apart = np.linalg.norm(pial.vertices - white.vertices, axis=1)
    assert lost.any() and (apart[lost] == 0).all()
    assert (apart[~lost] > PIAL_MM - WHITE_MM - 3).any()


def nucleus() -> Deep:
    """A gray ball of 4 mm around the origin beside a cavity of 3 mm at R = 8."""
    labels = Volume(np.zeros((61, 41, 41), np.uint8), regular_affine(0.5, np.array([-10.0] * 3)))
    at = labels.to_mm(np.moveaxis(np.indices(labels.data.shape), 0, -1))
    fields = np.full((3, *labels.data.shape), -127, np.int8)
    for kind, middle, radius, name in ((0, 0, 4, "putamen"), (2, 8, 3, "ventricles")):
        distance = radius - np.linalg.norm(at - [middle, 0, 0], axis=-1)
        fields[kind] = np.clip(distance / STEP_MM, -127, 127)
        labels.data[distance > -1] = NUMBERS[name]
    return Deep(fields, labels)


def test_structures_show_in_white_matter_and_outside_but_not_in_cortex() -> None:
    """The plane A, S = 0: white matter behind R = 2, cortex from 2 to 3, nothing beyond."""
    rows, columns, pixel_mm = 5, 200, 0.1
    x = -9 + pixel_mm * np.arange(columns)
    tissue = np.tile((x < 3).astype(np.float32), (rows, 1))
    white = np.tile((x < 2).astype(np.float32), (rows, 1))
    pitch = 10
    nodes = np.zeros((2, columns // pitch + 1, 3))
    nodes[..., 0] = -9 + pixel_mm * pitch * np.arange(columns // pitch + 1)
    number = add_structures(nucleus(), tissue, white, nodes, pitch, pixel_mm)
    within = np.abs(x) < 3.9
    assert (white[2, within] == 0).all()
    assert (tissue[2, within] > 0.99).all()
    assert (number[2, within & (np.abs(x - 2.5) > 0.5)] == NUMBERS["putamen"]).all()
    assert (number[2, (x > 2.05) & (x < 2.95)] == 0).all()
    # the cavity makes no tissue outside, and the share of a border is its part of the pixel
    assert (tissue[2, x > 4.1] == 0).all()
    assert white[2].sum() * pixel_mm == pytest.approx(9 - 4, abs=0.1)


def test_a_cavity_in_white_matter_is_background() -> None:
    tissue = Volume(np.full((41, 9, 9), 2, np.uint8), regular_affine(0.5, np.array([-5.0, -2, -2])))
    labels, numbers = label_whole(tissue, lambda points: points, nucleus())
    along, number = labels[:, 4, 4], numbers[:, 4, 4]
    x = -5 + 0.5 * np.arange(41)
    assert (along[np.abs(x) < 3.7] == 1).all()
    assert (along[np.abs(x - 8) < 2.7] == 0).all()
    assert (along[x > 11.3] == 2).all()
    assert set(number[x > 11.3]) == {0} and number[26] == NUMBERS["ventricles"]


def test_gray_nuclei_in_white_matter_leave_no_hole() -> None:
    deep = nucleus()
    x = deep.labels.affine[0, 3] + 0.5 * np.arange(deep.labels.data.shape[0])
    gray = np.clip(-x / STEP_MM, -127, 127).astype(np.int8)[:, None, None]
    inside = deep.fields[0]
    fields = np.stack([np.minimum(inside, gray), np.minimum(inside, -gray), deep.fields[2]])
    tissue = Volume(np.zeros((17, 1, 1), np.uint8), regular_affine(0.5, np.array([-4.0, 0, 0])))
    labels, numbers = label_whole(tissue, lambda points: points, Deep(fields, deep.labels))
    assert labels[1:-1, 0, 0].tolist() == [1] * 8 + [2] * 7
    assert (numbers[1:-1] == NUMBERS["putamen"]).all()


def test_a_fissure_belongs_to_the_mask_and_the_cortex_beside_it_does_not() -> None:
    labels = np.ones((12, 12, 30), np.uint8)
    numbers = np.zeros_like(labels)
    numbers[:, :, 5:20] = NUMBERS["cerebellum"]
    labels[:, :, 12] = numbers[:, :, 12] = 0
    numbers[:, :, 22:24] = NUMBERS["ventricles"]
    mask = excluded(Volume(labels, regular_affine(0.6, np.zeros(3))), numbers).data[6, 6]
    assert mask.tolist() == [0] * 5 + [1] * 15 + [0] * 10


def test_half_of_the_structures_belongs_to_one_hemisphere() -> None:
    left = nucleus().on("L")
    labels, _ = label_whole(
        Volume(np.zeros((41, 9, 9), np.uint8), regular_affine(0.5, np.array([-5.0, -2, -2]))),
        lambda points: points,
        left,
    )
    x = -5 + 0.5 * np.arange(41)
    assert (labels[(x < -0.3) & (x > -3.7), 4, 4] == 1).all()
    assert (labels[x > 0.3] == 0).all()


def test_the_scan_holds_a_section_at_every_rotation(params: Phantom) -> None:
    outline = np.array([[-80e3, -10e3], [80e3, 10e3], [-70e3, 30e3], [60e3, -40e3]])
    all_round = params.model_copy(update={"rotation_deg": 180.0})
    width, height = canvas_size(outline, all_round)
    for angle in np.linspace(-np.pi, np.pi, 50):
        turned = Rigid(float(angle), 0, 0, "a", "b")(
            outline - (outline.min(0) + outline.max(0)) / 2
        )
        assert (2 * np.abs(turned).max(0) < [width, height]).all()


def index_with(folder: Path, content: bytes) -> tuple[str, downloads.Distribution]:
    """A package index of one distribution."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        info = tarfile.TarInfo("thing-1.0/inner/data.txt")
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
    (folder / "thing").mkdir()
    (folder / "thing-1.0.tar.gz").write_bytes(archive.getvalue())
    (folder / "thing" / "index.html").write_text('<a href="../thing-1.0.tar.gz#sha256=0">x</a>')
    digest = hashlib.sha256(archive.getvalue()).hexdigest()
    return folder.as_uri(), downloads.Distribution(
        "thing", "thing-1.0.tar.gz", digest, ("inner/data.txt",)
    )


def test_a_distribution_is_fetched_once_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, thing = index_with(tmp_path, b"content")
    monkeypatch.setattr(downloads, "_page_of", lambda package: f"{uri}/{package}/index.html")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(InputError, match=r"sha256 is .*, not 00; .*by hand"):
        downloads.folder_of(replace(thing, sha256="00"))
    assert (downloads.folder_of(thing) / "data.txt").read_bytes() == b"content"
    (tmp_path / "thing" / "index.html").unlink()
    assert (downloads.folder_of(thing) / "data.txt").exists()
    with pytest.raises(InputError, match=r"cannot be fetched .*thing-2\.0\.tar\.gz into"):
        downloads.folder_of(replace(thing, filename="thing-2.0.tar.gz"))


def test_geometry_that_is_off_is_not_recorded(params: Phantom) -> None:
    assert "geometry" not in params.content()
    recorded = changed(params, scale=0.8).content()["geometry"]
    assert recorded == {"scale": 0.8}
    with pytest.raises(ValueError, match="neither empty nor a direction"):
        Geometry(missing_block=(1.0, 2.0))
