"""Colors, transparency and orientation of images become what other programs show."""

import struct
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from foreign_images.scene import color_scene, scene
from image_files import LUMA, gray_of, refused
from PIL import ExifTags, Image, PngImagePlugin

from cytopipe.formats.images import examine


def ycbcr_of(color):
    """Full-range YCbCr after BT.601, as TIFF and JPEG have it by default."""
    red, _, blue = np.moveaxis(color.astype(float), -1, 0)
    luma = color @ LUMA
    channels = [luma, 128 + (blue - luma) / 1.772, 128 + (red - luma) / 1.402]
    return np.rint(np.clip(np.stack(channels, axis=-1), 0, 255)).astype(np.uint8)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd", "lzma", "packbits"])
@pytest.mark.parametrize("planar", [False, True])
def test_ycbcr_gives_its_luma_with_every_codec(tmp_path, compression, planar):
    stored = ycbcr_of(color_scene())
    tifffile.imwrite(
        tmp_path / "a.tif", np.moveaxis(stored, -1, 0) if planar else stored,
        photometric="ycbcr", planarconfig="separate" if planar else "contig", tile=(32, 32),
        compression=compression, metadata=None,
    )  # fmt: skip
    examine(tmp_path / "a.tif")
    assert np.abs(gray_of(tmp_path / "a.tif") - color_scene() @ LUMA).max() < 1


def test_ycbcr_in_jpeg_is_read_as_before(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", color_scene(), photometric="rgb", tile=(32, 32), compression="jpeg",
        compressionargs={"level": 95}, metadata=None,
    )  # fmt: skip
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.pages[0].photometric.name == "YCBCR"
    assert np.abs(gray_of(tmp_path / "a.tif") - color_scene() @ LUMA).max() <= 8


@pytest.mark.parametrize(
    ("code", "kind", "value"),
    [
        (530, "H", (2, 2)),  # colors at half the resolution
        (530, "H", (2, 1)),
        (529, "2I", (2126, 10000, 7152, 10000, 722, 10000)),  # weights of BT.709
        (532, "2I", (16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1)),  # video range
    ],
)
def test_other_kinds_of_ycbcr_are_refused(tmp_path, code, kind, value):
    count = len(value) // (2 if kind == "2I" else 1)
    tags = [] if code == 530 else [(code, kind, count, value, True)]
    tifffile.imwrite(
        tmp_path / "a.tif", ycbcr_of(color_scene()), photometric="ycbcr", compression="zlib",
        extratags=tags, metadata=None,
    )  # fmt: skip
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tif:
        if code == 530:
            tif.pages[0].tags[530].overwrite(value)
    refused(tmp_path / "a.tif", "YCbCr of a rare kind, compressed by adobe_deflate; convert it")


def cut_out(dtype=np.uint8, colors=3):
    """A scene on a transparent background of zeros, and what it looks like on white."""
    most = np.iinfo(dtype).max
    image = color_scene(dtype) if colors == 3 else scene(dtype)[..., None]
    alpha = np.full(image.shape[:2], most, dtype)
    alpha[:, 60:], alpha[50:, :20] = 0, most // 2
    image = np.where(alpha[..., None] > 0, image, 0).astype(dtype)
    share = alpha[..., None] / most
    shown = image * share + most * (1 - share)
    return image, alpha, shown @ LUMA if colors == 3 else shown[..., 0]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("colors", [1, 3])
@pytest.mark.parametrize("kind", ["png", "unassalpha", "assocalpha"])
def test_what_is_transparent_becomes_white(tmp_path, dtype, colors, kind):
    image, alpha, shown = cut_out(dtype, colors)
    if kind == "assocalpha":
        image = np.rint(image * (alpha[..., None] / np.iinfo(dtype).max)).astype(dtype)
    stored = np.concatenate([image, alpha[..., None]], axis=-1)
    path = tmp_path / ("a.png" if kind == "png" else "a.tif")
    if kind == "png":
        path.write_bytes(imagecodecs.png_encode(stored))
    else:
        tifffile.imwrite(
            path, stored, photometric="rgb" if colors == 3 else "minisblack",
            planarconfig="contig", extrasamples=[kind], tile=(32, 32), metadata=None,
        )  # fmt: skip
    assert examine(path).channels == colors
    gray = gray_of(path)
    assert (gray[:, 60:] == np.iinfo(dtype).max).all()
    assert np.abs(gray - shown).max() <= 1.5  # two roundings


def test_transparency_of_a_palette_becomes_white(tmp_path):
    image = Image.fromarray(scene() // 16).convert("P")
    image.putpalette([value for gray in range(0, 256, 16) for value in (gray, gray, gray)])
    image.save(tmp_path / "a.png", transparency=int((scene() // 16).min()))
    lowest = scene() // 16 == (scene() // 16).min()
    gray = gray_of(tmp_path / "a.png")
    assert (gray[lowest] == 255).all()
    assert np.array_equal(gray[~lowest], (scene() // 16 * 16)[~lowest])


def test_planar_transparency_becomes_white(tmp_path):
    image, alpha, shown = cut_out()
    stored = np.stack([*np.moveaxis(image, -1, 0), alpha])
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="rgb", planarconfig="separate",
        extrasamples=["unassalpha"], tile=(32, 32), metadata=None,
    )  # fmt: skip
    assert np.abs(gray_of(tmp_path / "a.tif") - shown).max() <= 1.5


@pytest.mark.parametrize("colors", [1, 3])
def test_a_further_channel_of_unknown_meaning_is_refused_unless_opaque(tmp_path, colors):
    image, alpha, _ = cut_out(colors=colors)
    expected = image @ LUMA if colors == 3 else image[..., 0]
    for name, last in (("a.tif", alpha), ("b.tif", np.full_like(alpha, 255))):
        tifffile.imwrite(
            tmp_path / name, np.concatenate([image, last[..., None]], axis=-1),
            photometric="rgb" if colors == 3 else "minisblack", planarconfig="contig",
            extrasamples=["unspecified"], metadata=None,
        )  # fmt: skip
    refused(tmp_path / "a.tif", "does not say whether it is transparency")
    assert np.abs(gray_of(tmp_path / "b.tif") - expected).max() <= 0.5 + 1e-9


# --- orientation


def exif_of(orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif.tobytes()


def with_late_chunk(path, name, data):
    """Put a chunk of a PNG behind its pixels."""
    content = path.read_bytes()
    chunk = struct.pack(">I", len(data)) + name + data
    chunk += struct.pack(">I", zlib.crc32(name + data))
    path.write_bytes(content[:-12] + chunk + content[-12:])


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "late", "xmp", "raw"])
def test_an_image_to_be_turned_is_refused(tmp_path, orientation, kind):
    path = tmp_path / ("a.jpg" if kind == "jpg" else "a.png")
    image, text = Image.fromarray(scene()), PngImagePlugin.PngInfo()
    exif = exif_of(orientation)
    if kind in ("jpg", "png"):
        image.save(path, exif=exif)
    elif kind == "late":
        image.save(path)
        with_late_chunk(path, b"eXIf", exif.removeprefix(b"Exif\0\0"))
    elif kind == "xmp":
        text.add_itxt("XML:com.adobe.xmp", f'<x tiff:Orientation="{orientation}"/>')
        image.save(path, pnginfo=text)
    else:
        text.add_text("Raw profile type exif", f"\nexif\n{len(exif):8}\n{exif.hex()}\n")
        image.save(path, pnginfo=text)
    refused(path, rf"Orientation tag \({orientation}\)")


@pytest.mark.parametrize("orientation", [0, 1])
@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_an_upright_image_is_read(tmp_path, orientation, name):
    Image.fromarray(scene()).save(tmp_path / name, quality=95, exif=exif_of(orientation))
    assert np.abs(gray_of(tmp_path / name) - scene().astype(int)).max() <= 8
