"""Examinations refuse files that are damaged, truncated or in another format."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from foreign_images.scene import scene
from image_files import refused, write_levels
from PIL import Image

from cytopipe.files import InputError
from cytopipe.formats.images import examine, halve, open_pyramid, write_pyramid
from cytopipe.formats.images.tiff import TiffReader

FOREIGN = Path(__file__).parent / "foreign_images"


def copy_of(name, tmp_path):
    source, copy = FOREIGN / name, tmp_path / name
    return Path((shutil.copytree if source.is_dir() else shutil.copyfile)(source, copy))


# --- truncated or damaged


@pytest.mark.parametrize(
    "name", ["tiled-lzw.tif", "strips-none.tif", "tiled-jpeg.tif", "color.png", "color.jpg"]
)
def test_a_truncated_file_is_named(tmp_path, name):
    path = copy_of(name, tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    refused(path, "truncated|not readable|not a readable")


@pytest.mark.parametrize("keep", [0, 1, 30])
def test_the_first_bytes_alone_are_refused(tmp_path, keep):
    for name in ("tiled-lzw.tif", "color.png", "color.jpg"):
        path = copy_of(name, tmp_path)
        path.write_bytes(path.read_bytes()[:keep])
        refused(path, "not a readable|no image")


def test_a_jpeg_tile_without_its_end_is_refused(tmp_path):
    """libjpeg fills a truncated tile with gray and only warns."""
    path = copy_of("tiled-jpeg.tif", tmp_path)
    with tifffile.TiffFile(path) as tif:
        start, size = tif.pages[0].dataoffsets[0], tif.pages[0].databytecounts[0]
    content = bytearray(path.read_bytes())
    half = start + size // 2
    content[half : start + size] = bytes(start + size - half)
    path.write_bytes(content)
    with (
        open_pyramid(path, 20.0) as pyramid,
        pytest.raises(InputError, match="Premature end of JPEG"),
    ):
        pyramid.read_window(0, 0, 0, 5, 5)


@pytest.mark.parametrize("name", ["tiled-lzw.tif", "strips-none.tif"])
def test_an_unknown_codec_is_named(tmp_path, name):
    path = copy_of(name, tmp_path)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[0].tags["Compression"].overwrite(34712 if "lzw" in name else 60123)
    refused(path, "not readable|no image")


def test_a_level_of_zeros_is_found(tmp_path):
    image = scene()
    good = [image, halve(image), halve(halve(image))]
    assert len(examine(write_levels(tmp_path / "good.ome.tif", good)).levels) == 3
    for number in range(3):
        levels = [np.zeros_like(lv) if i == number else lv for i, lv in enumerate(good)]
        path = write_levels(tmp_path / f"{number}.ome.tif", levels, compression="zlib")
        assert "shows something else" in refused(path, rf"level {number}")
    # few of the sixteen bits are used
    faint = [image.astype(np.uint16), np.zeros((50, 65), np.uint16)]
    refused(write_levels(tmp_path / "faint.ome.tif", faint), "shows something else")


def test_a_mirrored_or_different_level_is_found(tmp_path):
    image = scene()
    refused(write_levels(tmp_path / "a.ome.tif", [image, halve(image)[:, ::-1]]), "something else")
    refused(write_levels(tmp_path / "b.ome.tif", [image, halve(image[::-1])]), "something else")
    refused(write_levels(tmp_path / "c.ome.tif", [image, halve(image) // 8]), "something else")


def test_levels_of_every_interpolation_pass(tmp_path):
    """Every fourth pixel or averages, of an image with noise: no false alarm."""
    noisy = np.repeat(np.repeat(scene(), 6, 0), 6, 1).astype(int)
    noisy += np.random.default_rng(0).integers(-60, 60, noisy.shape)
    noisy = np.clip(noisy, 0, 255).astype(np.uint8)
    examine(write_levels(tmp_path / "a.ome.tif", [noisy, noisy[::4, ::4]]))
    examine(write_levels(tmp_path / "b.ome.tif", [noisy, halve(halve(noisy))]))
    blank = np.full((200, 300), 233, np.uint8)
    examine(write_levels(tmp_path / "c.ome.tif", [blank, halve(blank)]))


def test_the_last_level_may_have_two_pixels(tmp_path):
    """Some programs halve until nothing is left."""
    levels = [scene()]
    while levels[-1].size > 2:
        levels.append(halve(levels[-1]))
    assert len(levels) > 6
    assert len(examine(write_levels(tmp_path / "a.ome.tif", levels)).levels) == len(levels)


def test_one_level_of_zeros_is_found(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((600, 700), np.uint8), tile=(64, 64))
    refused(tmp_path / "a.tif", "nothing but 0")


# --- segments that a file leaves out


def without_first_tile(tmp_path, levels):
    """An OME-TIFF that leaves out the first tile of level 0."""
    path = write_levels(tmp_path / "a.ome.tif", levels)
    with tifffile.TiffFile(path, mode="r+") as tif:
        for name in ("TileByteCounts", "TileOffsets"):
            values = list(tif.pages[0].tags[name].value)
            tif.pages[0].tags[name].overwrite([0, *values[1:]])
    return path


def test_a_missing_tile_must_be_empty_in_the_next_level(tmp_path):
    image = scene()
    refused(
        without_first_tile(tmp_path, [image, halve(image)]), "level 0 lacks the 32 x 32 px at row 0"
    )
    with (
        open_pyramid(tmp_path / "a.ome.tif", 1.0) as pyramid,
        pytest.raises(InputError, match="level 1 shows something"),
    ):
        pyramid.read_level(0)
    image[:40, :40] = 0
    examine(without_first_tile(tmp_path, [image, halve(image)]))
    with open_pyramid(tmp_path / "a.ome.tif", 1.0) as pyramid:
        assert np.array_equal(pyramid.read_level(0), image)


@pytest.mark.parametrize("name", ["gray-04.ome.zarr", "gray-16-05.ome.zarr", "color-05.ome.zarr"])
def test_a_lost_chunk_is_refused(tmp_path, name):
    path = copy_of(name, tmp_path)
    chunk = {"gray-04": "s0/0/1", "gray-16": "s0/c/0/1", "color-0": "s0/c/2/0/1"}[name[:7]]
    (path / chunk).unlink()
    refused(path, "level 0 lacks the 64 x 64 px at row 0, column 64, where level 1 shows")
    with open_pyramid(path, 20.0) as pyramid:
        pyramid.read_window(0, 0, 0, 64, 64)
        with pytest.raises(InputError, match="lacks"):
            pyramid.read_window(0, 10, 60, 10, 10)


def test_a_damaged_chunk_raises_an_error(tmp_path):
    path = copy_of("gray-04.ome.zarr", tmp_path)
    (path / "s0/0/0").write_bytes(b"not a chunk")
    with (
        open_pyramid(path, 20.0) as pyramid,
        pytest.raises(InputError, match="chunk of level 0"),
    ):
        pyramid.read_level(0)


# --- OME-Zarr metadata


def edited(tmp_path, edit):
    path = copy_of("gray-04.ome.zarr", tmp_path)
    attributes = json.loads((path / ".zattrs").read_text())
    edit(attributes["multiscales"][0])
    (path / ".zattrs").write_text(json.dumps(attributes))
    return path


def test_a_missing_level_is_named(tmp_path):
    path = copy_of("gray-04.ome.zarr", tmp_path)
    shutil.rmtree(path / "s1")
    refused(path, r"level 1 \(s1\) is missing")


def test_levels_out_of_order_are_named(tmp_path):
    refused(edited(tmp_path, lambda image: image["datasets"].reverse()), "level|not coarser")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda image: image.update(version="0.1"), "OME-Zarr 0.1"),
        (lambda image: image.update(axes=[{"name": "y"}, {"name": "z"}]), "damaged"),
        (lambda image: image.pop("datasets"), "damaged"),
        (
            lambda image: image["datasets"][1]["coordinateTransformations"].append(
                {"type": "translation", "translation": [500.0, 0.0]}
            ),
            "level 1 .* moved by",
        ),
    ],
)
def test_wrong_metadata_are_refused(tmp_path, edit, message):
    refused(edited(tmp_path, edit), message)


def test_units_are_converted_and_compared_with_the_sheet(tmp_path):
    def to_millimeter(image):
        for axis in image["axes"]:
            axis["unit"] = "millimeter"

    path = edited(tmp_path, to_millimeter)
    assert examine(path).spacing_um == 20_000
    with pytest.raises(InputError, match="20000 um per pixel"), open_pyramid(path, 20.0):
        pass


def test_the_layout_of_bioformats2raw_is_read(tmp_path):
    copy_of("gray-04.ome.zarr", tmp_path).rename(tmp_path / "inner")
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    (tmp_path / "inner").rename(tmp_path / "a.zarr" / "0")
    assert examine(tmp_path / "a.zarr").spacing_um == 20


def test_a_folder_without_an_image_is_refused(tmp_path):
    (tmp_path / "a.ome.zarr").mkdir()
    refused(tmp_path / "a.ome.zarr", "not a readable OME-Zarr")


# --- other formats


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (np.ones((40, 40), np.float32), {}, "float32"),
        (np.ones((3, 40, 40), np.uint8), {"photometric": "minisblack"}, "not a gray or RGB"),
        (np.ones((40, 40, 4), np.uint8), {"photometric": "separated"}, "not a gray or RGB"),
        (
            np.ones((40, 40), np.uint8),
            {"photometric": "palette", "colormap": np.zeros((3, 256), np.uint16)},
            "palette",
        ),
        (
            np.ones((40, 40), np.uint8),
            {"extratags": [(274, "H", 1, 2, True)]},
            "Orientation tag",
        ),
        (np.ones((40, 40), bool), {}, "bool"),
    ],
)
def test_other_kinds_of_pixels_are_refused(tmp_path, image, options, message):
    tifffile.imwrite(tmp_path / "a.tif", image, **options)
    refused(tmp_path / "a.tif", message)


def test_an_overview_before_the_scan_is_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(scene()[::4, ::4], photometric="minisblack", metadata=None)
        tif.write(scene(), photometric="minisblack", metadata=None)
    refused(tmp_path / "a.tif", "first image, .*is smaller than image 1")
    with tifffile.TiffWriter(tmp_path / "b.tif") as tif:
        tif.write(scene(), photometric="minisblack", metadata=None)
        tif.write(np.zeros((30, 20, 3), np.uint8), photometric="rgb", metadata=None)
    assert len(examine(tmp_path / "b.tif").levels) == 1


def test_cmyk_jpeg_is_not_taken_for_alpha(tmp_path):
    Image.new("CMYK", (40, 40)).save(tmp_path / "a.jpg")
    refused(tmp_path / "a.jpg", "4 channels")


@pytest.mark.parametrize("name", ["a.vsi", "a"])
def test_an_unknown_format_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"anything")
    refused(tmp_path / name, "not a known image format; convert it to")


# --- how a study uses it


@pytest.mark.slow
def test_a_gpu_node_needs_neither_zarr_nor_opencv_to_read_windows():
    path = str(FOREIGN / "levels-lzw.ome.tif")
    code = (
        "import sys; from pathlib import Path; from cytopipe.formats.images import open_pyramid\n"
        f"with open_pyramid(Path({path!r}), 20) as image: image.read_window(0, 0, 0, 5, 5)\n"
        "print(sorted({'zarr', 'pydantic', 'cv2', 'scipy', 'nibabel'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_which_files_need_a_copy(tmp_path, monkeypatch):
    write_pyramid(scene(), tmp_path / "a.ome.tif", 20.0, 80.0, tile=32)
    assert examine(tmp_path / "a.ome.tif").needs_copy == ""
    assert "no levels" in examine(FOREIGN / "color.png").needs_copy
    large = np.ones((4200, 4100), np.uint8)
    tifffile.imwrite(tmp_path / "s.tif", large, rowsperstrip=16, compression="zlib")
    assert "strips" in examine(tmp_path / "s.tif").needs_copy
    tifffile.imwrite(tmp_path / "w.tif", large, rowsperstrip=4200, compression="zlib")
    # a strip this large is not decoded
    monkeypatch.delattr(TiffReader, "_decoded")
    assert "single strip" in examine(tmp_path / "w.tif").needs_copy


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_background_is_recognised_by_what_stands_out_from_it(tmp_path, dtype):
    y, x = np.mgrid[:300, :400]
    slide = np.full((300, 400), 230, dtype) + (x % 3).astype(dtype)
    tissue = np.where((y - 150) ** 2 + (x - 200) ** 2 < 80**2, dtype(90), slide)
    for name, image, expected in (
        ("bright", tissue, "bright"),
        ("dark", 255 - tissue, "dark"),
        ("deep", 4095 - (tissue.astype(np.uint16) * 15), "dark"),
        ("blank", slide, ""),
    ):
        write_pyramid(image, tmp_path / f"{name}.ome.tif", 20.0, 80.0, tile=64)
        assert examine(tmp_path / f"{name}.ome.tif").background == expected


@pytest.mark.parametrize("side", ["right", "top", "corner", "none"])
def test_a_black_part_of_a_bright_slide_is_measured(tmp_path, side):
    y, x = np.mgrid[:320, :640]
    image = np.full((320, 640), 230, np.uint8)
    image[(y - 160) ** 2 + (x - 200) ** 2 < 90**2] = 90
    lost = {"right": x >= 320, "top": y < 64, "corner": x + 2 * y < 256, "none": x < 0}[side]
    image[lost] = 0
    write_pyramid(image, tmp_path / "a.ome.tif", 20.0, 80.0, tile=64)
    examination = examine(tmp_path / "a.ome.tif")
    assert examination.background == "bright"
    assert examination.black == pytest.approx(lost.mean(), abs=0.01)


def test_black_is_normal_on_a_dark_background(tmp_path):
    y, x = np.mgrid[:320, :640]
    image = np.where((y - 160) ** 2 + (x - 200) ** 2 < 90**2, 150, 0).astype(np.uint8)
    write_pyramid(image, tmp_path / "a.ome.tif", 20.0, 80.0, tile=64)
    examination = examine(tmp_path / "a.ome.tif")
    assert (examination.background, examination.black) == ("dark", 0)


def test_a_large_image_is_not_decoded(tmp_path, monkeypatch):
    """An examination decodes a few dozen of 2,000 tiles."""
    image = np.random.default_rng(0).integers(0, 255, (2200, 4000), np.uint8)
    image[500:900, 1000:1800] //= 3
    write_pyramid(image, tmp_path / "a.ome.tif", 1.0, 16.0, tile=64)
    bytes_read = []
    read = tifffile.FileHandle.read
    monkeypatch.setattr(
        tifffile.FileHandle, "read", lambda self, n=-1: bytes_read.append(n) or read(self, n)
    )
    start = time.perf_counter()
    examine(tmp_path / "a.ome.tif")
    assert sum(bytes_read) < 3_000_000
    assert time.perf_counter() - start < 10
