"""Chains of transforms that a lab already has, for a brain and for single sections."""

import numpy as np
import pytest
from test_anchorings import HEIGHT, WIDTH, write_series, write_target
from test_coordinates import (  # noqa: F401, fixtures
    ROLL,
    SHIFT,
    VOXEL_MM,
    brain,
    coordinates_of,
    cortex,
    study,
    template,
    unbend,
    write_true_field,
)

from cytopipe import coordinates
from cytopipe.coordinates.chains import (
    SuppliedTransforms,
    chain_of_section,
    read_supplied_transforms,
)
from cytopipe.coordinates.uncertainty import sigma_mm
from cytopipe.files import InputError
from cytopipe.formats import tables, transforms, volumes
from cytopipe.formats.transforms import between_ras_and_lps
from cytopipe.formats.volumes import Volume
from cytopipe.numerics import frames
from cytopipe.numerics.geometry import FrameError, Rigid, mirror, stack_to_ras
from cytopipe.study import transform_table

HEAD = "section\tfrom\tto\tfile\ttype\tmoves\tframe\tslice\n"
# a scan of 600 x 500 px of 100 um
FULL_UM = 100.0
PLACE = tables.StackRow(
    brain="B01", section=7, z_um=140.0, mirrored=True, angle_rad=0.3, x_um=500.0, y_um=-900.0,
    width_um=(WIDTH - 1) * FULL_UM, height_um=(HEIGHT - 1) * FULL_UM, full_spacing_um=FULL_UM,
    handedness="mirrored", fragment=1, via=0, sigma_um=400.0, image_right="R", status="ok",
)  # fmt: skip


def table(folder, *rows):
    path = folder / transform_table.NAME
    path.write_text(HEAD + "".join("\t".join(row) + "\n" for row in rows))
    return path


def stack_matrix():
    """Stack to a space that differs from the template only by bending."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = ROLL.T, -SHIFT @ ROLL
    return matrix


@pytest.fixture
def supplied(tmp_path, template):  # noqa: F811
    """The true transform in two files: a matrix in LPS that moves images, and a field."""
    np.savetxt(tmp_path / "back.txt", between_ras_and_lps(np.linalg.inv(stack_matrix())))
    low = np.array([-44.0, -56.0, -40.0])
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = low
    grid = np.moveaxis(np.indices((30, 40, 28)), 0, -1) * 3.0 + low
    rest = unbend(grid @ ROLL.T + SHIFT) - grid
    field = transforms.field_transform(rest, affine, "straight", "phantom")
    transforms.write(field, tmp_path / "rest.h5")
    return (
        ("", "stack", "straight", "back.txt", "matrix", "image", "LPS"),
        ("", "straight", "phantom", "rest.h5", "itk", "points", "LPS"),
    )


def checks_of(study):  # noqa: F811
    frame = tables.read(tables.CheckRow, study["checks"])
    assert (frame["brain"] == "B01").all()
    return frame.set_index("check")


def test_the_chain_of_a_brain_is_applied(study, tmp_path, supplied, cortex):  # noqa: F811
    coordinates.run(**study | {"chains": [table(tmp_path, *supplied)]})
    points, template_mm = coordinates_of(study)
    assert np.linalg.norm(template_mm - cortex[0], axis=1).max() < 0.5
    assert (points["status"] == "ok").all()
    checks = checks_of(study)
    assert set(checks["status"]) == {"ok", ""} and (checks["remedy"] == "").all()
    assert checks.loc["there and back within 0.05 mm", "value"] == 1
    assert checks.loc["on its own side of the midline", "value"] > 0.98
    assert checks.loc["folded tissue (Jacobian not positive)", "value"] == 0


def test_the_wrong_direction_of_one_transform_is_detected(study, tmp_path, supplied):  # noqa: F811
    first = (*supplied[0][:5], "points", "LPS")
    with pytest.raises(InputError, match=r"to phantom"):
        coordinates.run(**study | {"chains": [table(tmp_path, first, supplied[1])]})
    assert not study["points"].exists()


def test_two_transforms_of_a_brain_are_refused(study, tmp_path, supplied):  # noqa: F811
    np.savetxt(tmp_path / "supplied.txt", stack_matrix())
    both = {"chains": [table(tmp_path, *supplied)], "supplied_transform": tmp_path / "supplied.txt"}
    with pytest.raises(InputError, match="both define the transform of the whole brain"):
        coordinates.run(**study | both)


@pytest.fixture
def anchored(study, tmp_path):  # noqa: F811
    """Section 7, which lies elsewhere in the stack, anchored at A = -10 mm of the template."""
    random = np.random.default_rng(8)
    frame = tables.read(tables.MidlineRow, study["midlines"][0])
    rows = np.arange(200)
    pixels = random.uniform([0, 0], [WIDTH - 1, HEIGHT - 1], (200, 2))
    frame.loc[rows, ["x_um", "y_um"]] = pixels * FULL_UM
    frame.loc[rows, "section"] = 7
    expected = np.stack(
        [-30 + 0.1 * (pixels[:, 0] + 0.5), np.full(200, -10), 38 - 0.1 * (pixels[:, 1] + 0.5)], 1
    )
    frame.loc[rows, "hemisphere"] = np.where(expected[:, 0] < 0, "L", "R")
    tables.write(tables.MidlineRow, frame, study["midlines"][0])
    places = [*tables.read_rows(tables.StackRow, study["stack"]), PLACE]
    tables.write_rows(tables.StackRow, places, study["stack"])
    return study | {"anchoring_target": write_target(tmp_path / "target.nii.gz", "LPI")}, expected


def test_points_of_an_anchored_section_lie_in_its_plane(
    anchored, tmp_path, supplied, cortex  # noqa: F811
):  # fmt: skip
    study, expected = anchored  # noqa: F811
    write_series(tmp_path / "s.json", "LPI")
    row = ("", "section", "phantom", "s.json", "anchoring")
    coordinates.run(**study | {"chains": [table(tmp_path, *supplied, row)]})
    points, template_mm = coordinates_of(study)
    np.testing.assert_allclose(template_mm[:200], expected, atol=1e-9)
    assert np.linalg.norm(template_mm[200:] - cortex[0][200:], axis=1).max() < 0.5
    checks = checks_of(study)
    assert set(checks["status"]) == {"ok", ""}
    assert checks.loc["there and back within 0.05 mm", "value"] == 1
    assert checks.loc["sections with a transform of their own", "value"] == 1
    # the error of the section's place in the stack does not matter
    sides, template_tissue = points["hemisphere"].to_numpy(str), volumes.read(study["template"])
    alone = sigma_mm(template_mm, sides, template_tissue, np.zeros(len(template_mm)), 200, 3.0)
    np.testing.assert_allclose(points["sigma_mm"][:200], alone[:200])
    assert (points["sigma_mm"][200:] > alone[200:]).all()


def test_an_anchoring_may_have_another_space_and_slice_number(
    anchored, tmp_path, supplied
):  # fmt: skip
    study, expected = anchored  # noqa: F811
    write_series(tmp_path / "s.json", "LPI", nr=31)
    matrix = np.diag([1.1, 0.9, 1.0, 1.0])
    matrix[:3, 3] = 1, 2, 3
    np.savetxt(tmp_path / "on.txt", matrix)
    rows = (
        ("7", "section", "other", "s.json", "anchoring", "", "", "31"),
        ("7", "other", "phantom", "on.txt", "matrix", "points", "RAS"),
    )
    coordinates.run(**study | {"chains": [table(tmp_path, *supplied, *rows)]})
    _, template_mm = coordinates_of(study)
    np.testing.assert_allclose(template_mm[:200], expected * (1.1, 0.9, 1.0) + (1, 2, 3), atol=1e-9)
    with pytest.raises(InputError, match=r"s\.json has the slices \[31\], none for section 7"):
        coordinates.run(
            **study | {"chains": [table(tmp_path, (*rows[0][:7], ""), rows[1], *supplied)]}
        )


def test_a_section_anchored_from_the_wrong_side_is_named(
    anchored, tmp_path, supplied
):  # fmt: skip
    study, _ = anchored  # noqa: F811
    write_series(tmp_path / "s.json", "LPI", anchoring=[5, 25, 1, 30, 0, 0, 0, 0, 25])
    row = ("7", "section", "phantom", "s.json", "anchoring")
    coordinates.run(**study | {"chains": [table(tmp_path, *supplied, row)]})
    failed = checks_of(study).query("status == 'failed'")
    worst = failed.loc["the same, worst section (7)"]
    assert worst["value"] < 0.1 and "section 7 is mirrored" in worst["remedy"]


@pytest.mark.parametrize(("shift_mm", "share"), [(900, 1.0), (-40, None)])
def test_a_section_that_its_own_transform_puts_off_the_template(
    anchored, tmp_path, supplied, shift_mm, share
):
    study, expected = anchored  # noqa: F811
    write_series(tmp_path / "s.json", "LPI", nr=31)
    matrix = np.eye(4)
    matrix[2, 3] = shift_mm
    np.savetxt(tmp_path / "on.txt", matrix)
    rows = (
        ("7", "section", "other", "s.json", "anchoring", "", "", "31"),
        ("7", "other", "phantom", "on.txt", "matrix", "points", "RAS"),
    )
    run = {"chains": [table(tmp_path, *supplied, *rows)]}
    if share == 1.0:
        with pytest.raises(InputError, match="puts 100 % of the points of the sections with tr"):
            coordinates.run(**study | run)
        return
    coordinates.run(**study | run)
    points, _ = coordinates_of(study)
    lowest_mm = volumes.read(study["template"]).to_mm(np.array([0, 0, -0.5]))[2]
    beyond = expected[:, 2] + shift_mm < lowest_mm
    assert 0 < beyond.mean() < 0.5
    np.testing.assert_array_equal(points["status"][:200] == "outside_template", beyond)
    assert (points["status"][200:] == "ok").all()


def test_points_outside_the_templates_volume_are_marked(study, tmp_path, brain):  # noqa: F811
    """The true transform, and a template whose volume ends at R 20 mm."""
    write_true_field(tmp_path, brain)
    whole = volumes.read(study["template"])
    kept = int((20.0 - whole.affine[0, 3]) / VOXEL_MM) + 1
    volumes.write(Volume(whole.data[:kept], whole.affine), study["template"])
    coordinates.run(
        **study | {"supplied_transform": tmp_path / "supplied.h5", "atlas": None, "areas": None}
    )
    points, template_mm = coordinates_of(study)
    beyond = template_mm[:, 0] > whole.to_mm(np.array([kept - 0.5, 0, 0]))[0]
    assert 0.02 < beyond.mean() < 0.3
    np.testing.assert_array_equal(points["status"] == "outside_template", beyond)
    assert np.isfinite(template_mm).all()
    checks = tables.frame_of(
        tables.CheckRow, tables.read_rows(tables.CheckRow, study["checks"])
    ).set_index("check")
    assert checks.loc["outside the template's volume", "value"] == pytest.approx(beyond.mean())


def test_markers_that_fold_a_section_are_named(anchored, tmp_path, supplied):
    study, _ = anchored  # noqa: F811
    crossed = [[400, 250, 200, 250], [200, 250, 400, 250]]
    write_series(tmp_path / "s.json", "LPI", markers=crossed)
    row = ("7", "section", "phantom", "s.json", "anchoring")
    coordinates.run(**study | {"chains": [table(tmp_path, *supplied, row)]})
    failed = checks_of(study).query("status == 'failed'")
    assert "sections that their markers fold" in failed.index
    assert "[7]" in failed.loc["sections that their markers fold", "remedy"]


def test_an_anchoring_without_its_volume_is_refused(anchored, tmp_path):
    study, _ = anchored  # noqa: F811
    write_series(tmp_path / "s.json", "LPI")
    rows = table(tmp_path, ("", "section", "phantom", "s.json", "anchoring"))
    with pytest.raises(InputError, match=r"name that volume in coordinates\.anchoring_target"):
        coordinates.run(**study | {"chains": [rows], "anchoring_target": None})


def test_one_chain_leads_from_the_pixel_to_the_template():
    matrix = stack_matrix()
    whole = transforms.affine_transform(matrix, "B01", "phantom")
    chain = chain_of_section(PLACE, 64.0, "R", whole, SuppliedTransforms())
    assert str(chain) == (
        "pixel of 64 um of B01/7 (column, row px) -> section B01/7 (x, y um) -> stack B01 "
        "(x, y, z um) -> B01 (R, A, S mm) -> phantom (R, A, S mm)"
    )
    pixels = np.array([[0.0, 0.0], [100.0, 40.0], [7.5, 300.25]])
    section_um = (pixels + 0.5) * 64 - FULL_UM / 2
    flipped = mirror(section_um, PLACE.width_um)
    stack_um = np.column_stack([Rigid(0.3, 500.0, -900.0, "", "")(flipped), np.full(3, 140.0)])
    expected = stack_to_ras(stack_um, "R") @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(chain(pixels), expected, atol=1e-9)
    np.testing.assert_allclose(chain.back(expected), pixels, atol=1e-6)
    later = chain.since(frames.section("B01/7"))
    np.testing.assert_allclose(later(section_um), expected, atol=1e-9)
    with pytest.raises(FrameError, match="cannot be followed by"):
        frames.Chain(later.links + chain.links)
    with pytest.raises(FrameError, match="does not pass through"):
        later.since(frames.pixel("B01/7", 64.0))


GOOD = ("", "stack", "phantom", "m.txt", "matrix", "points", "RAS")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(*GOOD[:2], "other", *GOOD[3:])], "ends in 'other', but the template is 'phantom'"),
        ([(*GOOD[:1], "other", *GOOD[2:])], "starts in 'other'; it starts in `section`"),
        ([GOOD, GOOD], "a second chain for the whole brain"),
        ([("7", *GOOD[1:]), GOOD, ("7", *GOOD[1:])], "a second chain for section 7"),
        ([(*GOOD[:2], "a", *GOOD[3:]), ("", "b", *GOOD[2:])], "starts in 'b', but the row before"),
        ([(*GOOD[:5], "", "RAS")], "moves is ''; use points or image"),
        ([(*GOOD[:6], "")], "frame is ''; use RAS or LPS"),
        ([(*GOOD[:4], "itk", "points", "RAS")], "ITK's files are in LPS"),
        ([(*GOOD[:4], "flirt", *GOOD[5:])], "type is 'flirt'; use anchoring, itk or matrix"),
        ([(*GOOD[:4], "anchoring", "", "")], "an anchoring, and only an anchoring, starts in"),
        ([("", "section", *GOOD[2:])], "an anchoring, and only an anchoring, starts in"),
        ([(*GOOD[:3], "", *GOOD[4:])], "file is empty"),
        ([(*GOOD, "3")], "only the anchoring of one section has a slice"),
        ([("7", "section", "phantom", "s.json", "anchoring", "image")], "moves points"),
        ([("9", *GOOD[1:])], "there is no section 9"),
        ([("x", *GOOD[1:])], "section is 'x'"),
        ([(*GOOD[:3], "none.txt", *GOOD[4:])], "none.txt"),
    ],
)
def test_a_bad_table_is_refused(tmp_path, rows, message):
    np.savetxt(tmp_path / "m.txt", np.eye(4))
    write_series(tmp_path / "s.json", "RAS")
    with pytest.raises(InputError, match="(?s)" + message.replace(".", r"\.")) as error:
        read_supplied_transforms(table(tmp_path, *rows), "B01", "phantom", None, "own", {7})
    assert str(tmp_path) in str(error.value)


def test_a_table_names_its_files_for_the_workflow(tmp_path):
    path = table(tmp_path, GOOD, ("7", "section", "phantom", "a/s.json", "anchoring"), GOOD)
    assert transform_table.files_of(path) == [tmp_path / "m.txt", tmp_path / "a/s.json"]
