"""Brains that are flipped, turned, halved or scaled, and what the coarse fit says about them."""

import numpy as np
import pytest
import test_coordinates
from test_coordinates import PARAMS, coordinates_of, midline_rows, volume

from cytopipe import coordinates
from cytopipe.coordinates import left_right
from cytopipe.coordinates.coarse_fit import FLIPS, OTHER_AXES, Fit
from cytopipe.coordinates.direction import alone, likeliest_part, overlap
from cytopipe.coordinates.gaps import beside_gap
from cytopipe.coordinates.orientation import (
    MIRRORED,
    TURNED,
    find_orientation,
    orientation_rows,
    parts_of,
    remedy_of,
)
from cytopipe.coordinates.template_registration import Registration, register
from cytopipe.formats import tables, volumes
from cytopipe.formats.transforms import affine_transform
from cytopipe.formats.volumes import Volume

LOW, HIGH = [-36, -48, -32], [36, 52, 32]
# fixtures of the study of another brain
study, cortex = test_coordinates.study, test_coordinates.cortex


def level(at: np.ndarray) -> np.ndarray:
    """Below 1 inside a body like a cerebrum: broad behind, flat below, with temporal lobes."""
    r, a, s = at[..., 0], at[..., 1], at[..., 2]
    width = 27 - 0.18 * a
    upper = np.sqrt((r / width) ** 2 + (a / 38) ** 2 + (s / 24) ** 2) + 0.5 * (s < -4)
    temporal = [
        np.linalg.norm((at - (side * 17, 6, -11)) / (8, 17, 9), axis=-1) for side in (1, -1)
    ]
    fissure = 0.9 * np.exp(-((r / 2.5) ** 2)) * (s > 4)
    return np.minimum(upper + fissure, np.min(temporal, axis=0))


def labels_of(at: np.ndarray) -> np.ndarray:
    value = level(at)
    return np.where(value < 0.75, 2, np.where(value < 1, 1, 0)).astype(np.uint8)


def leaning(at: np.ndarray) -> np.ndarray:
    """The template's place of a point of a brain that is shrunk, asymmetric, turned and moved."""
    turn = np.radians(12.0)
    roll = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    points = at @ roll * (1.1, 1.15, 1.05) + (2, -1, 1)
    points[..., 1] += np.where(points[..., 0] > 0, 2.0, -2.0)  # the right side lies further back
    return points


@pytest.fixture(scope="module")
def template():
    return volume(labels_of, LOW, HIGH)


@pytest.fixture(scope="module")
def brain():
    return volume(lambda at: labels_of(leaning(at)), LOW, HIGH)


def lying(brain: Volume, directions: str) -> Volume:
    """The brain stored so that its R, A and S axes point to other directions of it, e.g. "RPS"."""
    order = ["RAS".index(d) if d in "RAS" else "LPI".index(d) for d in directions]
    data = brain.data.transpose(order)
    data = np.flip(data, [axis for axis, d in enumerate(directions) if d in "LPI"])
    return Volume(np.ascontiguousarray(data), brain.affine)


def half_of(brain: Volume, side: str) -> Volume:
    """One half of a brain that is cut in the middle of its tissue."""
    middle = int(np.median(np.argwhere(brain.data > 0)[:, 0]))
    data = brain.data.copy()
    if side == "left":
        data[middle:] = 0
    else:
        data[:middle] = 0
    return Volume(data, brain.affine)


def rows_of(brain: Volume, parts: dict[str, Volume]) -> dict[str, tables.CheckRow]:
    lies = find_orientation(brain, parts, PARAMS)
    return {row.check: row for row in orientation_rows("B01", lies, 0.02)}


@pytest.mark.parametrize(
    ("directions", "word"),
    [
        ("RPS", "numbered from front to back"),
        ("RAI", "upside down"),
        ("LAI", "upside down"),
        ("SAL", "on their side"),
        ("ASR", "horizontal sections"),
        ("ARS", "sagittal sections"),
    ],
)
def test_a_brain_that_lies_differently_is_named(brain, template, directions, word):
    row = rows_of(lying(brain, directions), {"whole": template})[TURNED]
    assert row.status == "failed" and row.value < -0.02
    assert word in row.remedy


def test_a_brain_that_lies_as_stated_passes(brain, template):
    assert rows_of(brain, {"whole": template})[TURNED].status == "ok"


def test_a_symmetric_brain_does_not_show_its_left_side(template):
    rows = rows_of(template, {"whole": template})
    assert rows[MIRRORED].status == "" and abs(rows[MIRRORED].value) < 0.01
    assert rows[TURNED].status == "ok"


@pytest.mark.parametrize("side", ["left", "right"])
def test_half_a_brain_is_compared_with_half_of_the_template(brain, template, side):
    half = half_of(brain, side)
    parts = parts_of(template, None, "")
    lies = find_orientation(half, parts, PARAMS)
    assert lies.part == f"{side} half"
    first, *_ = orientation_rows("B01", lies, 0.02)
    assert first.has_failed and "hemispheres of config/brains.tsv" in first.remedy
    assert list(parts_of(template, None, "both")) == ["whole"]
    moved = affine_transform(lies.start, "B01", "t")
    assert likeliest_part(moved, half, parts) is parts[f"{side} half"]
    # declared, and nothing is wrong; declared as the other side, and it is mirrored
    other = {"left": "right", "right": "left"}[side]
    assert not any(r.needs_a_look for r in rows_of(half, parts_of(template, None, side)).values())
    assert rows_of(half, parts_of(template, None, other))[MIRRORED].has_failed


def test_a_brain_without_cerebellum_is_compared_with_the_template_without_it(
    brain, template, tmp_path
):
    lower = [-36, -48, -42]

    def below(at):
        return ((at[..., 0] / 18) ** 2 + ((at[..., 1] + 26) / 14) ** 2) + (
            (at[..., 2] + 28) / 11
        ) ** 2 < 1

    whole = volume(
        lambda at: np.where((labels_of(at) == 0) & below(at), 1, labels_of(at)).astype(np.uint8),
        lower,
        HIGH,
    )
    mask = volume(lambda at: below(at) & (labels_of(at) == 0), lower, HIGH)
    volumes.write(Volume(mask.data.astype(np.uint8), mask.affine), tmp_path / "mask.nii.gz")
    parts = parts_of(whole, tmp_path / "mask.nii.gz", "")
    assert find_orientation(brain, parts, PARAMS).part == "cortex"
    assert find_orientation(whole, parts, PARAMS).part == "whole"
    assert (parts["cortex"].data == volume(labels_of, lower, HIGH).data).all()
    # without the mask, what the brain lacks is seen after the registration
    unmoved = affine_transform(np.eye(4), "B01", "t")
    assert alone(unmoved, whole, template)[0] > 0.02
    assert alone(unmoved, template, whole)[0] == 0


def test_a_brain_without_a_lobe_does_not_move(brain, template):
    """What the brain lacks is left out of the template."""
    whole = find_orientation(brain, {"whole": template}, PARAMS)
    assert whole.template is template
    data = brain.data.copy()
    behind = brain.to_mm(np.moveaxis(np.indices(data.shape), 0, -1))[..., 1] < -17
    data[behind] = 0
    rest = find_orientation(Volume(data, brain.affine), {"whole": template}, PARAMS)
    points = brain.to_mm(np.argwhere(data > 0)[::50])

    def moved(matrix):
        return points @ matrix[:3, :3].T + matrix[:3, 3]

    def error(matrix):
        return np.median(np.linalg.norm(moved(matrix) - moved(whole.start), axis=1))

    assert error(rest.expected.matrix) > 3 * error(rest.start)
    assert error(rest.start) < 1.0
    back = affine_transform(np.linalg.inv(rest.start), "t", "B01")
    share, gap_mm = alone(back, template, Volume(data, brain.affine))
    assert 0.08 < share < 0.25  # a seventh of the brain is missing
    assert np.median(gap_mm[:, 1]) < points[:, 1].min()


def test_points_beside_a_gap():
    gap_mm = np.array([[0.0, -30, 0], [5, -28, 0]])
    points = np.array([[0.0, -21, 0], [5, -24, 0], [np.nan] * 3])
    assert beside_gap(points, gap_mm, 5.0).tolist() == [False, True, False]
    assert not beside_gap(points, gap_mm[:0], 5.0).any()


@pytest.mark.parametrize("scale", [0.1, 0.5])
def test_the_fit_does_not_depend_on_the_size_of_the_brain(brain, template, scale):
    small = Volume(brain.data, np.diag([scale] * 3 + [1.0]) @ brain.affine)
    own, scaled = (
        find_orientation(b, {"whole": template}, PARAMS).expected for b in (brain, small)
    )
    assert scaled.similarity == pytest.approx(own.similarity, abs=1e-3)
    ratio = np.linalg.det(scaled.matrix[:3, :3]) / np.linalg.det(own.matrix[:3, :3])
    assert ratio == pytest.approx(scale**-3, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.1, 0.8])
def test_a_scaled_copy_of_the_template_is_registered(template, scale):
    small = Volume(template.data, np.diag([scale] * 3 + [1.0]) @ template.affine)
    start = find_orientation(small, {"whole": template}, PARAMS).start
    used = register(small, template, start, "B01", "phantom", PARAMS)
    assert overlap(used.full, small, template).mean > 0.95
    points = template.to_mm(np.argwhere(template.data == 1)[::50])
    assert np.linalg.norm(used.full(points * scale) - points, axis=1).max() < 1.5


def as_it_starts(tissue, part, start, source, target, params):
    """A registration that leaves the brain where the coarse fit has put it."""
    affine = affine_transform(start, source, target)
    return Registration(affine, affine)


@pytest.mark.parametrize(
    ("directions", "of_template", "status", "word"),
    [
        ("RAS", "brain", "ok", ""),
        ("LAS", "brain", "failed", "left and right are exchanged"),
        ("RAS", "template", "cannot tell", "a mark on the slides"),
    ],
)
def test_left_and_right_are_compared_with_an_asymmetric_template(
    brain, template, monkeypatch, directions, of_template, status, word
):
    monkeypatch.setattr(left_right, "register", as_it_starts)
    target = {"brain": brain, "template": template}[of_template]
    tissue = lying(brain if of_template == "brain" else template, directions)
    lies = find_orientation(tissue, {"whole": target}, PARAMS)
    used = affine_transform(lies.start, "B01", "t")
    row = left_right.left_right_row("B01", tissue, lies, used, PARAMS)
    assert row.status == status and word in row.remedy
    assert row.needs_a_look == bool(word)


def test_no_point_of_a_brain_that_lies_differently_is_usable(
    study, tmp_path, brain, template, monkeypatch
):
    """Whatever the registration makes of it."""
    monkeypatch.setattr(coordinates, "register", as_it_starts)
    monkeypatch.setattr(left_right, "register", as_it_starts)
    volumes.write(lying(brain, "RPS"), tmp_path / "flipped.nii.gz")
    volumes.write(template, study["template"])
    coordinates.run(**study | {"tissue": tmp_path / "flipped.nii.gz"})
    points, _ = coordinates_of(study)
    assert set(points["status"]) == {"unregistered"}
    checks = {row.check: row for row in tables.read_rows(tables.CheckRow, study["checks"])}
    assert checks[TURNED].has_failed and "reverse the numbers" in checks[TURNED].remedy


def test_every_orientation_has_a_remedy():
    every = set()
    for axes in FLIPS[1:] + OTHER_AXES:
        directions = Fit(axes, np.eye(4), 0.0).directions
        every.add(directions)
        assert len(remedy_of(directions)) > 40
    assert len(every) == 47


def test_the_midline_of_half_a_template_is_that_of_the_whole(
    study, tmp_path, brain, template, monkeypatch
):
    def as_it_starts(tissue, part, start, source, target, params):
        affine = affine_transform(start, source, target)
        return Registration(affine, affine)

    monkeypatch.setattr(coordinates, "register", as_it_starts)
    left = half_of(brain, "left")
    volumes.write(left, tmp_path / "left.nii.gz")
    volumes.write(template, study["template"])
    points = left.to_mm(np.argwhere(left.data == 1)[::20])
    tables.write(
        tables.MidlineRow, midline_rows(points, np.full(len(points), "L")), study["midlines"][0]
    )
    files = {"tissue": tmp_path / "left.nii.gz", "midlines": study["midlines"][:1]}
    coordinates.run(**study | files, declared_hemispheres="left")
    checks = {row.check: row for row in tables.read_rows(tables.CheckRow, study["checks"])}
    assert checks["on its own side of the midline"].value > 0.95
