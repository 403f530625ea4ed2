"""Patches read from the section images while a network trains; none is ever written out."""

import math
import os
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cytopipe import threads
from cytopipe.files import InputError
from cytopipe.formats.images import Pyramid, open_pyramid
from cytopipe.learning.augmentation import draw
from cytopipe.learning.distributed import World
from cytopipe.numerics.geometry import section_to_pixels

if TYPE_CHECKING:  # so that importing this needs no pydantic
    from cytopipe.study.config import Augmentation

OPEN_FILES = 64  # pyramids that a process keeps open
Key = tuple[int, int]


@dataclass(frozen=True)
class Field:
    """What is read for a patch.

    Attributes
    ----------
    patch_px, spacing_um : edge and pixel size of a patch; 2048 px of 2 um are a field of 4.096 mm.
    margin : what a rotated and shifted patch sees outside its own square. `exact`: a larger window
        of sqrt(2) x patch + 2 x shift is read; `reflect`: the square alone, continued by reflection
        in the corners. For 2048 px of 2 um and shifts of 0.2 mm an exact window has 3100 px and
        9.6 MB against 4.2 MB, 2.3 times the bytes to read, decode and hold.
    shift_mm : the largest shift.
    """

    patch_px: int
    spacing_um: float
    margin: Literal["exact", "reflect"]
    shift_mm: float

    @property
    def window_px(self) -> int:
        """Edge of the window that is read; its middle is the patch."""
        if self.margin == "reflect":
            return self.patch_px
        # half a diagonal, the shift and half a pixel for the interpolation, on either side
        reach = self.patch_px / math.sqrt(2) + 1000 * self.shift_mm / self.spacing_um + 0.5
        return self.patch_px + 2 * math.ceil(reach - self.patch_px / 2)


class SectionReader:
    """Windows of one section at one pixel size; use `open_section`."""

    def __init__(self, pyramid: Pyramid, name: str, spacing_um: float, hold_bytes: int) -> None:
        self._pyramid = pyramid
        self._name = name
        self._level = pyramid.level_for(spacing_um)
        level = pyramid.levels[self._level]
        levels = ", ".join(f"{found.spacing_um:g}" for found in pyramid.levels)
        if abs(level.spacing_um / spacing_um - 1) > 1e-3:
            raise InputError(
                f"{pyramid.path}: has levels of {levels} um, patches need {spacing_um:g} um; "
                "choose one of the levels as spacing_um in config/config.yaml"
            )
        self._shape = (level.height, level.width)
        small = level.height * level.width <= hold_bytes
        self._whole = pyramid.read_level(self._level) if small else None

    def window(self, x_um: float, y_um: float, window_px: int) -> NDArray[np.uint8]:
        """(window_px, window_px) around a point of the section frame, to the nearest pixel.

        Beyond the border of the image it is continued by reflection.

        Raises
        ------
        InputError
            If the point lies outside the image or the window is constant or unreadable: such a
            patch would train a network on nothing.
        """
        pyramid, spacing_um = self._pyramid, self._pyramid.levels[self._level].spacing_um
        x, y = section_to_pixels(np.array([x_um, y_um]), spacing_um, pyramid.full_spacing_um)
        height, width = self._shape
        where = f"{self._name}: patch at ({x_um:.0f}, {y_um:.0f}) um of {pyramid.path}"
        if not (-0.5 <= x <= width - 0.5 and -0.5 <= y <= height - 0.5):
            raise InputError(f"{where} lies outside the image; rerun the midline of this brain")
        left, top = (math.floor(at - (window_px - 1) / 2 + 0.5) for at in (x, y))
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
        beyond = ((t0 - top, top + window_px - t1), (l0 - left, left + window_px - l1))
        return np.pad(window, beyond, mode="symmetric")


@contextmanager
def open_section(
    name: str, image: str, full_spacing_um: float, spacing_um: float, hold_bytes: int
) -> Iterator[SectionReader]:
    """Open a section for reading windows.

    Parameters
    ----------
    name : brain and section, for messages.
    image, full_spacing_um : path of the pyramid and pixel size of its level 0.
    spacing_um : pixel size of the windows; the pyramid must have this level.
    hold_bytes : a level of at most this size is decoded once and held; a larger one is read tile by
        tile.
    """
    with open_pyramid(Path(image), full_spacing_um) as pyramid:
        yield SectionReader(pyramid, name, spacing_um, hold_bytes)


class Batch(NamedTuple):
    """Windows (n, 1, w, w) uint8, draws (n, views, 9) and row numbers (n,) int64 of a batch."""

    windows: Tensor
    draws: Tensor
    rows: Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(tensor.to(device, non_blocking=True) for tensor in self))


class Patches(Dataset[Batch]):
    """The patches of a table, by (epoch, index): the same key gives the same patch, anywhere.

    Each is drawn `views` times: the window is read once, the changes differ. Windows are held in
    memory, read section by section at the start, if all of them fit into `cache_mb`; otherwise each
    is read from its pyramid when it is asked for.
    """

    def __init__(
        self,
        table: pd.DataFrame,
        field: Field,
        changes: "Augmentation",
        seed: int,
        cache_mb: float,
        views: int = 1,
    ) -> None:
        self._field, self._changes, self._seed, self._views = field, changes, seed, views
        self._names = [f"{b} section {s}" for b, s in zip(table.brain, table.section, strict=True)]
        self._images = table.image.tolist()
        self._full_spacing_um = table.full_spacing_um.tolist()
        self._x_um, self._y_um = table.x_um.tolist(), table.y_um.tolist()
        self._open: OrderedDict[str, tuple[ExitStack, SectionReader]] = OrderedDict()
        self._process = os.getpid()
        self._held: NDArray[np.uint8] | None = None
        if len(table) * field.window_px**2 <= cache_mb * 1e6:
            self._held = self._read_all(table, int(cache_mb * 1e6))

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, key: Key) -> Batch:
        epoch, index = key
        window = self._window(index) if self._held is None else self._held[index]
        views = [draw(self._changes, self._seed, epoch, index, view) for view in range(self._views)]
        return Batch(
            torch.from_numpy(window)[None],
            torch.from_numpy(np.stack(views)),
            torch.tensor(index),
        )

    def _read_all(self, table: pd.DataFrame, hold_bytes: int) -> NDArray[np.uint8]:
        size = self._field.window_px
        held = np.empty((len(table), size, size), np.uint8)
        for rows in table.groupby(["brain", "section"]).indices.values():
            first = rows[0]
            with open_section(
                self._names[first],
                self._images[first],
                self._full_spacing_um[first],
                self._field.spacing_um,
                hold_bytes,
            ) as reader:
                for row in rows:
                    held[row] = reader.window(self._x_um[row], self._y_um[row], size)
        return held

    def _window(self, index: int) -> NDArray[np.uint8]:
        if self._process != os.getpid():
            # a worker inherits the parent's open files, which share one position: it opens its own
            self._open, self._process = OrderedDict(), os.getpid()
        image = self._images[index]
        if image not in self._open:
            if len(self._open) >= OPEN_FILES:
                self._open.popitem(last=False)[1][0].close()
            stack = ExitStack()
            reader = stack.enter_context(
                open_section(
                    self._names[index],
                    image,
                    self._full_spacing_um[index],
                    self._field.spacing_um,
                    hold_bytes=0,
                )
            )
            self._open[image] = (stack, reader)
        self._open.move_to_end(image)
        reader = self._open[image][1]
        return reader.window(self._x_um[index], self._y_um[index], self._field.window_px)


def batches_of_epoch(
    count: int, batch_size: int, seed: int, epoch: int, first: int, world: World
) -> list[list[Key]]:
    """Keys of the batches of an epoch that this process takes, from batch `first` on.

    All processes shuffle alike by (seed, epoch) and share each batch; a last incomplete batch is
    dropped, because the loss compares patches within a batch.
    """
    order = np.random.default_rng([seed, epoch]).permutation(count)
    starts = range(first * batch_size, count - batch_size + 1, batch_size)
    return [
        [
            (epoch, int(index))
            for index in order[start : start + batch_size][world.rank :: world.size]
        ]
        for start in starts
    ]


def load(
    patches: Patches, batches: list[list[Key]], workers: int, pinned: bool
) -> DataLoader[Batch]:
    """Batches in order, read by `workers` processes (0: by this one)."""
    return DataLoader(
        patches,
        batch_sampler=batches,
        num_workers=workers,
        pin_memory=pinned,
        worker_init_fn=_start_worker,
    )


def _start_worker(number: int) -> None:
    threads.use(1)
