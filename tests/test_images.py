"""Section images read back as written, on the grid of geometry; errors name bad files."""

import errno

import numpy as np
import pytest
import tifffile

from cytopipe.files import InputError
from cytopipe.formats.images import (
    halve,
    open_pyramid,
    read_labels,
    to_8_bit,
    write_labels,
    write_pyramid,
    write_pyramid_by_windows,
)
from cytopipe.formats.images import pyramid as pyramid_module
from cytopipe.numerics.geometry import pixels_to_section
from cytopipe.study.sections import needs_pyramid


def noise(rows, columns, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (rows, columns), dtype, True)


@pytest.fixture
def scan(tmp_path):
    image = noise(301, 423)
    path = tmp_path / "B01_00420.ome.tif"
    write_pyramid(image, path, spacing_um=10.0, coarsest_um=40.0, tile=64)
    return image, path


def test_levels_read_back_as_written(scan):
    image, path = scan
    with open_pyramid(path, 10.0) as pyramid:
        assert [level.spacing_um for level in pyramid.levels] == [10, 20, 40]
        assert np.array_equal(pyramid.read_level(0), image)
        assert np.array_equal(pyramid.read_level(2), halve(halve(image)))


def test_sixteen_bits_are_kept(tmp_path):
    image = noise(50, 60, np.uint16)
    write_pyramid(image, tmp_path / "a.ome.tif", 1.0, 1.0, tile=16)
    with open_pyramid(tmp_path / "a.ome.tif", 1.0) as pyramid:
        assert len(pyramid.levels) == 1
        assert np.array_equal(pyramid.read_level(0), image)


def test_same_image_gives_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_pyramid(noise(90, 70), tmp_path / f"{name}.ome.tif", 1.0, 4.0, tile=32)
    assert (tmp_path / "a.ome.tif").read_bytes() == (tmp_path / "b.ome.tif").read_bytes()


@pytest.mark.parametrize("shape", [(301, 423), (32, 256), (33, 257), (9, 5)])
def test_a_pyramid_is_written_by_windows(tmp_path, shape):
    image = noise(*shape)

    def window(row, column, rows, columns):
        assert rows <= 32
        assert columns <= 8 * 32
        return image[row : row + rows, column : column + columns]

    write_pyramid_by_windows(window, shape, tmp_path / "a.ome.tif", 1.0, 4.0, tile=32)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ome.tif"]
    expected = [image, halve(image), halve(halve(image))]
    with open_pyramid(tmp_path / "a.ome.tif", 1.0) as pyramid:
        for number, level in enumerate(expected):
            assert np.array_equal(pyramid.read_level(number), level)


@pytest.mark.parametrize("window", [(0, 0, 301, 423), (63, 64, 2, 65), (300, 422, 1, 1)])
def test_a_window_is_a_part_of_its_level(scan, window):
    image, path = scan
    row, column, height, width = window
    with open_pyramid(path, 10.0) as pyramid:
        pixels = pyramid.read_window(0, row, column, height, width)
    assert np.array_equal(pixels, image[row : row + height, column : column + width])


def test_a_window_of_jpeg_tiles_with_shared_tables(tmp_path):
    image = np.tile(np.arange(0, 200, dtype=np.uint8), (160, 1))
    path = tmp_path / "jpeg.ome.tif"
    tifffile.imwrite(path, image, tile=(64, 64), compression="jpeg", photometric="minisblack")
    with open_pyramid(path, 1.0) as pyramid:
        whole = pyramid.read_level(0)
        assert np.array_equal(pyramid.read_window(0, 30, 50, 100, 120), whole[30:130, 50:170])
        assert np.abs(whole.astype(int) - image).max() < 10


def test_a_window_outside_is_refused(scan):
    with open_pyramid(scan[1], 10.0) as pyramid, pytest.raises(ValueError, match="leaves level 0"):
        pyramid.read_window(0, 250, 0, 64, 64)


@pytest.mark.parametrize("spacing_um", [20.0, 25.0, 37.0, 160.0])
def test_read_at_lies_on_the_grid_of_geometry(tmp_path, spacing_um):
    """If the gray value is the column, the value of an averaged pixel is its own position."""
    columns = np.tile(np.arange(250, dtype=np.uint8), (123, 1))
    path = tmp_path / "ramp.ome.tif"
    write_pyramid(columns, path, spacing_um=10.0, coarsest_um=10.0)
    with open_pyramid(path, 10.0) as pyramid:
        scaled = pyramid.read_at(spacing_um)
    points_px = np.column_stack([np.arange(scaled.shape[1]), np.zeros(scaled.shape[1])])
    expected = pixels_to_section(points_px, spacing_um, 10.0)[:, 0] / 10.0
    # the last pixel may be covered only in part
    assert np.abs(scaled[0] - expected)[:-1].max() <= 0.51


def test_read_at_uses_a_level_with_that_spacing(scan):
    image, path = scan
    with open_pyramid(path, 10.0) as pyramid:
        assert np.array_equal(pyramid.read_at(20.0), halve(image))


def test_halve_averages_and_rounds():
    assert halve(np.array([[0, 1, 9], [2, 3, 9]], np.uint8)).tolist() == [[2, 9]]
    full = np.full((4, 4), 65535, np.uint16)
    assert np.array_equal(halve(full), full[:2, :2])


def test_spacing_in_the_sheet_must_agree_with_the_file(scan):
    with (
        pytest.raises(InputError, match="10 um per pixel along X, the sheet 11"),
        open_pyramid(scan[1], 11.0),
    ):
        pass


@pytest.mark.parametrize("spacing_um", [0.0, -1.0, float("nan"), float("inf")])
def test_a_spacing_must_be_a_positive_number(scan, spacing_um):
    with (
        pytest.raises(InputError, match="give a positive number"),
        open_pyramid(scan[1], spacing_um),
    ):
        pass


@pytest.mark.parametrize("size", [0.0, float("nan"), -2.0])
def test_metadata_with_an_impossible_pixel_size_are_refused(tmp_path, size):
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "YX", "PhysicalSizeX": size, "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(path, noise(20, 20), metadata=metadata)
    with pytest.raises(InputError, match="pixel size along X"), open_pyramid(path, 1.0):
        pass


def test_pixels_must_be_square(tmp_path):
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "YX", "PhysicalSizeX": 1.0, "PhysicalSizeY": 2.0}
    tifffile.imwrite(path, noise(20, 20), metadata=metadata)
    with pytest.raises(InputError, match="along Y"), open_pyramid(path, 1.0):
        pass


def test_other_units_are_understood(tmp_path):
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "YX", "PhysicalSizeX": 0.064, "PhysicalSizeXUnit": "mm"}
    tifffile.imwrite(path, noise(20, 20), metadata=metadata)
    with open_pyramid(path, 64.0) as pyramid:
        assert pyramid.full_spacing_um == 64


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((20, 20, 5), np.uint8), "not a gray or RGB image"),
        (np.zeros((20, 20), np.float32), "8 or 16 bit"),
    ],
)
def test_only_gray_and_rgb_images_are_read(tmp_path, image, message):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, image, photometric="rgb" if image.ndim == 3 else "minisblack")
    with pytest.raises(InputError, match=message), open_pyramid(path, 1.0):
        pass


@pytest.mark.parametrize("content", [b"", b"II*\0", b"not an image", b"II*\0\xff\xff\xff\x7f"])
def test_files_that_are_not_tiff_are_refused(tmp_path, content):
    path = tmp_path / "a.ome.tif"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.ome\.tif"), open_pyramid(path, 1.0):
        pass


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"sections\.tsv"), open_pyramid(tmp_path / "no.tif", 1.0):
        pass


def test_a_broken_tile_raises_an_error(scan):
    path = scan[1]
    with tifffile.TiffFile(path) as tif:
        start = tif.pages[0].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[start : start + 64] = bytes(64)
    path.write_bytes(content)
    with open_pyramid(path, 10.0) as pyramid:
        with pytest.raises(InputError, match="tile 0"):
            pyramid.read_window(0, 0, 0, 10, 10)
        with pytest.raises(InputError, match="level 0"):
            pyramid.read_level(0)


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EIO, "input/output error")])
def test_errors_of_the_machine_are_not_blamed_on_the_file(scan, monkeypatch, error):
    """An InputError is final; these errors may be gone when the job is run again."""

    def fail(*_, **__):
        raise error

    write_labels([noise(7, 5) % 3], scan[1].with_name("labels.tif"))
    with open_pyramid(scan[1], 10.0) as pyramid:
        monkeypatch.setattr(tifffile.FileHandle, "read", fail)
        with pytest.raises(type(error)):
            pyramid.read_level(0)
        with pytest.raises(type(error)):
            pyramid.read_window(0, 0, 0, 10, 10)
    with pytest.raises(type(error)), open_pyramid(scan[1], 10.0):
        pass
    with pytest.raises(type(error)):
        read_labels(scan[1].with_name("labels.tif"), 0)


def test_a_truncated_file_and_a_damaged_offset_are_named(scan):
    content = scan[1].read_bytes()
    scan[1].write_bytes(content[: len(content) // 2])
    with (
        pytest.raises(InputError, match="B01_00420"),
        open_pyramid(scan[1], 10.0) as pyramid,
    ):
        pyramid.read_level(0)
    # a BigTIFF whose first directory lies beyond the end of any file
    scan[1].write_bytes(content[:8] + b"\xff" * 7 + b"\x7f" + content[16:])
    with pytest.raises(InputError, match="B01_00420"), open_pyramid(scan[1], 10.0):
        pass


def test_a_scan_without_levels_is_not_decoded_for_a_coarse_image(tmp_path, monkeypatch):
    path = tmp_path / "a.ome.tif"
    write_pyramid(noise(100, 120), path, spacing_um=1.0, coarsest_um=1.0)
    with open_pyramid(path, 1.0) as pyramid:
        assert pyramid.read_at(16.0).shape == (6, 8)
        monkeypatch.setattr(pyramid_module, "MOST_PIXELS", 10_000)
        with pytest.raises(InputError, match=r"64 um is needed.* has 1 um.*set levels to no"):
            pyramid.read_at(64.0)


def test_twelve_bits_are_scaled_to_eight(tmp_path):
    values = np.linspace(200, 4095, 256 * 256).astype(np.uint16)
    deep = np.random.default_rng(0).permutation(values).reshape(256, 256)
    deep[5, 5] = 65535  # a hot pixel
    write_pyramid(deep, tmp_path / "a.ome.tif", 1.0, 1.0)
    with open_pyramid(tmp_path / "a.ome.tif", 1.0) as pyramid:
        scaled = pyramid.to_8_bit(pyramid.read_level(0))
    assert scaled.dtype == np.uint8
    assert len(np.unique(scaled)) >= 200
    order = np.argsort(deep, axis=None, kind="stable")
    assert (np.diff(scaled.ravel()[order].astype(int)) >= 0).all()
    assert (to_8_bit(deep[:9, :9], 7.0, 7.0) == 255).all()  # a constant image: no division by zero


def test_dark_cells_are_not_clipped(tmp_path):
    """Coarse levels average cells away, so the range of gray values comes from the finest one."""
    random = np.random.default_rng(0)
    deep = random.normal(3000, 50, (600, 700))
    cells = random.random(deep.shape) < 0.1
    deep[cells] = random.normal(1200, 100, int(cells.sum()))
    write_pyramid(deep.astype(np.uint16), tmp_path / "a.ome.tif", 1.0, 32.0, tile=64)
    with open_pyramid(tmp_path / "a.ome.tif", 1.0) as pyramid:
        scaled = pyramid.to_8_bit(pyramid.read_level(0))
    assert (scaled[cells] == 0).mean() < 0.1  # the 0.5 percentile of all pixels is 5 % of the cells


def test_eight_bits_are_kept(scan):
    image, path = scan
    with open_pyramid(path, 10.0) as pyramid:
        assert pyramid.gray_range == (0, 255)
        assert pyramid.to_8_bit(image) is image


def test_a_finer_spacing_than_the_scan_is_refused(scan):
    with open_pyramid(scan[1], 10.0) as pyramid, pytest.raises(InputError, match="5 um is needed"):
        pyramid.read_at(5.0)


def test_labels_read_back_page_by_page(tmp_path):
    pages = [np.zeros((1, 1), np.uint8), noise(30, 40) % 3, noise(7, 5) % 3]
    write_labels(pages, tmp_path / "labels.tif")
    for number, page in enumerate(pages):
        assert np.array_equal(read_labels(tmp_path / "labels.tif", number), page)
    with pytest.raises(InputError, match="page 3"):
        read_labels(tmp_path / "labels.tif", 3)


@pytest.mark.parametrize(
    ("name", "needed"),
    [("a.ome.tif", False), ("A.OME.TIFF", False), ("a.ome.btf", False), ("a.tif", True)]
    + [("a.png", True), ("ome.tif", True)],
)
def test_which_scans_need_a_pyramid(name, needed):
    assert needs_pyramid(f"images/B01/{name}") is needed
