"""The phantom compared with formulas, and its truth with its images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from ball_phantom import MIDDLE_MM, PIAL_MM, WHITE_MM, ball, finer

from cytopipe.files import InputError
from cytopipe.formats import surfaces, tables, volumes
from cytopipe.formats.images import halve, open_pyramid
from cytopipe.numerics.geometry import (
    Rigid,
    mirror,
    pixels_to_section,
    ras_to_stack,
    stack_to_ras,
)
from cytopipe.numerics.slicing import plane_segments
from cytopipe.phantom import run
from cytopipe.phantom.anatomy import Hemisphere, tissue_volume
from cytopipe.phantom.bending import draw_bend
from cytopipe.phantom.brain import Brain, Template, make_brain
from cytopipe.phantom.coverage import coverage
from cytopipe.phantom.rendering import render
from cytopipe.study.config import Phantom
from cytopipe.study.sections import read_brains, read_sections


def test_a_bend_and_its_inverse_agree() -> None:
    bend = draw_bend(np.random.default_rng(1), 4.0, [50, 110], 0.04).moved_by(
        np.array([80.0, 90, -70])
    )
    points = np.random.default_rng(2).uniform(-70, 70, (500, 3))
    np.testing.assert_allclose(bend.to_template(bend.to_stack(points)), points, atol=1e-6)


def test_a_bend_moves_by_what_is_asked_and_never_folds() -> None:
    bend = draw_bend(np.random.default_rng(3), 4.0, [50, 110], 0.0)
    points = np.random.default_rng(4).uniform(-100, 100, (20000, 3))
    moved = np.sqrt(((bend.to_template(points) - points) ** 2).sum(-1).mean())
    assert 3 < moved < 5
    assert bend.jacobian(points).min() > 0.45


def test_the_jacobian_is_the_bends_derivative() -> None:
    bend = draw_bend(np.random.default_rng(5), 4.0, [50, 110], 0.04)
    point, step = np.array([10.0, -20.0, 30.0]), 1e-5
    columns = [
        (bend.to_template(point + step * axis) - bend.to_template(point - step * axis)) / (2 * step)
        for axis in np.eye(3)
    ]
    assert np.linalg.det(np.stack(columns, axis=1)) == pytest.approx(
        float(bend.jacobian(point)), rel=1e-6
    )


@pytest.mark.parametrize("flip", [1, -1])
def test_the_cut_of_a_ball_covers_a_circle(flip: int) -> None:
    surface = ball(20, (30, 31, 0), rings=100)
    segments = plane_segments(surface.vertices, surface.faces, 12.0)[:, ::flip]
    image = coverage(segments, 60, 64)
    assert image.sum() == pytest.approx(np.pi * 16**2, rel=2e-3)
    row, column = np.mgrid[:60, :64]
    radius = np.hypot(column - 30, row - 31)
    assert (image[radius < 15.2] == 1).all()
    assert (image[radius > 16.8] == 0).all()


def test_coverage_of_a_window_is_the_window_of_the_coverage() -> None:
    surface = ball(20, (30, 31, 0))
    segments = plane_segments(surface.vertices, surface.faces, 3.0)
    whole = coverage(segments, 60, 64)
    part = coverage(segments - [17, 22], 20, 30)
    np.testing.assert_allclose(part, whole[22:42, 17:47], atol=1e-5)


def test_labels_of_a_shell_follow_its_radii() -> None:
    pial, white = ball(20, (0, 0, 0), rings=100), ball(15, (0, 0, 0), rings=100)
    tissue = tissue_volume([Hemisphere("L", pial.vertices, white.vertices, pial.faces)], 1.0)
    labels = tissue.data
    radius = np.linalg.norm(tissue.to_mm(np.stack(np.indices(labels.shape), -1)), axis=-1)
    for value, where in (
        (0, radius > 20.6),
        (1, (radius > 15.6) & (radius < 19.4)),
        (2, radius < 14.4),
    ):
        assert (labels[where] == value).all()


def test_depth_in_a_shell_is_the_formula(template: Template, params: Phantom) -> None:
    still = params.model_copy(update={"bend_mm": 0.0, "bend_scale": 0.0})
    brain = make_brain("B01", template, still)
    gray = np.argwhere(brain.tissue.data == 1)
    at = brain.bend.to_template(brain.tissue.to_mm(gray))
    left = at[:, 0] < 0
    radius = np.linalg.norm(at[left] + [MIDDLE_MM, 0, 0], axis=1)
    expected = (1 / radius - 1 / PIAL_MM) / (1 / WHITE_MM - 1 / PIAL_MM)
    error = brain.depth.data[tuple(gray[left].T)] - expected
    assert abs(np.median(error)) < 0.01
    assert np.percentile(np.abs(error), 95) < 0.08


def rows_of(study: Path) -> pd.DataFrame:
    return tables.read(tables.TruthSectionRow, study / "truth" / "B01" / "sections.parquet")


def test_the_study_is_one_a_lab_could_have(study: Path, params: Phantom) -> None:
    sheet = read_sections(study / "config" / "sections.tsv", ["B01"])
    assert read_brains(study / "config" / "brains.tsv") == {"B01": "seen"}
    truth = rows_of(study).set_index("section")
    assert truth["condition"].value_counts().to_dict() == {
        "good": len(truth) - 4,
        "torn": 1,
        "blank": 1,
        "dirty": 1,
        "missing": 1,
    }
    assert truth["mirrored"].sum() == 1
    assert sorted(s.section for s in sheet) == sorted(truth.index[truth["condition"] != "missing"])
    for section in sheet:
        with open_pyramid(study / section.image, section.spacing_um) as pyramid:
            assert [level.spacing_um for level in pyramid.levels] == [256, 512]
            row = truth.loc[section.section]
            assert (pyramid.levels[0].width - 1) * 256 == row["width_um"]
            assert (pyramid.levels[0].height - 1) * 256 == row["height_um"]


@pytest.mark.parametrize("mirrored", [False, True])
def test_what_the_scan_shows_lies_where_the_truth_says(study: Path, mirrored: bool) -> None:
    """The middle of the tissue in the IMAGE, carried to the stack, is that of the cut surface."""
    rows = rows_of(study)
    chosen = rows[(rows["condition"] == "good") & (rows["mirrored"] == mirrored)]
    row = chosen.iloc[len(chosen) // 2]
    image = tifffile.imread(study / "images" / "B01" / f"B01_{row.section:05d}.ome.tif")
    scanned = np.argwhere(image < 212)[:, ::-1].mean(0)
    point = pixels_to_section(scanned, 256, 256)
    if mirrored:
        point = mirror(point, row.width_um)
    point = Rigid(row.angle_rad, row.x_um, row.y_um, "section", "stack")(point)
    # moments of the surfaces' polygons, by Green's theorem
    area, moment = 0.0, np.zeros(2)
    for side in "LR":
        surface = surfaces.read(study / "truth" / "B01" / f"hemi-{side}_pial.surf.gii")
        for a, b in plane_segments(ras_to_stack(surface.vertices, "R"), surface.faces, row.z_um):
            cross = a[0] * b[1] - a[1] * b[0]
            area += cross / 2
            moment += cross * (a + b) / 6
    np.testing.assert_allclose(point, moment / area, atol=130)


def test_pages_are_on_the_grid_of_the_scan(study: Path) -> None:
    rows = rows_of(study)
    for row in rows[rows["condition"] == "good"].iloc[4:-4].itertuples():
        image = tifffile.imread(study / "images" / "B01" / f"B01_{row.section:05d}.ome.tif")
        labels = tifffile.imread(study / "truth" / "B01" / f"{row.section:05d}.tif", key=0)
        small = halve(image)
        assert labels.shape == small.shape
        assert small[labels == 0].mean() > 215 > 200 > small[labels > 0].mean()
        assert small[labels == 2].mean() > small[labels == 1].mean() + 20


def test_layers_and_areas_fill_the_gray_matter(study: Path, params: Phantom) -> None:
    rows = rows_of(study)
    row = rows[rows["condition"] == "good"].iloc[5]
    path = study / "truth" / "B01" / f"{row.section:05d}.tif"
    labels, area, layer, depth = (tifffile.imread(path, key=page) for page in range(4))
    gray = labels == 1
    assert ((layer > 0) == gray).all()
    assert (np.isfinite(depth) == gray).all()
    assert set(np.unique(layer[gray])) == {1, 2, 3, 4, 5, 6}
    assert (area[gray] > 0).mean() > 0.99
    assert set(np.unique(area)) <= set(range(2 * params.areas + 1))
    # deeper layers have larger depths
    means = [depth[layer == number].astype(float).mean() for number in range(1, 7)]
    assert (np.diff(means) > 0).all()


def test_left_is_left_unless_the_scan_is_mirrored(study: Path, params: Phantom) -> None:
    rows = rows_of(study)
    for row in rows[rows["condition"] == "good"].iloc[6:-6].itertuples():
        area = tifffile.imread(study / "truth" / "B01" / f"{row.section:05d}.tif", key=1)
        left = np.nonzero((area > 0) & (area <= params.areas))[1].mean()
        right = np.nonzero(area > params.areas)[1].mean()
        assert (left < right) != row.mirrored


def test_coordinate_pages_are_the_formula_of_the_bend(study: Path, brain: Brain) -> None:
    rows = rows_of(study)
    row = rows[rows["mirrored"]].iloc[0]
    pages = tifffile.imread(study / "truth" / "B01" / f"coordinates-{row.section:05d}.tif")
    assert np.isfinite(pages).all()
    # between four nodes
    pixel = np.array([20.5, 30.5])
    page_mm = pages[:, 30:32, 20:22].mean((1, 2))
    point = mirror(pixels_to_section(pixel, 1024, 256), row.width_um)
    point = Rigid(row.angle_rad, row.x_um, row.y_um, "section", "stack")(point)
    expected = brain.bend.to_template(stack_to_ras(np.append(point, row.z_um), "R"))
    np.testing.assert_allclose(page_mm, expected, atol=0.01)


def test_the_volumes_of_the_truth_are_its_surfaces(study: Path) -> None:
    tissue = volumes.read(study / "truth" / "B01" / "tissue.nii.gz")
    depth = volumes.read(study / "truth" / "B01" / "depth.nii.gz")
    for side in "LR":
        mid = surfaces.read(study / "truth" / "B01" / f"hemi-{side}_mid.surf.gii").vertices
        at = tuple(np.round(tissue.to_indices(mid)).astype(int).T)
        assert (tissue.data[at] == 1).mean() > 0.99
        assert np.nanmedian(depth.data[at]) == pytest.approx(0.5, abs=0.1)
    assert (np.isfinite(depth.data) == (tissue.data == 1)).all()


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_the_same_seed_gives_the_same_bytes(study: Path, params: Phantom, tmp_path: Path) -> None:
    run(study=tmp_path, params=params)
    first, second = bytes_of(study), bytes_of(tmp_path)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_a_second_run_does_nothing_and_other_values_are_refused(
    study: Path, params: Phantom
) -> None:
    before = (study / "truth" / "truth.yaml").stat().st_mtime_ns
    run(study=study, params=params.model_copy(update={"workers": 7}))
    assert (study / "truth" / "truth.yaml").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="other parameters"):
        run(study=study, params=params.model_copy(update={"seed": 99}))


@pytest.mark.parametrize("spacing_um", [64.0, 4.0])
def test_a_window_is_the_same_however_it_is_rendered(
    brain: Brain, template: Template, spacing_um: float
) -> None:
    brain, section = finer(brain, spacing_um)
    row, column = section.rows // 2, section.columns // 3
    whole = render(brain, template, section, row, column, 200, 240)
    part = render(brain, template, section, row + 70, column + 90, 50, 60)
    difference = np.abs(part.astype(int) - whole[70:120, 90:150])
    # coordinates are interpolated between nodes that differ: rounding may, cells may not
    assert difference.max() <= 2
    assert (difference > 0).mean() < 0.05


def test_half_the_spacing_agrees_on_average(brain: Brain, template: Template) -> None:
    coarse_brain, coarse = finer(brain, 128.0)
    fine_brain, fine = finer(brain, 64.0)
    size = (coarse.rows // 2, coarse.columns // 2)
    a = render(coarse_brain, template, coarse, 0, 0, *size).astype(float)
    b = halve(render(fine_brain, template, fine, 0, 0, 2 * size[0], 2 * size[1])).astype(float)
    tissue = b < 200
    assert tissue.mean() > 0.1
    assert a[tissue].mean() == pytest.approx(b[tissue].mean(), abs=0.7)
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.97


def test_drawn_and_counted_cells_have_the_same_mean_and_variance(
    brain: Brain, template: Template
) -> None:
    drawn_brain, fine = finer(brain, 4.0, cells_below_um=4)
    counted_brain, coarse = finer(brain, 64.0, cells_below_um=4)
    row, column = coarse.rows // 2 - 40, coarse.columns // 4
    counted = render(counted_brain, template, coarse, row, column, 40, 60).astype(float)
    drawn = render(drawn_brain, template, fine, 16 * row, 16 * column, 640, 960).astype(float)
    drawn = drawn.reshape(40, 16, 60, 16).mean((1, 3))
    assert counted.min() < 150
    assert counted.mean() == pytest.approx(drawn.mean(), abs=1.5)
    # the same anatomy, independent cells: neighbours' differences hold the noise alone
    noise = [np.diff(image, axis=1)[:, ::2].std() for image in (counted, drawn)]
    assert noise[0] == pytest.approx(noise[1], rel=0.25)
