"""Make the images of this folder with programs that cytopipe does not read or write images with.

    pip install "pyvips[binary]" ome-zarr rasterio pillow pylibCZIrw && python make.py

libvips writes through libtiff, as `vips tiffsave` and many converters do; Pillow through its own
libtiff, rasterio through GDAL's; ome-zarr is the reference writer of OME-Zarr, and pylibCZIrw that
of CZI. The pixels are a formula (`scene`), so that a test knows what they are.
"""

import shutil
from pathlib import Path

import numpy as np
import pyvips
import rasterio
import zarr
from ome_zarr.format import FormatV04, FormatV05
from ome_zarr.writer import write_multiscale
from PIL import Image
from pylibCZIrw import czi
from scene import color_scene, scene

HERE = Path(__file__).parent
OME = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">
<Image ID="Image:0"><Pixels DimensionOrder="XYCZT" ID="Pixels:0" SizeC="{channels}"
SizeT="1" SizeZ="1" SizeX="{width}" SizeY="{height}" Type="{type}"
PhysicalSizeX="{size}" PhysicalSizeXUnit="{unit}"
PhysicalSizeY="{size}" PhysicalSizeYUnit="{unit}">
<Channel ID="Channel:0:0" SamplesPerPixel="{channels}"/><TiffData/></Pixels></Image></OME>"""


def save(image, name, ome=None, **options):
    """Write through libvips; 0.02 mm a pixel in the resolution tags, `ome` into the description."""
    made = pyvips.Image.new_from_array(image).copy(xres=50, yres=50)
    interpretation = {1: "b-w", 3: "srgb"}[made.bands]
    if image.dtype == np.uint16:
        interpretation = {1: "grey16", 3: "rgb16"}[made.bands]
    made = made.copy(interpretation=interpretation)
    if ome:
        size, unit = ome
        text = OME.format(
            channels=made.bands, width=made.width, height=made.height, size=size, unit=unit,
            type={"uint8": "uint8", "uint16": "uint16"}[str(image.dtype)],
        )  # fmt: skip
        made.set_type(pyvips.GValue.gstr_type, "image-description", text)
    made.tiffsave(str(HERE / name), resunit="cm", **options)


TILED = {"tile": True, "tile_width": 32, "tile_height": 32}
LEVELS = {**TILED, "pyramid": True, "subifd": True}

if __name__ == "__main__":
    gray, deep, color = scene(), scene(np.uint16), color_scene()
    for codec in ("none", "lzw", "deflate", "jpeg"):
        predictor = {} if codec in ("none", "jpeg") else {"predictor": "horizontal"}
        options = {"compression": codec, "Q": 95, **predictor}
        save(gray, f"tiled-{codec}.tif", **TILED, **options)
        save(gray, f"levels-{codec}.ome.tif", ome=(0.02, "mm"), **LEVELS, **options)
    save(color, "color-jpeg.ome.tif", ome=(20, "µm"), **LEVELS, compression="jpeg", Q=95)
    save(color, "color-deflate.tif", compression="deflate")
    save(deep, "levels-16.ome.btf", ome=(20, "µm"), **LEVELS, compression="deflate", bigtiff=True)
    # levels as pages of their own, as scanners and older converters write them
    save(gray, "pages-lzw.tif", **TILED, pyramid=True, compression="lzw")

    # libvips' wheel lacks zstd
    zstd = {"driver": "GTiff", "compress": "zstd", "predictor": 2, "height": 100, "width": 130}
    zstd |= {"tiled": True, "blockxsize": 32, "blockysize": 32, "bigtiff": "yes"}
    with rasterio.open(HERE / "tiled-zstd.tif", "w", count=1, dtype="uint8", **zstd) as file:
        file.write(gray, 1)
    for interleave in ("pixel", "band"):
        zstd |= {"photometric": "rgb", "interleave": interleave}
        name = HERE / f"color-16-zstd-{interleave}.tif"
        with rasterio.open(name, "w", count=3, dtype="uint16", **zstd) as file:
            file.write(np.moveaxis(color_scene(np.uint16), 2, 0))

    for codec in ("raw", "tiff_lzw", "tiff_adobe_deflate", "zstd", "jpeg"):
        options = {"big_tiff": codec == "raw"} | ({"quality": 95} if codec == "jpeg" else {})
        name = codec.removeprefix("tiff_").removeprefix("adobe_").replace("raw", "none")
        Image.fromarray(gray).save(
            HERE / f"strips-{name}.tif", compression=codec, dpi=(1270, 1270), strip_size=130 * 16,
            **options,
        )  # fmt: skip
    Image.fromarray(deep).save(HERE / "strips-16-lzw.tif", compression="tiff_lzw")
    Image.fromarray(gray).save(HERE / "white-is-zero.tif", tiffinfo={262: 0})
    for name in ("color.png", "color.jpg"):
        Image.fromarray(color).save(HERE / name, quality=95)
    Image.fromarray(gray).save(HERE / "gray.png")

    for name, image, codec in (
        ("color-none.czi", color, "uncompressed:"),
        ("gray-16-zstd.czi", deep[..., None], "zstd1:ExplicitLevel=3;PreProcess=HiLoByteUnpack"),
    ):
        (HERE / name).unlink(missing_ok=True)
        with czi.create_czi(str(HERE / name), compression_options=codec) as file:
            for row in range(0, 100, 64):
                for column in range(0, 130, 64):
                    field = image[row : row + 64, column : column + 64, ::-1]  # blue first
                    file.write(np.ascontiguousarray(field), location=(column - 500, row + 70))
            file.write_metadata(scale_x=20e-6, scale_y=20e-6)

    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "yx"]
    millimeters = [{"name": a, "type": "space", "unit": "millimeter"} for a in "yx"]
    channel = {"name": "c", "type": "channel"}
    for name, image, version, axis, full in (
        ("gray-04.ome.zarr", gray, FormatV04(), axes, 20.0),
        ("gray-16-05.ome.zarr", deep, FormatV05(), millimeters, 0.02),
        ("color-05.ome.zarr", np.moveaxis(color, 2, 0), FormatV05(), [channel, *axes], 20.0),
    ):
        shutil.rmtree(HERE / name, ignore_errors=True)
        root = zarr.open_group(HERE / name, mode="w", zarr_format=version.zarr_format)
        levels = [image, image[..., ::2, ::2], image[..., ::4, ::4]]
        scales = [[1.0] * (image.ndim - 2) + [full * 2**n] * 2 for n in range(3)]
        write_multiscale(
            levels, root, fmt=version, axes=axis,
            coordinate_transformations=[[{"type": "scale", "scale": s}] for s in scales],
            storage_options={"chunks": (1,) * (image.ndim - 2) + (64, 64)},
        )  # fmt: skip
