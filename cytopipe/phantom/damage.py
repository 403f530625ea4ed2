"""What happens to the tissue of a section: it tears, cracks, folds, or loses parts.

Lengths and frequencies are chosen after pictures of real sections, not measured.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cytopipe.numerics.components import Mask
from cytopipe.numerics.geometry import Floats, unit
from cytopipe.phantom.structure import paint_capsules
from cytopipe.phantom.window import Window
from cytopipe.study.config import DamageOptions

_NO_CAPSULES = np.empty((0, 7))


@dataclass(frozen=True)
class Piece:
    """A strip of a section that does not lie where it grew.

    Attributes
    ----------
    direction_rad, start_um, end_um : the strip, along a direction of the stack's plane.
    ragged : whether it starts at a break instead of a straight fold.
    matrix, shift : from where a point of the plane grew to where it lies, in um.
    """

    direction_rad: float
    start_um: float
    end_um: float
    ragged: bool
    matrix: Floats
    shift: Floats

    def origin_of(self, window: Window) -> Window:
        """The window in which the tissue of the strip grew that `window` shows."""
        inverse = np.linalg.inv(self.matrix)
        return Window(
            window.rows,
            window.columns,
            inverse @ window.matrix,
            inverse @ (window.shift - self.shift),
            window.z_um,
        )

    def holds(self, window: Window) -> Mask:
        """Pixels of a window whose tissue grew in the strip."""
        along, across = window.along_and_across(self.direction_rad)
        edge = _ragged(across) if self.ragged else 0.0
        return np.asarray((along > self.start_um + edge) & (along <= self.end_um))


@dataclass(frozen=True)
class SectionDamage:
    """The damage of one section, in um of the stack's plane.

    Attributes
    ----------
    tear : (distance um, direction rad): what lies further than `distance` in this direction is
        missing; None if the section is not torn.
    gone : (n, 7) capsules without tissue: cracks and holes.
    blocks : (n, 5) rectangles without tissue: x, y, direction rad, half length, half width.
    pieces : strips that lie elsewhere.
    """

    tear: tuple[float, float] | None = None
    gone: Floats = field(default_factory=lambda: _NO_CAPSULES)
    blocks: Floats = field(default_factory=lambda: np.empty((0, 5)))
    pieces: tuple[Piece, ...] = ()

    @property
    def is_any(self) -> bool:
        """The section has damage other than a tear."""
        return bool(len(self.gone) or len(self.blocks) or self.pieces)

    def layers(self, window: Window) -> Iterator[tuple[Window, Mask]]:
        """The pieces of tissue that a window shows: where each grew, and its pixels.

        The first one lies where it grew. Pieces may overlap.
        """
        still = np.ones((window.rows, window.columns), bool)
        for piece in self.pieces:
            still &= ~piece.holds(window)
        yield window, still
        for piece in self.pieces:
            origin = piece.origin_of(window)
            yield origin, piece.holds(origin)

    def intact(self, window: Window) -> NDArray[np.float32]:
        """The share of each pixel of a window that was not lost where its tissue grew."""
        left = np.ones((window.rows, window.columns), np.float32)
        if self.tear is not None:
            left *= ~torn_away(window, self.tear)
        if len(self.gone):
            left *= 1 - paint_capsules(self.gone, window)
        for x, y, direction, length, width in self.blocks:
            along, across = window.along_and_across(direction)
            middle = np.cos(direction) * x + np.sin(direction) * y
            side = np.cos(direction) * y - np.sin(direction) * x
            left *= (np.abs(along - middle) > length) | (np.abs(across - side) > width)
        return left


def draw_damage(
    rng: np.random.Generator, pial_um: Floats, white_um: Floats, z_um: float, options: DamageOptions
) -> SectionDamage:
    """The damage of a section with the contours (n, 2, 2) of its surfaces in the stack's plane."""
    rim = pial_um.mean(1)
    if not len(rim):
        return SectionDamage()
    cracks, holes = (rng.poisson((options.cracks, options.holes)) * (len(white_um) > 0)).tolist()
    gone = [_NO_CAPSULES]
    gone += [_crack(rng, white_um, z_um) for _ in range(cracks)]
    gone += [_hole(rng, white_um, z_um) for _ in range(holes)]
    blocks = [
        np.array(
            [*rng.choice(rim), rng.uniform(0, np.pi), *(1000 * rng.uniform((3, 2), (8, 5)))],
        )
        for _ in range(rng.poisson(options.blocks))
    ]
    return SectionDamage(
        gone=np.concatenate(gone),
        blocks=np.array(blocks).reshape(-1, 5),
        pieces=_pieces(rng, rim, options),
    )


def _crack(rng: np.random.Generator, white_um: Floats, z_um: float) -> Floats:
    """A gap of 5 to 30 mm that follows the border of the white matter, 60 to 400 um wide."""
    points = white_um.mean(1)
    inwards = rng.uniform(-200, 600)
    at = int(rng.integers(len(points)))
    heading = unit(white_um[at, 1] - white_um[at, 0])
    corners = [points[at]]
    for _ in range(int(rng.integers(5, 30))):
        ahead = points[at] + 1000 * heading
        nearest = int(np.argmin(((points - ahead) ** 2).sum(1)))
        step = points[nearest] - points[at]
        if np.linalg.norm(step) < 300:
            break
        heading, at = unit(step), nearest
        normal = np.array([-heading[1], heading[0]])
        corners.append(points[at] + inwards * normal + rng.normal(0, 80, 2))
    line = np.array(corners)
    widest = rng.uniform(60, 400)
    # wide in the middle, closed at the ends
    radius = widest / 2 * np.sin(np.linspace(0.2, np.pi - 0.2, max(len(line) - 1, 0)))
    return _capsules(line[:-1], line[1:], radius, z_um)


def _hole(rng: np.random.Generator, white_um: Floats, z_um: float) -> Floats:
    """A hole of 1 to 5 mm with an irregular outline, within 4 mm of the white matter's border."""
    size = rng.uniform(500, 2500)
    middle = rng.choice(white_um.mean(1)) + rng.normal(0, 2000, 2)
    discs = middle + rng.normal(0, 0.5 * size, (7, 2))
    return _capsules(discs, discs, size * rng.uniform(0.3, 0.8, 7), z_um)


def _capsules(start: Floats, end: Floats, radius: Floats, z_um: float) -> Floats:
    z = np.full(len(start), z_um)
    return np.column_stack([start, z, end, z, radius])


def _pieces(rng: np.random.Generator, rim: Floats, options: DamageOptions) -> tuple[Piece, ...]:
    """A detached lobe, a flap or a pleat, or none of them; a section has at most one."""
    chances = rng.uniform(0, 1, 3)
    direction = float(rng.uniform(0, 2 * np.pi))
    normal = np.array([np.cos(direction), np.sin(direction)])
    along = rim @ normal
    end = float(along.max()) + 1e6
    share, part = rng.uniform(0, 1, 2)
    if chances[0] < options.detached:
        start = float(np.quantile(along, 1 - (0.1 + 0.15 * share)))
        turn = np.deg2rad(24 * part - 12)
        rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        pivot = rim[along > start].mean(0)
        away = rng.uniform(2000, 5000) * normal + rng.normal(0, 1000, 2)
        return (Piece(direction, start, end, True, rotation, pivot - rotation @ pivot + away),)
    if chances[1] < options.flaps:
        start = float(np.quantile(along, 1 - (0.03 + 0.07 * share)))
        return (_reflected(direction, normal, start, end),)
    if chances[2] < options.pleats:
        start = float(np.quantile(along, 0.3 + 0.4 * share))
        width = 300 + 900 * part
        fold = _reflected(direction, normal, start, start + width)
        beyond = Piece(direction, start + width, end, False, np.eye(2), -2 * width * normal)
        return fold, beyond
    return ()


def _reflected(direction: float, normal: Floats, start: float, end: float) -> Piece:
    """A strip folded over along the line where it starts."""
    reflection = np.eye(2) - 2 * np.outer(normal, normal)
    return Piece(direction, start, end, False, reflection, 2 * start * normal)


def draw_tear(rng: np.random.Generator, tissue_um: Floats, share: float) -> tuple[float, float]:
    """A line beyond which `share` of the tissue points (n, 2) lie: (distance um, direction rad)."""
    # from the left or right, up to 30 degrees from above or below
    direction = float(rng.choice([0.0, np.pi]) + np.deg2rad(rng.uniform(-30, 30)))
    along = tissue_um @ np.array([np.cos(direction), np.sin(direction)])
    return float(np.quantile(along, 1 - share)), direction


def torn_away(window: Window, tear: tuple[float, float]) -> Mask:
    """Pixels of the missing part, whose edge is ragged by about 2 mm."""
    distance, direction = tear
    along, across = window.along_and_across(direction)
    return np.asarray(along > distance + _ragged(across))


def _ragged(across_um: Floats) -> Floats:
    """The position in um of a ragged edge, from the position along it."""
    across = across_um / 1000
    return np.asarray(
        1000
        * (
            1.2 * np.sin(across / 2.1)
            + 0.7 * np.sin(across / 0.9 + 1)
            + 0.3 * np.sin(across / 0.31)
        )
    )


@dataclass(frozen=True)
class KnifeMarks:
    """Scratches of the knife, which return at the same place until the knife is turned.

    Attributes
    ----------
    lines : (n, 5) position across and half width in um; first and last place along the stack in
        mm; the share of tissue that is scraped off.
    direction_rad : of all lines in the stack's plane.
    """

    lines: Floats
    direction_rad: float

    def left(self, window: Window) -> NDArray[np.float32]:
        """The share of the tissue of each pixel that the knife left."""
        image = np.ones((window.rows, window.columns), np.float32)
        z_mm = window.z_um / 1000
        here = self.lines[(self.lines[:, 2] <= z_mm) & (z_mm < self.lines[:, 3])]
        if len(here):
            _, across = window.along_and_across(self.direction_rad)
            pixel_um = float(np.sqrt(abs(np.linalg.det(window.matrix))))
            for place, half, _, _, depth in here:
                covered = np.clip((half - np.abs(across - place)) / pixel_um + 0.5, 0, 1)
                # a line thinner than a pixel covers no more than its width
                image *= 1 - np.float32(depth * min(1.0, 2 * half / pixel_um)) * covered
        return image


def draw_knife_marks(
    rng: np.random.Generator, size_mm: Floats, options: DamageOptions
) -> KnifeMarks:
    """Marks in a box of (x, y, z) mm, on average `knife_marks` in a section."""
    mean_length = 8.0
    count = rng.poisson(options.knife_marks * (size_mm[2] + mean_length) / mean_length)
    start = rng.uniform(-mean_length, size_mm[2], count)
    direction = float(rng.uniform(0, np.pi))
    corners = np.array([[x, y] for x in (0, size_mm[0]) for y in (0, size_mm[1])]) * 1000
    across = corners @ [-np.sin(direction), np.cos(direction)]
    lines = np.column_stack(
        [
            rng.uniform(across.min(), across.max(), count),
            rng.uniform(20, 120, count),
            start,
            start + rng.exponential(mean_length, count),
            rng.uniform(0.15, 0.6, count),
        ]
    )
    return KnifeMarks(lines, direction)
