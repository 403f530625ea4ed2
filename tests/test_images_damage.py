"""Damage that libraries pass over: JPEG data, lists of pages, several scans, parts that are 0."""

import struct
import sys

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from foreign_images.scene import color_scene, scene
from image_files import chunk_files, gray_of, refused, two_levels, write_ome_zarr
from PIL import Image

from cytopipe.files import InputError
from cytopipe.formats.images import examine, open_pyramid, write_pyramid
from cytopipe.formats.images.png_jpeg import check_jpeg

# grains, so that JPEG data have some length
GRAINY = np.clip(scene() + np.random.default_rng(0).normal(0, 9, scene().shape), 0, 255)
GRAINY = np.kron(GRAINY, np.ones((2, 2))).astype(np.uint8)


def jpegs(tmp_path):
    """A JPEG of each kind: gray, color, progressive, with restart markers."""
    color = np.stack([GRAINY, GRAINY[::-1], GRAINY[:, ::-1]], axis=-1)
    for name, image, options in (
        ("gray", GRAINY, {}),
        ("color", color, {}),
        ("progressive", color, {"progressive": True}),
        ("restarts", color, {"restart_marker_rows": 1}),
    ):
        Image.fromarray(image).save(tmp_path / "a.jpg", quality=90, **options)
        yield name, (tmp_path / "a.jpg").read_bytes()


def test_an_undamaged_jpeg_passes(tmp_path):
    for _, content in jpegs(tmp_path):
        check_jpeg(content)
        # a camera's second picture, and padding by a writer
        check_jpeg(content + b"\xff\xd8" + content)
        check_jpeg(content[:-2] + bytes(3) + content[-2:])
    # rare kinds are left to their decoder: lossless, CMYK
    check_jpeg(imagecodecs.ljpeg_encode(GRAINY))
    Image.new("CMYK", (40, 40)).save(tmp_path / "a.jpg")
    check_jpeg((tmp_path / "a.jpg").read_bytes())


def test_data_that_a_jpeg_lacks_are_noticed(tmp_path):
    random = np.random.default_rng(1)
    for name, content in jpegs(tmp_path):
        data = content.index(b"\xff\xda") + 14
        for place in random.integers(data, len(content) - 100, 40):
            end = content[-2:]
            for damaged in (
                content[:place],
                content[:place] + end,
                content[:place] + end + content[place + 2 :],
            ):
                with pytest.raises(ValueError, match=r"remature end|Corrupt|Unsupported|Bogus"):
                    check_jpeg(damaged)
                    pytest.fail(f"{name}, damaged at {place}")


@pytest.mark.parametrize("ending", ["jpg", "tif"])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_a_truncated_jpeg_is_refused_even_if_it_has_an_end(tmp_path, ending, end):
    path = tmp_path / f"a.{ending}"
    if ending == "jpg":
        Image.fromarray(GRAINY).save(path, quality=90)
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2] + end)
    else:
        tifffile.imwrite(path, GRAINY, tile=(64, 64), compression="jpeg", metadata=None)
        with tifffile.TiffFile(path) as tif:
            start, size = tif.pages[0].dataoffsets[5], tif.pages[0].databytecounts[5]
        content = bytearray(path.read_bytes())
        half = start + size // 2
        content[half : start + size] = end + bytes(start + size - half - len(end))
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.\w+: .*(truncated|remature end|Corrupt).*again"):
        gray_of(path)


def test_the_jpeg_tables_of_a_tiff_are_used(tmp_path):
    for options in ({"photometric": "rgb"}, {"photometric": "rgb", "subsampling": (1, 1)}):
        tifffile.imwrite(
            tmp_path / "a.tif", color_scene(), tile=(32, 32), compression="jpeg", metadata=None,
            compressionargs={"level": 95}, **options,
        )  # fmt: skip
        expected = color_scene() @ [0.299, 0.587, 0.114]
        assert np.abs(gray_of(tmp_path / "a.tif").astype(float) - expected).max() < 9
    # JPEG tables of their own, as libtiff writes them
    tile = imagecodecs.jpeg_encode(GRAINY[:64, :64], level=90)
    tables = (
        tile[: tile.index(b"\xff\xc0")] + tile[tile.index(b"\xff\xc4") : tile.index(b"\xff\xda")]
    )
    image = tile[:2] + tile[tile.index(b"\xff\xc0") : tile.index(b"\xff\xc4")]
    image += tile[tile.index(b"\xff\xda") :]
    check_jpeg(image, tables + b"\xff\xd9")
    with pytest.raises(ValueError, match="remature end"):
        check_jpeg(image[: len(image) // 2], tables + b"\xff\xd9")


def test_training_demands_only_that_jpeg_data_end(tmp_path, monkeypatch):
    """A GPU node may lack the library that unpacks them, and time for it."""
    monkeypatch.setitem(sys.modules, "simplejpeg", None)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, GRAINY, tile=(64, 64), compression="jpeg", metadata=None)
    with open_pyramid(path, 1.0) as pyramid:
        pyramid.check_jpeg_lightly()
        read = pyramid.read_window(0, 0, 0, 64, 64)
    assert np.abs(read.astype(float) - GRAINY[:64, :64]).mean() < 3
    with tifffile.TiffFile(path) as tif:
        end = tif.pages[0].dataoffsets[0] + tif.pages[0].databytecounts[0]
    content = bytearray(path.read_bytes())
    content[end - 64 : end] = bytes(64)
    path.write_bytes(content)
    with open_pyramid(path, 1.0) as pyramid:
        pyramid.check_jpeg_lightly()
        with pytest.raises(InputError, match=r"a\.tif: tile 0 of level 0 .* do not end"):
            pyramid.read_window(0, 0, 0, 64, 64)


# --- lists of pages, and several images in one file


@pytest.mark.parametrize("pages", [1, 3, 99, 101, 250])
def test_a_list_of_pages_that_leads_back_is_refused(tmp_path, pages):
    """tifffile compares the hundredth page with the others, and follows longer lists for ever."""
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as tif:
        for number in range(pages):
            tif.write(scene() if number == 0 else scene()[:9, :9], metadata=None)
    with tifffile.TiffFile(path) as tif:
        places = [page.offset for page in tif.pages]
    content = bytearray(path.read_bytes())
    [tags] = struct.unpack_from("<H", content, places[-1])
    for target, is_refused in ((places[pages // 2], True), (len(content) + 5, True), (0, False)):
        struct.pack_into("<I", content, places[-1] + 2 + 12 * tags, target)
        path.write_bytes(content)
        if is_refused:
            refused(path, "its list of pages leads back, or out of the file")
        else:
            examine(path)


def test_a_tiff_that_has_lost_a_tag_is_refused(tmp_path):
    """tifffile leaves out the tag, and with it the pixel size."""
    write_pyramid(scene(), tmp_path / "a.ome.tif", 20.0, 40.0, tile=32)
    content = (tmp_path / "a.ome.tif").read_bytes()
    assert content.rindex(b"</OME>") > len(content) - 400
    (tmp_path / "a.ome.tif").write_bytes(content[:-300])
    refused(tmp_path / "a.ome.tif", "is truncated: a tag lies behind its end")


@pytest.mark.parametrize("ome", [False, True])
def test_two_scans_in_one_tiff_are_refused(tmp_path, ome):
    def write(*images):
        with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=ome) as tif:
            for image in images:
                more = {} if ome else {"metadata": None}
                tif.write(image, photometric="minisblack", tile=(32, 32), **more)
        return tmp_path / "a.ome.tif"

    refused(write(scene(), scene()[:90]), "numbers 0 and 1 have 13000 and 11700 pixels")
    path = write(scene(), scene()[:30, :30], scene()[:20, :90])
    assert examine(path).left_out == 2
    assert np.array_equal(gray_of(path), scene())


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("layout", ["groups", "multiscales"])
def test_the_largest_image_of_an_ome_zarr_is_read_unless_two_are_large(
    tmp_path, zarr_format, layout
):
    path = tmp_path / "a.zarr"
    scan = scene()
    for other, is_refused in ((scan[:20, :30], False), (scan[:90], True)):
        root = zarr.open_group(path, mode="w", zarr_format=zarr_format)
        images = []
        for name, image in (("0", other), ("1", scan)):
            write_ome_zarr(path / name, two_levels(image), zarr_format=zarr_format)
            attributes = zarr.open_group(path / name, mode="r").attrs.asdict()
            images += attributes.get("ome", attributes)["multiscales"]
        if layout == "groups":
            own = {"bioformats2raw.layout": 3}
        else:
            for number, image in enumerate(images):
                for dataset in image["datasets"]:
                    dataset["path"] = f"{number}/{dataset['path']}"
            own = {"multiscales": images}
        root.attrs.update({"ome": {"version": "0.5"} | own} if zarr_format == 3 else own)
        if is_refused:
            refused(path, "numbers 1 and 0 have 13000 and 11700 pixels, so either may be the scan")
        else:
            assert examine(path).left_out == 1
            assert np.array_equal(gray_of(path), scan)


def test_an_image_reduced_in_two_ways_is_one_image(tmp_path):
    path = write_ome_zarr(tmp_path / "a.zarr", two_levels(scene()))
    root = zarr.open_group(path)
    [image] = root.attrs["multiscales"]
    root.attrs["multiscales"] = [image, {**image, "type": "nearest"}]
    assert examine(path).left_out == 0


# --- parts that are 0


@pytest.mark.parametrize("name", ["tiles.tif", "strips.tif", "a.png", "a.zarr"])
@pytest.mark.parametrize("size", [(320, 640), (2400, 2800)])
def test_a_black_part_of_an_image_without_levels_is_measured(tmp_path, name, size):
    y, x = np.mgrid[: size[0], : size[1]]
    image = np.full(size, 230, np.uint8)
    image[(y - size[0] / 2) ** 2 + (x - size[1] / 3) ** 2 < (size[0] / 4) ** 2] = 90
    image[:, size[1] // 2 :] = 0
    path = tmp_path / name
    if name == "a.zarr":
        write_ome_zarr(path, [image], chunks=(256, 256))
    elif name == "a.png":
        Image.fromarray(image).save(path)
    else:
        layout = {"tile": (256, 256)} if name == "tiles.tif" else {"rowsperstrip": 16}
        tifffile.imwrite(path, image, compression="zlib", metadata=None, **layout)
    examination = examine(path)
    assert examination.background == "bright"
    assert examination.black == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_small_png_or_jpeg_is_decoded_by_the_examination(tmp_path, name):
    Image.fromarray(GRAINY).save(tmp_path / name)
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, "not readable .*; scan or copy it again")


def test_gray_chunks_that_all_levels_lack_are_refused(tmp_path):
    """Only white speaks for a purpose: an empty slide is white."""
    path = write_ome_zarr(tmp_path / "a.zarr", two_levels(scene()), fill_value=90)
    for level in (0, 1):
        for file in chunk_files(path, level):
            if int(file.name[0]) >= 2 - level:
                file.unlink()
    refused(path, "level 0 lacks .* and no other level tells")


@pytest.mark.parametrize(
    "colors", [["00FF00", None, None], ["FF0000", "0000FF", ""], [None, "#ff0000"]]
)
def test_a_color_that_contradicts_is_enough(tmp_path, colors):
    image = np.moveaxis(color_scene(), -1, 0)
    omero = {"channels": [{"color": color} for color in colors]}
    refused(write_ome_zarr(tmp_path / "a.zarr", [image], omero=omero), "not red, green and blue")
