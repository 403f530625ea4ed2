"""Masks of known regions: a ball and a box in RAS mm, on an oblique, cropped grid."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from slicer_files import write_segmentation

from cytopipe.files import InputError
from cytopipe.study.masks import read_mask

RANDOM = np.random.default_rng(3)
POINTS = RANDOM.uniform(-30, 30, (4000, 3))
# a left-handed grid, oblique to R, A and S, that covers only part of the points
TURN = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
AFFINE = np.eye(4)
AFFINE[:3, :3] = TURN * [0.8, 1.0, -1.2]
SHAPE = (40, 36, 30)
AFFINE[:3, 3] = np.array([3.0, -4.0, 2.0]) - AFFINE[:3, :3] @ (np.array(SHAPE) / 2)
MIDDLE = np.array([5.0, -3.0, 4.0])


def ball(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points - MIDDLE, axis=-1) < 9


def box(points: np.ndarray) -> np.ndarray:
    return (np.abs(points - [0, -4, 2]) < [6, 5, 7]).all(axis=-1)


def drawn(region) -> np.ndarray:
    centres = np.moveaxis(np.indices(SHAPE), 0, -1) @ AFFINE[:3, :3].T + AFFINE[:3, 3]
    return region(centres).astype(np.uint8)


def nearest(region) -> np.ndarray:
    """The points whose nearest voxel is in the region, by brute force."""
    inverse = np.linalg.inv(AFFINE)
    index = np.rint(POINTS @ inverse[:3, :3].T + inverse[:3, 3]).astype(int)
    inside = ((index >= 0) & (index < SHAPE)).all(axis=1)
    return inside & region(index @ AFFINE[:3, :3].T + AFFINE[:3, 3])


def test_overlapping_segments_lie_in_layers(tmp_path: Path) -> None:
    path = write_segmentation(
        tmp_path / "exclusion.seg.nrrd",
        [3 * drawn(ball), drawn(box)],
        AFFINE,
        [("cerebellum", 0, 3), ("Hirnstamm größer", 1, 1)],
    )
    first, second = read_mask(path)
    assert (first.name, second.name) == ("cerebellum", "Hirnstamm größer")
    np.testing.assert_array_equal(first.holds(POINTS), nearest(ball))
    np.testing.assert_array_equal(second.holds(POINTS), nearest(box))
    assert (nearest(ball) & nearest(box)).sum() > 10


def test_segments_of_one_layer(tmp_path: Path) -> None:
    labels = np.where(drawn(box), 2, drawn(ball)).astype(np.uint8)
    path = write_segmentation(
        tmp_path / "a.seg.nrrd", [labels], AFFINE, [("ball", 0, 1), ("box", 0, 2)]
    )
    first, second = read_mask(path)
    np.testing.assert_array_equal(second.holds(POINTS), nearest(box))
    np.testing.assert_array_equal(first.holds(POINTS), nearest(ball) & ~nearest(box))


def test_a_nifti_file_of_any_data_type_is_one_segment(tmp_path: Path) -> None:
    path = tmp_path / "exclusion.nii.gz"
    nib.save(nib.Nifti1Image(0.5 * drawn(ball)[..., None].astype(np.float32), AFFINE), path)
    (segment,) = read_mask(path)
    assert segment.name == "exclusion"
    np.testing.assert_array_equal(segment.holds(POINTS), nearest(ball))
    far = np.array([[np.nan, 0, 0], [1e9, 0, 0]])
    assert not segment.holds(far).any()


def color(path: Path) -> None:
    data = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(data, AFFINE), path)


def channels(path: Path) -> None:
    nib.save(nib.Nifti1Image(np.zeros((*SHAPE, 3), np.uint8), AFFINE), path)


def not_a_number(path: Path) -> None:
    data = drawn(ball).astype(np.float32)
    data[0, 0, 0] = np.nan
    nib.save(nib.Nifti1Image(data, AFFINE), path)


def probabilities(path: Path) -> None:
    nib.save(nib.Nifti1Image(RANDOM.random(SHAPE, np.float32), AFFINE), path)


def distances(path: Path) -> None:
    nib.save(nib.Nifti1Image(drawn(ball).astype(np.int16) * 9 - 5, AFFINE), path)


def truncated(path: Path) -> None:
    nib.save(nib.Nifti1Image(RANDOM.integers(0, 9, SHAPE, np.uint8), AFFINE), path)
    path.write_bytes(path.read_bytes()[:5000])


def nrrd_channels(path: Path) -> None:
    write_segmentation(path, [drawn(ball)] * 3, AFFINE, [])


def nrrd_truncated(path: Path) -> None:
    write_segmentation(path, [drawn(ball)], AFFINE, [("ball", 0, 1)])
    path.write_bytes(path.read_bytes()[:9000])


def nrrd_layer(path: Path) -> None:
    write_segmentation(path, [drawn(ball)], AFFINE, [("ball", 4, 1)])


@pytest.mark.parametrize(
    ("make", "suffix", "message"),
    [
        (color, ".nii.gz", "is color; save it with one number per voxel"),
        (channels, ".nii.gz", r"of shape \(40, 36, 30, 3\), but a volume is three-dimensional"),
        (not_a_number, ".nii.gz", "holds NaN or infinity; save it as whole numbers"),
        (
            probabilities,
            ".nii.gz",
            "holds values from .* to .*, which are probabilities, distances",
        ),
        (distances, ".nii.gz", "holds values from -5 to 4, which are probabilities, distances"),
        (truncated, ".nii.gz", "not a readable .*; save or copy it again"),
        (nrrd_channels, ".seg.nrrd", "has 3 channels and names no segments"),
        (nrrd_truncated, ".seg.nrrd", "not a readable .*; save or copy it again"),
        (nrrd_layer, ".seg.nrrd", "segment 0 is in layer 4, which is missing"),
        (lambda path: path.touch(), ".mha", "unknown format of a mask"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, make, suffix: str, message: str) -> None:
    path = tmp_path / f"exclusion{suffix}"
    make(path)
    with pytest.raises(InputError, match=message) as refused:
        read_mask(path)
    assert str(path) in str(refused.value)
