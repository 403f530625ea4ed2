"""Labels and masks that people draw are read as stored, or refused by name."""

import struct
import zlib

import numpy as np
import pytest
import tifffile
from foreign_images.scene import scene
from PIL import ExifTags, Image

from cytopipe.files import InputError
from cytopipe.formats.images import read_drawn
from cytopipe.segmentation import read_manual
from cytopipe.study.annotations import read_gray


def labels():
    return (scene() // 90).astype(np.uint8)


def test_the_values_are_those_stored(tmp_path):
    assert set(np.unique(labels())) == {0, 1, 2}
    tifffile.imwrite(tmp_path / "a.tif", labels(), compression="zlib")
    tifffile.imwrite(tmp_path / "b.tif", labels().astype(">u2"), byteorder=">")
    Image.fromarray(labels()).save(tmp_path / "c.png")
    palette = Image.fromarray(labels()).convert("P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.save(tmp_path / "d.png")
    for name in ("a.tif", "b.tif", "c.png", "d.png"):
        assert np.array_equal(read_drawn(tmp_path / name), labels()), name
        assert np.array_equal(read_manual(tmp_path / name, labels().shape), labels()), name


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_labels_of_a_few_bits_are_not_spread(tmp_path, depth):
    """Pillow makes 17 of a 1 in four bits, because the gray value is the same."""
    values = labels() & (2**depth - 1)
    columns = -(-values.shape[1] * depth // 8) * 8 // depth
    padded = np.pad(values, ((0, 0), (0, columns - values.shape[1])))
    bits = np.unpackbits(padded[..., None], axis=-1)[..., -depth:]
    rows = np.packbits(bits.reshape(len(values), -1), axis=-1)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", values.shape[1], len(values), depth, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")):
        content += struct.pack(">I", len(data)) + name + data
        content += struct.pack(">I", zlib.crc32(name + data))
    (tmp_path / "a.png").write_bytes(content)
    assert np.array_equal(read_drawn(tmp_path / "a.png"), values)


def test_labels_that_jpeg_has_changed_are_refused(tmp_path):
    Image.fromarray(labels()).save(tmp_path / "a.jpg")
    tifffile.imwrite(tmp_path / "a.tif", labels(), compression="jpeg")
    for name in ("a.jpg", "a.tif"):
        with pytest.raises(InputError, match=rf"{name}: JPEG has changed its labels; save it as"):
            read_drawn(tmp_path / name)
        assert read_drawn(tmp_path / name, is_photograph=True).shape == labels().shape


def test_several_label_images_in_one_file_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(labels(), metadata=None)
        tif.write(labels()[:50], metadata=None)
    with pytest.raises(InputError, match=r"a\.tif: has 2 planes; save one"):
        read_drawn(tmp_path / "a.tif")


@pytest.mark.parametrize("orientation", range(2, 9))
def test_labels_to_be_turned_are_refused(tmp_path, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(labels()).save(tmp_path / "a.png", exif=exif)
    Image.fromarray(labels()).save(tmp_path / "a.jpg", exif=exif)
    tifffile.imwrite(tmp_path / "a.tif", labels(), extratags=[(274, "H", 1, orientation, True)])
    for name in ("a.png", "a.jpg", "a.tif"):
        for read in (read_manual, read_gray):
            with pytest.raises(InputError, match=rf"{name}: its Orientation tag \({orientation}\)"):
                read(tmp_path / name)


def test_inverted_labels_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", labels(), photometric="miniswhite")
    with pytest.raises(InputError, match=r"a\.tif: stores white as 0; save it with black as 0"):
        read_manual(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "zlib", "zstd"])
def test_labels_that_announce_too_much_are_refused(tmp_path, compression, little_memory):
    tifffile.imwrite(tmp_path / "a.tif", labels(), compression=compression)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tif:
        for name in ("ImageLength", "ImageWidth", "RowsPerStrip"):
            tif.pages[0].tags[name].overwrite(2_000_000, dtype="I")
    with pytest.raises(InputError, match=r"a\.tif: its header announces 4000000 MB"):
        read_drawn(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg", "a.bmp"])
def test_a_damaged_file_is_named(tmp_path, name):
    Image.fromarray(labels()).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    for keep in (0, 3, 40, len(content) // 2):
        (tmp_path / name).write_bytes(content[:keep])
        with pytest.raises(InputError, match=f"{name}: "):
            read_drawn(tmp_path / name)
