"""Pretraining: windows of 2048 px from the tiles of a section (`cytopipe.formats.images`)."""

import atexit
import shutil
import tempfile
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import tifffile
import zarr
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window
from scanned import scan
from side_by_side import Work

from cytopipe.formats.images import open_pyramid

EDGE_PX, TILE_PX, PATCH_PX, COUNT = 16384, 512, 2048, 24
Windows = list[NDArray[np.uint8]]


def write(folder: Path) -> dict[str, Path]:
    """An image like a section at 1 um, in JPEG and in raw tiles."""
    image, _ = scan(1)
    image = np.tile(image, (EDGE_PX // image.shape[0] + 1, EDGE_PX // image.shape[1] + 1))
    image = np.ascontiguousarray(image[:EDGE_PX, :EDGE_PX])
    paths = {}
    for name, compression in (("jpeg", {"compression": "jpeg"}), ("raw", {})):
        paths[name] = folder / f"{name}.tif"
        tifffile.imwrite(
            paths[name], image, tile=(TILE_PX, TILE_PX), bigtiff=True, **compression,
            resolution=(1e4, 1e4), resolutionunit="CENTIMETER",
        )  # fmt: skip
    return paths


def works() -> list[Work]:
    """JPEG against two libraries, raw against copying memory, two threads against one."""
    folder = Path(tempfile.mkdtemp(prefix="cytopipe-bench-"))
    atexit.register(shutil.rmtree, folder)
    paths = write(folder)
    opened = ExitStack()
    atexit.register(opened.close)
    ours = {name: opened.enter_context(open_pyramid(path, 1.0)) for name, path in paths.items()}
    array: Any = zarr.open(tifffile.imread(paths["jpeg"], aszarr=True), mode="r")
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    # no room for tiles of earlier windows: a section has 50 times as many
    opened.enter_context(rasterio.Env(GDAL_CACHEMAX=16))
    raster = opened.enter_context(rasterio.open(paths["jpeg"]))
    memory = tifffile.imread(paths["raw"])
    random = np.random.default_rng(1)
    places = random.integers(0, EDGE_PX - PATCH_PX, (COUNT, 2)).tolist()

    def each(read: Callable[[int, int], NDArray[np.uint8]]) -> Callable[[], Windows]:
        return lambda: [read(row, column) for row, column in places]

    def of_ours(name: str) -> Callable[[int, int], NDArray[np.uint8]]:
        return lambda row, column: ours[name].read_window(0, row, column, PATCH_PX, PATCH_PX)

    def of_zarr(row: int, column: int) -> NDArray[np.uint8]:
        return np.asarray(array[row : row + PATCH_PX, column : column + PATCH_PX])

    def of_raster(row: int, column: int) -> NDArray[np.uint8]:
        return np.asarray(raster.read(1, window=Window(column, row, PATCH_PX, PATCH_PX)))

    def of_memory(row: int, column: int) -> NDArray[np.uint8]:
        return memory[row : row + PATCH_PX, column : column + PATCH_PX].copy()

    def on_two_threads() -> Windows:
        def half(number: int) -> Windows:
            # a reader is of one thread, as in pretraining, where each process has its own
            with open_pyramid(paths["jpeg"], 1.0) as image:
                return [
                    image.read_window(0, row, column, PATCH_PX, PATCH_PX)
                    for row, column in places[number::2]
                ]

        with ThreadPoolExecutor(2) as pool:
            halves = list(pool.map(half, range(2)))
        return [halves[k % 2][k // 2] for k in range(COUNT)]

    def same(mine: Windows, yours: Windows) -> str:
        worst = max(int(np.abs(a.astype(int) - b).max()) for a, b in zip(mine, yours, strict=True))
        assert worst <= 1, f"pixels differ by {worst}"
        return "the same pixels" if not worst else "pixels within 1: another JPEG decoder"

    name, size = f"{COUNT} random windows of {PATCH_PX} px", f"{EDGE_PX} px in {TILE_PX} px tiles"
    return [
        Work(
            f"{name}, JPEG",
            size,
            "tifffile and zarr",
            each(of_ours("jpeg")),
            each(of_zarr),
            same,
            1.3,
        ),
        Work(f"{name}, JPEG", size, "rasterio", each(of_ours("jpeg")), each(of_raster), same, 2),
        Work(
            f"{name}, raw",
            size,
            "copying memory",
            each(of_ours("raw")),
            each(of_memory),
            same,
            1 / 3,
        ),
        Work(
            f"{name}, JPEG, two threads",
            size,
            "one thread",
            on_two_threads,
            each(of_ours("jpeg")),
            same,
            1.6,
        ),
    ]
