"""Anchorings compared with coordinates calculated by hand, for several orders of the axes."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from cytopipe.files import InputError
from cytopipe.formats import anchorings, volumes
from cytopipe.formats.volumes import labels_at

# the target: a box of 80 x 100 x 60 mm, R -40 to 40, A -60 to 40, S -20 to 40, in voxels of 2 mm
SIZE_MM, LOW_MM, HIGH_MM = (80, 100, 60), (-40, -60, -20), (40, 40, 40)
VOXEL_MM = 2.0
# the plane A = -10 mm: R -30 to 30 along the upper edge, S 38 to -12 down the left one
WIDTH, HEIGHT = 600, 500
# o, u and v by hand: along R, A, S from the low or the high end of the box, in voxels of 2 mm
BY_HAND = {
    "RAS": [5, 25, 29, 30, 0, 0, 0, 0, -25],
    "LPI": [35, 25, 1, -30, 0, 0, 0, 0, 25],
    "PIR": [25, 1, 5, 0, 0, 30, 0, 25, 0],
    "RSA": [5, 29, 25, 30, 0, 0, 0, -25, 0],
}
ENDS = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}


def affine_of(axes: str) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, letter in enumerate(axes):
        axis, sign = ENDS[letter]
        affine[axis, column] = sign * VOXEL_MM
        end = LOW_MM[axis] if sign > 0 else HIGH_MM[axis]
        affine[axis, 3] = end + sign * VOXEL_MM / 2  # the centre of the first voxel
    return affine


def write_target(path: Path, axes: str, code: int = 2) -> Path:
    shape = [int(SIZE_MM[ENDS[letter][0]] / VOXEL_MM) for letter in axes]
    data = np.random.default_rng(0).integers(1, 250, shape).astype(np.uint8)
    image = nib.Nifti1Image(data, affine_of(axes))
    image.set_sform(image.affine, code=code)
    image.set_qform(image.affine, code=0)
    nib.save(image, path)
    return path


def write_series(path: Path, axes: str = "RAS", **changes: object) -> Path:
    size = [int(SIZE_MM[ENDS[letter][0]] / VOXEL_MM) for letter in axes]
    one = {"filename": "s.png", "nr": 7, "width": WIDTH, "height": HEIGHT}
    one |= {"anchoring": BY_HAND[axes]} | changes
    content = {"name": "s", "target": "t", "target-resolution": size, "slices": [one]}
    path.write_text(json.dumps(content))
    return path


def mm_of(pixels: np.ndarray) -> np.ndarray:
    """Centres of pixels of 0.1 mm, calculated from the plane described above."""
    columns, rows = pixels.T
    return np.stack(
        [-30 + 0.1 * (columns + 0.5), np.full(len(columns), -10.0), 38 - 0.1 * (rows + 0.5)], axis=1
    )


def shares_of(pixels: np.ndarray) -> np.ndarray:
    return (pixels + 0.5) / (WIDTH, HEIGHT)


PIXELS = np.array([[0, 0], [149, 99], [599, 499], [300, 10]], float)


@pytest.mark.parametrize("axes", BY_HAND)
def test_a_plane_lies_where_it_was_calculated_by_hand(tmp_path: Path, axes: str) -> None:
    target = anchorings.read_target(write_target(tmp_path / "target.nii.gz", axes))
    series = anchorings.read(write_series(tmp_path / "s.json", axes))
    anchorings.check_target(series, target)
    points_mm = target.to_mm(series.slices[7].to_voxels(shares_of(PIXELS)))
    np.testing.assert_allclose(points_mm, mm_of(PIXELS), atol=1e-9)
    # the second one by hand: pixel 149 is 15 mm from the edge at R -30
    np.testing.assert_allclose(points_mm[1], [-15.05, -10.0, 28.05], atol=1e-9)
    back = series.slices[7].to_shares(target.to_voxels(points_mm))
    np.testing.assert_allclose(back, shares_of(PIXELS), atol=1e-9)


@pytest.mark.parametrize("stored", ["RAS", "LPI", "PIR"])
def test_voxels_may_be_counted_along_other_axes(tmp_path: Path, stored: str) -> None:
    """QuickNII turns its volumes to RAS; a lab has the same volume as its makers distribute it."""
    target = anchorings.read_target(write_target(tmp_path / "target.nii.gz", stored), "RAS")
    series = anchorings.read(write_series(tmp_path / "s.json", "RAS"))
    anchorings.check_target(series, target)
    points_mm = target.to_mm(series.slices[7].to_voxels(shares_of(PIXELS)))
    np.testing.assert_allclose(points_mm, mm_of(PIXELS), atol=1e-9)


@pytest.mark.parametrize("axes", BY_HAND)
def test_the_voxel_is_that_which_the_programs_show(tmp_path: Path, axes: str) -> None:
    """They truncate o + u x / width + v y / height to the indices of the voxel."""
    path = write_target(tmp_path / "target.nii.gz", axes)
    numbers = np.array(BY_HAND[axes], float) + np.random.default_rng(1).normal(0, 0.2, 9)
    series = anchorings.read(write_series(tmp_path / "s.json", axes, anchoring=numbers.tolist()))
    shares = np.random.default_rng(2).uniform(0.1, 0.9, (500, 2))
    o, u, v = numbers.reshape(3, 3)
    index = (o + shares[:, :1] * u + shares[:, 1:] * v).astype(int)
    shown = np.asarray(nib.load(path).dataobj)[tuple(index.T)]
    target = anchorings.read_target(path)
    points_mm = target.to_mm(series.slices[7].to_voxels(shares))
    np.testing.assert_array_equal(labels_at(volumes.read(path), points_mm), shown)


def test_a_scan_seen_from_the_front_shows_the_right_at_the_left(tmp_path: Path) -> None:
    target = anchorings.read_target(write_target(tmp_path / "target.nii.gz", "RAS"))
    front = [35, 25, 29, -30, 0, 0, 0, 0, -25]
    series = anchorings.read(write_series(tmp_path / "s.json", anchoring=front))
    ends = target.to_mm(series.slices[7].to_voxels(np.array([[0.0, 0.5], [1.0, 0.5]])))
    np.testing.assert_allclose(ends[:, 0], [30, -30])


def test_the_older_xml_is_read_like_json(tmp_path: Path) -> None:
    names = [a + b for a in "ouv" for b in "xyz"]
    pairs = "&amp;".join(f"{n}={x}" for n, x in zip(names, BY_HAND["RAS"], strict=True))
    (tmp_path / "s.xml").write_text(
        f"<series first='7' last='8'><slice filename='s.png' nr='7' width='{WIDTH}' "
        f"height='{HEIGHT}' anchoring='{pairs}'/><slice filename='t.png' nr='8' width='3' "
        "height='3'/></series>"
    )
    as_xml = anchorings.read(tmp_path / "s.xml")
    assert list(as_xml.slices) == [7] and as_xml.size is None
    as_json = anchorings.read(write_series(tmp_path / "s.json")).slices[7]
    np.testing.assert_array_equal(as_xml.slices[7].to_voxels(PIXELS), as_json.to_voxels(PIXELS))


MARKERS = [[60.0, 50.0, 50.0, 50.0]]


def marked(tmp_path: Path, markers: list[list[float]]) -> anchorings.Anchoring:
    path = write_series(tmp_path / "s.json", width=100, height=100, markers=markers)
    return anchorings.read(path).slices[7]


def test_markers_move_the_triangles_between_them(tmp_path: Path) -> None:
    """By hand: one marker in the middle; the corners of the image widened by a tenth stay."""
    moved = marked(tmp_path, MARKERS)
    plain = marked(tmp_path, [])
    places = np.array([[50, 50], [80, 20], [-10, -10], [20, 80]]) / 100
    # (80, 20) lies half-way between (50, 50) and the corner (110, -10)
    expected = np.array([[60, 50], [85, 20], [-10, -10], [25, 80]]) / 100
    np.testing.assert_allclose(moved.to_voxels(places), plain.to_voxels(expected), atol=1e-9)
    np.testing.assert_allclose(moved.to_shares(plain.to_voxels(expected)), places, atol=1e-9)
    assert np.isnan(moved.to_voxels(np.array([[1.2, 0.5]]))).all()
    assert not moved.folded.any() and len(moved.folded) == 4
    assert not plain.folded.any()


def test_markers_that_fold_the_image_are_detected(tmp_path: Path) -> None:
    crossed = [[70.0, 50.0, 30.0, 50.0], [30.0, 50.0, 70.0, 50.0]]
    assert marked(tmp_path, crossed).folded.any()


def test_many_markers_are_inverted(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    grid = np.stack(np.meshgrid([15, 40, 65, 90], [10, 50, 85]), -1).reshape(-1, 2).astype(float)
    image = grid + random.normal(0, 1.5, grid.shape)
    moved = marked(tmp_path, np.concatenate([grid, image], axis=1).tolist())
    assert not moved.folded.any()
    places = random.uniform(0, 1, (400, 2))
    np.testing.assert_allclose(moved.to_shares(moved.to_voxels(places)), places, atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"anchoring": [1, 2, 3]}, "nine numbers"),
        ({"anchoring": [*BY_HAND["RAS"][:8], float("nan")]}, "nine numbers"),
        ({"anchoring": [1, 2, 3, 1, 0, 0, 2, 0, 0]}, "spans no plane"),
        ({"width": "5_00"}, r"slice 7: its width is '5_00'; give a number"),
        ({"width": None}, r"its width is 'None'; give a number"),
        ({"width": -999, "markers": [[1, 2, 3, 4]]}, "-999 x 500 px, but markers need"),
        ({"markers": [[1, 2, 30, 30], [5, 6, 30, 30]]}, "two markers have the same position"),
        ({"markers": [[1, 2, float("nan"), 30]]}, "a marker contains NaN"),
        ({"markers": [[1, 2]]}, "not a readable series"),
        ({"anchoring": None}, "none of its slices has an anchoring"),
        ({"nr": 1.5}, "nr of a slice is '1.5'; give a whole number"),
        ({"anchoring": ["0_5", *range(8)]}, "are not numbers"),
        ({"nr": "x"}, "nr of a slice is 'x'; give a whole number"),
    ],
)
def test_a_bad_slice_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        anchorings.read(write_series(tmp_path / "s.json", **changes))
    assert "s.json" in str(error.value)


@pytest.mark.parametrize("text", ["no json", "[1, 2]", "<series", "{}", '{"slices": [3]}'])
def test_a_file_that_is_not_a_series_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(InputError, match=r"s\.json: not a readable (series of QuickNII|JSON file)"):
        anchorings.read(tmp_path / "s.json")


def test_two_slices_with_the_same_number_are_refused(tmp_path: Path) -> None:
    content = json.loads(write_series(tmp_path / "s.json").read_text())
    content["slices"] *= 2
    (tmp_path / "s.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="two slices with the number 7"):
        anchorings.read(tmp_path / "s.json")


def test_another_volume_is_refused(tmp_path: Path) -> None:
    pir = anchorings.read_target(write_target(tmp_path / "pir.nii.gz", "PIR"))
    series = anchorings.read(write_series(tmp_path / "s.json", "RAS"))
    with pytest.raises(InputError, match="axes are permuted: set coordinates"):
        anchorings.check_target(series, pir)
    content = json.loads((tmp_path / "s.json").read_text())
    (tmp_path / "s.json").write_text(json.dumps(content | {"target-resolution": [9, 9, 9]}))
    with pytest.raises(InputError, match="to the volume that the program used"):
        anchorings.check_target(anchorings.read(tmp_path / "s.json"), pir)
    in_um = (np.array(BY_HAND["RAS"]) * 1000).tolist()
    far = anchorings.read(write_series(tmp_path / "s.json", "RAS", anchoring=in_um))
    ras = anchorings.read_target(write_target(tmp_path / "ras.nii.gz", "RAS"))
    with pytest.raises(InputError, match="slice 7 has its middle at voxel"):
        anchorings.check_target(far, ras)


def test_a_volume_without_a_position_is_refused(tmp_path: Path) -> None:
    path = write_target(tmp_path / "nowhere.nii.gz", "RAS", code=0)
    with pytest.raises(InputError, match="no position in space"):
        anchorings.read_target(path)


def test_the_size_of_images_may_be_unknown_to_deepslice(tmp_path: Path) -> None:
    known = anchorings.read(write_series(tmp_path / "s.json")).slices[7]
    unknown = anchorings.read(write_series(tmp_path / "s.json", width=-999, height=-999)).slices[7]
    shares = shares_of(PIXELS)
    np.testing.assert_array_equal(unknown.to_voxels(shares), known.to_voxels(shares))
    assert not unknown.folded.any()
    anchorings.check_image(unknown, 60_000, 52_000, "s.json")  # nothing to compare it with


def test_an_image_of_a_part_of_the_scan_is_refused(tmp_path: Path) -> None:
    one = anchorings.read(write_series(tmp_path / "s.json")).slices[7]
    anchorings.check_image(one, 60_000, 50_080, "s.json")  # reduced, the last pixel cut off
    with pytest.raises(InputError, match="anchor the whole scan"):
        anchorings.check_image(one, 60_000, 52_000, "s.json")
