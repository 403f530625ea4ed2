"""Units, and the variants of OME-Zarr and OME-TIFF that programs write."""

import numpy as np
import pytest
import tifffile
import zarr
from foreign_images.scene import color_scene, scene
from image_files import LUMA, axes_of, gray_of, refused, two_levels, write_ome_zarr
from zarr.codecs import BytesCodec

from cytopipe.files import InputError
from cytopipe.formats.images import examine, halve, open_pyramid
from cytopipe.formats.units import LENGTH_UM

OME_UNITS = (  # all of UnitsLength of the schema of OME, in um
    *((f"{prefix}m", 10.0**power) for prefix, power in zip(
        ("Y", "Z", "E", "P", "T", "G", "M", "k", "h", "da", "", "d", "c", "m", "µ", "n", "p", "f",
         "a", "z", "y"),
        (30, 27, 24, 21, 18, 15, 12, 9, 8, 7, 6, 5, 4, 3, 0, -3, -6, -9, -12, -15, -18),
        strict=True,
    )),
    ("Å", 1e-4), ("thou", 25.4), ("li", 25400 / 12), ("in", 25400), ("ft", 304_800),
    ("yd", 914_400), ("mi", 1_609_344_000), ("ua", 149_597_870_700e6),
    ("ly", 9_460_730_472_580_800e6), ("pc", 3.0856775814913673e22), ("pt", 25400 / 72),
)  # fmt: skip
NGFF_UNITS = (  # of the specification of OME-Zarr
    "angstrom", "attometer", "centimeter", "decimeter", "exameter", "femtometer", "foot",
    "gigameter", "hectometer", "inch", "kilometer", "megameter", "meter", "micrometer", "mile",
    "millimeter", "nanometer", "parsec", "petameter", "picometer", "terameter", "yard",
    "yoctometer", "yottameter", "zeptometer", "zettameter",
)  # fmt: skip


def with_sizes(path, **sizes):
    tifffile.imwrite(path, scene(), metadata={"axes": "YX", **sizes})
    return path


@pytest.mark.parametrize(("unit", "um"), OME_UNITS)
def test_every_unit_of_ome_is_converted(tmp_path, unit, um):
    sizes = {f"PhysicalSize{axis}": 10 / um for axis in "XY"}
    sizes |= {f"PhysicalSize{axis}Unit": unit for axis in "XY"}
    path = with_sizes(tmp_path / "a.ome.tif", **sizes)
    assert examine(path).spacing_um == pytest.approx(10)
    with pytest.raises(InputError, match="10 um per pixel along X, the sheet 64"):
        open_pyramid(path, 64.0).__enter__()


@pytest.mark.parametrize("unit", NGFF_UNITS)
def test_every_unit_of_ome_zarr_is_converted(tmp_path, unit):
    um = LENGTH_UM[unit]
    path = write_ome_zarr(tmp_path / "a.zarr", [scene()], spacing_um=10 / um, axes=axes_of(2, unit))
    assert examine(path).spacing_um == pytest.approx(10)


def test_spelled_out_units_are_what_their_symbols_are():
    """The symbols are compared with numbers above."""
    for unit, symbol in (
        ("nanometer", "nm"), ("millimeter", "mm"), ("megameter", "Mm"), ("exameter", "Em"),
        ("attometer", "am"), ("hectometer", "hm"), ("decameter", "dam"), ("decimeter", "dm"),
        ("foot", "ft"), ("mile", "mi"), ("yard", "yd"), ("inch", "in"), ("parsec", "pc"),
        ("angstrom", "Å"), ("micron", "µm"), ("μm", "µm"), ("um", "µm"),
    ):  # fmt: skip
        assert LENGTH_UM[unit] == LENGTH_UM[symbol], unit


def test_an_unknown_unit_is_refused_by_name(tmp_path):
    sizes = {f"PhysicalSize{axis}": 64.0 for axis in "XY"}
    units = {f"PhysicalSize{axis}Unit": "cubit" for axis in "XY"}
    refused(with_sizes(tmp_path / "a.ome.tif", **sizes, **units), "in the unit 'cubit'")
    refused(write_ome_zarr(tmp_path / "a.zarr", [scene()], axes=axes_of(2, "MM")), "unit 'MM'")


@pytest.mark.parametrize("unit", ["pixel", "reference frame"])
def test_a_size_in_pixels_states_none(tmp_path, unit):
    sizes = {f"PhysicalSize{axis}": 1.0 for axis in "XY"}
    units = {f"PhysicalSize{axis}Unit": unit for axis in "XY"}
    assert examine(with_sizes(tmp_path / "a.ome.tif", **sizes, **units)).spacing_um is None


def test_a_unit_on_one_axis_alone_is_refused_by_name(tmp_path):
    sizes = {f"PhysicalSize{axis}": 64_000.0 for axis in "XY"}
    path = with_sizes(tmp_path / "a.ome.tif", **sizes, PhysicalSizeXUnit="nm")
    refused(path, "in nm along one axis, and without a unit along Y")
    sizes = {f"PhysicalSize{axis}": 64.0 for axis in "XY"}
    path = with_sizes(tmp_path / "b.ome.tif", **sizes, PhysicalSizeXUnit="µm")
    assert examine(path).spacing_um == 64  # the unit that OME prescribes
    axes = [axes_of(2, None)[0], axes_of(2)[1]]
    refused(write_ome_zarr(tmp_path / "a.zarr", [scene()], axes=axes), "without a unit along Y")


@pytest.mark.parametrize(
    ("value", "kind"), [(156.25, 11), (156.25, 12), ((0, 1), 5), ((1, 0), 5), ((1, 0, 1, 0), 5)]
)
def test_resolution_tags_of_any_kind_do_no_harm(tmp_path, value, kind):
    code = {5: "2I", 11: "f", 12: "d"}[kind]
    count = len(value) // 2 if isinstance(value, tuple) else 1
    tifffile.imwrite(
        tmp_path / "a.tif", scene(), resolution=(1, 1), resolutionunit="centimeter", metadata=None,
        extratags=[(65000, code, count, value, True)],
    )  # fmt: skip
    content = bytearray((tmp_path / "a.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        own, standard = tif.pages[0].tags[65000].offset, tif.pages[0].tags[282].offset
    # the value of another kind takes the place of the standard tag
    content[standard + 2 : standard + 12] = content[own + 2 : own + 12]
    (tmp_path / "a.tif").write_bytes(content)
    spacing_um = examine(tmp_path / "a.tif").spacing_um
    assert spacing_um == (64 if kind != 5 else None)
    assert np.array_equal(gray_of(tmp_path / "a.tif"), scene())


# --- kinds of OME-Zarr and OME-TIFF


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("dtypes", [[">u2", ">u2"], [">u2", "<u2"], ["<u2", ">u2"]])
def test_big_endian_values_are_read(tmp_path, zarr_format, dtypes):
    image = scene(np.uint16)
    options = {"serializer": BytesCodec(endian="big")} if zarr_format == 3 else {}
    path = write_ome_zarr(
        tmp_path / "a.zarr", two_levels(image), zarr_format=zarr_format, dtypes=dtypes, **options
    )
    assert examine(path).dtype == np.uint16
    assert np.array_equal(gray_of(path), image)
    with open_pyramid(path, 20.0) as pyramid:
        assert np.array_equal(pyramid.read_level(1), halve(image))


@pytest.mark.parametrize("first", [0, 1])
def test_the_largest_image_of_a_converted_slide_is_the_scan(tmp_path, first):
    root = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    root.create_group("OME").attrs["series"] = ["0", "1", "10"]
    scan, macro = two_levels(scene()), two_levels(scene()[::4, ::4])
    names = ["0", "1"] if first == 0 else ["10", "0"]
    write_ome_zarr(tmp_path / "a.zarr" / names[0], scan)
    write_ome_zarr(tmp_path / "a.zarr" / names[1], macro, spacing_um=80.0)
    assert examine(tmp_path / "a.zarr").spacing_um == 20
    assert np.array_equal(gray_of(tmp_path / "a.zarr"), scene())


@pytest.mark.parametrize(
    "omero",
    [None, {}, {"channels": None}, {"channels": []}, {"channels": [None] * 3},
     {"channels": [{"color": None}] * 3}, {"channels": [{}, {}, {}]}],
)  # fmt: skip
def test_an_image_without_colors_is_rgb(tmp_path, omero):
    image = np.moveaxis(color_scene(), -1, 0)
    path = write_ome_zarr(tmp_path / "a.zarr", [image], omero=omero)
    examine(path)
    assert np.abs(gray_of(path) - color_scene() @ LUMA).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_missing_version_is_that_of_the_arrays(tmp_path, zarr_format):
    path = write_ome_zarr(
        tmp_path / "a.zarr", two_levels(scene()), zarr_format=zarr_format, version=False
    )
    assert examine(path).format == f"OME-Zarr 0.{zarr_format + 2}"
    assert np.array_equal(gray_of(path), scene())


def test_chunks_of_a_shard_are_decoded_one_by_one(tmp_path):
    """A shard of 8192 px is not a segment too large to decode."""
    image = np.tile(scene(), (1, 2))[:96, :256]
    path = write_ome_zarr(
        tmp_path / "a.zarr", [image], zarr_format=3, chunks=(32, 32), shards=(96, 128)
    )
    assert examine(path).levels[0].segment == (32, 32)
    assert np.array_equal(gray_of(path), image)
    (path / "0/c/0/1").unlink()
    refused(path, "lacks the 96 x 128 px at row 0, column 128")


def test_axes_named_in_two_ways_are_refused(tmp_path):
    path = write_ome_zarr(tmp_path / "a.zarr", [scene()], zarr_format=3, dimension_names=["y", "x"])
    assert np.array_equal(gray_of(path), scene())
    path = write_ome_zarr(tmp_path / "b.zarr", [scene()], zarr_format=3, dimension_names=["x", "y"])
    refused(path, "level 0 names its axes x, y, the image y, x; correct the wrong ones")


def test_metadata_in_a_companion_file_are_left_aside(tmp_path):
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<BinaryOnly MetadataFile="x.companion.ome" UUID="urn:uuid:1"/></OME>'
    )
    tifffile.imwrite(tmp_path / "a.ome.tif", scene(), description=text, metadata=None)
    assert examine(tmp_path / "a.ome.tif").spacing_um is None
    assert np.array_equal(gray_of(tmp_path / "a.ome.tif"), scene())
