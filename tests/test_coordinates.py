import numpy as np
import pandas as pd
import pytest
from table_rows import filled, row

from cytopipe import coordinates
from cytopipe.coordinates.direction import (
    Overlap,
    affine_part,
    check_hemispheres,
    check_landmarks,
    check_overlap,
    overlap,
)
from cytopipe.coordinates.orientation import find_orientation
from cytopipe.coordinates.template_registration import Registration, register
from cytopipe.files import InputError
from cytopipe.formats import tables, transforms, volumes
from cytopipe.formats.transforms import affine_transform
from cytopipe.formats.volumes import Volume, regular_affine
from cytopipe.numerics.geometry import ras_to_stack
from cytopipe.study.config import Coordinates

VOXEL_MM = 2.0
SECTION_SIGMA_UM = 400.0
PARAMS = Coordinates(
    registration_mm=VOXEL_MM,
    seed=1,
    search_voxels=30,
    search_turns_deg=(-15.0, 15.0),
    min_orientation_margin=0.02,
    min_side_gain=0.01,
    min_dice=0.7,
    max_alone=0.05,
    gap_reach=0.05,
    return_mm=0.05,
    given_suffix=".h5",
    given_moves="points",
    anchoring_target=None,
    anchoring_axes="own",
    error_points=200,
    along_cortex=3.0,
    atlas_sigma_mm=1.0,
    atlas_reach_mm=4.0,
)
SHIFT = np.array([40.0, 90.0, -25.0])
TURN = np.radians(12.0)
ROLL = np.array(
    [[np.cos(TURN), 0, np.sin(TURN)], [0, 1, 0], [-np.sin(TURN), 0, np.cos(TURN)]]
)  # about A: the centre section lies askew on its slide


def level(points):
    """Below 1 inside a body like a brain: lobes, gyri, no symmetry."""
    r, a, s = points[..., 0], points[..., 1], points[..., 2]
    radius = np.sqrt((r / 26) ** 2 + (a / 38) ** 2 + (s / 22) ** 2)
    gyri = 0.14 * np.sin(a / 5.0) * np.cos(s / 6.0) + 0.06 * np.sin(r / 4.5 + 0.5)
    nose = 0.18 * np.exp(-((a - 34) ** 2 + (s + 6) ** 2) / 200)
    fissure = 0.9 * np.exp(-((r / 2.5) ** 2)) * (s > 4)
    return radius + gyri - nose + fissure


def labels_of(points):
    value = level(points)
    return np.where(value < 0.78, 2, np.where(value < 1, 1, 0)).astype(np.uint8)


def bend(points):
    """Template to stack: a smooth displacement, a rotation and a shift."""
    wave = np.stack(
        [
            3.0 * np.sin(points[..., 1] / 16),
            3.0 * np.sin(points[..., 2] / 14 + 1),
            3.0 * np.sin(points[..., 0] / 15 + 2),
        ],
        -1,
    )
    return (points + wave) @ ROLL.T + SHIFT


def unbend(stack):
    """Stack to template, by fixed-point iteration."""
    goal = (stack - SHIFT) @ ROLL
    points = goal.copy()
    for _ in range(60):
        points += goal - (bend(points) - SHIFT) @ ROLL
    return points


def volume(function, low, high):
    low, high = np.asarray(low, float), np.asarray(high, float)
    shape = np.ceil((high - low) / VOXEL_MM).astype(int)
    affine = regular_affine(VOXEL_MM, low)
    points = np.moveaxis(np.indices(shape), 0, -1) * VOXEL_MM + low
    return Volume(function(points), affine)


@pytest.fixture(scope="module")
def template():
    return volume(labels_of, [-36, -48, -32], [36, 52, 32])


@pytest.fixture(scope="module")
def brain():
    return volume(
        lambda points: labels_of(unbend(points)),
        SHIFT - np.array([40, 54, 38]),
        SHIFT + np.array([40, 58, 38]),
    )


@pytest.fixture(scope="module")
def registered(brain, template):
    start = find_orientation(brain, {"whole": template}, PARAMS).start
    return register(brain, template, start, "B01", "phantom", PARAMS)


@pytest.fixture(scope="module")
def cortex():
    """Points of the template's cortex, and where they lie in the stack."""
    points = np.random.default_rng(0).uniform([-30, -44, -28], [30, 48, 28], (6000, 3))
    value = level(points)
    points = points[(value > 0.8) & (value < 0.98)]
    return points, bend(points)


def test_the_start_is_close_and_keeps_left_and_right(brain, template, cortex):
    matrix = find_orientation(brain, {"whole": template}, PARAMS).start
    started = cortex[1] @ matrix[:3, :3].T + matrix[:3, 3]
    assert np.median(np.linalg.norm(started - cortex[0], axis=1)) < 5
    assert (np.diag(matrix)[:3] > 0.5).all()


@pytest.mark.slow
def test_registration_recovers_points(registered, cortex):
    target, source = cortex
    error = np.linalg.norm(registered.full(source) - target, axis=1)
    affine_error = np.linalg.norm(registered.affine(source) - target, axis=1)
    assert np.median(error) < VOXEL_MM / 2
    assert np.percentile(error, 95) < VOXEL_MM
    assert np.median(error) < 0.6 * np.median(affine_error)


@pytest.mark.slow
def test_the_wrong_direction_is_worse_and_detected(registered, brain, template, cortex):
    target, source = cortex
    backward = registered.full.inverse()
    error = np.linalg.norm(backward(source) - target, axis=1)
    assert not np.median(np.nan_to_num(error, nan=np.inf)) < 10
    right = overlap(registered.full, brain, template)
    wrong = overlap(backward, brain, template)
    assert right.mean > 0.85
    check_overlap(right, wrong, "B01")
    with pytest.raises(InputError, match="wrong way"):
        check_overlap(wrong, right, "B01")


@pytest.mark.slow
def test_registration_is_repeatable(registered, brain, template, tmp_path):
    start = find_orientation(brain, {"whole": template}, PARAMS).start
    again = register(brain, template, start, "B01", "phantom", PARAMS)
    transforms.write(registered.full, tmp_path / "a.h5")
    transforms.write(again.full, tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_exchanged_ends_are_detected(brain, axis):
    matrix = np.eye(4)
    check_landmarks(affine_transform(matrix, "B01", "t"), brain, "turn it")
    matrix[axis, axis] = -1
    with pytest.raises(InputError, match="turn it"):
        check_landmarks(affine_transform(matrix, "B01", "t"), brain, "turn it")


def test_exchanged_hemispheres_are_detected():
    points = np.array([[-5.0, 0, 0], [6.0, 0, 0], [np.nan] * 3])
    check_hemispheres(points, np.array(["L", "R", "R"]), "turn it")
    with pytest.raises(InputError, match=r"left hemisphere lies at R 6\.0.*turn it"):
        check_hemispheres(points, np.array(["R", "L", "R"]), "turn it")


def test_affine_part_of_an_affine_is_itself(brain):
    matrix = np.array([[0.9, 0.1, 0, 5], [0, 1.1, 0, 1], [0.1, 0, 1, -4], [0, 0, 0, 1.0]])
    fitted = affine_part(affine_transform(matrix, "B01", "t"), brain)
    np.testing.assert_allclose(fitted, matrix, atol=1e-9)


def test_dice_of_a_brain_with_itself_is_one(template):
    assert overlap(affine_transform(np.eye(4), "a", "b"), template, template) == Overlap(1.0, 1.0)


def midline_rows(stack_mm, sides):
    stack_um = ras_to_stack(stack_mm, "R")
    frame = pd.DataFrame(stack_um, columns=["x_stack_um", "y_stack_um", "z_stack_um"])
    frame["point_id"] = [f"B01-00000-{i:05d}" for i in range(len(sides))]
    frame["brain"], frame["hemisphere"], frame["status"] = "B01", sides, "ok"
    return filled(tables.MidlineRow, frame)


@pytest.fixture
def study(tmp_path, brain, template, cortex):
    """Files of a brain whose points are known in the template."""
    target, source = cortex
    sides = np.where(target[:, 0] < 0, "L", "R")
    half = len(sides) // 2
    for name, part in (("0", slice(0, half)), ("1", slice(half, None))):
        tables.write(
            tables.MidlineRow, midline_rows(source[part], sides[part]), tmp_path / f"{name}.parquet"
        )
    place = row(tables.StackRow, section=0, sigma_um=SECTION_SIGMA_UM)
    tables.write_rows(tables.StackRow, [place], tmp_path / "stack.parquet")
    volumes.write(brain, tmp_path / "brain.nii.gz")
    volumes.write(template, tmp_path / "template.nii.gz")
    sided = np.where(
        template.to_mm(np.moveaxis(np.indices(template.data.shape), 0, -1))[..., 0] < 0, 1, 2
    )
    volumes.write(
        Volume(sided.astype(np.int16), template.affine),
        tmp_path / "atlas.nii.gz",
    )
    (tmp_path / "areas.tsv").write_text("label\tname\themisphere\n1\tleft\tL\n2\tright\tR\n")
    return {
        "brain": "B01",
        "image_right": "R",
        "midlines": [tmp_path / "0.parquet", tmp_path / "1.parquet"],
        "stack": tmp_path / "stack.parquet",
        "tissue": tmp_path / "brain.nii.gz",
        "template_name": "phantom",
        "template": tmp_path / "template.nii.gz",
        "template_exclusion": None,
        "atlas": tmp_path / "atlas.nii.gz",
        "areas": tmp_path / "areas.tsv",
        "supplied_transform": None,
        "chains": [],
        "anchoring_target": None,
        "transform": tmp_path / "to-phantom.h5",
        "affine": tmp_path / "affine-to-phantom.h5",
        "checks": tmp_path / "checks.parquet",
        "points": tmp_path / "points.parquet",
        "params": PARAMS,
    }


def write_true_field(tmp_path, brain):
    """The true transform, stack to template, as a lab would supply it."""
    low = brain.affine[:3, 3]
    affine = regular_affine(3.0, low)
    shape = tuple(np.ceil(np.array(brain.data.shape) * VOXEL_MM / 3).astype(int))
    grid = np.moveaxis(np.indices(shape), 0, -1) * 3.0 + low
    field = transforms.field_transform(unbend(grid) - grid, affine, "B01", "phantom")
    transforms.write(field, tmp_path / "supplied.h5")
    return field


def coordinates_of(study):
    points = tables.read(tables.PointRow, study["points"])
    return points, points[["x_mm", "y_mm", "z_mm"]].to_numpy()


def test_a_supplied_transform_is_used_as_it_is(study, tmp_path, brain, cortex):
    write_true_field(tmp_path, brain)
    coordinates.run(**study | {"supplied_transform": tmp_path / "supplied.h5"})
    points, template_mm = coordinates_of(study)
    assert np.linalg.norm(template_mm - cortex[0], axis=1).max() < 0.5
    assert set(points["status"]) == {"ok"}
    assert set(points["template"]) == {"phantom"}
    expected = np.where(points["hemisphere"] == "L", "left", "right")
    np.testing.assert_array_equal(points["area"].to_numpy(str), expected)
    again = transforms.read(study["transform"], "B01", "phantom", "points")
    np.testing.assert_allclose(again(cortex[1]), template_mm, atol=1e-3)
    affine = transforms.read(study["affine"], "B01", "phantom", "points")
    error = np.linalg.norm(affine(cortex[1]) - cortex[0], axis=1)
    assert 1 < np.median(error) < 6


def test_a_plain_matrix_is_used_as_it_is(study, tmp_path, brain, cortex):
    matrix = affine_part(write_true_field(tmp_path, brain), brain)
    np.savetxt(tmp_path / "supplied.txt", matrix)
    coordinates.run(**study | {"supplied_transform": tmp_path / "supplied.txt"})
    _, template_mm = coordinates_of(study)
    expected = cortex[1] @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(template_mm, expected, atol=1e-4)
    np.savetxt(tmp_path / "supplied.txt", np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix)
    with pytest.raises(InputError, match="not lie on the right side"):
        coordinates.run(**study | {"supplied_transform": tmp_path / "supplied.txt"})


def test_a_supplied_transform_of_the_wrong_direction_is_refused(study, tmp_path, brain):
    write_true_field(tmp_path, brain)
    params = Coordinates(**vars(PARAMS) | {"given_moves": "image"})
    with pytest.raises(InputError, match="given_moves"):
        coordinates.run(
            **study | {"supplied_transform": tmp_path / "supplied.h5", "params": params}
        )
    assert not study["points"].exists()


def test_a_supplied_transform_of_images_is_inverted(study, tmp_path, template, cortex):
    grid = template.to_mm(np.moveaxis(np.indices(template.data.shape), 0, -1))
    backward = transforms.field_transform(bend(grid) - grid, template.affine, "phantom", "B01")
    transforms.write(backward, tmp_path / "supplied.h5")
    params = Coordinates(**vars(PARAMS) | {"given_moves": "image"})
    coordinates.run(**study | {"supplied_transform": tmp_path / "supplied.h5", "params": params})
    _, template_mm = coordinates_of(study)
    assert np.nanmax(np.linalg.norm(template_mm - cortex[0], axis=1)) < 1.0


def test_a_poor_overlap_leaves_no_point_usable(study, tmp_path, brain):
    matrix = np.eye(4)
    matrix[:3, 3] = 12.0 - SHIFT
    np.savetxt(tmp_path / "supplied.txt", matrix)
    coordinates.run(**study | {"supplied_transform": tmp_path / "supplied.txt"})
    points, _ = coordinates_of(study)
    assert set(points["status"]) == {"unregistered"}
    (dice,) = (
        check
        for check in tables.read_rows(tables.CheckRow, study["checks"])
        if check.check == "Dice of gray and white matter, mean"
    )
    assert dice.has_failed and dice.value < PARAMS.min_dice


def test_a_transform_that_puts_the_brain_off_the_template_is_refused(study, tmp_path, brain):
    """900 mm away: the ends of the brain are where they belong, and nothing overlaps either way."""
    matrix = affine_part(write_true_field(tmp_path, brain), brain)
    matrix[1, 3] += 900
    np.savetxt(tmp_path / "supplied.txt", matrix)
    with pytest.raises(InputError, match=r"puts 100 % of the brain outside the temp.* \(R -36"):
        coordinates.run(**study | {"supplied_transform": tmp_path / "supplied.txt"})
    assert not study["points"].exists()


def test_points_that_the_transform_does_not_cover_are_marked(study, tmp_path, brain):
    write_true_field(tmp_path, brain)
    frame = tables.read(tables.MidlineRow, study["midlines"][0])
    frame.loc[0, "x_stack_um"] += 500_000
    tables.write(tables.MidlineRow, frame, study["midlines"][0])
    coordinates.run(**study | {"supplied_transform": tmp_path / "supplied.h5"})
    points, template_mm = coordinates_of(study)
    assert points["status"].iloc[0] == "outside_template"
    assert np.isnan(template_mm[0]).all()
    assert points["area"].iloc[0] == ""
    assert (points["status"].iloc[1:] == "ok").all()
    assert np.isnan(points["sigma_mm"].iloc[0])
    assert (points["sigma_mm"].iloc[1:] >= SECTION_SIGMA_UM / 1000).all()


@pytest.mark.slow
def test_a_brain_is_registered_without_an_atlas(study, cortex):
    coordinates.run(**study | {"atlas": None, "areas": None})
    points, template_mm = coordinates_of(study)
    assert np.median(np.linalg.norm(template_mm - cortex[0], axis=1)) < 1.0
    assert (points["area"] == "").all()


# midway between the centres of two voxels
BORDER_MM = -36 + 14.5 * VOXEL_MM


def test_the_templates_mask_is_proposed_on_the_brain(study, tmp_path, brain, monkeypatch):
    """The proposed region lies where the true transform carries that of the template."""
    below = volume(lambda points: points[..., 2] < BORDER_MM, [-40, -52, -36], [40, 56, 36])
    volumes.write(Volume(below.data.astype(np.uint8), below.affine), tmp_path / "below.nii.gz")
    exact = write_true_field(tmp_path, brain)
    monkeypatch.setattr(coordinates, "register", lambda *_: Registration(exact, exact))
    paths = {
        "volume": study["tissue"],
        "template": study["template"],
        "exclusion": tmp_path / "below.nii.gz",
        "proposed": tmp_path / "proposed.nii.gz",
        "params": PARAMS,
    }
    coordinates.run_proposal(brain="B01", **paths)
    proposed = volumes.read(tmp_path / "proposed.nii.gz")
    np.testing.assert_allclose(proposed.affine, brain.affine)
    points = brain.to_mm(np.moveaxis(np.indices(brain.data.shape), 0, -1))
    expected = (brain.data > 0) & (unbend(points)[..., 2] < BORDER_MM)
    both = 2 * (expected & (proposed.data == 1)).sum() / (expected.sum() + proposed.data.sum())
    assert both > 0.98
    volumes.write(Volume(np.zeros((3, 3, 3), np.uint8), np.eye(4)), paths["exclusion"])
    with pytest.raises(InputError, match=r"below\.nii\.gz: marks nothing of brain B01; supply"):
        coordinates.run_proposal(brain="B01", **paths)
