"""Parts that a file lacks, and sizes that it cannot have: refused, not read as black."""

import os
import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from foreign_images.scene import scene
from image_files import chunk_files, gray_of, refused, two_levels, write_levels, write_ome_zarr
from PIL import Image

from cytopipe.files import InputError
from cytopipe.formats.images import examine, halve, open_pyramid


def lose_right_half(path, zarr_format):
    """Remove the chunks of the right half at both levels; return how many."""
    lost = 0
    for level, first_column in ((0, 2), (1, 1)):
        for file in chunk_files(path, level):
            name = file.relative_to(path / str(level)).as_posix()
            if int(name.replace("/", ".").split(".")[-1]) >= first_column:
                file.unlink()
                lost += 1
    assert lost, zarr_format
    return lost


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_half_that_is_missing_at_all_levels_is_refused(tmp_path, zarr_format):
    image = scene()[:96, :128]
    path = write_ome_zarr(tmp_path / "a.zarr", two_levels(image), zarr_format=zarr_format)
    assert np.array_equal(gray_of(path), image)
    lose_right_half(path, zarr_format)
    refused(path, "level 0 lacks the 32 x 32 px at row 0, column 64, and no other level tells")
    with open_pyramid(path, 20.0) as pyramid:
        assert np.array_equal(pyramid.read_window(0, 0, 0, 60, 64), image[:60, :64])
        for level in (0, 1):
            with pytest.raises(InputError, match="no other level tells"):
                pyramid.read_level(level)


@pytest.mark.parametrize("fill", [0, 255])
def test_chunks_of_the_fill_value_may_be_left_out(tmp_path, fill):
    """zarr leaves out chunks that have nothing but the fill value, at all levels alike."""
    image = np.full((200, 260), fill, np.uint8)
    image[:100, :130] = scene()
    levels = [image, halve(image), np.full((25, 33), fill, np.uint8)]
    levels[2][:13, :17] = scene()[::8, ::8]
    options = {"full_chunks": False, "fill_value": fill, "chunks": (34, 34)}
    path = write_ome_zarr(tmp_path / "a.zarr", levels, **options)
    assert len(chunk_files(path, 0)) < 6 * 8
    assert len(chunk_files(path, 1)) < 3 * 4
    assert len(chunk_files(path, 2)) == 1  # it tells that the others are empty
    examine(path)
    assert np.array_equal(gray_of(path), image)


def test_white_chunks_may_be_missing_at_all_levels_but_not_all_chunks(tmp_path):
    image = np.full((96, 128), 255, np.uint8)
    image[:40, :40] = 90
    path = write_ome_zarr(tmp_path / "a.zarr", two_levels(image), full_chunks=False, fill_value=255)
    assert [len(chunk_files(path, level)) for level in (0, 1)] == [4, 1]
    examine(path)
    assert np.array_equal(gray_of(path), image)
    for file in chunk_files(path, 0) + chunk_files(path, 1):
        file.unlink()
    refused(path, "holds none of the tiles or chunks that its metadata name")
    with pytest.raises(InputError, match="holds none"):
        gray_of(path)


@pytest.mark.parametrize("fill", [0, 255])
def test_chunks_of_other_names_than_the_metadata_say_are_refused(tmp_path, fill):
    path = write_ome_zarr(tmp_path / "a.zarr", two_levels(scene()), fill_value=fill)
    for level in (0, 1):
        for file in chunk_files(path, level):
            row, column = file.name.split(".")
            (path / str(level) / row).mkdir(exist_ok=True)
            file.rename(path / str(level) / row / column)
    refused(path, "none of the tiles or chunks|no other level tells")


def test_a_lost_chunk_of_the_empty_slide_is_not_read_as_black(tmp_path):
    image = np.full((96, 128), 240, np.uint8)
    path = write_ome_zarr(tmp_path / "a.zarr", two_levels(image))
    (path / "0" / "1.2").unlink()
    refused(path, "row 32, column 64, where level 1 shows something")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_tiff_of_zeros_is_refused_whatever_its_levels(tmp_path, count):
    levels = [np.zeros((200 >> n, 260 >> n), np.uint8) for n in range(count)]
    refused(write_levels(tmp_path / "a.ome.tif", levels, compression="zlib"), "nothing but 0")


def test_tiles_that_both_levels_of_a_tiff_lack_are_refused(tmp_path):
    path = write_levels(tmp_path / "a.ome.tif", two_levels(scene()[:96, :128]))
    with tifffile.TiffFile(path, mode="r+") as tif:
        for page, across in ((tif.pages[0], 4), (tif.pages[0].pages[0], 2)):
            for name in ("TileByteCounts", "TileOffsets"):
                values = [
                    0 if index % across >= across // 2 else value
                    for index, value in enumerate(page.tags[name].value)
                ]
                page.tags[name].overwrite(values)
    refused(path, "level 0 lacks the 32 x 32 px at row 0, column 64, and no other level tells")


# --- sizes and ends of files


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize("more", [b"x" * 6000, b"\xff\xd8\xff\xe1 more pictures" * 500])
def test_bytes_behind_an_image_do_not_matter(tmp_path, name, more):
    Image.fromarray(scene()).save(tmp_path / name, quality=95)
    content = (tmp_path / name).read_bytes()
    expected = gray_of(tmp_path / name)
    (tmp_path / name).write_bytes(content + more)
    examine(tmp_path / name)
    assert np.array_equal(gray_of(tmp_path / name), expected)
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    refused(tmp_path / name, "is truncated")


def test_the_end_of_a_thumbnail_is_not_that_of_the_image(tmp_path):
    """Cameras put a small JPEG into the header."""
    Image.fromarray(scene()[::4, ::4]).save(tmp_path / "small.jpg")
    exif = b"Exif\0\0II*\0\x08\0\0\0\0\0" + (tmp_path / "small.jpg").read_bytes()
    Image.fromarray(scene()).save(tmp_path / "a.jpg", exif=exif)
    examine(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[: len(exif) + 900])
    assert b"\xff\xd9" in (tmp_path / "a.jpg").read_bytes()
    refused(tmp_path / "a.jpg", "is truncated")


def test_a_png_or_jpeg_that_announces_too_much_is_refused(tmp_path, little_memory):
    Image.fromarray(scene()).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[16:24] = struct.pack(">II", 2_000_000, 200_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "a.png").write_bytes(content)
    refused(tmp_path / "a.png", "announces 400000 MB of pixels, which")
    Image.fromarray(scene()).save(tmp_path / "a.jpg")
    content = bytearray((tmp_path / "a.jpg").read_bytes())
    size = content.index(b"\xff\xc0") + 5
    content[size : size + 4] = struct.pack(">HH", 65_000, 65_000)
    (tmp_path / "a.jpg").write_bytes(content)
    refused(tmp_path / "a.jpg", "announces 4225 MB of pixels, which")


@pytest.mark.parametrize("chunks", [64, 1024, 2_000_000])
def test_a_zarr_that_announces_too_much_is_refused(tmp_path, chunks, little_memory):
    path = write_ome_zarr(tmp_path / "a.zarr", two_levels(scene()))
    text = (path / "0/.zarray").read_text()
    for old, new in (("100", "2000000"), ("130", "2000000"), ("32", str(chunks))):
        text = text.replace(f"{old},\n", f"{new},\n").replace(f"{old}\n", f"{new}\n")
    (path / "0/.zarray").write_text(text)
    text = (path / "1/.zarray").read_text()
    for old in ("50", "65"):
        text = text.replace(f"{old},\n", "1000000,\n").replace(f"{old}\n", "1000000\n")
    (path / "1/.zarray").write_text(text)
    assert zarr.open_array(path / "0").shape == (2_000_000, 2_000_000)
    refused(path, "correct its shape|lacks the|compressed .* as one piece")


@pytest.mark.parametrize("options", [{"tile": (32, 32)}, {"compression": "zlib"}, {}])
def test_a_tiff_that_announces_too_much_is_refused(tmp_path, options, little_memory):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, scene(), **options)
    with tifffile.TiffFile(path, mode="r+") as tif:
        for name in ("ImageLength", "ImageWidth", "RowsPerStrip"):
            if name in tif.pages[0].tags:
                tif.pages[0].tags[name].overwrite(2_000_000, dtype="I")
    refused(path, "lists|as one piece|not readable|truncated")


def test_a_single_large_tile_is_refused(tmp_path, little_memory):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as tif:
        tile = imagecodecs.zlib_encode(bytes(24_000))
        tif.write(
            iter([tile]), shape=(24_000, 24_000), dtype=np.uint8, tile=(24_000, 24_000),
            compression="zlib", photometric="minisblack",
        )  # fmt: skip
    refused(tmp_path / "a.ome.tif", "24000 x 24000 px, 0.6 GB, are compressed .* as one piece")
    with pytest.raises(InputError, match="as one piece"):
        open_pyramid(tmp_path / "a.ome.tif", 1.0).__enter__()


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg"])
def test_a_folder_or_a_pipe_is_not_an_image(tmp_path, name):
    (tmp_path / name).mkdir()
    refused(tmp_path / name, "is not a file")
    (tmp_path / name).rmdir()
    os.mkfifo(tmp_path / name)
    refused(tmp_path / name, "is not a file")
