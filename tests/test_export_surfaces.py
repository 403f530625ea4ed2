"""Format `gifti`, read by nilearn and nibabel and compared with the formulas of two spheres."""

from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import networkx
import nibabel as nib
import numpy as np
import pytest
from export_study import AREAS, BORDER_MM, RIM_MM, area_of, to_template_affine
from nilearn import plotting, surface
from shell_study import BALL, CENTRES, HALF_MM, MIDDLE_MM, PIAL_MM, WHITE_MM, ball, template_of

from cytopipe import __main__ as command_line
from cytopipe import open_study
from cytopipe.export.gifti import to_template
from cytopipe.formats import tables, transforms
from cytopipe.formats.surfaces import Surface
from cytopipe.numerics.geometry import stack_to_ras
from cytopipe.numerics.meshes import vertex_normals
from cytopipe.study.nearest_point import default_reach_mm, nearest_on_surface

EDGE_MM = float(
    np.linalg.norm(BALL.vertices[BALL.faces[:, 0]] - BALL.vertices[BALL.faces[:, 1]], axis=1).max()
    * MIDDLE_MM
)


@pytest.fixture(scope="module")
def exported(shell_study_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("gifti") / "out"
    options = ["--format", "gifti", "--run", "plain", "--clusters", "2", "--components", "2"]
    arguments = ["--study", str(shell_study_folder), "--brain", "B01", "--to", str(to)]
    assert command_line.main(["export", *arguments, *options]) == 0
    return to / "B01"


def arcs_mm(study: Path, hemisphere: str) -> tuple[np.ndarray, np.ndarray]:
    """Distance on the sphere from each vertex to each usable point, and the points' areas."""
    brain = open_study(study).brain("B01")
    own = brain.usable & (brain.points["hemisphere"] == hemisphere).to_numpy(bool)
    towards = (brain.stack_mm[own] - CENTRES[hemisphere]) / HALF_MM
    cosine = np.clip(BALL.vertices @ towards.T, -1, 1)
    return MIDDLE_MM * np.arccos(cosine), brain.points["area"].to_numpy(str)[own]


@pytest.mark.parametrize("hemisphere", ["L", "R"])
def test_surfaces_lie_where_the_formulas_say(exported: Path, hemisphere: str) -> None:
    stem = f"{exported}/B01_hemi-{hemisphere}_space"
    in_stack = surface.load_surf_mesh(f"{stem}-stack_midthickness.surf.gii")
    there = surface.load_surf_mesh(f"{stem}-shells_midthickness.surf.gii")
    truth = ball(hemisphere, MIDDLE_MM)
    np.testing.assert_allclose(in_stack.coordinates, truth.vertices, atol=1e-5)
    np.testing.assert_allclose(there.coordinates, template_of(truth.vertices), atol=1e-4)
    np.testing.assert_array_equal(there.faces, truth.faces)
    # left is left
    assert (in_stack.coordinates[:, 0] < 0).all() == (hemisphere == "L")
    assert np.sign(there.coordinates[:, 0].mean()) == (-1 if hemisphere == "L" else 1)
    # normals still point outwards
    outwards = there.coordinates - there.coordinates.mean(axis=0)
    normals = vertex_normals(there.coordinates, there.faces)
    assert ((outwards * normals).sum(axis=1) > 0).all()


@pytest.mark.parametrize(("hemisphere", "structure"), [("L", "CortexLeft"), ("R", "CortexRight")])
def test_every_file_names_its_structure_and_scanner_space(
    exported: Path, hemisphere: str, structure: str
) -> None:
    files = sorted(exported.glob(f"*hemi-{hemisphere}*.gii"))
    assert len(files) == 20
    for path in files:
        image = nib.load(path)
        assert image.meta["AnatomicalStructurePrimary"] == structure
        assert len(image.darrays) == (2 if path.name.endswith("surf.gii") else 1)
        assert image.darrays[0].data.shape[0] == len(BALL.vertices)
        if path.name.endswith("surf.gii"):
            # FreeView reads only these coordinates as RAS
            spaces = [node.text for node in ElementTree.parse(path).iter("DataSpace")]
            assert spaces[0] == "NIFTI_XFORM_SCANNER_ANAT"
            assert image.darrays[0].meta["AnatomicalStructureSecondary"] == "MidThickness"


@pytest.mark.parametrize("hemisphere", ["L", "R"])
def test_areas_extend_as_far_as_points_reach(
    exported: Path, shell_study_folder: Path, hemisphere: str
) -> None:
    arc_mm, areas = arcs_mm(shell_study_folder, hemisphere)
    reach_mm = default_reach_mm(open_study(shell_study_folder).brain("B01"))
    assert reach_mm == pytest.approx(2.0 / 2 + 2.0)
    path = exported / f"B01_hemi-{hemisphere}_areas.label.gii"
    keys = surface.load_surf_data(str(path))
    distance_mm = surface.load_surf_data(str(path).replace("areas.label", "distance.shape"))
    nearest_mm = arc_mm.min(axis=1)
    assert np.isnan(distance_mm[nearest_mm > reach_mm]).all()
    # paths along edges are up to a sixth longer than the arc, and may start an edge away
    assert np.isfinite(distance_mm[1.16 * nearest_mm + EDGE_MM < reach_mm]).all()
    assert (nearest_mm > reach_mm).sum() > 10 and (keys[np.isnan(distance_mm)] == 0).all()
    reached = np.isfinite(distance_mm)
    # along the surface, plus the distance from the points' sphere
    assert (distance_mm[reached] > nearest_mm[reached] - 0.05).all()
    names = nib.load(path).labeltable.get_labels_as_dict()
    # well inside an area, no point of another area is within reach
    along = ball(hemisphere, MIDDLE_MM).vertices[:, 1]
    inside = reached & (np.abs(along - BORDER_MM) > reach_mm) & (np.abs(along - RIM_MM) > reach_mm)
    expected = area_of(ball(hemisphere, MIDDLE_MM).vertices[inside])
    assert {*expected.tolist()} >= set(AREAS)
    assigned = np.array([names[key] for key in keys[inside].tolist()])
    np.testing.assert_array_equal(assigned, np.where(expected == "", "???", expected))
    # at a border, each vertex has the area of a point that is nearly the nearest
    best = np.stack([arc_mm[:, areas == name].min(axis=1) for name in AREAS], axis=1)
    for number, name in enumerate(AREAS):
        chosen = np.array([names[key] == name for key in keys.tolist()])
        assert (best[chosen, number] < nearest_mm[chosen] * 1.16 + EDGE_MM).all()


def test_labels_have_distinct_colours_and_unknown_has_none(exported: Path) -> None:
    table = nib.load(exported / "B01_hemi-L_areas.label.gii").labeltable
    assert [(label.key, label.label) for label in table.labels] == [
        (0, "???"), (1, "front"), (2, "back"),
    ]  # fmt: skip
    assert table.labels[0].rgba[3] == 0
    assert len({label.rgba for label in table.labels}) == 3
    other = nib.load(exported / "B01_hemi-R_areas.label.gii").labeltable
    assert [label.rgba for label in other.labels] == [label.rgba for label in table.labels]


def test_maps_contain_the_values_of_the_points(exported: Path) -> None:
    expected = {
        "thickness": PIAL_MM - WHITE_MM,
        "curvature": 1 / MIDDLE_MM,
        "depth": 0.5,
    }
    for name, value in expected.items():
        values = surface.load_surf_data(f"{exported}/B01_hemi-L_{name}.shape.gii")
        known = np.isfinite(values)
        assert known.mean() > 0.9
        np.testing.assert_allclose(values[known], value, atol=1e-6)


def test_features_clusters_and_predictions_of_a_run(exported: Path) -> None:
    truth = area_of(ball("L", MIDDLE_MM).vertices)
    along = ball("L", MIDDLE_MM).vertices[:, 1]
    clear = (np.abs(along - BORDER_MM) > 3.5) & (np.abs(along - RIM_MM) > 3.5)
    for hemisphere in "LR":
        stem = f"{exported}/B01_hemi-{hemisphere}_run-plain"
        component = surface.load_surf_data(f"{stem}_component1.shape.gii")
        clusters = surface.load_surf_data(f"{stem}_clusters.label.gii")
        known = np.isfinite(component) & clear
        # the features differ by 10 along one axis, with a positive weight
        front = known & (truth == "front")
        back = known & (truth != "front")
        assert component[front].min() > 2 and component[back].max() < -2
        assert component[front].mean() - component[back].mean() == pytest.approx(10, abs=0.1)
        assert len(set(clusters[front])) == 1 and len(set(clusters[back])) == 1
        assert set(clusters[known]) == {1, 2}
        assert (clusters[~np.isfinite(component)] == 0).all()
        second = surface.load_surf_data(f"{stem}_component2.shape.gii")
        assert np.nanstd(second) < 0.2
        parcels = surface.load_surf_data(f"{stem}_parcellation.label.gii")
        for name, cluster in (("front", 2), ("back", 1)):
            assert set(parcels[known & (truth == name)]) == {cluster}
        predicted = surface.load_surf_data(f"{stem}_predicted.label.gii")
        hops = surface.load_surf_data(f"{stem}_hops.shape.gii")
        sure = surface.load_surf_data(f"{stem}_predictedprobability.shape.gii")
        right = {"L": {"front": 1, "back": 2}, "R": {"front": 2, "back": 1}}[hemisphere]
        for name, key in right.items():
            assert set(predicted[known & (truth == name) & (predicted > 0)]) == {key}
        assert set(hops[np.isfinite(hops)]) == {0.0 if hemisphere == "L" else 1.0}
        np.testing.assert_allclose(
            sure[np.isfinite(sure)], 0.9 if hemisphere == "L" else 0.6, atol=1e-6
        )


def test_the_map_and_what_is_unlike_the_training_data(exported: Path) -> None:
    """The map exchanges the areas; a point unlike the training data has a label of its own."""
    truth = area_of(ball("L", MIDDLE_MM).vertices)
    along = ball("L", MIDDLE_MM).vertices[:, 1]
    clear = (np.abs(along - BORDER_MM) > 3.5) & (np.abs(along - RIM_MM) > 3.5)
    stem = f"{exported}/B01_hemi-L_"
    mapped = surface.load_surf_data(f"{stem}map.label.gii")
    names = {label.key: label.label for label in nib.load(f"{stem}map.label.gii").labeltable.labels}
    assert names == {0: "???", 1: "front", 2: "back", 3: "unlike the training data"}
    novelty = surface.load_surf_data(f"{stem}mapnovelty.shape.gii")
    foreign = novelty > 1
    assert foreign.any() and set(mapped[foreign]) == {3}
    judged = clear & (novelty < 1)
    assert set(mapped[judged & (truth == "front")]) == {2}
    assert set(mapped[judged & (truth == "back")]) == {1}
    assert (mapped[np.isnan(novelty)] == 0).all()
    prediction = surface.load_surf_data(f"{stem}mapprediction.label.gii")
    assert set(prediction[judged]) == {2}
    probability = surface.load_surf_data(f"{stem}mapprobability.shape.gii")
    np.testing.assert_allclose(probability[np.isfinite(novelty)], 0.7, atol=1e-6)


def test_nilearn_draws_them(exported: Path, tmp_path: Path) -> None:
    mpl.use("Agg")
    mesh = f"{exported}/B01_hemi-L_space-shells_midthickness.surf.gii"
    for name in ("areas.label", "run-plain_clusters.label"):
        figure = plotting.plot_surf_roi(mesh, f"{exported}/B01_hemi-L_{name}.gii", hemi="left")
        figure.savefig(tmp_path / f"{name}.png")
        mpl.pyplot.close(figure)


def test_a_point_has_no_effect_on_the_opposite_bank_of_a_sulcus() -> None:
    # two banks that face each other 1 mm apart, as one mesh of two sheets
    x, y = np.meshgrid(np.arange(8.0), np.arange(8.0), indexing="ij")
    quads = [(8 * i + j, 8 * i + 8 + j, 8 * i + 9 + j, 8 * i + 1 + j)
             for i in range(7) for j in range(7)]  # fmt: skip
    up = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int32)
    sheets = [np.stack([x.ravel(), y.ravel(), np.full(64, z)], axis=1) for z in (0.0, 1.0)]
    banks = Surface(np.concatenate(sheets), np.concatenate([up, up[:, ::-1] + 64]))
    np.testing.assert_allclose(vertex_normals(banks.vertices, banks.faces)[:64], [[0, 0, 1]] * 64)
    np.testing.assert_allclose(vertex_normals(banks.vertices, banks.faces)[64:], [[0, 0, -1]] * 64)
    # a point of the lower bank that the refinement has moved nearer to the upper bank
    # a point of the lower bank that the refinement has pushed nearer to the upper one
    points, normals = np.array([[3.1, 3.0, 0.7]]), np.array([[0.0, 0.0, 1.0]])
    rows, distance_mm = nearest_on_surface(banks, points, normals, reach_mm=2.9)
    assert (rows[64:] == -1).all() and np.isnan(distance_mm[64:]).all()
    reached = rows[:64].reshape(8, 8) == 0
    assert reached[3, 3] and reached[1, 3] and not reached[0, 3] and not reached[7, 7]
    rows, _ = nearest_on_surface(banks, points, -normals, reach_mm=2.9)
    assert (rows[:64] == -1).all() and (rows[64:] == 0).any()
    rows, distance_mm = nearest_on_surface(banks, np.empty((0, 3)), np.empty((0, 3)), reach_mm=9)
    assert (rows == -1).all() and np.isnan(distance_mm).all()


def test_distances_along_the_surface_are_the_shortest(shell_study_folder: Path) -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(20, 3))
    points *= (HALF_MM / np.linalg.norm(points, axis=1))[:, None]
    mesh = Surface(MIDDLE_MM * BALL.vertices, BALL.faces)
    rows, distance_mm = nearest_on_surface(mesh, points, points / HALF_MM, reach_mm=6.0)
    graph = networkx.Graph()
    for face in mesh.faces.tolist():
        for a, b in zip(face, face[1:] + face[:1], strict=True):
            length = float(np.linalg.norm(mesh.vertices[a] - mesh.vertices[b]))
            graph.add_edge(a, b, weight=length)
    best = np.full(len(mesh.vertices), np.inf)
    chosen = np.full(len(mesh.vertices), -1)
    for number, point in enumerate(points):
        away = np.linalg.norm(mesh.vertices - point, axis=1)
        entry = int(away.argmin())
        ways = networkx.single_source_dijkstra_path_length(graph, entry, cutoff=6.0)
        for vertex, way in ways.items():
            if way + away[entry] < min(best[vertex], 6.0):
                best[vertex], chosen[vertex] = way + away[entry], number
    np.testing.assert_allclose(distance_mm, np.where(np.isinf(best), np.nan, best))
    np.testing.assert_array_equal(rows, chosen)


def test_uncovered_vertices_are_moved_by_the_affine_and_marked(
    shell_study_folder: Path, tmp_path: Path
) -> None:
    brain = open_study(shell_study_folder).brain("B01")
    # a field that covers only R < -16 and shifts by 2 mm to the right
    shape, affine = (20, 60, 60), np.eye(4)
    affine[:3, 3] = (-35.0, 0.0, -50.0)
    field = np.broadcast_to(np.array([2.0, 0, 0]), (*shape, 3))
    only = transforms.field_transform(field, affine, "B01", "shells")
    transforms.write(only, tmp_path / "field.h5")
    brain = replace(brain, files={**brain.files, "transform": tmp_path / "field.h5"})
    truth = ball("L", MIDDLE_MM)
    moved, uncovered = to_template(brain, truth)
    np.testing.assert_array_equal(uncovered, truth.vertices[:, 0] > -16)
    np.testing.assert_allclose(moved.vertices[~uncovered], truth.vertices[~uncovered] + (2, 0, 0))
    by_affine = truth.vertices @ to_template_affine()[:3, :3].T + to_template_affine()[:3, 3]
    np.testing.assert_allclose(moved.vertices[uncovered], by_affine[uncovered])


def test_normals_are_converted_to_ras_like_positions(
    shell_study_folder: Path, tmp_path: Path
) -> None:
    brain = open_study(shell_study_folder).brain("B01")
    centres = np.array([CENTRES[h] for h in brain.points["hemisphere"]])
    np.testing.assert_allclose(brain.normals, (brain.stack_mm - centres) / HALF_MM, atol=1e-6)
    stack_um = brain.points[["x_stack_um", "y_stack_um", "z_stack_um"]].to_numpy()
    np.testing.assert_allclose(brain.stack_mm, stack_to_ras(stack_um, "R"))
    # from the front, the image's right is the brain's left
    rows = [replace(row, image_right="L") for row in brain.stack]
    tables.write_rows(tables.StackRow, rows, tmp_path / "stack.parquet")
    other = replace(brain, files={**brain.files, "stack": tmp_path / "stack.parquet"})
    np.testing.assert_array_equal(other.stack_mm, brain.stack_mm * (-1, 1, 1))
    np.testing.assert_array_equal(other.normals, brain.normals * (-1, 1, 1))
