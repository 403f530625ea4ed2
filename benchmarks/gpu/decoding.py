"""JPEG decoding of the tiles of one patch, by what is installed: on one core, and on the GPU."""

import io
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.gpu import training_setup
from benchmarks.gpu.loading import noise
from benchmarks.gpu.settings import Part, Sizes
from benchmarks.gpu.training_setup import Numbers

TILE = 512
QUALITY = 80
GOAL = 300  # patches/s of R50
FAILURES = (ImportError, RuntimeError, OSError)  # of a decoder that is absent or broken
AT_ONCE = 8  # patches whose tiles a GPU decodes in one call


def measure(
    part: Part, sizes: Sizes, device: torch.device, save: Callable[[Numbers], None]
) -> None:
    """Milliseconds per patch of each decoder; each that fails is named with its error."""
    field = training_setup.field_of(sizes.patch_px)
    tiles = encoded_tiles(field.window_px)
    numbers: Numbers = {"tiles per patch": len(tiles)}
    decoders: dict[str, Callable[[], object]] = {
        "Pillow": lambda: with_pillow(tiles),
        "imagecodecs": lambda: with_imagecodecs(tiles),
        "torchvision": lambda: with_torchvision(tiles, torch.device("cpu")),
    }
    torch.set_num_threads(1)
    for name, decode in decoders.items():
        try:
            seconds = timed(decode, sizes.repeats)
        except FAILURES as error:
            numbers[name] = f"failed ({error})"
        else:
            numbers[f"{name}: ms per patch and core"] = 1000 * seconds
            numbers[f"{name}: cores for {GOAL} patches/s"] = GOAL * seconds
        save(numbers)
    if device.type == "cuda":
        seconds = timed(lambda: with_torchvision(tiles * AT_ONCE, device), sizes.repeats)
        numbers["torchvision on the GPU: ms per patch"] = 1000 * seconds / AT_ONCE
        save(numbers)


def timed(decode: Callable[[], object], repeats: int) -> float:
    """Seconds of one call; a first one does not count. Results on a GPU are waited for."""
    times = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        decode()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:]))


def encoded_tiles(window_px: int) -> list[bytes]:
    """The tiles that a window touches on average, when it lies anywhere on their grid."""
    from PIL import Image

    across = round((window_px - 1) / TILE + 1)
    image, tiles = noise(TILE * across, 0), []
    for row in range(across):
        for column in range(across):
            tile = image[row * TILE :, column * TILE :][:TILE, :TILE]
            held = io.BytesIO()
            Image.fromarray(tile).save(held, "JPEG", quality=QUALITY)
            tiles.append(held.getvalue())
    return tiles


def with_pillow(tiles: list[bytes]) -> list[object]:
    """Decode with Pillow."""
    from PIL import Image

    return [np.asarray(Image.open(io.BytesIO(tile))) for tile in tiles]


def with_imagecodecs(tiles: list[bytes]) -> list[object]:
    """Decode as the package's reader does."""
    import imagecodecs

    return [imagecodecs.jpeg_decode(tile) for tile in tiles]


def with_torchvision(tiles: list[bytes], device: torch.device) -> object:
    """Decode with torchvision: libjpeg on the CPU, nvJPEG on a GPU."""
    from torchvision.io import ImageReadMode, decode_jpeg

    held = [torch.frombuffer(bytearray(tile), dtype=torch.uint8) for tile in tiles]
    return decode_jpeg(held, mode=ImageReadMode.GRAY, device=device)
