"""The files beside the page of a brain: arrays, volumes, surfaces and paths, as it reads them."""

import base64
import errno
import gzip
import json
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from shell_study import CENTRES, MIDDLE_MM, ball

from cytopipe.files import InputError, atomic_folder
from cytopipe.formats.volumes import Volume, regular_affine
from cytopipe.numerics import meshes
from cytopipe.numerics.geometry import Rigid, mirror
from cytopipe.report import bundle, other_handedness, section_files


def unpacked(values: dict) -> np.ndarray:
    content = gzip.decompress(base64.b64decode(values["gzip"]))
    return np.frombuffer(content, values["dtype"]).reshape(values["shape"])


def test_packed_arrays_are_unpacked_unchanged() -> None:
    for array in (np.arange(24, dtype=np.int16).reshape(2, 3, 4) - 7, np.float32([0.5, -3])):
        assert np.array_equal(unpacked(json.loads(json.dumps(bundle.packed(array)))), array)


def test_a_thinned_volume_keeps_labels_in_their_place() -> None:
    data = np.zeros((60, 40, 30), np.uint8)
    data[10:50, 5:35, 4:26] = 1
    data[30, 20, 15] = 2
    volume = Volume(data, regular_affine(0.5, np.array([-10.0, 3.0, 7.0])))
    for longest in (100, 30):
        nifti = gzip.decompress(base64.b64decode(bundle.volume_text(volume, longest)))
        thinned = nib.Nifti1Image.from_bytes(nifti)
        labels, affine = np.asarray(thinned.dataobj), thinned.affine
        assert max(labels.shape) <= longest
        places = nib.affines.apply_affine(affine, np.argwhere(labels == 1))
        before = volume.to_mm(np.argwhere(data == 1))
        spacing_mm = 0.5 if longest == 100 else 1.0
        assert np.array_equal(np.diagonal(affine), [spacing_mm] * 3 + [1])
        assert places.min(axis=0) == pytest.approx(before.min(axis=0), abs=spacing_mm)
        assert places.max(axis=0) == pytest.approx(before.max(axis=0), abs=spacing_mm)


def test_a_decimated_surface_and_its_map_stay_in_place() -> None:
    both = {h: ball(h, MIDDLE_MM) for h in "LR"}
    height = {h: s.vertices[:, 2] for h, s in both.items()}
    values = bundle.surface_values(both, {"height": height}, 2000)
    count = 0
    for hemisphere, mesh in values.items():
        vertices, faces = unpacked(mesh["vertices"]) / 100, unpacked(mesh["faces"])
        count += len(faces)
        assert meshes.is_closed_manifold(faces)
        radius = np.linalg.norm(vertices - CENTRES[hemisphere], axis=1)
        assert np.abs(radius - MIDDLE_MM).max() < 0.2
        # the value of the nearest vertex: an edge of the full mesh is 0.9 mm long
        assert np.abs(unpacked(mesh["maps"]["height"]) - vertices[:, 2]).max() < 0.9
    assert list(values) == ["L", "R"] and 1900 <= count <= 2000


def test_paths_follow_the_outlines_to_half_a_pixel() -> None:
    angle = np.linspace(0, 2 * np.pi, 2000)
    circle = 30_000 + 20_000 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    path = section_files.path_of([circle], 100)
    start, rest = re.fullmatch(r"M(\d+ \d+)l(.*)z", path).groups()
    steps = [np.array(pair.split(), int) for pair in re.findall(r"-?\d+ -?\d+", rest)]
    corners = np.cumsum([np.array(start.split(), int), *steps], axis=0) * section_files.UNIT_UM
    assert 20 < len(corners) < 200
    middles = (corners + np.roll(corners, 1, axis=0)) / 2
    for places in (corners, middles):
        assert np.abs(np.linalg.norm(places - 30_000, axis=1) - 20_000).max() < 110


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "B01", replace=True) as folder:
        (folder / "old").touch()
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "B01", replace=True) as folder:
        (folder / "half").touch()
        raise RuntimeError
    assert [path.name for path in tmp_path.rglob("*")] == ["B01", "old"]
    with atomic_folder(tmp_path / "B01", replace=True) as folder:
        (folder / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["B01", "new"]


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    refused = pytest.raises(InputError, match=r"B01: could not be written .*make room")
    with refused, atomic_folder(tmp_path / "B01", replace=True):
        raise full
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flipped", [False, True])
def test_the_other_handedness_is_aligned_by_the_outline(flipped: bool) -> None:
    columns, rows = np.meshgrid(np.arange(0, 60_000, 1000.0), np.arange(0, 40_000, 1000.0))
    plane = np.stack([columns, rows], axis=-1).reshape(-1, 2)
    shape = (plane[:, 0] < 20_000) | (plane[:, 1] < 12_000)  # an L has no symmetry
    fixed = other_handedness.Outline(plane[shape] + (7000, 3000), 90_000, 1000)
    back = Rigid(np.radians(-21), 9000, -4000, "fixed", "moving")
    moved = back(fixed.points_um)
    moving = other_handedness.Outline(mirror(moved, 90_000) if flipped else moved, 90_000, 1000)
    rigid, dice = other_handedness.align_outlines(fixed, moving, flipped, np.radians(60))
    assert np.degrees(rigid.angle_rad) == pytest.approx(21, abs=1.5)
    off = rigid(moved) - fixed.points_um
    assert np.linalg.norm(off, axis=1).max() < 2000 and dice > 0.9
    # an L is not its own mirror image
    assert other_handedness.align_outlines(fixed, moving, not flipped, np.radians(60))[1] < 0.85
