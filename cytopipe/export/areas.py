"""Numbers and colours of a study's areas, which are the same in every format."""

import colorsys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cytopipe.study.results import BrainResults

NO_AREA = "no area"
_GOLDEN = 0.618034  # steps of the golden ratio: successive areas get very different hues
# saturation and value: successive areas also differ in lightness; chosen, not measured
_TONES = ((0.55, 0.95), (0.85, 0.65), (0.35, 0.80))


@dataclass(frozen=True)
class Areas:
    """Names of areas; the key of the i-th is i + 1, and 0 is no area."""

    names: tuple[str, ...]

    def keys_of(self, names: Iterable[str]) -> NDArray[np.int32]:
        """Key of each name; 0 for the empty name."""
        key_of = {"": 0} | {name: key for key, name in enumerate(self.names, start=1)}
        return np.array([key_of[name] for name in names], np.int32)

    @property
    def colours(self) -> NDArray[np.uint8]:
        """(areas, 3) red, green, blue."""
        return distinct_colours(len(self.names))


def areas_of(brains: Sequence[BrainResults]) -> Areas:
    """Areas of the study's atlas in the order of its table, then any others of the points."""
    names = dict.fromkeys(name for brain in brains for name in brain.area_names)
    others = {name for brain in brains for name in set(brain.points["area"]) if name}
    return Areas((*names, *sorted(others - set(names))))


def distinct_colours(count: int) -> NDArray[np.uint8]:
    """(count, 3) colours, which stay the same when more are added."""
    rgb = [
        colorsys.hsv_to_rgb(number * _GOLDEN % 1, *_TONES[number % len(_TONES)])
        for number in range(count)
    ]
    return np.rint(np.array(rgb).reshape(-1, 3) * 255).astype(np.uint8)
