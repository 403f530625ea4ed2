"""Tissue and surfaces that a lab already has, in place of those that are computed."""

from pathlib import Path

import numpy as np
import pytest
import test_midsurface as shells
import test_reconstruction as slices
import trimesh

from cytopipe.files import InputError
from cytopipe.formats import surfaces, tables, volumes
from cytopipe.reconstruction.supplied_tissue import agreement, clearly_better


def tissue_volume(folder: Path, voxel_mm: float = 0.25, shift_mm: float = 0.0) -> Path:
    """The true labels of the slices' brain, in finer voxels than those of the stack."""
    affine = volumes.regular_affine(voxel_mm, np.array([2.0, 2.0, -24.0]))
    shape = tuple(int(edge / voxel_mm) for edge in (30, 28, 22))
    ras = volumes.Volume(np.zeros(shape, np.uint8), affine).to_mm(
        np.moveaxis(np.indices(shape), 0, -1)
    )
    labels = slices.labels_at(np.stack([ras[..., 0], -ras[..., 2], ras[..., 1]], axis=-1))
    affine[:3, 3] += shift_mm
    path = folder / "supplied.nii.gz"
    volumes.write(volumes.Volume(labels, affine), path)
    return path


def test_a_supplied_volume_replaces_the_stack(tmp_path: Path) -> None:
    study = slices.Study(tmp_path)
    supplied = tissue_volume(tmp_path)
    study.run(supplied=supplied)
    expected = volumes.read(supplied)
    np.testing.assert_array_equal(study.tissue.data, expected.data)
    np.testing.assert_allclose(study.tissue.affine, expected.affine)
    assert len(study.repairs) == 0


@pytest.mark.parametrize("spoilt", ["elsewhere", "labels", "oblique", "slabs"])
def test_a_volume_that_does_not_fit_is_refused(tmp_path: Path, spoilt: str) -> None:
    study = slices.Study(tmp_path)
    supplied = tissue_volume(tmp_path, shift_mm=25.0 if spoilt == "elsewhere" else 0.0)
    volume = volumes.read(supplied)
    affine = volume.affine.copy()
    if spoilt == "labels":
        volume.data[10, 10, 10] = 7
    elif spoilt == "oblique":
        affine[0, 1] = 0.1
    elif spoilt == "slabs":
        affine[1, 1] = 1.0
    volumes.write(volumes.Volume(volume.data, affine), supplied)
    messages = {
        "elsewhere": "of the sections' tissue lies on tissue of this volume",
        "labels": "0 .background., 1 .gray. and 2",
        "oblique": "oblique; resample it",
        "slabs": "0.25 x 1 x 0.25 mm; resample it",
    }
    with pytest.raises(InputError, match=messages[spoilt]) as error:
        study.run(supplied=supplied)
    assert str(supplied) in str(error.value)
    assert not (tmp_path / "whole.nii.gz").exists()


def lopsided(stack_mm: np.ndarray) -> np.ndarray:
    """The slices' brain with its white matter off the middle, by another amount along each axis."""
    off = stack_mm - slices.CENTRE
    gray = ((off / slices.GRAY) ** 2).sum(-1) < 1
    white = (((off - [1.2, -0.9, 1.0]) / slices.WHITE) ** 2).sum(-1) < 1
    return (gray.astype(np.uint8) + (white & gray)).astype(np.uint8)


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        ((0,), "sections' labels flipped left-right .*, or study.image_right,"),
        ((1,), "sections' labels flipped posterior-anterior .*correct its data or affine:"),
        ((2,), "sections' labels flipped inferior-superior .*correct its data or affine:"),
        ((0, 1), "sections' labels flipped left-right and posterior-anterior "),
        ("gray", "no white matter .label 2., but 3.% of the sections' tissue is"),
        ("white", "no gray matter .label 1., but 6.% of the sections' tissue is"),
        ("exchanged", "gray and white matter agree with the sections' at -0.9"),
        ("scattered", "gray and white matter agree with the sections' at -?0.0"),
        ("right", "moved 0.5. mm towards left"),
        ("anterior", "moved 0.5. mm towards posterior"),
        ("inferior", "moved 0.5. mm towards superior"),
    ],
)
def test_a_volume_that_disagrees_with_the_sections_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoilt: tuple[int, ...] | str, message: str
) -> None:
    monkeypatch.setattr(slices, "labels_at", lopsided)
    study = slices.Study(tmp_path)
    path = tissue_volume(tmp_path)
    study.run(supplied=path)  # unchanged, it passes
    (tmp_path / "whole.nii.gz").unlink()
    volume = volumes.read(path)
    data, affine = volume.data, volume.affine.copy()
    # as far off for this brain of 17 mm as 6 mm for a human one
    shifts = {"right": (0, 1.0), "anterior": (1, 1.0), "inferior": (2, -1.0)}
    if isinstance(spoilt, tuple):
        data = np.flip(data, spoilt)
    elif spoilt in shifts:
        axis, by_mm = shifts[spoilt]
        affine[axis, 3] += by_mm
    elif spoilt == "scattered":
        data = np.where(data, np.random.default_rng(0).integers(1, 3, data.shape), 0)
    else:
        new_labels = {"gray": (0, 1, 1), "white": (0, 2, 2), "exchanged": (0, 2, 1)}[spoilt]
        data = np.array(new_labels)[data]
    volumes.write(volumes.Volume(data.astype(np.uint8), affine), path)
    with pytest.raises(InputError, match=message) as error:
        study.run(supplied=path)
    assert str(path) in str(error.value)
    assert not (tmp_path / "whole.nii.gz").exists()


def test_a_flip_of_a_symmetric_brain_and_a_shift_by_a_voxel_pass(tmp_path: Path) -> None:
    """The limit of the check: the sections cannot reveal either."""
    study = slices.Study(tmp_path)
    path = tissue_volume(tmp_path)
    volume = volumes.read(path)
    affine = volume.affine.copy()
    affine[1, 3] += 0.25
    volumes.write(volumes.Volume(np.flip(volume.data, 0), affine), path)
    study.run(supplied=path)
    np.testing.assert_array_equal(study.tissue.data, np.flip(volume.data, 0))


@pytest.mark.parametrize("runs", [2, 3, 12])
def test_clearly_better_means_a_gain_beyond_its_spread(runs: int) -> None:
    random = np.random.default_rng(1)
    false_alarms = [clearly_better(0.3 * random.normal(size=runs)) for _ in range(4000)]
    # one in a hundred, up to sampling
    assert np.mean(false_alarms) < 0.016
    assert clearly_better(np.full(runs, 0.1) + 0.001 * np.arange(runs))
    assert not clearly_better(np.full(runs, 0.01))
    assert not clearly_better(np.array([0.5]))


def test_agreement_is_0_by_chance_and_1_if_equal() -> None:
    random = np.random.default_rng(2)
    sections = np.minimum(random.integers(0, 6, 200_000), 2)  # classes of different shares
    for volume, value in ((sections, 1.0), (random.permutation(sections), 0.0), (0 * sections, 0)):
        counts = np.bincount(3 * sections + volume, minlength=9).reshape(1, 3, 3)
        assert agreement(counts)[0] == pytest.approx(value, abs=0.01)


def balls(folder: Path, radius_mm: dict[str, float], swapped: bool = False) -> list[Path]:
    """Spheres around the shells' centres, of one radius for each kind of surface."""
    paths = []
    for side, centre in shells.CENTRE_MM.items():
        for kind, radius in radius_mm.items():
            mesh = trimesh.creation.icosphere(subdivisions=4, radius=radius)
            name = {"L": "R", "R": "L"}[side] if swapped else side
            paths.append(folder / f"hemi-{name}_{kind}.surf.gii")
            surface = surfaces.Surface(np.asarray(mesh.vertices) + centre, np.asarray(mesh.faces))
            surfaces.write(surface, paths[-1], name)
    return paths


def test_pial_and_white_give_middle_and_thickness(tmp_path: Path) -> None:
    supplied = balls(tmp_path, {"pial": shells.OUTER_MM, "white": shells.INNER_MM})
    shells.run(tmp_path, shells.two_balls(callosum=False)[0], supplied=supplied)
    for side, centre in shells.CENTRE_MM.items():
        middle = surfaces.read(tmp_path / f"{side}.surf.gii")
        radius = np.linalg.norm(middle.vertices - centre, axis=1)
        np.testing.assert_allclose(radius, (shells.OUTER_MM + shells.INNER_MM) / 2, atol=1e-4)
        thickness = surfaces.read_map(tmp_path / f"{side}_thickness.shape.gii")
        np.testing.assert_allclose(thickness, shells.OUTER_MM - shells.INNER_MM, atol=1e-4)
    table = tables.read(tables.SurfaceRow, tmp_path / "surfaces.parquet")
    assert (
        table["status"]
        == table["hemisphere"].map(
            "ok, ready-made: hemi-{0}_pial.surf.gii, hemi-{0}_white.surf.gii".format
        )
    ).all()
    assert (table["euler"] == 2).all()


def test_the_thickness_of_a_mid_surface_alone_follows_from_the_depth(tmp_path: Path) -> None:
    supplied = [path for path in balls(tmp_path, {"mid": 6.4}) if "hemi-L" in path.name]
    shells.run(tmp_path, shells.two_balls(callosum=False)[0], supplied=supplied)
    left = surfaces.read(tmp_path / "L.surf.gii")
    np.testing.assert_allclose(
        np.linalg.norm(left.vertices - shells.CENTRE_MM["L"], axis=1), 6.4, atol=1e-4
    )
    thickness = surfaces.read_map(tmp_path / "L_thickness.shape.gii")
    assert np.median(thickness) == pytest.approx(shells.OUTER_MM - shells.INNER_MM, abs=0.2)
    # the right hemisphere is computed as usual
    table = tables.read(tables.SurfaceRow, tmp_path / "surfaces.parquet").set_index("hemisphere")
    assert table.loc["R", "status"] == "ok"


def test_a_mid_surface_has_no_thickness_outside_the_cortex(tmp_path: Path) -> None:
    """Half of a sphere pushed out of the cortex: NaN there, unchanged in the other half."""
    supplied = [path for path in balls(tmp_path, {"mid": 6.4}) if "hemi-L" in path.name]
    sphere = surfaces.read(supplied[0])
    off = sphere.vertices - shells.CENTRE_MM["L"]
    out = (np.abs(off[:, 2]) > 4.5)[:, None]
    surfaces.write(
        surfaces.Surface(shells.CENTRE_MM["L"] + off * np.where(out, 1.6, 1), sphere.faces),
        supplied[0],
        "L",
    )
    shells.run(tmp_path, shells.two_balls(callosum=False)[0], supplied=supplied)
    thickness = surfaces.read_map(tmp_path / "L_thickness.shape.gii")
    np.testing.assert_array_equal(np.isnan(thickness), out[:, 0])
    np.testing.assert_allclose(thickness[~out[:, 0]], shells.OUTER_MM - shells.INNER_MM, atol=0.35)
    table = tables.read(tables.SurfaceRow, tmp_path / "surfaces.parquet").set_index("hemisphere")
    message = f"no thickness at {int(out.sum())} vertices beside the cortex"
    assert message in table.loc["L", "status"]


@pytest.mark.parametrize(
    "spoilt",
    ["swapped", "elsewhere", "alone", "twice", "inside out", "other triangles", "NaN"],
)
def test_surfaces_that_do_not_fit_are_refused(tmp_path: Path, spoilt: str) -> None:
    supplied = balls(tmp_path, {"pial": 8.0, "white": 5.0}, swapped=spoilt == "swapped")
    sphere = surfaces.read(supplied[0])
    if spoilt == "alone":
        supplied = supplied[1:]
    elif spoilt == "twice":
        supplied.append(supplied[0].with_suffix("").with_suffix(".obj"))
    elif spoilt == "inside out":
        supplied = balls(tmp_path, {"pial": 5.0, "white": 8.0})
    elif spoilt == "elsewhere":
        for path in supplied[:2]:
            far = surfaces.read(path)
            surfaces.write(surfaces.Surface(far.vertices + 60, far.faces), path, "L")
    elif spoilt == "other triangles":
        surfaces.write(surfaces.Surface(sphere.vertices, sphere.faces[::-1]), supplied[0], "L")
    elif spoilt == "NaN":
        sphere.vertices[3] = np.nan
        surfaces.write(sphere, supplied[0], "L")
    messages = {
        "swapped": "exchange the files of L and R",
        "elsewhere": "lie on the brain's tissue",
        "twice": "hemi-L_pial.obj: both define the same surface; remove one",
        "inside out": "the pial surface is the outer one, exchange the files",
        "alone": "add hemi-L_pial.surf.gii, or use only hemi-L_mid",
        "other triangles": "vertex by vertex",
        "NaN": "contains NaN vertices; export it again",
    }
    with pytest.raises(InputError, match=messages[spoilt]):
        shells.run(tmp_path, shells.two_balls(callosum=False)[0], supplied=supplied)
    assert not (tmp_path / "surfaces.parquet").exists()
