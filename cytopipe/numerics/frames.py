"""Named frames, and chains of transforms that move POINTS from one frame to another and back.

A chain consists of links. Each link names the frames at its two ends, with their units, and only
links that meet can be chained. The frames are those of `numerics.geometry`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cytopipe.numerics.geometry import (
    Floats,
    FrameError,
    ImageRight,
    Placement,
    check_follows,
    pixels_to_section,
    ras_to_stack,
    section_to_pixels,
    stack_to_ras,
)


@dataclass(frozen=True)
class Frame:
    """A frame such as "section B01/420" (x, y um) or "colin27" (R, A, S mm)."""

    name: str
    unit: str
    axes: str

    def __str__(self) -> str:
        return f"{self.name} ({self.axes} {self.unit})"


@dataclass(frozen=True)
class Link:
    """Moves points from one frame to another and back; NaN outside its domain."""

    source: Frame
    target: Frame
    forward: Callable[[Floats], Floats]
    backward: Callable[[Floats], Floats]


@dataclass(frozen=True)
class Chain:
    """Links that follow one another.

    Raises
    ------
    FrameError
        If there are no links, or if a link does not start in the frame where the previous one ends.
    """

    links: tuple[Link, ...]

    def __post_init__(self) -> None:
        if not self.links:
            raise FrameError("a chain needs at least one link")
        for before, after in pairwise(self.links):
            check_follows(before, after)

    @property
    def source(self) -> Frame:
        return self.links[0].source

    @property
    def target(self) -> Frame:
        return self.links[-1].target

    def __call__(self, points: Floats) -> Floats:
        """Move points (n, 2) or (n, 3) from the first frame to the last."""
        for link in self.links:
            points = link.forward(points)
        return points

    def back(self, points: Floats) -> Floats:
        """Move points from the last frame to the first."""
        for link in reversed(self.links):
            points = link.backward(points)
        return points

    def since(self, source: Frame) -> "Chain":
        """The part of the chain that starts in the frame `source`."""
        starts = [link.source for link in self.links]
        if source not in starts:
            raise FrameError(f"{self} does not pass through {source}")
        return Chain(self.links[starts.index(source) :])

    def __str__(self) -> str:
        return " -> ".join(str(frame) for frame in (self.source, *(x.target for x in self.links)))


def pixel(name: str, spacing_um: float) -> Frame:
    return Frame(f"pixel of {spacing_um:g} um of {name}", "px", "column, row")


def section(name: str) -> Frame:
    return Frame(f"section {name}", "um", "x, y")


def stack(name: str) -> Frame:
    return Frame(f"stack {name}", "um", "x, y, z")


def ras(name: str) -> Frame:
    """The frame of a template, or of the volumes of a stack."""
    return Frame(name, "mm", "R, A, S")


def from_pixels(name: str, spacing_um: float, full_spacing_um: float) -> Link:
    """From the pixels of a level to the section frame."""
    return Link(
        pixel(name, spacing_um),
        section(name),
        lambda points: pixels_to_section(points, spacing_um, full_spacing_um),
        lambda points: section_to_pixels(points, spacing_um, full_spacing_um),
    )


def into_stack(name: str, brain: str, placement: Placement, z_um: float) -> Link:
    """From the section frame to the stack; the inverse projects onto the section's plane."""

    def forward(points: Floats) -> Floats:
        placed = placement(points)
        return np.concatenate([placed, np.full((*placed.shape[:-1], 1), z_um)], axis=-1)

    return Link(
        section(name),
        stack(brain),
        forward,
        lambda points: placement.back(np.asarray(points, np.float64)[..., :2]),
    )


def into_ras(brain: str, image_right: ImageRight) -> Link:
    """From the stack to the frame of its volumes."""
    return Link(
        stack(brain),
        ras(brain),
        lambda points: stack_to_ras(points, image_right),
        lambda points: ras_to_stack(points, image_right),
    )
