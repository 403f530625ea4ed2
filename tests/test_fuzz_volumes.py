"""Damaged volumes, surfaces, transforms and tables: each reader reads them or raises InputError."""

import gzip
import json
import logging
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from mutations import damaged, rounds
from slicer_files import write_segmentation

from cytopipe.files import InputError
from cytopipe.formats import anchorings, atlas, surfaces, tables, transforms, volumes
from cytopipe.study import (
    annotations,
    config,
    declarations,
    masks,
    scans,
    sections,
    transform_table,
)
from cytopipe.study.corrections import corrected

RANDOM = np.random.default_rng(5)
SHAPE = (6, 7, 8)
LABELS = RANDOM.integers(0, 3, SHAPE).astype(np.uint8)
AFFINE = np.array([[0, -1.0, 0, 4], [1.5, 0, 0, -3], [0, 0, 2.0, 1], [0, 0, 0, 1]])
FIELD = RANDOM.normal(size=(*SHAPE, 3))
TETRAHEDRON = surfaces.Surface(
    np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9.0]]),
    np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]], np.int32),
)
SECTION = sections.Section("B01", 15, "a.tif", 1.0, 20.0)

Read = Callable[[Path], Any]


def nifti(path: Path, data: Any = LABELS) -> None:
    image = nib.Nifti1Image(data, AFFINE)
    image.set_qform(AFFINE, 1)
    nib.save(image, path)


def labels_of(path: Path) -> Any:
    return volumes.read_tissue(path).data


def nrrd(path: Path) -> None:
    layers = [LABELS, LABELS // 2]
    write_segmentation(path, layers, AFFINE, [("a", 0, 1), ("b", 0, 2), ("c", 1, 1)])


def packed_nrrd(path: Path) -> None:
    write_segmentation(path, [LABELS], AFFINE, [("a", 0, 1), ("b", 0, 2)])
    header, _, data = path.read_bytes().partition(b"\n\n")
    header = header.replace(b"encoding: raw", b"encoding: gzip")
    path.write_bytes(header + b"\n\n" + gzip.compress(data))


def drawn(path: Path) -> Any:
    return np.stack([segment.labels.data == segment.value for segment in masks.read_mask(path)])


def surface(path: Path) -> None:
    surfaces.write(TETRAHEDRON, path, "L")


def packed_surface(path: Path) -> None:
    surface(path.with_suffix(""))
    path.write_bytes(gzip.compress(path.with_suffix("").read_bytes()))


def obj(path: Path) -> None:
    corners = TETRAHEDRON.faces
    lines = ["P 0.3 0.3 0.4 10 1 4", *(" ".join(map(str, v)) for v in TETRAHEDRON.vertices)]
    lines += ["0 0 1"] * 4 + [
        "4",
        "0 1 1 1 1",
        "3 6 9 12",
        *(" ".join(map(str, f)) for f in corners),
    ]
    path.write_text("\n".join(lines) + "\n")


def vertices_of(path: Path) -> Any:
    return surfaces.read(path).vertices


def affine() -> transforms.PointTransform:
    return transforms.affine_transform(AFFINE, "a", "b")


def own(path: Path) -> None:
    field = transforms.field_transform(FIELD, np.eye(4), "b", "c")
    transforms.write(affine().then(field), path)


def itk(path: Path) -> None:
    sitk.WriteTransform(affine().steps[0].itk, str(path))


def foreign(path: Path) -> None:
    both = sitk.CompositeTransform(affine().steps[0].itk)
    both.AddTransform(sitk.DisplacementFieldTransform(field_image()))
    sitk.WriteTransform(both, str(path))


def field_image() -> Any:
    return sitk.GetImageFromArray(FIELD, isVector=True)


def field(path: Path) -> None:
    sitk.WriteImage(field_image(), str(path), useCompression=path.name.startswith("packed"))


def moved(path: Path) -> Any:
    return transforms.read(path, "a", "c", "points")(np.array([[-1.0, -2, 3]]))


def text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content, encoding="utf-8") and None


def contours(path: Path) -> None:
    ring = np.array([[0, 0], [50, 0], [50, 50.5], [0, 0]])
    annotations.write_contours([annotations.Contour("V1 größer", ((ring, ring / 2),))], path)


def read_areas(path: Path) -> Any:
    volume = path.with_name("atlas.nii.gz")
    if not volume.exists():
        nifti(volume)
    return atlas.read_atlas(volume, path)


def config_file(path: Path) -> None:
    path.write_bytes(config.DEFAULTS.read_bytes())


def point_table(path: Path) -> None:
    row = tables.FeatureRow
    frame = {c.name: {"str": "a", "bool": True}.get(c.dtype, 1) for c in tables.columns(row)}
    tables.write_rows(row, [row(**frame)] * 9, path)


SHEET = (
    "brain\tsection\timage\tspacing_um\tthickness_um\tmirrored\tnotes\n"
    'B01\t15\ta.tif\t1\t20\tyes\t"torn\nin 2"\n'
)
SLICES = {"slices": [{"nr": 1, "anchoring": [0, 0, 0, 5, 0, 0, 0, 0, 5], "width": 9, "height": 9,
                      "markers": [[1, 2, 3, 4.5]]}], "target-resolution": [6, 7, 8]}  # fmt: skip
XML = (
    "<series><slice nr='1' width='9' height='9' anchoring='ox=0&amp;oy=0&amp;oz=0&amp;ux=5&amp;uy=0"
    "&amp;uz=0&amp;vx=0&amp;vy=0&amp;vz=5'/></series>"
)
CHAIN = "section\tfrom\tto\tfile\ttype\tmoves\tframe\n15\tstack\tmni\ta.txt\tmatrix\tpoints\tRAS\n"

# the name of a valid file, how it is made and read, and the bytes that are mostly damaged
CASES: dict[str, tuple[Callable[[Path], None], Read, int]] = {
    "tissue.nii": (nifti, labels_of, 360),
    "target.nii": (nifti, anchorings.read_target, 360),
    "labels.nii": (nifti, volumes.read_labels, 360),
    "maps.nii": (lambda path: nifti(path, FIELD.astype(np.float32)), volumes.read_maps, 360),
    "mask.nii": (nifti, drawn, 360),
    "mask.seg.nrrd": (nrrd, drawn, 700),
    "a.gii": (surface, vertices_of, 0),
    "a.obj": (obj, vertices_of, 0),
    "a.shape.gii": (lambda path: surfaces.write_map(np.arange(4), path), surfaces.read_map, 0),
    "a.mat": (itk, moved, 0),
    "a.tfm": (itk, moved, 0),
    "a.txt": (itk, moved, 0),
    "matrix.txt": (text("1 0 0 4\n0 1 0 3\n0 0 1 2 # mm\n0 0 0 1\n"), moved, 0),
    "field.nii": (field, moved, 360),
    "field.mha": (field, moved, 400),
    "field.nrrd": (field, moved, 400),
    "a.json": (text(json.dumps(SLICES)), anchorings.read, 0),
    "a.xml": (text(XML), anchorings.read, 0),
    "a.geojson": (contours, lambda path: annotations.read_contours(path, (60, 60)), 0),
    "areas.tsv": (text("label\tname\themisphere\n1\tä\tL\n2\tb\t\n"), read_areas, 0),
    "names.tsv": (text('label\tname\n1\t"a b"\n'), annotations.read_area_names, 0),
    "cells.csv": (text("x_um,y_um\n1.5,2\n-3e1,4\n"), annotations.read_cells, 0),
    "sections.tsv": (text(SHEET), sections.read_sections, 0),
    "brains.tsv": (text("brain\trole\tcuts\nB01\tseen\t5 6\n"), declarations.read_declarations, 0),
    "lab.csv": (
        text('Section;Image;mirrored\n15;"a.tif";yes\n'),
        lambda path: scans.from_table([Path("a.tif")], path),
        0,
    ),
    "manual/B01/sections.tsv": (
        text("section\tmirrored\tonto\tangle_rad\tx_um\ty_um\n15\tyes\tstack\t0.1\t5\t-6\n"),
        lambda path: corrected([SECTION], path.parents[1]),
        0,
    ),
    "transforms.tsv": (text(CHAIN), lambda path: transform_table.read(path, "mni"), 0),
    "config.yaml": (config_file, lambda path: config.check(config.read(path), path.name), 0),
}
# files with checksums: whatever can still be read is what was written
CHECKED: dict[str, tuple[Callable[[Path], None], Read]] = {
    "tissue.nii.gz": (nifti, labels_of),
    "mask.nii.gz": (nifti, drawn),
    "field.nii.gz": (field, moved),
    "a.gii.gz": (packed_surface, vertices_of),
    "points.parquet": (point_table, lambda path: tables.read(tables.FeatureRow, path)),
}


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture, little_memory: None) -> None:
    caplog.set_level(logging.CRITICAL)
    caplog.set_level(logging.CRITICAL, "nibabel.global")


def read_or_refused(read: Read, path: Path, name: str, also: str = "") -> Any:
    """What is read, or None if an InputError names the file; fails otherwise, and after 10 s.

    Parameters
    ----------
    also : what may be named in its place, such as the folder of several files.
    """
    start = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read(path)
    except InputError as error:
        assert path.name in str(error) or (also and also in str(error)), f"{name}: {error}"
        return None
    except BaseException as error:
        raise AssertionError(f"{name}: {error!r}") from error
    finally:
        assert time.monotonic() - start < 10, name


@pytest.mark.parametrize("name", CASES)
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, name: str) -> None:
    write, read, head = CASES[name]
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path)
    read(path)
    for mutation, content in damaged(path.read_bytes(), rounds(210), head=head):
        path.write_bytes(content)
        read_or_refused(read, path, mutation)


@pytest.mark.parametrize("name", CHECKED)
def test_a_file_with_a_checksum_is_read_rightly_or_refused(tmp_path: Path, name: str) -> None:
    write, read = CHECKED[name]
    path = tmp_path / name
    write(path)
    right = read(path)
    for mutation, content in damaged(path.read_bytes(), rounds(210)):
        path.write_bytes(content)
        result = read_or_refused(read, path, mutation)
        if result is not None:
            np.testing.assert_array_equal(result, right, err_msg=mutation)


@pytest.mark.parametrize(("name", "write", "read"), [
    ("packed.mha", field, moved), ("packed.nrrd", field, moved), ("a.seg.nrrd", packed_nrrd, drawn),
    ("own.h5", own, moved),
])  # fmt: skip
def test_damaged_packed_data_are_refused(
    tmp_path: Path, name: str, write: Callable[[Path], None], read: Read
) -> None:
    """The header has no checksum, the data have one; of our own transforms, all but the digest."""
    path = tmp_path / name
    write(path)
    right = read(path)
    content = path.read_bytes()
    marks = {"packed.mha": b"LOCAL\n", "own.h5": b""}
    start = content.index(mark := marks.get(name, b"\n\n")) + len(mark)
    end = content.rindex(b"\nsha256") if name == "own.h5" else len(content)
    for mutation, data in damaged(content[start:end], rounds(210)):
        path.write_bytes(content[:start] + data + content[end:])
        result = read_or_refused(read, path, mutation)
        if result is not None:
            np.testing.assert_array_equal(result, right, err_msg=mutation)


@pytest.mark.slow
@pytest.mark.parametrize("write", [foreign, own])
def test_a_damaged_hdf5_file_is_read_or_refused(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    path = tmp_path / "transform.h5"
    write(path)
    moved(path)
    # each is read in a process of its own, which takes half a second
    for mutation, content in damaged(path.read_bytes(), min(rounds(21), 500)):
        path.write_bytes(content)
        read_or_refused(moved, path, mutation)
