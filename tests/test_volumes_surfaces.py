"""Volumes and surfaces are read as they were written, with their position in space."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cytopipe.files import InputError
from cytopipe.formats import surfaces, volumes
from cytopipe.formats.surfaces import Surface
from cytopipe.formats.volumes import Volume, regular_affine

ORIGIN_MM = np.array([-70.0, -100.0, -50.0])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("name", ["v.nii", "v.nii.gz"])
def test_a_volume_is_read_as_written(tmp_path: Path, dtype: type, name: str) -> None:
    data = np.arange(24, dtype=dtype).reshape(2, 3, 4)
    volumes.write(Volume(data, regular_affine(1.4, ORIGIN_MM)), tmp_path / name)
    volume = volumes.read(tmp_path / name)
    np.testing.assert_array_equal(volume.data, data)
    assert volume.data.dtype == dtype
    np.testing.assert_allclose(volume.affine, regular_affine(1.4, ORIGIN_MM), atol=1e-5)
    np.testing.assert_allclose(volume.voxel_mm, 1.4, atol=1e-6)


def test_voxels_and_millimetres() -> None:
    volume = Volume(np.zeros((2, 3, 4)), regular_affine(1.4, ORIGIN_MM))
    np.testing.assert_array_equal(volume.to_mm(np.zeros(3)), ORIGIN_MM)
    np.testing.assert_allclose(volume.to_mm(np.array([1, 0, 2])), ORIGIN_MM + [1.4, 0, 2.8])
    indices = np.random.default_rng(0).uniform(-5, 50, (20, 3))
    np.testing.assert_allclose(volume.to_indices(volume.to_mm(indices)), indices, atol=1e-9)


def test_a_volume_in_other_axes_is_reoriented_and_no_voxel_moves(tmp_path: Path) -> None:
    data = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    affine = np.array([[0, 0, -1.0, 10], [-2.0, 0, 0, 20], [0, 3.0, 0, 30], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "turned.nii")
    volume = volumes.read(tmp_path / "turned.nii")
    assert nib.aff2axcodes(volume.affine) == ("R", "A", "S")
    for index in np.ndindex(2, 3, 4):
        position = affine[:3, :3] @ index + affine[:3, 3]
        i, j, k = np.round(volume.to_indices(position)).astype(int)
        assert volume.data[i, j, k] == data[index]


def test_equal_volumes_have_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.nii.gz", "b.nii.gz"):
        volumes.write(Volume(np.ones((3, 3, 3), np.uint8), np.eye(4)), tmp_path / name)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_tissue_labels_may_be_stored_as_floating_point(tmp_path: Path) -> None:
    labels = np.arange(24).reshape(2, 3, 4) % 3
    volumes.write(volumes.Volume(labels.astype(np.float32), np.eye(4)), tmp_path / "a.nii.gz")
    volume = volumes.read_tissue(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(volume.data, labels)
    assert volume.data.dtype == np.uint8
    volumes.write(volumes.Volume(2 * labels.astype(np.float32), np.eye(4)), tmp_path / "b.nii.gz")
    with pytest.raises(InputError, match=r"b\.nii\.gz: of shape .* with values 0 to 4; a tissue"):
        volumes.read_tissue(tmp_path / "b.nii.gz")


def test_a_broken_volume_is_named(tmp_path: Path) -> None:
    volumes.write(Volume(np.ones((9, 9, 9), np.uint8), np.eye(4)), tmp_path / "v.nii.gz")
    content = (tmp_path / "v.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"cut\.nii\.gz: not a readable NIfTI"):
        volumes.read(tmp_path / "cut.nii.gz")
    (tmp_path / "text.nii").write_text("no volume")
    with pytest.raises(InputError, match=r"text\.nii: not a readable NIfTI"):
        volumes.read(tmp_path / "text.nii")
    with pytest.raises(InputError, match=r"none\.nii: not found"):
        volumes.read(tmp_path / "none.nii")


def tetrahedron() -> Surface:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float64) * 17.25
    return Surface(vertices, np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32))


@pytest.mark.parametrize("hemisphere", ["L", "R", ""])
def test_a_surface_and_its_map_are_read_as_written(tmp_path: Path, hemisphere: str) -> None:
    surface = tetrahedron()
    path = tmp_path / "hemi-L_mid.surf.gii"
    surfaces.write(surface, path, hemisphere)
    copy = surfaces.read(path)
    np.testing.assert_array_equal(copy.vertices, surface.vertices)  # representable in float32
    np.testing.assert_array_equal(copy.faces, surface.faces)
    structure = nib.load(path).meta.get("AnatomicalStructurePrimary")
    assert structure == {"L": "CortexLeft", "R": "CortexRight", "": None}[hemisphere]

    values = np.array([2.5, np.nan, -1.0, 0.0])
    surfaces.write_map(values, tmp_path / "thickness.shape.gii", hemisphere)
    np.testing.assert_array_equal(surfaces.read_map(tmp_path / "thickness.shape.gii"), values)


def test_a_file_that_is_not_a_surface_is_named(tmp_path: Path) -> None:
    surfaces.write_map(np.zeros(4), tmp_path / "map.shape.gii")
    with pytest.raises(InputError, match=r"map\.shape\.gii: not a readable GIfTI surface"):
        surfaces.read(tmp_path / "map.shape.gii")
    (tmp_path / "text.gii").write_text("no surface")
    with pytest.raises(InputError, match=r"text\.gii: not a readable GIfTI surface"):
        surfaces.read(tmp_path / "text.gii")


def obj_text(surface: surfaces.Surface, colours: int) -> str:
    """A surface in the format of BigBrain's, as BIC describes it."""
    count, triangles = len(surface.vertices), len(surface.faces)
    lines = [f"P 0.3 0.3 0.4 10 1 {count}"]
    lines += [" {:.6f} {:.6f} {:.6f}".format(*vertex) for vertex in surface.vertices]
    lines += ["", *[" 0 0 1"] * count, "", f" {triangles}"]
    rows = {0: 1, 1: triangles, 2: count}[colours]
    lines += [f" {colours}" + " 1 1 1 1", *[" 1 1 1 1"] * (rows - 1), ""]
    lines += [" " + " ".join(str(3 * n) for n in range(1, triangles + 1)), ""]
    lines += [" " + " ".join(map(str, surface.faces.ravel()))]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("colours", [0, 1, 2])
def test_surfaces_in_the_format_of_mni_are_read(tmp_path: Path, colours: int) -> None:
    vertices = np.random.default_rng(2).normal(size=(5, 3)).round(6)
    faces = np.array([[0, 1, 2], [2, 1, 4], [3, 0, 1], [4, 3, 2]], np.int32)
    wanted = surfaces.Surface(vertices, faces)
    (tmp_path / "a.obj").write_text(obj_text(wanted, colours))
    copy = surfaces.read(tmp_path / "a.obj")
    np.testing.assert_allclose(copy.vertices, vertices)
    np.testing.assert_array_equal(copy.faces, faces)


@pytest.mark.parametrize("damage", ["wavefront", "binary", "cut off", "quads", "corner"])
def test_an_unreadable_obj_is_named(tmp_path: Path, damage: str) -> None:
    faces = np.array([[0, 1, 2], [2, 1, 3]], np.int32)
    text = obj_text(surfaces.Surface(np.eye(4, 3), faces + 9 * (damage == "corner")), 0)
    content = {
        "wavefront": b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        "binary": b"p\x00\xff\x80",
        "cut off": text[: len(text) - 4].encode(),
        "quads": text.replace(" 3 6", " 4 6").encode(),
        "corner": text.encode(),
    }
    (tmp_path / "a.obj").write_bytes(content[damage])
    message = "corners 9 to 12; write" if damage == "corner" else "not a surface in MNI's .obj"
    with pytest.raises(InputError, match=message) as caught:
        surfaces.read(tmp_path / "a.obj")
    assert str(tmp_path / "a.obj") in str(caught.value)


def test_damaged_data_and_corners_without_a_vertex_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.surf.gii"
    surfaces.write(surfaces.Surface(np.eye(3), np.array([[0, 1, 7]])), path)
    with pytest.raises(InputError, match="3 vertices and corners 0 to 7"):
        surfaces.read(path)
    content = path.read_bytes()
    at = content.index(b"<Data>") + 10
    path.write_bytes(content[:at] + b"####" + content[at + 4 :])
    with pytest.raises(InputError, match="not a readable GIfTI surface"):
        surfaces.read(path)


@pytest.mark.parametrize("half", [0.5, 1.4])
def test_fractions_are_not_tissue_labels(tmp_path: Path, half: float) -> None:
    data = np.ones((4, 4, 4), np.float32)
    volumes.write(volumes.Volume(data, np.eye(4)), tmp_path / "a.nii.gz")
    assert volumes.read_tissue(tmp_path / "a.nii.gz").data.dtype == np.uint8
    data[1, 1, 1] = half
    volumes.write(volumes.Volume(data, np.eye(4)), tmp_path / "a.nii.gz")
    with pytest.raises(InputError, match="contains only 0"):
        volumes.read_tissue(tmp_path / "a.nii.gz")
