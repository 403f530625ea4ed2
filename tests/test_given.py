"""Tissue and surfaces that a lab already has, in place of ours."""

from pathlib import Path

import numpy as np
import pytest
import test_midsurface as shells
import test_reconstruction as slices
import trimesh

from cytopipe.files import InputError
from cytopipe.formats import surfaces, tables, volumes


def tissue_volume(folder: Path, voxel_mm: float = 0.25, shift_mm: float = 0.0) -> Path:
    """The truth of the slices' brain, finer than they are stacked."""
    affine = volumes.regular_affine(voxel_mm, np.array([2.0, 2.0, -24.0]))
    shape = tuple(int(edge / voxel_mm) for edge in (30, 28, 22))
    ras = volumes.Volume(np.zeros(shape, np.uint8), affine).to_mm(
        np.moveaxis(np.indices(shape), 0, -1)
    )
    labels = slices.labels_at(np.stack([ras[..., 0], -ras[..., 2], ras[..., 1]], axis=-1))
    affine[:3, 3] += shift_mm
    path = folder / "given.nii.gz"
    volumes.write(volumes.Volume(labels, affine), path)
    return path


def test_a_ready_made_volume_takes_the_place_of_the_stack(tmp_path: Path) -> None:
    study = slices.Study(tmp_path)
    given = tissue_volume(tmp_path)
    study.run(given=given)
    wanted = volumes.read(given)
    np.testing.assert_array_equal(study.tissue.data, wanted.data)
    np.testing.assert_allclose(study.tissue.affine, wanted.affine)
    assert len(study.repairs) == 0


@pytest.mark.parametrize("spoilt", ["elsewhere", "labels", "oblique", "slabs"])
def test_a_volume_that_does_not_fit_is_refused(tmp_path: Path, spoilt: str) -> None:
    study = slices.Study(tmp_path)
    given = tissue_volume(tmp_path, shift_mm=25.0 if spoilt == "elsewhere" else 0.0)
    found = volumes.read(given)
    affine = found.affine.copy()
    if spoilt == "labels":
        found.data[10, 10, 10] = 7
    elif spoilt == "oblique":
        affine[0, 1] = 0.1
    elif spoilt == "slabs":
        affine[1, 1] = 1.0
    volumes.write(volumes.Volume(found.data, affine), given)
    said = {
        "elsewhere": "of the sections' tissue lies on tissue of this volume",
        "labels": "0 .background., 1 .gray. and 2",
        "oblique": "oblique; resample it",
        "slabs": "0.25 x 1 x 0.25 mm; resample it",
    }
    with pytest.raises(InputError, match=said[spoilt]) as told:
        study.run(given=given)
    assert str(given) in str(told.value)
    assert not (tmp_path / "whole.nii.gz").exists()


def balls(folder: Path, radius_mm: dict[str, float], swapped: bool = False) -> list[Path]:
    """Spheres around the shells' centres, as surfaces of kinds."""
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
    given = balls(tmp_path, {"pial": shells.OUTER_MM, "white": shells.INNER_MM})
    shells.run(tmp_path, shells.two_balls(callosum=False)[0], given=given)
    for side, centre in shells.CENTRE_MM.items():
        middle = surfaces.read(tmp_path / f"{side}.surf.gii")
        radius = np.linalg.norm(middle.vertices - centre, axis=1)
        np.testing.assert_allclose(radius, (shells.OUTER_MM + shells.INNER_MM) / 2, atol=1e-4)
        thickness = surfaces.read_map(tmp_path / f"{side}_thickness.shape.gii")
        np.testing.assert_allclose(thickness, shells.OUTER_MM - shells.INNER_MM, atol=1e-4)
    table = tables.read(tables.SURFACES, tmp_path / "surfaces.parquet")
    assert (
        table["status"]
        == table["hemisphere"].map(
            "ok, ready-made: hemi-{0}_pial.surf.gii, hemi-{0}_white.surf.gii".format
        )
    ).all()
    assert (table["euler"] == 2).all()


def test_a_middle_alone_takes_its_thickness_from_the_depth(tmp_path: Path) -> None:
    given = [path for path in balls(tmp_path, {"mid": 6.4}) if "hemi-L" in path.name]
    shells.run(tmp_path, shells.two_balls(callosum=False)[0], given=given)
    left = surfaces.read(tmp_path / "L.surf.gii")
    np.testing.assert_allclose(
        np.linalg.norm(left.vertices - shells.CENTRE_MM["L"], axis=1), 6.4, atol=1e-4
    )
    thickness = surfaces.read_map(tmp_path / "L_thickness.shape.gii")
    assert np.median(thickness) == pytest.approx(shells.OUTER_MM - shells.INNER_MM, abs=0.2)
    # the right one is made as ever
    table = tables.read(tables.SURFACES, tmp_path / "surfaces.parquet").set_index("hemisphere")
    assert table.loc["R", "status"] == "ok"


def test_beside_the_cortex_a_middle_has_no_thickness(tmp_path: Path) -> None:
    """Half of a sphere pushed out of the cortex: NaN there, the other half as before."""
    given = [path for path in balls(tmp_path, {"mid": 6.4}) if "hemi-L" in path.name]
    read = surfaces.read(given[0])
    off = read.vertices - shells.CENTRE_MM["L"]
    out = (np.abs(off[:, 2]) > 4.5)[:, None]
    surfaces.write(
        surfaces.Surface(shells.CENTRE_MM["L"] + off * np.where(out, 1.6, 1), read.faces),
        given[0],
        "L",
    )
    shells.run(tmp_path, shells.two_balls(callosum=False)[0], given=given)
    thickness = surfaces.read_map(tmp_path / "L_thickness.shape.gii")
    np.testing.assert_array_equal(np.isnan(thickness), out[:, 0])
    np.testing.assert_allclose(thickness[~out[:, 0]], shells.OUTER_MM - shells.INNER_MM, atol=0.35)
    table = tables.read(tables.SURFACES, tmp_path / "surfaces.parquet").set_index("hemisphere")
    said = f"no thickness at {int(out.sum())} vertices beside the cortex"
    assert said in table.loc["L", "status"]


@pytest.mark.parametrize(
    "spoilt",
    ["swapped", "elsewhere", "alone", "twice", "inside out", "other triangles", "NaN"],
)
def test_surfaces_that_do_not_fit_are_refused(tmp_path: Path, spoilt: str) -> None:
    given = balls(tmp_path, {"pial": 8.0, "white": 5.0}, swapped=spoilt == "swapped")
    read = surfaces.read(given[0])
    if spoilt == "alone":
        given = given[1:]
    elif spoilt == "twice":
        given.append(given[0].with_suffix("").with_suffix(".obj"))
    elif spoilt == "inside out":
        given = balls(tmp_path, {"pial": 5.0, "white": 8.0})
    elif spoilt == "elsewhere":
        for path in given[:2]:
            far = surfaces.read(path)
            surfaces.write(surfaces.Surface(far.vertices + 60, far.faces), path, "L")
    elif spoilt == "other triangles":
        surfaces.write(surfaces.Surface(read.vertices, read.faces[::-1]), given[0], "L")
    elif spoilt == "NaN":
        read.vertices[3] = np.nan
        surfaces.write(read, given[0], "L")
    said = {
        "swapped": "exchange the files of L and R",
        "elsewhere": "lie on the brain's tissue",
        "twice": "hemi-L_pial.obj: one surface; delete one",
        "inside out": "the pial surface is the outer one, exchange the files",
        "alone": "lay down hemi-L_pial.surf.gii as well",
        "other triangles": "vertex by vertex",
        "NaN": "a vertex is no number",
    }
    with pytest.raises(InputError, match=said[spoilt]):
        shells.run(tmp_path, shells.two_balls(callosum=False)[0], given=given)
    assert not (tmp_path / "surfaces.parquet").exists()
