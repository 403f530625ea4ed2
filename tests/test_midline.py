from dataclasses import replace

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from table_rows import row as row_of

from cytopipe import midline
from cytopipe.formats import images, surfaces, tables, volumes
from cytopipe.formats.volumes import regular_affine
from cytopipe.midline.refinement import enter, refine, tissue_share
from cytopipe.midline.surface_cuts import Hemisphere, cut_hemispheres, cutting_angle_deg
from cytopipe.numerics.geometry import Placement, Rigid, ras_to_stack, section_to_pixels
from cytopipe.study.config import Midline

# half pixels, so that the circles cross the axes between two pixels
INNER, OUTER = 20.5, 34.5
PARAMS = Midline(
    spacing_mm=1.0,
    target="laplacian",
    max_move_mm=2.0,
    keep_moved=False,
    window_mm=2.0,
    min_tissue=0.5,
    most_off_depth=0.35,
    min_thickness=0.4,
)


def annulus(size=81):
    """White disc, gray ring, background; and the radius of each pixel."""
    middle = (size - 1) / 2
    y, x = np.mgrid[:size, :size] - middle
    radius = np.hypot(x, y)
    return np.where(radius < INNER, 2, np.where(radius < OUTER, 1, 0)).astype(np.uint8), middle


def ring(radius, middle, count=90):
    angle = np.arange(count) * 2 * np.pi / count + 0.017
    return np.column_stack([np.cos(angle), np.sin(angle)]) * radius + middle


@pytest.mark.parametrize("start", [21.5, 26.0, 32.5, 35.5, 18.0])
def test_laplacian_target_is_the_harmonic_middle_of_an_annulus(start):
    labels, middle = annulus()
    refined = refine(labels, ring(start, middle), "laplacian", 12.0)
    radius = np.linalg.norm(refined.points_px - middle, axis=1)
    assert refined.reached.all()
    assert np.abs(radius - np.sqrt(INNER * OUTER)).max() < 0.2
    np.testing.assert_allclose(refined.depth, 0.5, atol=1e-3)


def test_skeleton_target_is_the_middle_of_an_annulus():
    labels, middle = annulus()
    refined = refine(labels, ring(22.0, middle), "skeleton", 12.0)
    radius = np.linalg.norm(refined.points_px - middle, axis=1)
    assert refined.reached.mean() > 0.95
    # a skeleton is a chain of pixels; in a ring of even width it lies off the middle
    assert np.abs(radius - (INNER + OUTER) / 2).mean() < 0.5
    assert np.abs(radius - (INNER + OUTER) / 2).max() < 1.2


def test_a_point_out_of_reach_stays_and_is_marked():
    labels, middle = annulus()
    points = np.array([[middle, middle], [middle + OUTER + 9, middle]])
    refined = refine(labels, points, "laplacian", 5.0)
    np.testing.assert_array_equal(refined.points_px, points)
    assert not refined.reached.any()
    assert np.isnan(refined.depth).all()


def test_points_stay_where_a_crown_shows_no_white_matter():
    labels, middle = annulus()
    labels[labels == 2] = 1
    points = ring(15.0, middle)
    refined = refine(labels, points, "laplacian", 12.0)
    np.testing.assert_array_equal(refined.points_px, points)
    assert not refined.reached.any()
    assert np.isnan(refined.depth).all()


def test_a_section_without_gray_matter_is_not_an_error():
    labels = np.full((10, 10), 2, np.uint8)
    for target in ("laplacian", "skeleton"):
        refined = refine(labels, np.array([[3.0, 4.0]]), target, 5.0)
        assert not refined.reached.any()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 3),
    st.floats(0.0, 12.0),
    st.sampled_from(["laplacian", "skeleton"]),
)
def test_no_point_moves_too_far_or_leaves_the_gray_matter(seed, coarseness, limit, target):
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 3, (24 // 2**coarseness + 1, 24 // 2**coarseness + 1))
    labels = np.kron(blocks, np.ones((2**coarseness, 2**coarseness), int)).astype(np.uint8)
    points = rng.uniform(-4, len(labels) + 3, (40, 2))
    refined = refine(labels, points, target, limit)
    moved = np.linalg.norm(refined.points_px - points, axis=1)
    assert moved.max() <= limit + 1e-9

    def in_gray(at):
        column, row = np.floor(at + 0.5).astype(int).T
        inside = (column >= 0) & (row >= 0) & (column < len(labels)) & (row < len(labels))
        return inside & (labels[row.clip(0, len(labels) - 1), column.clip(0, len(labels) - 1)] == 1)

    assert in_gray(refined.points_px)[in_gray(points)].all()
    assert in_gray(refined.points_px)[moved > 0].all()
    assert in_gray(refined.points_px)[refined.reached].all()


def test_a_point_outside_enters_at_the_nearest_gray_pixel():
    gray = np.zeros((9, 9), bool)
    gray[4, 6] = gray[4, 0] = True
    points, moved, entered = enter(gray, np.array([[4.0, 4.2], [8.6, 4.0], [3.0, 0.0]]), 3.0)
    np.testing.assert_array_equal(points, [[6.0, 4.0], [6.0, 4.0], [3.0, 0.0]])
    np.testing.assert_allclose(moved, [np.hypot(2, 0.2), 2.6, 0])
    np.testing.assert_array_equal(entered, [True, True, False])


def test_tissue_share_is_that_of_the_window():
    labels = np.zeros((40, 40), np.uint8)
    labels[:, 20:] = 2
    share = tissue_share(labels, np.array([[30.0, 20], [19.0, 20], [5.0, 20], [39.0, 0]]), 9.0)
    # at the image's corner, the image covers only a quarter of the window
    np.testing.assert_allclose(share, [1.0, 4 / 9, 0.0, 25 / 81])


def test_cutting_angle():
    normals = np.array([[1.0, 0, 0], [0, 0, -1.0], [np.sqrt(0.5), 0, np.sqrt(0.5)]])
    np.testing.assert_allclose(cutting_angle_deg(normals), [0, 90, 45], atol=1e-6)


def ball_hemisphere(centre_mm, radius_mm):
    ball = trimesh.creation.icosphere(subdivisions=4, radius=radius_mm)
    surface = surfaces.Surface(
        np.asarray(ball.vertices) + centre_mm, np.asarray(ball.faces, np.int32)
    )
    size = len(surface.vertices)
    return Hemisphere(surface, np.full(size, 2.5), np.full(size, 1 / radius_mm))


@pytest.mark.parametrize("image_right", ["R", "L"])
def test_normals_of_a_ball_point_outwards_in_the_stack(image_right):
    centre = np.array([20.0, 30.0, -10.0])
    ball = ball_hemisphere(centre, 8.0)
    (cut,) = cut_hemispheres({"R": ball}, np.array([33_000.0]), image_right, 1.0)
    outwards = cut.stack_um - ras_to_stack(centre, image_right)
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
    assert (outwards * cut.normals).sum(axis=1).min() > 0.998
    np.testing.assert_allclose(cutting_angle_deg(cut.normals), np.degrees(np.arcsin(3 / 8)), atol=2)


# depth 0.5 of the harmonic function between the radii 4.0 and 6.2 mm; in a plane it is 4.98
BALL_MIDDLE_MM = 2 / (1 / 4.0 + 1 / 6.2)


@pytest.fixture
def study(tmp_path):
    """Two balls of cortex in three sections: one plain, one mirrored, one without a transform."""
    spacing, full, width, height = 256.0, 128.0, 40_000.0, 30_000.0
    centres = {"L": np.array([-8.0, 0.0, 0.0]), "R": np.array([8.0, 0.0, 0.0])}
    paths = {"surfaces": {}, "thickness": {}, "curvature": {}}
    for side, centre in centres.items():
        hemisphere = ball_hemisphere(centre, 5.0)
        paths["surfaces"][side] = tmp_path / f"{side}.surf.gii"
        paths["thickness"][side] = tmp_path / f"{side}.thickness.gii"
        paths["curvature"][side] = tmp_path / f"{side}.curvature.gii"
        surfaces.write(hemisphere.surface, paths["surfaces"][side], side)
        surfaces.write_map(hemisphere.thickness_mm, paths["thickness"][side], side)
        surfaces.write_map(hemisphere.curvature_per_mm, paths["curvature"][side], side)
    pages, rows, placed = [], [], []
    for page, (number, mirrored, angle) in enumerate(
        [(0, False, 0.2), (50, True, -0.3), (100, False, np.nan)]
    ):
        z_um = number * 20.0
        turned = Rigid(0.0 if np.isnan(angle) else angle, 0.0, 0.0, "a", "b")(
            np.array([width / 2, height / 2])
        )
        placement = Placement(mirrored, width, Rigid(angle, -turned[0], -turned[1], "a", "b"))
        column, row = np.meshgrid(np.arange(157), np.arange(118))
        pixels = np.column_stack([column.ravel(), row.ravel()])
        label = np.zeros(len(pixels), np.uint8)
        if not np.isnan(angle):
            section = (pixels + 0.5) * spacing - 0.5 * full
            stack_mm = np.insert(placement(section), 2, z_um, axis=1) / 1000
            for centre in centres.values():
                off = stack_mm[:, [0, 2, 1]] - centre  # symmetric about S = 0
                radius = np.linalg.norm(off, axis=1)
                label[radius < 6.2] = 1
                label[radius < 4.0] = 2
        pages.append(label.reshape(118, 157))
        shared = {
            "brain": "B01",
            "section": number,
            "width_um": width,
            "height_um": height,
            "full_spacing_um": full,
        }
        rows.append(
            row_of(tables.SegmentationRow, **shared, page=page, spacing_um=spacing, status="ok")
        )
        placed.append(
            row_of(
                tables.StackRow,
                **shared,
                z_um=z_um,
                mirrored=mirrored,
                **tables.rigid_columns(None if np.isnan(angle) else placement.rigid),
                via=number,
                image_right="R",
                status="no inliers" if np.isnan(angle) else "ok",
            )
        )
    images.write_labels(pages, tmp_path / "labels.tif")
    for kind, content, name in (
        (tables.SegmentationRow, rows, "segmentation"),
        (tables.StackRow, placed, "stack"),
    ):
        paths[name] = tmp_path / f"{name}.parquet"
        tables.write_rows(kind, content, paths[name])
    paths |= {"labels": tmp_path / "labels.tif", "midline": tmp_path / "midline.parquet"}
    paths |= {"depth": tmp_path / "depth.nii.gz", "exclusion": []}
    paths["hemispheres"] = tmp_path / "hemispheres.nii.gz"
    volumes.write(depth_of_balls(centres), paths["depth"])
    volumes.write(sides_of_balls(centres), paths["hemispheres"])
    return paths, (pages, centres)


def depth_of_balls(centres, shift=0.0):
    """Harmonic depth between the radii 4.0 and 6.2 mm, and NaN elsewhere."""
    affine = regular_affine(0.5, np.array([-16.0, -2.0, -8.0]))
    empty = volumes.Volume(np.zeros((64, 16, 32), np.float32), affine)
    points = empty.to_mm(np.moveaxis(np.indices(empty.data.shape), 0, -1))
    radius = np.min([np.linalg.norm(points - centre, axis=-1) for centre in centres.values()], 0)
    inner, outer = 4.0 + shift, 6.2 + shift
    depth = (1 / np.maximum(radius, 1) - 1 / outer) / (1 / inner - 1 / outer)
    inside = (depth > 0) & (depth < 1)
    return volumes.Volume(np.where(inside, depth, np.nan).astype(np.float32), affine)


def sides_of_balls(centres):
    """1 nearer to the left ball, 2 nearer to the right one."""
    depth = depth_of_balls(centres)
    points = depth.to_mm(np.moveaxis(np.indices(depth.data.shape), 0, -1))
    left, right = (np.linalg.norm(points - centres[side], axis=-1) for side in "LR")
    return volumes.Volume(np.where(left < right, 1, 2).astype(np.uint8), depth.affine)


def test_points_lie_in_the_middle_of_both_balls_in_every_aligned_section(study):
    paths, (pages, centres) = study
    midline.run(brain="B01", params=PARAMS, **paths)
    points = tables.read(tables.MidlineRow, paths["midline"])
    assert set(points["section"]) == {0, 50}
    assert set(points["status"]) == {"ok"}
    assert points["point_id"].is_unique
    assert points["refined_um"].max() <= 2000
    assert np.abs(points["depth"] - 0.5).max() < 0.01
    ras = points[["x_stack_um", "z_stack_um", "y_stack_um"]].to_numpy() / 1000 * [1, 1, -1]
    for number, page in ((0, pages[0]), (50, pages[1])):
        of = (points["section"] == number).to_numpy()
        pixel = section_to_pixels(points.loc[of, ["x_um", "y_um"]].to_numpy(), 256.0, 128.0)
        column, row = np.floor(pixel + 0.5).astype(int).T
        assert (page[row, column] == 1).all()
        for side, centre in centres.items():
            own = of & (points["hemisphere"] == side).to_numpy()
            z = number * 0.02
            radius = np.linalg.norm(ras[own] - centre, axis=1)
            # half a pixel: the discs are drawn in pixels
            assert np.abs(radius - BALL_MIDDLE_MM).max() < 0.13
            # in the plane alone, the middle would lie farther out
            assert abs(radius.mean() - BALL_MIDDLE_MM) < 0.04
            cut_mm = 2 * np.pi * np.sqrt(25 - z**2)
            assert abs(own.sum() - cut_mm) < 1.5


def test_points_where_section_and_volume_disagree_are_marked(study):
    paths, (_, centres) = study
    volumes.write(depth_of_balls(centres, shift=1.0), paths["depth"])
    midline.run(brain="B01", params=PARAMS, **paths)
    points = tables.read(tables.MidlineRow, paths["midline"])
    assert (points["status"] == "off_depth").mean() > 0.8


def test_points_in_the_cortex_of_the_other_hemisphere_are_marked(study):
    paths, (_, centres) = study
    sides = sides_of_balls(centres)
    ball = np.moveaxis(np.indices(sides.data.shape), 0, -1)
    above = sides.to_mm(ball)[..., 2] > centres["L"][2] + 1
    sides.data[above & (sides.data == 1)] = 2
    volumes.write(sides, paths["hemispheres"])
    midline.run(brain="B01", params=PARAMS, **paths)
    points = tables.read(tables.MidlineRow, paths["midline"])
    s_mm = -points["y_stack_um"] / 1000
    other = (points["hemisphere"] == "L") & (s_mm > centres["L"][2] + 1.3)
    own = (points["hemisphere"] == "R") | (s_mm < centres["L"][2] + 0.7)
    assert other.sum() > 10 and (points.loc[other, "status"] == "off_depth").all()
    assert (points.loc[own, "status"] == "ok").all()


def test_points_in_cortex_that_is_too_thin_are_marked(study):
    paths, _ = study
    size = len(surfaces.read_map(paths["thickness"]["L"]))
    lengths = np.full(size, 2.5)
    lengths[: size // 3] = 0.8
    surfaces.write_map(lengths, paths["thickness"]["L"], "L")
    midline.run(brain="B01", params=PARAMS, **paths)
    points = tables.read(tables.MidlineRow, paths["midline"])
    assert (points["status"] == "thin").any()
    np.testing.assert_array_equal(points["status"] == "thin", points["thickness_mm"] < 1.0)


def test_a_chunk_without_points_writes_an_empty_table(study, tmp_path):
    paths, _ = study
    stack = tables.read_rows(tables.StackRow, paths["stack"])
    unplaced = [replace(place, **tables.rigid_columns(None)) for place in stack]
    tables.write_rows(tables.StackRow, unplaced, paths["stack"])
    midline.run(brain="B01", params=PARAMS, **paths)
    assert len(tables.read(tables.MidlineRow, paths["midline"])) == 0


def test_points_without_tissue_are_marked(study):
    paths, (pages, _) = study
    for page in pages:
        page[:, :75] = 0  # one of the balls is missing
    images.write_labels(pages, paths["labels"])
    midline.run(brain="B01", params=PARAMS, **paths)
    points = tables.read(tables.MidlineRow, paths["midline"])
    first = points[points["section"] == 0]
    lost = first[first["hemisphere"] == "L"]
    assert (lost["status"] == "low_tissue").mean() > 0.9
    assert (first.loc[first["hemisphere"] == "R", "status"] == "ok").all()


@pytest.mark.parametrize("format_mm", [0.2, 0.5])
def test_points_do_not_lie_in_tissue_that_a_person_excluded(study, tmp_path, format_mm):
    paths, (_, centres) = study
    centre = centres["L"]
    # the upper half of the left ball, a box on a grid of its own
    affine = regular_affine(format_mm, centre - (8, 8, 0))
    box = np.ones(np.array([16, 16, 8]) * round(1 / format_mm), np.uint8)
    volumes.write(volumes.Volume(box, affine), tmp_path / "exclusion.nii.gz")
    midline.run(
        brain="B01", params=PARAMS, **paths | {"exclusion": [tmp_path / "exclusion.nii.gz"]}
    )
    points = tables.read(tables.MidlineRow, paths["midline"])
    s_mm = -points["y_stack_um"] / 1000
    above = (points["hemisphere"] == "L") & (s_mm > centre[2] + format_mm)
    assert above.sum() > 10 and not (points.loc[above, "status"] == "ok").any()
    assert (points.loc[above, "status"] == "excluded").any()
    right = points["hemisphere"] == "R"
    assert (points.loc[right, "status"] == "ok").all()
    # the border of what was excluded is not a pial surface: depth is that of the whole ring
    below = (points["hemisphere"] == "L") & (s_mm < centre[2] - 0.7) & (points["status"] == "ok")
    assert below.sum() > 10
    assert np.abs(points.loc[below, "depth"] - 0.5).max() < 0.01
    radius = np.sqrt(
        (points["x_stack_um"] / 1000 - centre[0]) ** 2
        + (s_mm - centre[2]) ** 2
        + (points["z_stack_um"] / 1000) ** 2
    )
    assert np.abs(radius[below] - BALL_MIDDLE_MM).max() < 0.15


def test_a_point_that_has_moved_as_far_as_it_may_is_kept_only_if_asked():
    labels, middle = annulus()
    start = ring(INNER + 1, middle)
    returned = refine(labels, start, "laplacian", 2.0)
    kept = refine(labels, start, "laplacian", 2.0, keep_moved=True)
    assert not returned.reached.any() and (returned.points_px == start).all()
    assert kept.reached.all()
    moved = np.linalg.norm(kept.points_px - start, axis=1)
    assert moved == pytest.approx(2.0, abs=0.05)
