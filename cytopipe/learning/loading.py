"""Reading patches from the section images during training; no patch is ever written to disk."""

import math
import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cytopipe import threads
from cytopipe.files import InputError
from cytopipe.formats.images import Pyramid, open_pyramid
from cytopipe.learning.augmentation import DRAWS, draw
from cytopipe.learning.distributed import World
from cytopipe.numerics.geometry import section_to_pixels

if TYPE_CHECKING:  # so that importing this needs neither pandas nor pydantic
    import pandas as pd

    from cytopipe.study.config import Augmentation

# pyramids that a process keeps open. Opening one of 65,000 tiles takes 3 to 5 ms, a tenth of what a
# window of 3,100 px takes, and 3 MB: all of 4,000 sections would take 12 GB in every worker
OPEN_FILES = 64
# batches that each worker makes ahead, in /dev/shm: 0.6 GB each for 64 windows of 3,100 px. Two
# would even out the workers' speeds where reading is the limit, for twice the memory
PREFETCHED = 1
Key = tuple[int, int]  # epoch, row in the table


@dataclass(frozen=True)
class Field:
    """The field of view that is read for a patch.

    Attributes
    ----------
    patch_px, spacing_um : edge and pixel size of a patch; 2048 px of 2 um span 4.096 mm.
    margin : what a rotated and shifted patch shows outside its own square. With `exact`, a larger
        window of sqrt(2) x patch + 2 x shift is read; with `reflect`, only the square, which is
        continued by reflection. For patches of 2048 px of 2 um and shifts of 0.2 mm, an exact
        window has 3100 px and 9.6 MB instead of 4.2 MB, 2.3 times as many bytes to read and decode.
    shift_mm : the largest shift.
    """

    patch_px: int
    spacing_um: float
    margin: Literal["exact", "reflect"]
    shift_mm: float

    @property
    def window_px(self) -> int:
        """Edge of the window that is read, with the patch at its centre."""
        if self.margin == "reflect":
            return self.patch_px
        # on either side: half a diagonal, the shift, and half a pixel for the interpolation
        reach = self.patch_px / math.sqrt(2) + 1000 * self.shift_mm / self.spacing_um + 0.5
        return self.patch_px + 2 * math.ceil(reach - self.patch_px / 2)


class SectionReader:
    """Reads windows of one section at one pixel size; opened by `open_section`."""

    def __init__(self, pyramid: Pyramid, name: str, spacing_um: float, hold_bytes: int) -> None:
        self._pyramid = pyramid
        self._name = name
        self._level = pyramid.level_for(spacing_um)
        level = pyramid.levels[self._level]
        if abs(level.spacing_um / spacing_um - 1) > 1e-3:
            levels = ", ".join(f"{each.spacing_um:g}" for each in pyramid.levels)
            raise InputError(
                f"{pyramid.path}: has levels of {levels} um, patches need {spacing_um:g} um; "
                "choose one of the levels as spacing_um in config/config.yaml"
            )
        self._shape = (level.height, level.width)
        fits = level.height * level.width <= hold_bytes
        self._whole = pyramid.read_level(self._level) if fits else None

    def window(self, x_um: float, y_um: float, window_px: int) -> NDArray[np.uint8]:
        """The window (window_px, window_px) around a point, to the nearest pixel.

        Outside the image, the window is continued by reflection.

        Parameters
        ----------
        x_um, y_um : section frame.

        Raises
        ------
        InputError
            If the point lies outside the image, or the window is constant or unreadable: a network
            would learn nothing from it.
        """
        pyramid, spacing_um = self._pyramid, self._pyramid.levels[self._level].spacing_um
        x, y = section_to_pixels(np.array([x_um, y_um]), spacing_um, pyramid.full_spacing_um)
        height, width = self._shape
        where = f"{self._name}: patch at ({x_um:.0f}, {y_um:.0f}) um of {pyramid.path}"
        if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
            raise InputError(f"{where} lies outside the image; rerun the midline of this brain")
        left, top = (math.floor(centre - (window_px - 1) / 2 + 0.5) for centre in (x, y))
        l0, t0 = max(left, 0), max(top, 0)
        l1, t1 = min(left + window_px, width), min(top + window_px, height)
        if self._whole is not None:
            window = self._whole[t0:t1, l0:l1]
        else:
            window = pyramid.read_window(self._level, t0, l0, t1 - t0, l1 - l0)
        window = pyramid.to_8_bit(window)
        if window.min() == window.max():
            raise InputError(
                f"{where} is constant ({window.flat[0]}); scan the section again, or set excluded "
                "in config/sections.tsv"
            )
        outside = ((t0 - top, top + window_px - t1), (l0 - left, left + window_px - l1))
        return np.pad(window, outside, mode="symmetric")


@contextmanager
def open_section(
    name: str, image: str, full_spacing_um: float, spacing_um: float, hold_bytes: int
) -> Iterator[SectionReader]:
    """Open a section for reading windows.

    Parameters
    ----------
    name : brain and section, for messages.
    image, full_spacing_um : path of the pyramid and pixel size of its level 0.
    spacing_um : pixel size of the windows; the pyramid must have such a level.
    hold_bytes : a level of at most this size is decoded once and kept in memory; a larger one is
        read tile by tile.
    """
    with open_pyramid(Path(image), full_spacing_um) as pyramid:
        pyramid.check_jpeg_lightly()
        yield SectionReader(pyramid, name, spacing_um, hold_bytes)


class Batch(NamedTuple):
    """A batch: windows (n, 1, w, w) uint8, draws (n, views, 9) and table rows (n,) int64."""

    windows: Tensor
    draws: Tensor
    rows: Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))


class Patches(Dataset[Batch]):
    """The patches of a table by (epoch, row); the same key gives the same patch in any process.

    A patch is drawn `views` times: its window is read once, its augmentations differ. Without
    augmentation it has no draws. If all windows fit into `cache_mb`, they are read section by
    section at the start and kept in memory. Otherwise each window is read from its pyramid when it
    is needed. For patches in the order of their sections, a level of at most `level_mb` is decoded
    once and kept while its section lasts.
    """

    def __init__(
        self,
        table: "pd.DataFrame",
        field: Field,
        augmentation: "Augmentation | None",
        seed: int,
        cache_mb: float,
        views: int = 1,
        level_mb: float = 0.0,
    ) -> None:
        self._field, self._augmentation, self._seed, self._views = field, augmentation, seed, views
        self._names = [f"{b} section {s}" for b, s in zip(table.brain, table.section, strict=True)]
        self._images = table.image.tolist()
        self._full_spacing_um = table.full_spacing_um.tolist()
        self._x_um, self._y_um = table.x_um.tolist(), table.y_um.tolist()
        self._open: OrderedDict[str, tuple[ExitStack, SectionReader]] = OrderedDict()
        self._level_bytes = int(level_mb * 1e6)
        self._process = os.getpid()
        self._windows: NDArray[np.uint8] | None = None
        if len(table) * field.window_px**2 <= cache_mb * 1e6:
            self._windows = self._read_all(table, int(cache_mb * 1e6))

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, key: Key) -> Batch:
        epoch, row = key
        window = self._read(row) if self._windows is None else self._windows[row]
        draws = np.empty((0, DRAWS), np.float32)
        if self._augmentation is not None:
            views = range(self._views)
            draws = np.stack([draw(self._augmentation, self._seed, epoch, row, v) for v in views])
        return Batch(torch.from_numpy(window)[None], torch.from_numpy(draws), torch.tensor(row))

    def _open_section(self, row: int, hold_bytes: int) -> AbstractContextManager[SectionReader]:
        return open_section(
            self._names[row],
            self._images[row],
            self._full_spacing_um[row],
            self._field.spacing_um,
            hold_bytes,
        )

    def _read_all(self, table: "pd.DataFrame", hold_bytes: int) -> NDArray[np.uint8]:
        size = self._field.window_px
        windows = np.empty((len(table), size, size), np.uint8)
        for rows in table.groupby(["brain", "section"]).indices.values():
            with self._open_section(rows[0], hold_bytes) as reader:
                for row in rows:
                    windows[row] = reader.window(self._x_um[row], self._y_um[row], size)
        return windows

    def _read(self, row: int) -> NDArray[np.uint8]:
        if self._process != os.getpid():
            # a worker inherits open files whose position it shares with its parent: open its own
            self._open, self._process = OrderedDict(), os.getpid()
        image = self._images[row]
        if image not in self._open:
            if len(self._open) >= (1 if self._level_bytes else OPEN_FILES):
                self._open.popitem(last=False)[1][0].close()
            stack = ExitStack()
            reader = stack.enter_context(self._open_section(row, self._level_bytes))
            self._open[image] = (stack, reader)
        self._open.move_to_end(image)
        reader = self._open[image][1]
        return reader.window(self._x_um[row], self._y_um[row], self._field.window_px)


def batches_of_epoch(
    count: int, batch_size: int, seed: int, epoch: int, first: int, world: World
) -> list[list[Key]]:
    """The keys of this process in each batch of an epoch, from batch `first` on.

    All processes shuffle in the same way, by (seed, epoch), and divide each batch. An incomplete
    last batch is dropped, because the loss compares the patches of a batch.
    """
    order = np.random.default_rng([seed, epoch]).permutation(count)
    starts = range(first * batch_size, count - batch_size + 1, batch_size)
    return [
        [(epoch, int(row)) for row in order[start : start + batch_size][world.rank :: world.size]]
        for start in starts
    ]


def in_parts(batches: list[list[Key]], parts: int) -> list[list[Key]]:
    """Each batch as `parts` smaller ones of the same size, in order."""
    return [
        batch[start : start + len(batch) // parts]
        for batch in batches
        for start in range(0, len(batch), len(batch) // parts)
    ]


def load(
    patches: Patches, batches: list[list[Key]], workers: int, pinned: bool
) -> DataLoader[Batch]:
    """The batches in order, read by `workers` processes; 0 means by this process."""
    return DataLoader(
        patches,
        batch_sampler=batches,
        num_workers=workers,
        prefetch_factor=PREFETCHED if workers else None,
        pin_memory=pinned,
        worker_init_fn=_start_worker,
    )


def _start_worker(number: int) -> None:
    threads.use(1)
