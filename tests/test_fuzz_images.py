"""Damaged images: each reader returns pixels or raises InputError, whatever the file contains."""

import json
import logging
import shutil
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile
from czi_files import JPEG_XR, fields_of, write_czi
from foreign_images.scene import color_scene, scene
from mutations import changed_json, damaged, rounds
from PIL import Image
from slide_files import write_aperio, write_generic, write_leica

from cytopipe.files import InputError
from cytopipe.formats.images import examine, open_pyramid, read_drawn, read_labels, write_labels

FOREIGN = Path(__file__).parent / "foreign_images"
JSON = (".zattrs", ".zarray", ".zgroup", "zarr.json")
FILES = (
    "tiled-none.tif", "tiled-lzw.tif", "tiled-jpeg.tif", "tiled-zstd.tif", "strips-deflate.tif",
    "strips-16-lzw.tif", "strips-none.tif", "white-is-zero.tif", "color-16-zstd-band.tif",
    "pages-lzw.tif", "levels-deflate.ome.tif", "levels-16.ome.btf", "color-jpeg.ome.tif",
    "color.png", "gray.png", "color.jpg", "color-none.czi", "gray-16-zstd.czi",
)  # fmt: skip


@contextmanager
def read_or_refused(path: Path, name: str):
    """Fail unless the block succeeds or raises an InputError that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError as error:
        assert path.name in str(error), name
    except BaseException as error:
        raise AssertionError(f"{name}: {error!r}") from error


def read_all(path: Path) -> None:
    """All that a study reads of a scan."""
    examine(path)
    with open_pyramid(path, 20.0) as pyramid:
        for number, level in enumerate(pyramid.levels):
            if level.height * level.width < 2**22:
                pyramid.read_level(number)
        assert pyramid.gray_range[0] <= pyramid.gray_range[1]


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture, little_memory: None) -> None:
    caplog.set_level(logging.CRITICAL)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_image_is_read_or_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for mutation, content in damaged((FOREIGN / name).read_bytes(), rounds(42), head=600):
        path.write_bytes(content)
        with read_or_refused(path, mutation):
            read_all(path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("aperio.svs", write_aperio),
        ("generic.svs", partial(write_generic, compression="deflate")),
        ("leica.scn", lambda path, image: write_leica(path, [image], [(70, 50)], 20.0)),
        (
            "jpeg-xr.czi",
            lambda path, image: write_czi(path, fields_of(image, 64), compression=JPEG_XR),
        ),
    ],
)
def test_a_damaged_file_of_a_scanner_is_read_or_refused(
    tmp_path: Path, name: str, write: Callable[[Path, np.ndarray], Path]
) -> None:
    path = tmp_path / name
    write(path, color_scene())
    for mutation, content in damaged(path.read_bytes(), rounds(70), head=600):
        path.write_bytes(content)
        with read_or_refused(path, mutation):
            read_all(path)


@pytest.mark.parametrize("name", ["gray-04.ome.zarr", "gray-16-05.ome.zarr", "color-05.ome.zarr"])
def test_a_damaged_zarr_is_read_or_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    shutil.copytree(FOREIGN / name, path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    metadata = [file for file in files if file.name.startswith((".z", "zarr"))]
    chunks = [file for file in files if file not in metadata][:2]
    for number, file in enumerate([*metadata, *chunks]):
        intact = file.read_bytes()
        for mutation, content in damaged(intact, rounds(14), seed=number):
            file.write_bytes(content)
            with read_or_refused(path, f"{file.name} {mutation}"):
                read_all(path)
        file.write_bytes(intact)


@pytest.mark.parametrize("name", ["gray-04.ome.zarr", "gray-16-05.ome.zarr", "color-05.ome.zarr"])
def test_metadata_of_any_value_are_read_or_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    shutil.copytree(FOREIGN / name, path)
    files = [file for file in sorted(path.rglob("*")) if file.name in JSON]
    for number, file in enumerate(files):
        intact = file.read_text()
        if json.loads(intact):
            for mutation, content in changed_json(intact, rounds(28), seed=number):
                file.write_text(content)
                with read_or_refused(path, f"{file.relative_to(path)} {mutation}"):
                    read_all(path)
        file.write_text(intact)


def _write_png(path: Path) -> None:
    Image.fromarray(scene() // 90).save(path)


def _write_tiff(path: Path) -> None:
    tifffile.imwrite(path, scene() // 90, compression="zlib")


@pytest.mark.parametrize(("name", "write"), [("a.png", _write_png), ("a.tif", _write_tiff)])
def test_a_damaged_drawing_is_read_or_refused(
    tmp_path: Path, name: str, write: Callable[[Path], None]
) -> None:
    path = tmp_path / name
    write(path)
    for mutation, content in damaged(path.read_bytes(), rounds(42), head=200):
        path.write_bytes(content)
        with read_or_refused(path, mutation):
            read_drawn(path)


def test_a_damaged_file_of_labels_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.tif"
    write_labels([(scene() // 90).astype(np.uint8)] * 2, path)
    for mutation, content in damaged(path.read_bytes(), rounds(42), head=400):
        path.write_bytes(content)
        with read_or_refused(path, mutation):
            read_labels(path, 1)
