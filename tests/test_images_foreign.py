"""Images that other programs wrote (foreign_images/make.py), against the formula they show."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import tifffile
from foreign_images.scene import COLUMNS, ROWS, color_scene, scene

from cytopipe.formats.images import examine, open_pyramid
from cytopipe.formats.images.pyramid import Pyramid, open_store

FOLDER = Path(__file__).parent / "foreign_images"
IMAGES = sorted(
    path.name for path in FOLDER.iterdir() if path.suffix not in (".py", "") and path.name[0] != "_"
)
PYRAMIDS = [name for name in IMAGES if name.startswith(("levels", "pages")) or "zarr" in name]
PYRAMIDS.append("color-jpeg.ome.tif")
# what JPEG at quality 95 loses, of 8 bits; twice that in color
JPEG_LOSS = 8


def truth(name):
    """Gray values by the stated rule: 0.299 R + 0.587 G + 0.114 B, as real numbers."""
    dtype = np.uint16 if "16" in name else np.uint8
    return (
        color_scene(dtype) @ [0.299, 0.587, 0.114]
        if "color" in name
        else scene(dtype).astype(float)
    )


def tolerance(name):
    # half a gray value of rounding, and what is left of the weights as floats
    return JPEG_LOSS if "jp" in name else 0.5 + 1e-9


def test_every_kind_is_there():
    assert len(IMAGES) == 28
    for codec in ("none", "lzw", "deflate", "zstd", "jpeg"):
        assert {f"tiled-{codec}.tif", f"strips-{codec}.tif"} <= set(IMAGES)


@pytest.mark.parametrize("name", IMAGES)
def test_pixels_are_what_the_formula_says(name):
    with open_store(FOLDER / name) as store:
        pyramid = Pyramid(store, 20.0)
        image = pyramid.read_level(0)
        assert image.dtype == (np.uint16 if "16" in name else np.uint8)
        assert np.abs(image - truth(name)).max() <= tolerance(name)
        # windows across tiles, strips and chunks, and at the border
        for row, column, height, width in ((30, 60, 40, 9), (0, 0, 1, COLUMNS), (63, 127, 37, 3)):
            window = pyramid.read_window(0, row, column, height, width)
            assert np.array_equal(window, image[row : row + height, column : column + width])


@pytest.mark.parametrize("name", PYRAMIDS)
def test_levels_lie_where_they_should(name):
    """Level 1 is half of level 0, by averages of 2 x 2 pixels or by every second one."""
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
def test_what_an_examination_says(name):
    found = examine(FOLDER / name)
    full = found.levels[0]
    assert (full.height, full.width, full.factor) == (ROWS, COLUMNS, 1)
    assert found.dtype == ("uint16" if "16" in name else "uint8")
    assert found.channels == (3 if "color" in name else 1)
    assert found.pixels_square
    if name in PYRAMIDS:
        assert [level.factor for level in found.levels] == [1, 2, 4]
    else:
        assert len(found.levels) == 1
    stated = (
        name in PYRAMIDS or name == "color-deflate.tif" or name.startswith(("tiled", "strips-"))
    )
    if stated and "zstd" not in name.replace("strips", "") and name != "strips-16-lzw.tif":
        assert full.spacing_um == pytest.approx(20.0)
    for codec in ("none", "lzw", "deflate", "zstd", "jpeg"):
        if f"-{codec}." in name:
            assert codec in full.codec
    if name.startswith("tiled"):
        assert full.segment == (32, 32)
    if "levels" in name:
        assert found.format == ("OME-BigTIFF" if "16" in name else "OME-TIFF")
        assert found.spacing_from == "OME"
    if "zarr" in name:
        assert found.format == f"OME-Zarr 0.{name[-10]}"
        assert found.spacing_from == "OME-Zarr"
    if name.startswith("color-16"):
        assert found.format == "BigTIFF"


def test_white_is_zero_in_the_file_itself():
    with tifffile.TiffFile(FOLDER / "white-is-zero.tif") as tif:
        assert np.array_equal(255 - tif.asarray(), scene())


def _window_in_worker(queue):
    with open_pyramid(FOLDER / "gray-04.ome.zarr", 20.0) as pyramid:
        queue.put(pyramid.read_window(0, 50, 50, 20, 20).sum())


def test_a_forked_worker_reads_zarr_as_its_parent_did():
    """Loaders of patches fork; zarr's threads do not survive that."""
    with open_pyramid(FOLDER / "gray-04.ome.zarr", 20.0) as pyramid:
        mine = pyramid.read_window(0, 50, 50, 20, 20).sum()
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    worker = context.Process(target=_window_in_worker, args=(queue,))
    worker.start()
    assert queue.get(timeout=60) == mine
    worker.join(timeout=60)
    assert worker.exitcode == 0
