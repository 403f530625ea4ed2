"""Volumes and fields of other programs: read as their headers say, or refused by name."""

import gzip
import struct
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from slicer_files import write_segmentation

from cytopipe.files import InputError
from cytopipe.formats import anchorings, nifti, transforms, volumes
from cytopipe.study.masks import read_mask

SHAPE = (20, 18, 16)
RANDOM = np.random.default_rng(2)
LABELS = RANDOM.integers(0, 3, SHAPE).astype(np.uint8)
AFFINE = np.diag([1.0, 1.0, 1.5, 1.0])
AFFINE[:3, 3] = [-9.5, 3, 7]
MIRRORED = np.diag([-1.0, 1, 1, 1]) @ AFFINE


def save(path: Path, data: Any = LABELS, affine: Any = AFFINE, **header: int) -> Path:
    image = nib.Nifti1Image(data, affine)
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, path)
    return path


# positions


@pytest.mark.parametrize(("unit", "millimetres"), [(0, 1), (1, 1000), (2, 1), (3, 0.001)])
def test_the_unit_of_a_header_is_converted(tmp_path: Path, unit: int, millimetres: float) -> None:
    scaled = np.diag([1 / millimetres] * 3 + [1.0]) @ AFFINE
    path = save(tmp_path / "a.nii.gz", affine=scaled, xyzt_units=unit)
    np.testing.assert_allclose(volumes.read(path).affine, AFFINE, rtol=1e-6)
    np.testing.assert_allclose(anchorings.read_target(path).affine, AFFINE, rtol=1e-6)


def test_a_unit_that_cannot_be_is_refused(tmp_path: Path) -> None:
    for number, unit in enumerate((1, 3)):
        path = save(tmp_path / f"{number}.nii.gz", xyzt_units=unit)
        with pytest.raises(InputError, match=r"nii\.gz: its longest edge is .* mm .*correct"):
            volumes.read(path)
    with pytest.raises(InputError, match="unknown unit 5"):
        volumes.read(save(tmp_path / "5.nii.gz", xyzt_units=5))


def test_without_a_position_left_and_right_are_unknown(tmp_path: Path) -> None:
    content = bytearray(save(tmp_path / "a.nii").read_bytes())
    content[252:256] = bytes(4)  # qform_code and sform_code
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(content))
    for read in (volumes.read, volumes.read_tissue, read_mask, anchorings.read_target):
        with pytest.raises(InputError, match=r"a\.nii\.gz: .*left and right are unknown; export"):
            read(path)


@pytest.mark.parametrize("sform", [np.zeros((4, 4)), np.diag([1.0, 1, 0, 1]), AFFINE * np.nan])
def test_an_impossible_position_is_refused(tmp_path: Path, sform: Any) -> None:
    image = nib.Nifti1Image(LABELS, AFFINE)
    for key, row in zip(("srow_x", "srow_y", "srow_z"), sform, strict=False):
        image.header[key] = row
    content = bytearray(image.to_bytes())
    # nibabel writes the affine of the image itself
    content[280:328] = struct.pack("<12f", *sform[:3].ravel())
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.nii: .*no valid position"):
        volumes.read(tmp_path / "a.nii")


@pytest.mark.parametrize(
    ("qform", "code", "is_refused"),
    [
        (AFFINE, 1, False),
        (MIRRORED, 2, True),
        (MIRRORED, 1, True),
        # by half a turn about the axis from back to front
        (np.diag([-1.0, 1, -1, 1]) @ AFFINE, 1, True),
        # the scanner's space and the template's differ by a rotation, ...
        (np.array([[0.8, 0.6, 0, 5], [-0.6, 0.8, 0, 9], [0, 0, 1, 0], [0, 0, 0, 1]]), 1, False),
        # ... but one space has one position
        (AFFINE + np.outer([5, 0, 0, 0], [0, 0, 0, 1]), 2, True),
        (AFFINE + np.outer([0.4, 0, 0, 0], [0, 0, 0, 1]), 2, False),
    ],
)  # fmt: skip
def test_two_positions_must_agree(tmp_path: Path, qform: Any, code: int, is_refused: bool) -> None:
    image = nib.Nifti1Image(LABELS, AFFINE)
    image.set_qform(qform, code)
    nib.save(image, path := tmp_path / "a.nii.gz")
    if is_refused:
        with pytest.raises(InputError, match=r"contradict each other.*; delete the wrong one"):
            volumes.read(path)
    else:
        np.testing.assert_allclose(volumes.read(path).affine, AFFINE, atol=1e-6)


def test_the_qform_alone_is_used(tmp_path: Path) -> None:
    image = nib.Nifti1Image(LABELS, None)
    image.set_qform(AFFINE, 1)
    nib.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(volumes.read(tmp_path / "a.nii").affine, AFFINE, atol=1e-6)
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[88:92] = struct.pack("<f", 0)  # the voxel's third edge, of which nibabel makes 1
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(InputError, match=r"its voxel size is \[1\.0, 1\.0, 0\.0\]"):
        volumes.read(tmp_path / "a.nii")


# what a file holds


def test_a_changed_bit_is_noticed_or_without_effect(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii.gz")
    content = path.read_bytes()
    refused = 0
    for place in RANDOM.integers(len(content), size=200):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(place % 8)
        path.write_bytes(damaged)
        try:
            volume = volumes.read(path)
        except InputError as error:
            assert "a.nii.gz" in str(error)
            refused += 1
        else:  # as in the part of a code of deflate that nothing uses
            np.testing.assert_array_equal(volume.data, LABELS)
            np.testing.assert_array_equal(volume.affine, AFFINE)
    assert refused > 150


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_file_longer_or_shorter_than_its_header_says_is_refused(
    tmp_path: Path, name: str
) -> None:
    path = save(tmp_path / "b.nii")
    for content in (path.read_bytes()[:-1], path.read_bytes() + b"\0"):
        packed = gzip.compress(content) if name.endswith("gz") else content
        (tmp_path / name).write_bytes(packed)
        with pytest.raises(InputError, match="not a readable NIfTI file"):
            volumes.read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_declared_size_is_compared_before_memory_is_taken(
    tmp_path: Path, name: str, little_memory: None
) -> None:
    path = save(tmp_path / "b.nii")
    content = bytearray(path.read_bytes())
    content[42:48] = struct.pack("<3h", 30_000, 30_000, 30_000)
    path = tmp_path / name
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    for read in (volumes.read, nifti.read_grid, read_mask):
        with pytest.raises(
            InputError, match="header declares 27000000000352 bytes, the file holds"
        ):
            read(path)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("endian", ["<", ">"])
def test_both_versions_and_byte_orders_are_read(tmp_path: Path, kind: Any, endian: str) -> None:
    image = kind(LABELS.astype(endian + "i2"), AFFINE, kind.header_class(endianness=endian))
    nib.save(image, tmp_path / "a.nii.gz")
    volume = volumes.read_labels(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(volume.data, LABELS)
    np.testing.assert_allclose(volume.affine, AFFINE)


def test_the_ending_does_not_matter(tmp_path: Path) -> None:
    """Browsers unpack what they download, and people rename."""
    packed, plain = save(tmp_path / "a.nii.gz").read_bytes(), save(tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(plain)
    (tmp_path / "a.nii").write_bytes(packed)
    for name in ("a.nii", "a.nii.gz"):
        np.testing.assert_array_equal(volumes.read(tmp_path / name).data, LABELS)


def test_colors_and_several_volumes_are_refused(tmp_path: Path) -> None:
    rgb = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    four = np.stack([LABELS, LABELS], axis=-1)
    for read in (volumes.read, volumes.read_tissue, volumes.read_labels, read_mask):
        with pytest.raises(InputError, match=r"rgb\.nii\.gz: is color; save it with one number"):
            read(save(tmp_path / "rgb.nii.gz", rgb))
        with pytest.raises(InputError, match=r"four\.nii\.gz: .*\(20, 18, 16, 2\), but a volume"):
            read(save(tmp_path / "four.nii.gz", four))
        assert read(save(tmp_path / "one.nii.gz", LABELS[..., None]))


def test_labels_are_whole_numbers(tmp_path: Path) -> None:
    for data in (1.5 * LABELS, LABELS - 1.0, np.where(LABELS, np.nan, 0), LABELS * 3e9):
        with pytest.raises(InputError, match=r"a\.nii\.gz: labels are whole .*; resample labels"):
            volumes.read_labels(save(tmp_path / "a.nii.gz", data.astype(np.float64)))
    labels = volumes.read_labels(save(tmp_path / "a.nii.gz", LABELS * np.float32(1.00001)))
    np.testing.assert_array_equal(labels.data, LABELS)


# NRRD and MetaImage


def nrrd(path: Path, *changes: tuple[str, str]) -> Path:
    write_segmentation(path, [LABELS], AFFINE, [("a", 0, 1), ("b", 0, 2)])
    header, _, data = path.read_bytes().partition(b"\n\n")
    for old, new in changes:
        assert old.encode() in header
        header = header.replace(old.encode(), new.encode())
    path.write_bytes(header + b"\n\n" + data)
    return path


SPACE = "space: left-posterior-superior"


@pytest.mark.parametrize(
    ("space", "signs"),
    [("right-anterior-superior", (-1, -1, 1)), ("LAS", (1, -1, 1)), ("LPS", (1, 1, 1))],
)
def test_spaces_that_say_left_and_right_are_read(tmp_path: Path, space: str, signs: Any) -> None:
    """The numbers of the header are LPS; the space gives them other signs."""
    path = nrrd(tmp_path / "a.seg.nrrd", (SPACE, f"space: {space}"))
    wanted = np.diag([*signs, 1.0]) @ AFFINE
    np.testing.assert_allclose(read_mask(path)[0].labels.affine, wanted)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([(SPACE, "space: scanner-xyz")], "its space is 'scanner-xyz', which does not say"),
        ([(SPACE, "space: 3D-left-handed")], "does not say where left and right are; save it"),
        ([(SPACE, "space dimension: 3")], "its space is 'unknown'"),
        ([("space origin: ", "old origin: ")], "does not say where left and right are"),
        ([(SPACE, SPACE + '\nspace units: "um" "um" "um"')], "its unit is um; save it in mm"),
        ([("encoding: raw", "encoding: raw\ndata file: b.raw")], "its data lie in another file"),
        ([("sizes: 20", "sizes: 2000000")], "declares 576000000 bytes, the file holds 5760"),
        ([("Segment1_LabelValue:=2", "Segment1_LabelValue:=")], "LabelValue of segment 1 is ''"),
        ([("Segment1_LabelValue:=2", "Segment1_LabelValue:=3")], "value 2 is drawn but belongs"),
    ],
)  # fmt: skip
def test_other_nrrd_files_are_refused(
    tmp_path: Path, changes: Any, message: str, little_memory: None
) -> None:
    path = nrrd(tmp_path / "a.seg.nrrd", *changes)
    with pytest.raises(InputError, match=message) as refused:
        read_mask(path)
    assert "a.seg.nrrd" in str(refused.value)


def test_segments_may_be_numbered_with_gaps(tmp_path: Path) -> None:
    path = nrrd(tmp_path / "a.seg.nrrd", ("Segment1_", "Segment7_"))
    counts = [int((s.labels.data == s.value).sum()) for s in read_mask(path)]
    assert counts == [(LABELS == 1).sum(), (LABELS == 2).sum()]


def field(path: Path, is_packed: bool = False) -> Path:
    image = sitk.GetImageFromArray(np.round(RANDOM.normal(size=(9, 9, 9, 3)), 1), isVector=True)
    sitk.WriteImage(image, str(path), useCompression=is_packed)
    return path


@pytest.mark.parametrize(
    ("name", "is_packed"),
    [("a.nii", False), ("a.nii.gz", True), ("a.mha", False), ("a.mha", True), ("a.mhd", True),
     ("a.nrrd", False), ("a.nrrd", True)],
)  # fmt: skip
def test_a_truncated_or_changed_field_is_refused(
    tmp_path: Path, name: str, is_packed: bool
) -> None:
    path = field(tmp_path / name, is_packed)
    assert np.isfinite(transforms.read(path, "a", "b", "points")(np.array([[-1.0, -1, 1]]))).all()
    data = tmp_path / "a.zraw" if name == "a.mhd" else path
    content = data.read_bytes()
    changed = bytearray(content)
    changed[-200] ^= 16
    damaged = [content[:-100], content[: len(content) // 2]] + [bytes(changed)] * is_packed
    for number, bad in enumerate(damaged):
        data.write_bytes(bad)
        with pytest.raises(InputError, match=name):
            transforms.read(path, "a", "b", "points")
            pytest.fail(f"{number} was read")
    data.write_bytes(content)
    transforms.read(path, "a", "b", "points")


def test_a_field_in_another_unit_is_refused(tmp_path: Path) -> None:
    path = field(tmp_path / "a.nii")
    content = bytearray(path.read_bytes())
    content[123] = 3
    content[80:92] = struct.pack("<3f", 1000, 1000, 1000)
    content[280:328] = struct.pack("<12f", *(1000 * np.diag([-1.0, -1, 1, 1])[:3]).ravel())
    path.write_bytes(content)
    with pytest.raises(InputError, match="counts in another unit; export it again in mm"):
        transforms.read(path, "a", "b", "points")


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("a.mha", "TransformMatrix", "DistanceUnits = um\nTransformMatrix", "its unit is um"),
        ("a.mha", "TransformMatrix", "HeaderSize = 4\nTransformMatrix", "a header of its own"),
        ("a.nrrd", "space origin", "measurement frame: (-1,0,0) (0,-1,0) (0,0,1)\nspace origin",
         "its vectors are in a frame of their own"),
        ("a.nrrd", "left-posterior-superior", "right-anterior-superior", "save the field in left-"),
    ],
)  # fmt: skip
def test_a_field_that_itk_would_take_for_another_is_refused(
    tmp_path: Path, name: str, old: str, new: str, message: str
) -> None:
    path = field(tmp_path / name)
    content = path.read_bytes()
    assert old.encode() in content
    path.write_bytes(content.replace(old.encode(), new.encode(), 1))
    with pytest.raises(InputError, match=message):
        transforms.read(path, "a", "b", "points")


def test_a_field_of_positions_is_refused(tmp_path: Path) -> None:
    """SPM writes where each voxel goes, not by how much it moves."""
    positions = np.zeros((9, 9, 9, 1, 3), np.float32)
    image = nib.Nifti1Image(positions, np.diag([-1.0, -1, 1, 1]))
    image.header.set_intent("vector", name="Mapping")
    nib.save(image, tmp_path / "y_a.nii")
    with pytest.raises(InputError, match="holds positions, as SPM writes them"):
        transforms.read(tmp_path / "y_a.nii", "a", "b", "points")


@pytest.mark.parametrize("name", ["a.nii.gz", "a.mha", "a.nrrd"])
def test_displacements_larger_than_a_brain_are_refused(tmp_path: Path, name: str) -> None:
    """In micrometres, or in another order of bytes."""
    for most in (900.0, 1100.0):
        vectors = np.full((5, 5, 5, 3), np.nan)
        vectors[2, 2, 2] = 0, 0, -most
        sitk.WriteImage(sitk.GetImageFromArray(vectors, isVector=True), str(tmp_path / name))
        if most < 1000:
            transforms.read(tmp_path / name, "a", "b", "points")
        else:
            with pytest.raises(InputError, match="displacements of more than 1000 mm; write"):
                transforms.read(tmp_path / name, "a", "b", "points")


def test_mnis_transforms_are_not_taken_for_itks(tmp_path: Path) -> None:
    """They count in RAS, and ITK reads the numbers as LPS."""
    text = "MNI Transform File\nTransform_Type = Linear;\nLinear_Transform =\n"
    (tmp_path / "a.xfm").write_text(text + " 1 0 0 1\n 0 1 0 2\n 0 0 1 3;\n")
    with pytest.raises(InputError, match=r"a\.xfm: MNI's \.xfm counts in RAS mm.*as \.txt"):
        transforms.read(tmp_path / "a.xfm", "a", "b", "points")
