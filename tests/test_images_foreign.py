"""Images written by other programs (foreign_images/make.py), compared with their formula."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import tifffile
from foreign_images.scene import COLUMNS, ROWS, color_scene, scene

from cytopipe.formats.images import examine, open_pyramid
from cytopipe.formats.images.pyramid import Pyramid, open_reader

FOLDER = Path(__file__).parent / "foreign_images"
IMAGES = sorted(
    path.name for path in FOLDER.iterdir() if path.suffix not in (".py", "") and path.name[0] != "_"
)
PYRAMIDS = [name for name in IMAGES if name.startswith(("levels", "pages")) or "zarr" in name]
PYRAMIDS.append("color-jpeg.ome.tif")
# error of JPEG at quality 95, in gray values of 8 bits
JPEG_LOSS = 8


def truth(name):
    """Gray values by the documented rule, 0.299 R + 0.587 G + 0.114 B, before rounding."""
    dtype = np.uint16 if "16" in name else np.uint8
    return (
        color_scene(dtype) @ [0.299, 0.587, 0.114]
        if "color" in name
        else scene(dtype).astype(float)
    )


def tolerance(name):
    # half a gray value of rounding, and the rounding error of the weights
    return JPEG_LOSS if "jp" in name else 0.5 + 1e-9


def test_the_folder_is_complete():
    assert len(IMAGES) == 30
    for codec in ("none", "lzw", "deflate", "zstd", "jpeg"):
        assert {f"tiled-{codec}.tif", f"strips-{codec}.tif"} <= set(IMAGES)


@pytest.mark.parametrize("name", IMAGES)
def test_pixels_are_what_the_formula_says(name):
    with open_reader(FOLDER / name) as reader:
        pyramid = Pyramid(reader, 20.0)
        image = pyramid.read_level(0)
        assert image.dtype == (np.uint16 if "16" in name else np.uint8)
        assert np.abs(image - truth(name)).max() <= tolerance(name)
        # windows across tiles, strips and chunks, and at the border
        for row, column, height, width in ((30, 60, 40, 9), (0, 0, 1, COLUMNS), (63, 127, 37, 3)):
            window = pyramid.read_window(0, row, column, height, width)
            assert np.array_equal(window, image[row : row + height, column : column + width])


@pytest.mark.parametrize("name", PYRAMIDS)
def test_levels_are_where_they_should_be(name):
    """Level 1 is level 0 halved, by averages of 2 x 2 pixels or by taking every second one."""
    with open_pyramid(FOLDER / name, 20.0) as pyramid:
        assert [level.spacing_um for level in pyramid.levels] == [20, 40, 80]
        full = truth(name)
        expected = (
            full[::2, ::2]
            if "zarr" in name
            else full.reshape(ROWS // 2, 2, COLUMNS // 2, 2).mean((1, 3))
        )
        loss = 1 + (JPEG_LOSS if "jpeg" in name else 0)
        difference = np.abs(pyramid.read_level(1) - expected)
        assert difference.max() <= loss * (257 if "16" in name else 1)


@pytest.mark.parametrize("name", IMAGES)
def test_an_examination_describes_the_file(name):
    examination = examine(FOLDER / name)
    full = examination.levels[0]
    assert (full.height, full.width) == (ROWS, COLUMNS)
    assert examination.dtype == ("uint16" if "16" in name else "uint8")
    assert examination.channels == (3 if "color" in name else 1)
    assert examination.pixels_square
    if name in PYRAMIDS:
        assert examination.factors == [1, 2, 4]
    else:
        assert examination.factors == [1]
    stated = (
        name in PYRAMIDS or name == "color-deflate.tif" or name.startswith(("tiled", "strips-"))
    )
    if stated and "zstd" not in name.replace("strips", "") and name != "strips-16-lzw.tif":
        assert examination.spacing_um == pytest.approx(20.0)
    for codec in ("none", "lzw", "deflate", "zstd", "jpeg"):
        if f"-{codec}." in name:
            assert codec in full.codec
    if name.startswith("tiled"):
        assert full.segment == (32, 32)
    if "levels" in name:
        assert examination.format == ("OME-BigTIFF" if "16" in name else "OME-TIFF")
        assert examination.spacing_from == "OME"
    if "zarr" in name:
        assert examination.format == f"OME-Zarr 0.{name[-10]}"
        assert examination.spacing_from == "OME-Zarr"
    if name.startswith("color-16"):
        assert examination.format == "BigTIFF"


def test_the_file_stores_white_as_zero():
    with tifffile.TiffFile(FOLDER / "white-is-zero.tif") as tif:
        assert np.array_equal(255 - tif.asarray(), scene())


def _window_in_worker(queue):
    with open_pyramid(FOLDER / "gray-04.ome.zarr", 20.0) as pyramid:
        queue.put(pyramid.read_window(0, 50, 50, 20, 20).sum())


@pytest.mark.slow
def test_a_forked_worker_reads_zarr_as_its_parent_did():
    """Patch loaders fork; zarr's threads do not survive a fork."""
    with open_pyramid(FOLDER / "gray-04.ome.zarr", 20.0) as pyramid:
        expected = pyramid.read_window(0, 50, 50, 20, 20).sum()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    worker = context.Process(target=_window_in_worker, args=(queue,))
    worker.start()
    assert queue.get(timeout=60) == expected
    worker.join(timeout=60)
    assert worker.exitcode == 0
