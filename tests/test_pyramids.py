"""Pyramids of scans that cannot be read in place: every format and depth reads back."""

import tracemalloc
from pathlib import Path

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from foreign_images.scene import color_scene, scene

from cytopipe import pyramids
from cytopipe.files import InputError
from cytopipe.formats.images import description, examine, halve, open_pyramid
from cytopipe.formats.images.tiff import TiffReader
from cytopipe.formats.pyramid_writer import level_spacings
from cytopipe.numerics.geometry import pixels_to_section
from cytopipe.study.config import Pyramids
from cytopipe.study.sections import Section

FOREIGN = Path(__file__).parent / "foreign_images"
PARAMS = Pyramids(exact_um=20.0, coarsest_um=40.0, tile=32)


def smooth(rows=70, columns=90):
    y, x = np.mgrid[:rows, :columns]
    return (120 + 60 * np.sin(y / 9) + 50 * np.cos(x / 7)).astype(np.uint8)


def make(image, tmp_path, spacing_um=10.0, params=PARAMS, **section):
    row = Section("B01", 420, str(image), spacing_um, 20.0, **section)
    path = tmp_path / "00420.ome.tif"
    pyramids.run(section=row, image=image, pyramid=path, params=params)
    with open_pyramid(path, spacing_um) as pyramid:
        return [pyramid.read_level(i) for i in range(len(pyramid.levels))]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_plain_tiff_gets_levels(tmp_path, dtype):
    image = smooth().astype(dtype) * (1 if dtype == np.uint8 else 201)
    tifffile.imwrite(tmp_path / "scan.tif", image)
    levels = make(tmp_path / "scan.tif", tmp_path)
    assert [level.dtype for level in levels] == [dtype] * 3
    assert np.array_equal(levels[0], image)
    assert np.array_equal(levels[2], halve(halve(image)))


def test_png_is_copied_exactly(tmp_path):
    (tmp_path / "scan.png").write_bytes(imagecodecs.png_encode(smooth()))
    assert np.array_equal(make(tmp_path / "scan.png", tmp_path)[0], smooth())


def test_jpeg_is_copied_within_its_loss(tmp_path):
    (tmp_path / "scan.JPG").write_bytes(imagecodecs.jpeg_encode(smooth(), level=95))
    difference = make(tmp_path / "scan.JPG", tmp_path)[0].astype(int) - smooth()
    assert np.abs(difference).max() <= 8


@pytest.mark.parametrize(
    "path",
    sorted(path for path in FOREIGN.iterdir() if path.suffix not in (".py", "")),
    ids=lambda path: path.name,
)
def test_files_of_other_programs_are_copied(tmp_path, path):
    """Whatever levels, tiles and strips the file has, the copy has the right ones."""
    params = Pyramids(exact_um=40.0, coarsest_um=80.0, tile=16)
    levels = make(path, tmp_path, spacing_um=20.0, params=params)
    dtype = np.uint16 if "16" in path.name else np.uint8
    truth = color_scene(dtype) @ [0.299, 0.587, 0.114] if "color" in path.name else scene(dtype)
    loss = 8 if "jp" in path.name else 0.5 + 1e-9
    assert np.abs(levels[0].astype(float) - truth).max() <= loss
    assert np.array_equal(levels[2], halve(halve(levels[0])))
    assert examine(tmp_path / "00420.ome.tif").needs_copy == ""


@pytest.mark.parametrize("channels", [3, 4])
def test_color_becomes_luma(tmp_path, channels):
    color = np.random.default_rng(1).integers(0, 256, (40, 50, channels), np.uint8)
    color[..., 3:] = 255
    tifffile.imwrite(tmp_path / "scan.tif", color, photometric="rgb")
    expected = color[..., :3] @ [0.299, 0.587, 0.114]
    # half a gray value of rounding, and the rounding error of the weights
    assert np.abs(make(tmp_path / "scan.tif", tmp_path)[0] - expected).max() <= 0.5 + 1e-9


def test_white_stays_white(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.full((20, 20, 3), 65535, np.uint16), photometric="rgb")
    assert (make(tmp_path / "a.tif", tmp_path)[0] == 65535).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_dark_background_becomes_bright(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "scan.tif", smooth().astype(dtype))
    levels = make(tmp_path / "scan.tif", tmp_path, background="dark")
    assert np.array_equal(levels[0], np.iinfo(dtype).max - smooth().astype(dtype))


def test_floating_point_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "scan.tif", np.zeros((4, 4), np.float32))
    with pytest.raises(InputError, match="float32"):
        make(tmp_path / "scan.tif", tmp_path)


@pytest.mark.parametrize("name", ["scan.tif", "scan.png", "scan.jpg", "scan.svs", "scan"])
def test_unreadable_scans_are_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"not an image")
    with pytest.raises(InputError, match=name):
        make(tmp_path / name, tmp_path)


def test_the_spacing_in_the_sheet_must_agree_with_the_scan(tmp_path):
    with pytest.raises(InputError, match="20 um per pixel along X, the sheet 10"):
        make(FOREIGN / "levels-lzw.ome.tif", tmp_path, spacing_um=10.0)


def test_a_pyramid_that_does_not_read_back_as_written_is_deleted(tmp_path, monkeypatch):
    """Like a writer that silently lacks its codec."""
    write = tifffile.TiffWriter.write

    def zeros(self, data, **options):
        if options["subfiletype"]:
            data = (np.zeros_like(tile) for tile in list(data))
        return write(self, data, **options)

    tifffile.imwrite(tmp_path / "scan.tif", smooth())
    monkeypatch.setattr(tifffile.TiffWriter, "write", zeros)
    with pytest.raises(RuntimeError, match="level 1"):
        make(tmp_path / "scan.tif", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["scan.tif"]


# --- every copy has the level at which patches are read


@pytest.mark.parametrize(
    ("spacing_um", "expected"),
    [
        (1.0, [1, 2, 4, 8, 16]),
        (0.5, [0.5, 1, 2, 4, 8, 16]),
        (0.4416, [0.4416, 1, 2, 4, 8, 16]),
        (0.7, [0.7, 2, 4, 8, 16]),
        (1.6, [1.6, 2, 4, 8, 16]),
        (2.0, [2, 4, 8, 16]),
        (3.0, [3, 6, 12]),
    ],
)
def test_every_scan_gets_a_level_with_the_pixel_size_of_patches(spacing_um, expected):
    assert level_spacings(spacing_um, 16.0, 2.0) == pytest.approx(expected)


@pytest.mark.parametrize(("spacing_um", "shape"), [(9.2, (241, 333)), (4.416, (500, 301))])
def test_an_exact_level_is_an_area_average_on_the_grid_of_geometry(tmp_path, spacing_um, shape):
    rng = np.random.default_rng(0)
    noisy = rng.integers(0, 256, shape, np.uint8)
    tifffile.imwrite(tmp_path / "scan.tif", noisy, rowsperstrip=7, compression="zlib")
    levels = make(tmp_path / "scan.tif", tmp_path, spacing_um)
    with open_pyramid(tmp_path / "00420.ome.tif", spacing_um) as pyramid:
        number = pyramid.level_for(20.0)
        assert pyramid.levels[number].spacing_um == pytest.approx(20.0, rel=1e-5)
        first_um = pyramid.levels[1].spacing_um
    factor = first_um / spacing_um
    expected = cv2.resize(noisy, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    assert levels[1].shape == expected.shape
    # both round; the last row and column may be covered only in part
    assert np.abs(levels[1].astype(int) - expected)[:-1, :-1].max() <= 1

    # if the gray value is the column, a mean is its own position, up to the pixels cut at its ends
    ramp = np.tile(np.arange(shape[1], dtype=np.uint16) * 100, (shape[0], 1))
    tifffile.imwrite(tmp_path / "ramp.tif", ramp)
    averaged = make(tmp_path / "ramp.tif", tmp_path, spacing_um)[1]
    points_px = np.column_stack([np.arange(averaged.shape[1]), np.zeros(averaged.shape[1])])
    expected_columns = pixels_to_section(points_px, first_um, spacing_um)[:, 0] / spacing_um
    assert np.abs(averaged / 100 - expected_columns)[:, :-1].max() <= 1 / (8 * factor) + 0.006


def test_means_do_not_depend_on_the_height_of_a_band(tmp_path):
    noisy = np.random.default_rng(0).integers(0, 65536, (211, 190), np.uint16)
    tifffile.imwrite(tmp_path / "scan.tif", noisy)
    copies = [
        make(
            tmp_path / "scan.tif",
            tmp_path,
            7.3,
            Pyramids(exact_um=20.0, coarsest_um=40.0, tile=tile),
        )
        for tile in (16, 64, 256)
    ]
    for levels in copies[1:]:
        for one, other in zip(levels, copies[0], strict=True):
            assert np.array_equal(one, other)


# --- scans larger than memory


@pytest.mark.parametrize("options", [{"tile": (512, 512)}, {"rowsperstrip": 64}, {}])
def test_memory_does_not_grow_with_the_scan(tmp_path, options):
    """A scan four times as high needs no more memory than a band."""
    peaks = []
    for rows in (1024, 4096):
        image = np.zeros((rows, 4000), np.uint8)
        image[::7] = 200
        compression = "zlib" if options else None
        tifffile.imwrite(tmp_path / "scan.tif", image, compression=compression, **options)
        tracemalloc.start()
        pyramids.run(
            section=Section("B01", 420, "scan.tif", 1.0, 20.0),
            image=tmp_path / "scan.tif",
            pyramid=tmp_path / "a.ome.tif",
            params=Pyramids(exact_um=2.0, coarsest_um=64.0, tile=128),
        )
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 4096 * 4000 // 2


@pytest.mark.parametrize("options", [{"tile": (48, 80)}, {"rowsperstrip": 50}])
def test_each_part_of_a_scan_is_decoded_once(tmp_path, monkeypatch, options):
    image = smooth(300, 400)
    tifffile.imwrite(tmp_path / "scan.tif", image, compression="zlib", **options)
    decoded = []
    decode = TiffReader._decoded

    def counted(self, page, level, index, rows):
        decoded.append((self.description.path.name, index))
        return decode(self, page, level, index, rows)

    monkeypatch.setattr(TiffReader, "_decoded", counted)
    assert np.array_equal(make(tmp_path / "scan.tif", tmp_path)[0], image)
    parts = [index for name, index in decoded if name == "scan.tif"]
    assert len(parts) == len(set(parts)) == (7 * 5 if "tile" in options else 6)


def test_a_single_compressed_strip_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(description, "_SEGMENT_BYTES", 5000)
    tifffile.imwrite(tmp_path / "scan.tif", smooth(), compression="zlib", rowsperstrip=70)
    with pytest.raises(InputError, match=r"as one piece; write it with tiles.*vips tiffsave"):
        make(tmp_path / "scan.tif", tmp_path)
    # without compression, rows are read one by one
    tifffile.imwrite(tmp_path / "scan.tif", smooth())
    assert np.array_equal(make(tmp_path / "scan.tif", tmp_path)[0], smooth())
