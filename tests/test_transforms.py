import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813, its customary name

from cytopipe.files import InputError
from cytopipe.formats import transforms
from cytopipe.numerics.geometry import FrameError

# right, in front of and above the origin
RAS = np.array([[10.0, 2.0, 3.0], [1.0, 10.0, 2.0], [-4.0, 5.0, -6.0], [0.0, 0.0, 0.0]])
MATRIX = np.array(
    [[0.9, 0.1, 0.0, 5.0], [-0.1, 1.1, 0.05, -3.0], [0.0, 0.02, 0.95, 2.0], [0, 0, 0, 1.0]]
)
GRID = np.array([[2.0, 0, 0, -24], [0, 2.0, 0, -26], [0, 0, 2.0, -28], [0, 0, 0, 1]])


def bump(points):
    """A smooth displacement, largest at the origin, whose three components differ."""
    height = np.exp(-(points**2).sum(axis=-1, keepdims=True) / (2 * 8.0**2))
    return height * np.array([2.0, -1.0, 0.5])


@pytest.fixture
def bumped():
    index = np.moveaxis(np.indices((25, 27, 29)), 0, -1)
    points = index @ GRID[:3, :3].T + GRID[:3, 3]
    return transforms.field_transform(bump(points), GRID, "middle", "template")


@pytest.fixture
def chain(bumped):
    return transforms.affine_transform(MATRIX, "B01", "middle").then(bumped)


def expected(points):
    moved = points @ MATRIX[:3, :3].T + MATRIX[:3, 3]
    return moved + bump(moved)


def test_landmarks_are_moved_by_affine_and_bump(chain):
    np.testing.assert_allclose(chain(RAS), expected(RAS), atol=0.03)  # linear between voxels


def test_written_and_read_again(chain, tmp_path):
    path = tmp_path / "to-template.h5"
    transforms.write(chain, path)
    again = transforms.read(path, "B01", "template", "points")
    np.testing.assert_allclose(again(RAS), chain(RAS), atol=1e-5)


def test_equal_transforms_are_equal_bytes(chain, tmp_path):
    transforms.write(chain, tmp_path / "a.h5")
    transforms.write(chain, tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_the_file_is_in_lps_for_itk(chain, tmp_path):
    path = tmp_path / "to-template.h5"
    transforms.write(chain, path)
    itk = sitk.ReadTransform(str(path))
    for point, target in zip(RAS, expected(RAS), strict=True):
        lps = itk.TransformPoint((-point[0], -point[1], point[2]))
        np.testing.assert_allclose(np.array(lps) * [-1, -1, 1], target, atol=0.03)


def test_a_file_that_moves_an_image_is_the_inverse(chain, tmp_path):
    path = tmp_path / "image.h5"
    transforms.write(chain, path)
    backward = transforms.read(path, "template", "B01", "image")
    np.testing.assert_allclose(backward(chain(RAS)), RAS, atol=0.02)
    np.testing.assert_allclose(chain.inverse()(chain(RAS)), RAS, atol=0.02)


def test_an_inverted_field_is_sampled_before_writing(chain, tmp_path):
    backward = chain.inverse()
    with pytest.raises(ValueError, match="inverse of a displacement field"):
        transforms.write(backward, tmp_path / "b.h5")
    assert transforms.has_inverted_field(backward)
    field = transforms.sampled(backward, GRID, (25, 27, 29))
    transforms.write(field, tmp_path / "b.h5")
    again = transforms.read(tmp_path / "b.h5", "template", "B01", "points")
    np.testing.assert_allclose(again(RAS), backward(RAS), atol=0.05)


def test_points_outside_the_field_are_flagged(chain):
    far = np.array([[500.0, 0, 0], [0.0, 0, 0]])
    moved = chain(far)
    assert np.isnan(moved[0]).all()
    assert np.isfinite(moved[1]).all()
    assert np.isnan(chain.inverse()(far)[0]).all()


def test_composing_frames_that_do_not_meet_raises(chain, bumped):
    with pytest.raises(FrameError, match="B01 -> template cannot be followed by middle"):
        chain.then(bumped)


def test_displacement_field_as_nifti_image(bumped, tmp_path):
    path = tmp_path / "warp.nii.gz"
    sitk.WriteImage(bumped.steps[0].itk.GetDisplacementField(), str(path))
    again = transforms.read(path, "middle", "template", "points")
    np.testing.assert_allclose(again(RAS), RAS + bump(RAS), atol=0.03)


def test_the_axes_of_the_grid_do_not_matter(bumped):
    index = np.moveaxis(np.indices((25, 27, 29)), 0, -1)
    flipped = GRID.copy()
    flipped[0, 0], flipped[0, 3] = -2.0, 24.0
    points = index @ flipped[:3, :3].T + flipped[:3, 3]
    other = transforms.field_transform(bump(points), flipped, "middle", "template")
    np.testing.assert_allclose(other(RAS), bumped(RAS), atol=1e-6)


def test_an_unreadable_file_is_named(tmp_path):
    bad = tmp_path / "bad.h5"
    bad.write_bytes(b"no transform")
    with pytest.raises(InputError, match=r"bad\.h5.*not a readable transform"):
        transforms.read(bad, "a", "b", "points")
    with pytest.raises(InputError, match="not found"):
        transforms.read(tmp_path / "none.h5", "a", "b", "points")
    spline = tmp_path / "spline.tfm"
    image = sitk.GetImageFromArray(np.zeros((9, 9, 9)))
    sitk.WriteTransform(sitk.BSplineTransformInitializer(image, [3, 3, 3]), str(spline))
    with pytest.raises(InputError, match="displacement field instead"):
        transforms.read(spline, "a", "b", "points")
    scalar = tmp_path / "scalar.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4)), scalar)
    with pytest.raises(InputError, match=r"scalar\.nii\.gz"):
        transforms.read(scalar, "a", "b", "points")


def itk_affine(matrix):
    """ITK's affine for a matrix in RAS mm, by changing the signs of two axes."""
    lps = np.diag([-1, -1, 1, 1]) @ matrix @ np.diag([-1, -1, 1, 1])
    affine = sitk.AffineTransform(3)
    affine.SetMatrix(lps[:3, :3].ravel())
    affine.SetTranslation(lps[:3, 3])
    return affine


def test_a_plain_matrix_moves_points_in_ras_mm(tmp_path):
    path = tmp_path / "to-template.txt"
    np.savetxt(path, MATRIX, header="stack to template")
    transform = transforms.read(path, "B01", "template", "points")
    np.testing.assert_allclose(transform(RAS), nib.affines.apply_affine(MATRIX, RAS), atol=1e-9)
    assert (transform.source, transform.target) == ("B01", "template")


def test_a_plain_matrix_that_moves_the_image_is_the_inverse(tmp_path):
    path = tmp_path / "to-template.txt"
    np.savetxt(path, MATRIX, delimiter=", ")
    transform = transforms.read(path, "B01", "template", "image")
    wanted = nib.affines.apply_affine(np.linalg.inv(MATRIX), RAS)
    np.testing.assert_allclose(transform(RAS), wanted, atol=1e-9)
    assert (transform.source, transform.target) == ("B01", "template")


@pytest.mark.parametrize(
    "ending", [".txt", ".tfm", ".mat", pytest.param(".h5", marks=pytest.mark.slow)]
)
def test_itks_own_files_are_lps(tmp_path, ending):
    path = tmp_path / f"to-template{ending}"
    sitk.WriteTransform(itk_affine(MATRIX), str(path))
    transform = transforms.read(path, "B01", "template", "points")
    np.testing.assert_allclose(transform(RAS), nib.affines.apply_affine(MATRIX, RAS), atol=1e-6)


def scaled(factor):
    return np.diag([factor, factor, factor, 1.0])


def shifted(x):
    matrix = np.eye(4)
    matrix[0, 3] = x
    return matrix


@pytest.mark.parametrize(
    ("matrix", "complaint"),
    [
        (np.where(MATRIX == 5.0, np.nan, MATRIX), "a number is .nan."),
        (MATRIX[:3], r"\[4, 4, 4\] numbers; write 4 rows"),
        (MATRIX[:, :3], r"\[3, 3, 3, 3\] numbers"),
        (MATRIX.T, "transpose"),
        (np.diag([-1.0, 1.0, 1.0, 1.0]), "mirrors the brain"),
        (scaled(1000.0), "micrometres"),
        (scaled(0.001), "micrometres"),
        (np.diag([1.0, 1.0, 0.0, 1.0]), "stretches by 0 to 1"),
        (shifted(52_000.0), "in mm, not in micrometres"),
    ],
)
def test_an_implausible_matrix_is_refused(tmp_path, matrix, complaint):
    path = tmp_path / "to-template.txt"
    np.savetxt(path, matrix)
    with pytest.raises(InputError, match=rf"to-template\.txt.*{complaint}"):
        transforms.read(path, "B01", "template", "points")


def test_text_that_is_not_a_matrix_is_named(tmp_path):
    path = tmp_path / "to-template.txt"
    path.write_text("1 0 0 zero\n")
    with pytest.raises(InputError, match=r"'zero'.*4 rows of 4"):
        transforms.read(path, "B01", "template", "points")
    flirt = tmp_path / "flirt.mat"
    np.savetxt(flirt, MATRIX)
    with pytest.raises(InputError, match="scaled voxels"):
        transforms.read(flirt, "B01", "template", "points")


def test_our_own_file_ends_with_a_digest_that_itk_passes_over(tmp_path):
    path = tmp_path / "own.h5"
    transforms.write(transforms.affine_transform(MATRIX, "a", "b"), path)
    moved = np.array(sitk.ReadTransform(str(path)).TransformPoint((1.0, 2.0, 3.0)))
    flip = np.array([-1, -1, 1])
    np.testing.assert_allclose(moved * flip, (MATRIX @ [-1, -2, 3, 1])[:3])
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"own\.h5: has changed since it was written; make or"):
        transforms.read(path, "a", "b", "points")


@pytest.mark.slow
def test_a_foreign_file_is_read_in_a_process_of_its_own(tmp_path):
    """Affine, field and composite come back unchanged; another transform is refused by name."""
    path = tmp_path / "foreign.h5"
    field = sitk.GetImageFromArray(
        np.random.default_rng(1).normal(size=(6, 7, 8, 3)), isVector=True
    )
    field.SetOrigin((-3.0, 2, 1))
    field.SetSpacing((0.5, 1.0, 2.0))
    field.SetDirection((0.0, 1, 0, -1, 0, 0, 0, 0, 1))
    index = np.random.default_rng(2).uniform(0, [7, 6, 5], (20, 3))
    lps = np.array([field.TransformContinuousIndexToPhysicalPoint(i) for i in index.tolist()])
    both = sitk.CompositeTransform(itk_affine(np.diag([1.1, 0.9, 1, 1])))
    both.AddTransform(sitk.DisplacementFieldTransform(field))
    sitk.WriteTransform(both, str(path))
    right = np.array([both.TransformPoint(p) for p in lps.tolist()])
    flip = np.array([-1, -1, 1])
    read = transforms.read(path, "a", "b", "points")
    np.testing.assert_allclose(read(lps * flip), right * flip, atol=1e-9)
    image = sitk.GetImageFromArray(np.zeros((9, 9, 9)))
    sitk.WriteTransform(sitk.BSplineTransformInitializer(image, [3, 3, 3]), str(path))
    with pytest.raises(InputError, match=r"foreign\.h5: contains a BSpline.*; write it as a disp"):
        transforms.read(path, "a", "b", "points")
    sitk.WriteTransform(sitk.AffineTransform(2), str(path))
    with pytest.raises(InputError, match=r"foreign\.h5: is 2-dimensional; 3 are needed"):
        transforms.read(path, "a", "b", "points")


@pytest.mark.slow
def test_a_crash_of_hdf5_is_an_error(tmp_path, monkeypatch):
    """The process ends by a signal, as it does for a damaged file."""
    path = tmp_path / "foreign.h5"
    sitk.WriteTransform(itk_affine(MATRIX), str(path))
    crash = tmp_path / "crash.sh"
    crash.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crash.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(crash))
    with pytest.raises(InputError, match=r"foreign\.h5: .*reading it crashes HDF5.*; save or copy"):
        transforms.read(path, "a", "b", "points")
