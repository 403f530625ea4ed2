"""Pyramids of scans without levels: every format, every depth, read back."""

import imagecodecs
import numpy as np
import pytest
import tifffile

from cytopipe import pyramids
from cytopipe.files import InputError
from cytopipe.formats.images import halve, open_pyramid
from cytopipe.formats.sections import Section

PARAMS = pyramids.Params(coarsest_um=40.0, tile=32)


def smooth(rows=70, columns=90):
    y, x = np.mgrid[:rows, :columns]
    return (120 + 60 * np.sin(y / 9) + 50 * np.cos(x / 7)).astype(np.uint8)


def make(image, tmp_path):
    section = Section("B01", 420, str(image), 10.0, 20.0)
    made = tmp_path / "00420.ome.tif"
    pyramids.run(section=section, image=image, pyramid=made, params=PARAMS)
    with open_pyramid(made, 10.0) as pyramid:
        return [pyramid.read_level(i) for i in range(len(pyramid.levels))]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_plain_tiff_gets_levels(tmp_path, dtype):
    image = smooth().astype(dtype) * (1 if dtype == np.uint8 else 201)
    tifffile.imwrite(tmp_path / "scan.tif", image)
    levels = make(tmp_path / "scan.tif", tmp_path)
    assert [level.dtype for level in levels] == [dtype] * 3
    assert np.array_equal(levels[0], image)
    assert np.array_equal(levels[2], halve(halve(image)))


def test_png_is_read_exactly(tmp_path):
    (tmp_path / "scan.png").write_bytes(imagecodecs.png_encode(smooth()))
    assert np.array_equal(make(tmp_path / "scan.png", tmp_path)[0], smooth())


def test_jpeg_is_read_within_its_loss(tmp_path):
    (tmp_path / "scan.JPG").write_bytes(imagecodecs.jpeg_encode(smooth(), level=95))
    difference = make(tmp_path / "scan.JPG", tmp_path)[0].astype(int) - smooth()
    assert np.abs(difference).max() <= 8


@pytest.mark.parametrize("channels", [3, 4])
def test_color_becomes_luma(tmp_path, channels):
    color = np.random.default_rng(1).integers(0, 256, (40, 50, channels), np.uint8)
    tifffile.imwrite(tmp_path / "scan.tif", color, photometric="rgb")
    expected = color[..., :3] @ [0.299, 0.587, 0.114]
    # half a gray value, and what is left of the weights as floats
    assert np.abs(make(tmp_path / "scan.tif", tmp_path)[0] - expected).max() <= 0.5 + 1e-9


def test_white_stays_white():
    white = np.full((2, 2, 3), 65535, np.uint16)
    assert (pyramids.to_gray(white, "white.tif") == 65535).all()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4), np.float32), "float32"),
        (np.zeros((3, 4, 5, 6), np.uint8), "shape"),
        (np.zeros((0, 4), np.uint8), "shape"),
    ],
)
def test_other_images_are_refused(image, message):
    with pytest.raises(InputError, match=message):
        pyramids.to_gray(image, "scan.tif")


@pytest.mark.parametrize("name", ["scan.tif", "scan.png", "scan.jpg", "scan.svs", "scan"])
def test_unreadable_scans_are_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=name):
        pyramids.read_scan(tmp_path / name)


def test_a_pyramid_that_reads_back_otherwise_is_not_left_behind(tmp_path, monkeypatch):
    tifffile.imwrite(tmp_path / "scan.tif", smooth())
    monkeypatch.setattr(pyramids, "halve", lambda image: image[::2, ::2])
    with pytest.raises(RuntimeError, match="level 1"):
        make(tmp_path / "scan.tif", tmp_path)
    assert not (tmp_path / "00420.ome.tif").exists()
