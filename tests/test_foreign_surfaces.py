"""Surfaces of other programs: read as their headers say, or refused by name."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from cytopipe.files import InputError
from cytopipe.formats import surfaces
from cytopipe.formats.surfaces import Surface

CORNERS = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9.0]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32)


def gifti(path: Path, spaces: tuple[int, int], matrix: Any, **meta: str) -> Path:
    surfaces.write(Surface(CORNERS, FACES), path)
    image = nib.load(path)
    points = image.darrays[0]
    points.coordsys = nib.gifti.GiftiCoordSystem(*spaces, np.asarray(matrix, np.float64))
    for key, value in meta.items():
        points.meta[key] = value
    path.write_bytes(image.to_bytes())
    return path


SHIFT = [[1, 0, 0, 3], [0, 1, 0, -4], [0, 0, 1, 2], [0, 0, 0, 1]]


def test_a_matrix_to_the_scanners_space_is_applied(tmp_path: Path) -> None:
    for target in (1, 2):
        read = surfaces.read(gifti(tmp_path / "a.surf.gii", (0, target), SHIFT))
        np.testing.assert_allclose(read.vertices, CORNERS + [3, -4, 2])
    read = surfaces.read(gifti(tmp_path / "a.surf.gii", (0, 3), np.eye(4)))
    np.testing.assert_array_equal(read.vertices, CORNERS)


@pytest.mark.parametrize("matrix", [SHIFT, np.diag([-1.0, 1, 1, 1])])
def test_a_matrix_to_a_template_or_a_mirror_is_refused(tmp_path: Path, matrix: Any) -> None:
    target = 3 if matrix is SHIFT else 1
    with pytest.raises(InputError, match=r"a\.surf\.gii: its matrix leads to another space"):
        surfaces.read(gifti(tmp_path / "a.surf.gii", (0, target), matrix))


def test_two_matrices_are_refused(tmp_path: Path) -> None:
    path = gifti(tmp_path / "a.surf.gii", (0, 1), SHIFT)
    text = path.read_text()
    start, end = text.index("<CoordinateSystem"), text.index("<Data>")
    path.write_text(text[:end] + text[start:end] + text[end:])
    with pytest.raises(InputError, match="several matrices; keep one"):
        surfaces.read(path)


def test_freesurfers_own_coordinates_are_refused(tmp_path: Path) -> None:
    centre = {"VolGeomC_R": "1.5", "VolGeomC_A": "-20", "VolGeomC_S": "7"}
    with pytest.raises(InputError, match=r"FreeSurfer's own coordinates.*--to-scanner"):
        surfaces.read(gifti(tmp_path / "a.surf.gii", (0, 3), np.eye(4), **centre))
    surfaces.read(gifti(tmp_path / "a.surf.gii", (1, 1), np.eye(4), **centre))


@pytest.mark.parametrize("place", ["file", "array"])
def test_a_surface_that_says_it_is_the_other_side_is_refused(tmp_path: Path, place: str) -> None:
    path = tmp_path / "hemi-L_mid.surf.gii"
    surfaces.write(Surface(CORNERS, FACES), path, "L")
    assert len(surfaces.read(path, "L").faces) == 4
    image = nib.load(path)
    meta = image.meta if place == "file" else image.darrays[0].meta
    meta["AnatomicalStructurePrimary"] = "CortexRight"
    path.write_bytes(image.to_bytes())
    with pytest.raises(InputError, match=r"is to be hemisphere L, but .*CortexRight.*; exchange"):
        surfaces.read(path, "L")
    surfaces.read(path)


def test_vertices_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    broken = CORNERS.copy()
    broken[2, 1] = np.nan
    surfaces.write(Surface(broken, FACES), tmp_path / "a.surf.gii")
    with pytest.raises(InputError, match="contains NaN vertices; export it again"):
        surfaces.read(tmp_path / "a.surf.gii")
