"""CZI files of every kind: fields in place, gaps, codecs, pixel size, and what is refused.

That libCZI reads the files of `czi_files` in the same way was seen once; what it writes is among
the foreign images.
"""

from pathlib import Path

import numpy as np
import pytest
from czi_files import (
    JPEG,
    JPEG_XR,
    UNCOMPRESSED,
    ZSTD,
    ZSTD_HEADER,
    Field,
    fields_of,
    write_czi,
)
from foreign_images.scene import color_scene, scene
from image_files import LUMA, gray_of, refused

from cytopipe import pyramids
from cytopipe.files import InputError
from cytopipe.formats.images import examine, open_pyramid
from cytopipe.study.config import Pyramids
from cytopipe.study.sections import Section

COLOR = color_scene()


@pytest.mark.parametrize("compression", [UNCOMPRESSED, JPEG_XR, ZSTD, ZSTD_HEADER])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_what_was_written(tmp_path, compression, dtype, channels) -> None:
    """Fields that overlap, far from the origin of the slide, and a reduced image for viewers."""
    image = color_scene(dtype) if channels == 3 else scene(dtype)
    fields = [Field(f.pixels, f.row - 7000, f.column + 90_000) for f in fields_of(image, 50, 6)]
    fields.append(Field(image[::2, ::2] // 2, -7000, 90_000, reduced=2))
    path = write_czi(tmp_path / "a.czi", fields, 0.65, compression)
    scan = examine(path)
    assert (scan.format, scan.dtype, scan.channels) == ("CZI", dtype, channels)
    assert (scan.spacing_um, scan.spacing_from) == (pytest.approx(0.65), "CZI")
    assert scan.needs_copy
    truth = image @ LUMA if channels == 3 else image
    assert np.abs(gray_of(path) - truth).max() <= 0.5 + 1e-9


def test_the_later_of_two_overlapping_fields_is_on_top(tmp_path: Path) -> None:
    low, high = (np.full((20, 20), value, np.uint8) for value in (50, 90))
    image = gray_of(write_czi(tmp_path / "a.czi", [Field(low, 0, 0), Field(high, 0, 10)]))
    assert (image[:, :10] == 50).all() and (image[:, 10:] == 90).all()


@pytest.mark.parametrize(
    ("dtype", "bits", "background", "gray"),
    [
        (np.uint8, None, "bright", 255),
        (np.uint16, None, "bright", 65535),
        (np.uint16, 14, "bright", 16383),
        (np.uint8, None, "dark", 255),
        (np.uint16, 14, "dark", 65535),
    ],
)
def test_gaps_look_like_an_empty_slide(tmp_path, dtype, bits, background, gray) -> None:
    """In the copy, which always has a bright background."""
    image = (scene() // 2).astype(dtype)
    fields = [f for f in fields_of(image, 50) if (f.row, f.column) != (0, 50)]
    path = write_czi(tmp_path / "a.czi", fields, bits=bits)
    row = Section("B01", 420, str(path), 20.0, 20.0, background=background)
    params = Pyramids(exact_um=20.0, coarsest_um=40.0, tile=32)
    pyramids.run(section=row, image=path, pyramid=tmp_path / "copy.ome.tif", params=params)
    with open_pyramid(tmp_path / "copy.ome.tif", 20.0) as pyramid:
        copy = pyramid.read_level(0)
    assert (copy[:50, 50:100] == gray).all()
    seen = copy if background == "bright" else np.iinfo(dtype).max - copy
    assert np.array_equal(seen[50:], image[50:]) and np.array_equal(seen[:, :50], image[:, :50])


def test_the_pixel_size_is_checked(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", fields_of(COLOR, 64), spacing_um=0)
    assert examine(path).spacing_um is None
    path = write_czi(tmp_path / "b.czi", fields_of(COLOR, 64), spacing_um=(0.5, 0.6))
    assert not examine(path).pixels_square
    message = r"b\.czi: its metadata state 0.5 um per pixel along X"
    with pytest.raises(InputError, match=message), open_pyramid(path, 1.0):
        pass
    refused(write_czi(tmp_path / "c.czi", fields_of(COLOR, 64), spacing_um=-1), "pixel size")


@pytest.mark.parametrize(
    ("axis", "name"), [("S", "scenes"), ("C", "channels"), ("Z", "planes"), ("T", "times")]
)
def test_several_images_are_refused(tmp_path: Path, axis: str, name: str) -> None:
    fields = [Field(COLOR, 0, 200 * n, axes={axis: n}) for n in range(3)]
    message = refused(write_czi(tmp_path / "a.czi", fields), f"holds 3 {name}; export the one")
    assert "section" in message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([Field(scene().astype(np.float32), 0, 0)], "float32"),
        ([Field(scene(), 0, 0), Field(COLOR, 0, 130)], "pixels are"),
        ([Field(scene(), 0, 0), Field(scene(), 90_000, 90_000)], "fill only"),
        ([Field(scene()[::2, ::2], 0, 0, reduced=2)], "holds no image"),
    ],
)
def test_what_is_no_gray_or_color_image_is_refused(tmp_path, fields, message) -> None:
    refused(write_czi(tmp_path / "a.czi", fields), message)


def test_a_rare_codec_is_refused(tmp_path: Path) -> None:
    refused(write_czi(tmp_path / "a.czi", fields_of(COLOR, 64), compression=JPEG), "codec 1")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi", fields_of(COLOR, 64))
    path.write_bytes(path.read_bytes()[:-3000])
    refused(path, "copy it again")


def test_a_field_that_the_directory_places_elsewhere_is_refused(tmp_path: Path) -> None:
    """One of the two positions is wrong, and nothing says which."""
    path = write_czi(tmp_path / "a.czi", fields_of(COLOR, 200))
    content = path.read_bytes()
    place = content.rindex(b"X\0\0\0")  # of the last copy, in the directory
    path.write_bytes(content[: place + 4] + (7).to_bytes(4, "little") + content[place + 8 :])
    refused(path, "its directory describes another image")


def test_fields_are_decoded_once_if_they_fit(tmp_path: Path, monkeypatch) -> None:
    """Bands are lower than fields, so that several need the same field."""
    from cytopipe.formats.images import czi

    count = []
    decode = czi._decoded
    monkeypatch.setattr(czi, "_decoded", lambda *given: count.append(1) or decode(*given))
    path = write_czi(tmp_path / "a.czi", fields_of(COLOR, 50))
    with open_pyramid(path, 20.0) as pyramid:
        for row in range(0, 100, 10):
            pyramid.read_window(0, row, 0, 10, 130)
    assert len(count) == 6
    count.clear()
    monkeypatch.setattr(czi, "_CACHE_BYTES", 50 * 50 * 3)
    assert np.abs(gray_of(path) - COLOR @ LUMA).max() <= 0.5 + 1e-9
