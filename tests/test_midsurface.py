"""Hemispheres and mid-surfaces of solids with a formula for depth and thickness."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cytopipe import midsurface
from cytopipe.files import InputError
from cytopipe.formats import surfaces, tables, volumes
from cytopipe.midline.surface_cuts import Hemisphere, cut_hemispheres
from cytopipe.midsurface import alarms, hemispheres
from cytopipe.numerics import meshes
from cytopipe.study.config import Midsurface
from cytopipe.study.declarations import Hemispheres

VOXEL_MM = 0.5
INNER_MM, OUTER_MM = 5.0, 8.0
CENTRE_MM = {"L": np.array([-7.2, 30.1, -20.3]), "R": np.array([9.9, 30.1, -20.3])}
PARAMS = Midsurface(
    band=0.3,
    callosum=0.3,
    clear_mm=6.0,
    symmetry_mm=1.0,
    widest_bridge=0.6,
    laplace_tolerance=5e-4,
    poisson_depth=6,
    edge_mm=VOXEL_MM,
    remesh_iterations=8,
    farthest_mm=6.0,
    smoothing_rounds=2,
    white_lining=0.5,
    white_around=0.5,
    mend_cortex=True,
    open_sulci=False,
    sulcus_share=0.65,
    sheet_evidence=1.15,
    sulcus_fall=0.4,
    usual_thickness_mm=10.0,
    pocket_mm3=2.0,
    fairing_rounds=10,
    lost_mm=3.0,
    most_buried=0.005,
    most_missed=0.001,
    most_lost=0.02,
    most_unassigned=0.005,
)


def two_balls(callosum: bool) -> tuple[volumes.Volume, np.ndarray]:
    """Two shells of cortex around white matter, 1.1 mm apart, and the true hemispheres."""
    origin = np.array([-17.0, 20.0, -30.0])
    affine = volumes.regular_affine(VOXEL_MM, origin)
    empty = volumes.Volume(np.zeros((76, 41, 41), np.uint8), affine)
    points = empty.to_mm(np.moveaxis(np.indices(empty.data.shape), 0, -1))
    radius = {side: np.linalg.norm(points - centre, axis=-1) for side, centre in CENTRE_MM.items()}
    labels = empty.data
    for r in radius.values():
        labels[r < OUTER_MM] = 1
    if callosum:
        middle = (CENTRE_MM["L"] + CENTRE_MM["R"]) / 2
        beam = (np.abs(points[..., 0] - middle[0]) < 5) & (
            np.linalg.norm((points - middle)[..., 1:], axis=-1) < 1.5
        )
        labels[beam] = 2
    for r in radius.values():
        labels[r < INNER_MM] = 2
    return empty, np.where(labels > 0, np.where(radius["L"] < radius["R"], 1, 2), 0)


def run(
    folder: Path,
    tissue: volumes.Volume,
    params: Midsurface = PARAMS,
    supplied: list[Path] | None = None,
    workers: int = 1,
    declared: Hemispheres = "",
) -> None:
    volumes.write(tissue, folder / "tissue.nii.gz")
    midsurface.run(
        brain="B1",
        tissue=folder / "tissue.nii.gz",
        supplied_surfaces=supplied or [],
        depth=folder / "depth.nii.gz",
        hemispheres=folder / "hemispheres.nii.gz",
        surfaces={side: folder / f"{side}.surf.gii" for side in "LR"},
        thickness={side: folder / f"{side}_thickness.shape.gii" for side in "LR"},
        curvature={side: folder / f"{side}_curvature.shape.gii" for side in "LR"},
        table=folder / "surfaces.parquet",
        workers=workers,
        declared_hemispheres=declared,
        params=params,
    )


@pytest.fixture(scope="module")
def shells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results for two separate shells."""
    folder = tmp_path_factory.mktemp("shells")
    run(folder, two_balls(callosum=False)[0])
    return folder


@pytest.mark.parametrize("side", ["L", "R"])
def test_surface_of_a_shell_lies_at_the_harmonic_middle(shells: Path, side: str) -> None:
    surface = surfaces.read(shells / f"{side}.surf.gii")
    middle_mm = 2 * INNER_MM * OUTER_MM / (INNER_MM + OUTER_MM)
    radius = np.linalg.norm(surface.vertices - CENTRE_MM[side], axis=1)
    assert np.percentile(np.abs(radius - middle_mm), 95) < 0.2 * VOXEL_MM
    outwards = surface.vertices - CENTRE_MM[side]
    normals = meshes.vertex_normals(surface.vertices, surface.faces)
    assert ((outwards * normals).sum(1) > 0.8 * radius).all()


@pytest.mark.parametrize("side", ["L", "R"])
def test_thickness_and_curvature_of_a_shell(shells: Path, side: str) -> None:
    thickness = surfaces.read_map(shells / f"{side}_thickness.shape.gii")
    assert np.median(thickness) == pytest.approx(OUTER_MM - INNER_MM, rel=0.05)
    assert (np.abs(thickness / (OUTER_MM - INNER_MM) - 1) < 0.1).mean() > 0.95
    curvature = surfaces.read_map(shells / f"{side}_curvature.shape.gii")
    middle_mm = 2 * INNER_MM * OUTER_MM / (INNER_MM + OUTER_MM)
    assert np.median(curvature) == pytest.approx(1 / middle_mm, rel=0.1)


def test_the_table_describes_the_files(shells: Path) -> None:
    table = tables.read(tables.SurfaceRow, shells / "surfaces.parquet")
    assert list(table.hemisphere) == ["L", "R"]
    assert (table.status == "ok").all() and table.manifold.all()
    assert (table.euler == 2).all() and (table.components == 1).all()
    assert (table.edge_in_range > 0.9).all()
    assert np.allclose(table.edge_median_mm, VOXEL_MM, rtol=0.1)
    for row in table.itertuples():
        surface = surfaces.read(shells / f"{row.hemisphere}.surf.gii")
        assert len(surface.vertices) == row.vertices
        assert meshes.is_closed_manifold(surface.faces)


def test_depth_is_nan_outside_the_cortex(shells: Path) -> None:
    depth, tissue = volumes.read(shells / "depth.nii.gz"), two_balls(callosum=False)[0]
    cortex = tissue.data == 1
    assert np.allclose(depth.affine, tissue.affine)
    assert np.isnan(depth.data[~cortex]).all()
    assert (depth.data[cortex] > 0).all() and (depth.data[cortex] < 1).all()


def test_hemispheres_joined_by_white_matter_are_separated(tmp_path: Path) -> None:
    tissue, truth = two_balls(callosum=True)
    run(tmp_path, tissue)
    sides = volumes.read(tmp_path / "hemispheres.nii.gz").data
    assert ((sides > 0) == (truth > 0)).all()
    assert (sides != truth).sum() < 0.005 * (truth > 0).sum()
    table = tables.read(tables.SurfaceRow, tmp_path / "surfaces.parquet")
    assert (table.euler == 2).all() and (table.status == "ok").all()


def test_touching_hemispheres_of_a_turned_brain() -> None:
    """Two fused ellipsoids, turned by 20 degrees, whose fissure is shallow."""
    size, centre, angle = 60, np.array([29.3, 30.4, 28.7]), np.deg2rad(20)
    i, j, k = np.indices((size,) * 3) - centre[:, None, None, None]
    across, up = np.cos(angle) * i + np.sin(angle) * k, -np.sin(angle) * i + np.cos(angle) * k
    labels = np.zeros((size,) * 3, np.uint8)
    for side in (-1, 1):
        squared = ((across - 8.5 * side) / 9) ** 2 + (j / 22) ** 2 + (up / 14) ** 2
        labels[squared < 1] = np.maximum(labels[squared < 1], 1)
        labels[squared < 0.5] = 2
    volume = volumes.Volume(labels, volumes.regular_affine(1.0, np.array([-100.0, 5, 40])))
    plane = hemispheres.symmetry_plane(volume, 60.0)
    assert np.degrees(np.arccos(plane.normal @ [np.cos(angle), 0, np.sin(angle)])) < 1
    assert abs(plane.normal @ volume.to_mm(centre) - plane.offset_mm) < 0.5
    sides = hemispheres.separate(volume, PARAMS).sides
    wrong = (sides != np.where(across < 0, 1, 2)) & (labels > 0)
    assert wrong.sum() < 0.01 * (labels > 0).sum()


def test_the_border_follows_a_pole_across_the_plane() -> None:
    """Two half brains that touch and are bent, so that both poles of the left one swing 9 mm."""
    i, j, k = np.indices((90, 110, 50), np.float32) - np.array([44.5, 55, 25])[:, None, None, None]
    bent = i - 9 * np.clip((abs(j) - 15) / 30, 0, 1)
    labels = np.zeros(i.shape, np.uint8)
    for side in (-1, 1):
        squared = ((bent - 16.5 * side) / 17) ** 2 + (j / 50) ** 2 + (k / 20) ** 2
        labels[squared < 1] = np.maximum(labels[squared < 1], 1)
        labels[squared < 0.7] = 2
    labels[(abs(bent) < 8) & (abs(j) < 8) & (abs(k) < 3)] = 2
    volume = volumes.Volume(labels, volumes.regular_affine(1.0, np.zeros(3)))
    plane = hemispheres.symmetry_plane(volume, 15.0)
    truth = np.where(labels == 0, 0, np.where(bent < 0, 1, 2))
    crossing = (np.sign(plane.distances(volume)) != np.sign(bent)) & (labels > 0)
    assert crossing.sum() > 0.006 * (labels > 0).sum()
    params = PARAMS.model_copy(update={"band": 0.4})
    wrong = hemispheres.separate(volume, params).sides != truth
    assert wrong.sum() < 0.003 * (labels > 0).sum()


def above_a_callosum() -> tuple[volumes.Volume, np.ndarray]:
    """Two hemispheres whose callosum bulges up between the gyri above it, and the true sides.

    The bulge touches the outer face of both gyri and joins the right hemisphere by a thinner neck
    than the left one.
    """
    i, j, k = np.indices((90, 60, 50), np.float32) - np.array([44.5, 29.5, 20])[:, None, None, None]
    labels = np.zeros(i.shape, np.uint8)
    lateral = (abs(i) / 40) ** 2 + (j / 26) ** 2 + (k / 18) ** 2
    labels[(lateral < 1) & (abs(i) > 3)] = 1
    labels[(lateral < 0.75) & (abs(i) > 6)] = 2
    along = abs(j) < 14
    labels[along & (abs(i) < 14) & (k > -8) & (k < 8)] = 0
    # the gyri: white matter below 3 mm of cortex
    labels[along & (abs(i) >= 3) & (abs(i) < 14) & (k >= -1) & (k < 8)] = 1
    labels[along & (abs(i) >= 6) & (abs(i) < 14) & (k >= 2) & (k < 8)] = 2
    # the callosum: from side to side, thin at the right, and its bulge
    labels[along & (abs(i) < 14) & (k >= -6) & (k < -1)] = 2
    labels[along & (i >= 4) & (i < 8) & (k < -4) & (k >= -6)] = 0
    labels[along & (abs(i) < 3) & (k >= -6) & (k < 5)] = 2
    return volumes.Volume(labels, volumes.regular_affine(1.0, np.zeros(3))), np.where(i < 0, 1, 2)


def test_gyri_above_the_callosum_go_to_their_own_hemisphere() -> None:
    """The narrowest neck of the white matter is at the right, beside the middle."""
    volume, sides = above_a_callosum()
    gray = volume.data == 1
    wrong = gray & (hemispheres.separate(volume, PARAMS).sides != sides)
    assert wrong.sum() < 0.001 * gray.sum()


@pytest.mark.parametrize("side", [1, 2])
def test_the_callosum_is_outside_the_gyri_above_it(side: int) -> None:
    """Depth rises from the bulge to the white matter of the gyrus, over 3 mm of cortex."""
    volume, _ = above_a_callosum()
    division = hemispheres.separate(volume, PARAMS)
    own = division.sides == side
    field, *_ = midsurface.hemisphere_depth(volume, own, division.callosum, PARAMS)
    outwards = np.array([-1 if side == 1 else 1, 0, 0])
    across = np.array([44.5, 29, 23.5]) + outwards * np.array([[3.5], [4.5], [5.5]])
    row = np.rint(field.to_indices(volume.to_mm(across))).astype(int)
    np.testing.assert_allclose(field.data[tuple(row.T)], [1 / 6, 1 / 2, 5 / 6], atol=0.06)


def test_gray_matter_on_the_callosum_alone_belongs_to_no_hemisphere() -> None:
    volume, sides = above_a_callosum()
    strand = np.zeros(volume.data.shape, bool)
    strand[44:46, 20:40, 10:14] = True
    volume.data[strand] = 1
    divided = hemispheres.separate(volume, PARAMS.model_copy(update={"clear_mm": 2.0})).sides
    assert (divided[strand] == 0).all()
    gray = (volume.data == 1) & ~strand
    assert (gray & (divided != sides)).sum() < 0.001 * gray.sum()


def test_one_hemisphere_is_never_cut_in_two(tmp_path: Path) -> None:
    tissue, truth = two_balls(callosum=False)
    one = volumes.Volume(np.where(truth == 2, tissue.data, 0).astype(np.uint8), tissue.affine)
    with pytest.raises(
        InputError, match=r"tissue\.nii\.gz: the two halves.*one hemisphere.*brains"
    ):
        run(tmp_path, one)
    run(tmp_path, one, declared="right")
    left, right = tables.read_rows(tables.SurfaceRow, tmp_path / "surfaces.parquet")
    assert left.is_absent and not left.vertices
    assert right.status == "ok" and right.unassigned_mm3 == 0
    assert surfaces.read(tmp_path / "L.surf.gii").is_empty
    assert surfaces.read_map(tmp_path / "L_thickness.shape.gii").size == 0
    sides = volumes.read(tmp_path / "hemispheres.nii.gz").data
    assert np.array_equal(sides, np.where(one.data > 0, 2, 0))
    maps = {
        side: Hemisphere(
            surfaces.read(tmp_path / f"{side}.surf.gii"),
            *(
                surfaces.read_map(tmp_path / f"{side}_{name}.shape.gii")
                for name in ("thickness", "curvature")
            ),
        )
        for side in "LR"
    }
    (cut,) = cut_hemispheres(maps, np.array([CENTRE_MM["R"][1] * 1000]), "R", 1.0)
    assert set(cut.hemisphere) == {"R"}


def test_handles_of_the_tissue_are_cut(tmp_path: Path) -> None:
    """A tunnel through one ball, an arch of cortex and white matter on the other."""
    tissue, _ = two_balls(callosum=False)
    left = np.rint(tissue.to_indices(CENTRE_MM["L"])).astype(int)
    right = np.rint(tissue.to_indices(CENTRE_MM["R"])).astype(int)
    tissue.data[left[0] : left[0] + 4, :, left[2] - 4 : left[2] - 1] = 0
    arch = (slice(right[0] - 2, right[0] + 3), slice(right[1] - 4, right[1] + 5))
    tissue.data[(*arch, slice(right[2] - 19, right[2] - 12))] = 2
    tissue.data[(*arch, slice(right[2] - 17, right[2] - 14))][:, 2:-2] = 0
    # with the usual values, both holes would be filled before the topology is looked at
    keep = {"white_around": 1.0, "mend_cortex": False}
    run(tmp_path, tissue, PARAMS.model_copy(update=keep))
    table = tables.read(tables.SurfaceRow, tmp_path / "surfaces.parquet")
    assert (table.euler_before < 2).all()
    assert (table.voxels_removed + table.voxels_added > 0).all()
    assert (table.euler == 2).all() and table.manifold.all() and (table.components == 1).all()


def test_poisson_reconstruction_is_skipped_if_it_breaks_the_surface(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tissue, truth = two_balls(callosum=False)
    depth, *_ = midsurface.hemisphere_depth(tissue, truth == 1, truth < 0, PARAMS)

    def torus(*_: object) -> tuple[np.ndarray, np.ndarray]:
        i, j, k = np.indices((40, 40, 16)) - 7.3 - np.array([12, 12, 0])[:, None, None, None]
        field = np.clip(0.5 + (4 - np.hypot(np.hypot(i, j) - 11, k)) / 8, 0, 1)
        return meshes.marching_cubes(field.astype(np.float32), 0.5)

    monkeypatch.setattr(meshes, "poisson", torus)
    surface = midsurface.midsurface(depth, PARAMS)
    assert "without Poisson" in surface.status
    assert meshes.euler_number(surface.faces) == 2
    radius = np.linalg.norm(surface.vertices - CENTRE_MM["L"], axis=1)
    assert np.abs(radius - 2 * 5 * 8 / 13).max() < VOXEL_MM


def test_a_closed_pocket_stays_a_sulcus(tmp_path: Path) -> None:
    """A sulcus whose mouth is closed: the mid-surface follows its walls, and it stays a sphere."""
    tissue, _ = two_balls(callosum=False)
    mm = tissue.to_mm(np.moveaxis(np.indices(tissue.data.shape), 0, -1)) - CENTRE_MM["L"]
    below = np.maximum(-mm[..., 2], 0)
    to_slit = np.hypot(mm[..., 0], below)
    inside = np.linalg.norm(mm, axis=-1) < OUTER_MM
    tissue.data[inside & (to_slit < 2.5)] = 1
    tissue.data[(np.linalg.norm(mm, axis=-1) < 6.5) & (to_slit < 0.6)] = 0
    run(tmp_path, tissue)
    row = tables.read_rows(tables.SurfaceRow, tmp_path / "surfaces.parquet")[0]
    assert row.euler == 2 and row.buried_share < 0.002
    vertices = surfaces.read(tmp_path / "L.surf.gii").vertices - CENTRE_MM["L"]
    wall = (abs(vertices[:, 2] - 2) < 1.5) & (abs(vertices[:, 1]) < 2) & (abs(vertices[:, 0]) < 3)
    assert wall.any()


def test_gray_matter_without_a_surface_raises_an_alarm(shells: Path) -> None:
    depth, tissue = volumes.read(shells / "depth.nii.gz"), two_balls(callosum=False)[0]
    vertices = surfaces.read(shells / "L.surf.gii").vertices
    gray = (tissue.data == 1) & (np.arange(tissue.data.shape[0]) < 38)[:, None, None]
    whole = alarms.lost_cortex(gray, depth, vertices, 3.0)
    assert whole == alarms.LostCortex(0.0, 0.0, 0.0, "")
    upper = vertices[vertices[:, 2] > CENTRE_MM["L"][2] - 2]
    half = alarms.lost_cortex(gray, depth, upper, 3.0)
    assert 0.03 < half.buried_share < half.share < 0.5
    size, place = half.places.split(" mm3 ", 1)
    assert float(size) == pytest.approx(half.share * gray.sum() * VOXEL_MM**3, rel=0.1)
    assert "at R -7 A 30 S -28" in place
    row = tables.read_rows(tables.SurfaceRow, shells / "surfaces.parquet")[0]
    assert alarms.questioned(row, 0.004, PARAMS) == row
    assert 0.1 < half.missed_share < 0.5
    worse = replace(
        row,
        lost_share=half.share,
        buried_share=half.buried_share,
        missed_share=half.missed_share,
    )
    assert len(alarms.questioned(worse, 0.01, PARAMS).status.split(";")) == 4


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_second_run_gives_the_same_bytes(tmp_path: Path, shells: Path, workers: int) -> None:
    run(tmp_path, two_balls(callosum=False)[0], workers=workers)
    for path in sorted(path for path in shells.iterdir() if path.is_file()):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_unusable_volumes_are_refused_by_name(tmp_path: Path) -> None:
    tissue, _ = two_balls(callosum=False)
    only_gray = volumes.Volume((tissue.data > 0).astype(np.uint8), tissue.affine)
    with pytest.raises(InputError, match=r"tissue\.nii\.gz: no white matter in hemisphere L"):
        run(tmp_path, only_gray)
    oblong = replace(tissue, affine=tissue.affine @ np.diag([1, 2, 1, 1]))
    with pytest.raises(InputError, match="isotropic"):
        run(tmp_path, oblong)


def test_opening_sulci_does_not_change_gyri(shells: Path, tmp_path: Path) -> None:
    run(tmp_path, two_balls(callosum=False)[0], PARAMS.model_copy(update={"open_sulci": True}))
    opened, plain = (volumes.read(f / "depth.nii.gz").data for f in (tmp_path, shells))
    np.testing.assert_array_equal(opened, plain)
    assert (tables.read(tables.SurfaceRow, tmp_path / "surfaces.parquet").voxels_opened == 0).all()


def test_the_table_counts_carved_voxels(tmp_path: Path) -> None:
    """A slit narrower than a voxel into the left ball: its banks are fused."""
    tissue, _ = two_balls(callosum=False)
    mm = tissue.to_mm(np.moveaxis(np.indices(tissue.data.shape), 0, -1)) - CENTRE_MM["L"]
    # cortex on both sides of the plane R = 0, from the top down to the middle
    below = np.maximum(-mm[..., 2], 0)
    bank = (np.hypot(mm[..., 0], below) < OUTER_MM - INNER_MM) & (tissue.data == 2)
    bank &= np.linalg.norm(mm, axis=-1) < OUTER_MM
    tissue.data[bank] = 1
    for open_sulci in (False, True):
        run(tmp_path, tissue, PARAMS.model_copy(update={"open_sulci": open_sulci}))
        table = tables.read(tables.SurfaceRow, tmp_path / "surfaces.parquet").set_index(
            "hemisphere"
        )
        assert table.loc["R", "voxels_opened"] == 0
        assert (table.loc["L", "voxels_opened"] > 0) == open_sulci
