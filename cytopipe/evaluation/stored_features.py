"""Features on disk, read in blocks: those of ten brains (42 GB) do not fit into memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats.feature_arrays import read_features

Features = NDArray[np.float32]
Rows = NDArray[np.intp]

BLOCK = 8192  # rows at a time, 67 MB of 2,048 features; chosen, not measured


@dataclass(frozen=True)
class StoredFeatures:
    """Features (n, width) that are read when they are indexed: `features[rows]`, `features[:10]`.

    They are read rather than memory-mapped: pages of a map would count as memory of the job.

    Attributes
    ----------
    paths : float32 .npy arrays (m, width).
    starts : the byte at which the first row of each array starts.
    places : (n, 2) array and row of each sample.
    """

    paths: tuple[Path, ...]
    starts: tuple[int, ...]
    width: int
    places: Rows

    def __len__(self) -> int:
        return len(self.places)

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self.width

    @property
    def nbytes(self) -> int:
        """The memory that all of them would take."""
        return 4 * len(self) * self.width

    def where(self, chosen: Rows | NDArray[np.bool_]) -> "StoredFeatures":
        """Some of the samples, still unread: rows (m,) or a mask (n,)."""
        return StoredFeatures(self.paths, self.starts, self.width, self.places[chosen])

    def __getitem__(self, chosen: slice | Rows) -> Features:
        """Read some of the samples.

        Raises
        ------
        InputError
            If an array ends before a row.
        """
        places = self.places[chosen]
        values = np.empty((len(places), self.width), np.float32)
        order = np.lexsort((places[:, 1], places[:, 0]))  # each file from front to back
        for start in range(0, len(order), BLOCK):
            block = order[start : start + BLOCK]
            values[block] = self._read(places[block])
        return values

    def _read(self, places: Rows) -> Features:
        """Read sorted places; neighbouring rows are read together."""
        values = np.empty((len(places), self.width), np.float32)
        numbers, firsts = np.unique(places[:, 0], return_index=True)
        for number, (first, last) in zip(numbers, pairwise([*firsts, len(places)]), strict=True):
            path, rows = self.paths[number], places[first:last, 1]
            apart = np.flatnonzero(np.diff(rows) != 1) + 1
            with open(path, "rb", buffering=0) as file:
                for at, past in pairwise([0, *apart.tolist(), len(rows)]):
                    file.seek(self.starts[number] + 4 * self.width * int(rows[at]))
                    run = values[first + at : first + past]
                    if file.readinto(run.data) != run.nbytes:
                        raise InputError(f"{path}: ends before row {rows[past - 1]}; {_REMEDY}")
        return values

    def finite(self) -> NDArray[np.bool_]:
        """Whether all features of each sample (n,) are finite; reads all of them."""
        return np.concatenate(
            [np.empty(0, bool), *(np.isfinite(block).all(1) for block in blocks_of(self))]
        )


_REMEDY = "delete it and rerun the features"


def stored(paths: Sequence[Path], lengths: Sequence[int], places: Rows) -> StoredFeatures:
    """Features in arrays of known lengths; `places` (n, 2) is the array and row of each sample.

    Raises
    ------
    InputError
        If there is no array, or one is not a float32 array (length, width), is incomplete, or
        differs in width from the first.
    """
    starts, widths = [], []
    for path, length in zip(paths, lengths, strict=True):
        array = read_features(path, length)
        if not isinstance(array, np.memmap) or array.dtype != np.float32 or array.flags.fnc:
            raise InputError(f"{path}: {array.dtype} {array.shape}, not float32 rows; {_REMEDY}")
        starts.append(array.offset)
        widths.append(array.shape[1])
    if len(set(widths)) != 1:
        listed = ", ".join(f"{path} {width}" for path, width in zip(paths, widths, strict=True))
        raise InputError(f"features of different width: {listed or 'none'}; {_REMEDY}")
    return StoredFeatures(tuple(paths), tuple(starts), widths[0], places)


def loaded(features: Features | StoredFeatures, cache_mb: float) -> Features | StoredFeatures:
    """The features in memory if they fit into `cache_mb`, otherwise as they are."""
    return features[:] if features.nbytes <= cache_mb * 1e6 else features


def blocks_of(features: Features | StoredFeatures) -> Iterator[Features]:
    """Consecutive rows, `BLOCK` at a time."""
    for start in range(0, len(features), BLOCK):
        yield features[start : start + BLOCK]
