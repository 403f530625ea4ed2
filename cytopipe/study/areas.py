"""Numbers and colours of a study's areas, which are the same in every format."""

import colorsys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe.study.results import BrainResults

NO_AREA = "no area"
# the status of points of the map that no training point resembles, and their colour
UNLIKE = "unlike_training"
_UNLIKE_COLOUR = (190, 190, 190)
# a brain with more than this many times the expected share of foreign points is not like the
# labelled brains; chosen, not measured: the demo's brains have 0.4 to 1.4 times the share
_MOST_FOREIGN = 5
_GOLDEN = 0.618034  # steps of the golden ratio: successive areas get very different hues
# saturation and value: successive areas also differ in lightness; chosen, not measured
_TONES = ((0.55, 0.95), (0.85, 0.65), (0.35, 0.80))


@dataclass(frozen=True)
class Areas:
    """Names of areas; the key of the i-th is i + 1; 0 means that there is none."""

    names: tuple[str, ...]

    def keys_of(self, names: Iterable[str]) -> NDArray[np.int32]:
        """Key of each name; 0 for the empty name."""
        key_of = {"": 0} | {name: key for key, name in enumerate(self.names, start=1)}
        return np.array([key_of[name] for name in names], np.int32)

    @property
    def colours(self) -> NDArray[np.uint8]:
        """(areas, 3) red, green, blue."""
        return distinct_colours(len(self.names))

    def with_unlike(self) -> tuple[tuple[str, ...], NDArray[np.uint8]]:
        """Names and colours of a map: those of the areas, and last, gray, UNLIKE in words."""
        return (
            (*self.names, "unlike the training data"),
            np.concatenate([self.colours, np.array([_UNLIKE_COLOUR], np.uint8)]),
        )


def areas_of(brains: Sequence[BrainResults]) -> Areas:
    """Areas of the study's atlas in the order of its table, then any others of points and maps."""
    names = dict.fromkeys(name for brain in brains for name in brain.area_names)
    others: set[str] = set()
    for brain in brains:
        others |= set(brain.points["area"])
        if brain.area_map is not None:
            others |= set(brain.area_map["predicted"]) | set(brain.area_map["mapped"])
    others.discard("")
    return Areas((*names, *sorted(others - set(names))))


def foreign_alarm(area_map: pd.DataFrame, false_alarms: float) -> str:
    """What a person must know of a map (MapRow) before it is used; "" if nothing.

    Parameters
    ----------
    false_alarms : share of points that are unlike the training data in a brain like those.
    """
    known = area_map["predicted"] != ""
    if not known.any():
        return "the map is empty: no point has features"
    share = float((area_map["status"] == UNLIKE)[known].mean())
    if share <= _MOST_FOREIGN * false_alarms:
        return ""
    return (
        f"{share:.0%} of the points are unlike the training data, where {false_alarms:.0%} are "
        "expected: this brain, its stain or its scanner differs from the labelled brains; do not "
        "trust the map"
    )


def distinct_colours(count: int) -> NDArray[np.uint8]:
    """(count, 3) colours, which stay the same when more are added."""
    rgb = [
        colorsys.hsv_to_rgb(number * _GOLDEN % 1, *_TONES[number % len(_TONES)])
        for number in range(count)
    ]
    return np.rint(np.array(rgb).reshape(-1, 3) * 255).astype(np.uint8)
