"""What happens to a section between the knife and the scanner."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.numerics.geometry import Floats, Rigid, mirror, pixels_to_section
from cytopipe.study.config import Phantom


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels and its position in the true stack.

    Pixel (column, row) lies at matrix @ pixel + shift, in um. The determinant of the matrix is
    negative if the section is mirrored.
    """

    rows: int
    columns: int
    matrix: Floats
    shift: Floats
    z_um: float

    @property
    def pixel_um(self) -> float:
        """Edge of a pixel."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))

    def to_stack(self, pixels: Floats) -> Floats:
        """Stack position (..., 3) in um of pixels (..., 2), as (column, row)."""
        plane = np.asarray(pixels, np.float64) @ self.matrix.T + self.shift
        return np.concatenate([plane, np.full((*plane.shape[:-1], 1), self.z_um)], axis=-1)

    def to_pixels(self, points_um: Floats) -> Floats:
        """Pixels (..., 2), as (column, row), of stack points; inverse of `to_stack`."""
        inverse = np.linalg.inv(self.matrix)
        return (np.asarray(points_um, np.float64)[..., :2] - self.shift) @ inverse.T


@dataclass(frozen=True)
class ScannedSection:
    """One section as it lies on the slide.

    Attributes
    ----------
    rigid : UNMIRRORED section um to true stack um.
    rows, columns : size of the scan at full resolution.
    tear : (distance um, direction rad): the part of the stack's plane that lies further than
        `distance` in this direction is missing; None if the section is not torn.
    """

    section: int
    condition: str
    mirrored: bool
    z_um: float
    rigid: Rigid
    rows: int
    columns: int
    spacing_um: float
    tear: tuple[float, float] | None = None

    @property
    def width_um(self) -> float:
        return (self.columns - 1) * self.spacing_um

    @property
    def height_um(self) -> float:
        return (self.rows - 1) * self.spacing_um

    def size_at(self, spacing_um: float) -> tuple[int, int]:
        """Rows and columns at a coarser spacing, rounded up."""
        factor = spacing_um / self.spacing_um
        return int(np.ceil(self.rows / factor - 1e-6)), int(np.ceil(self.columns / factor - 1e-6))

    def window(self, spacing_um: float, row: int, column: int, rows: int, columns: int) -> Window:
        """The window of the scan at `spacing_um` that starts at (row, column)."""
        corners = np.array([[column, row], [column + 1, row], [column, row + 1]], np.float64)
        points = pixels_to_section(corners, spacing_um, self.spacing_um)
        if self.mirrored:
            points = mirror(points, self.width_um)
        origin, right, down = self.rigid(points)
        matrix = np.stack([right - origin, down - origin], axis=1)
        return Window(rows, columns, matrix, origin, self.z_um)

    def whole(self, spacing_um: float) -> Window:
        """The whole scan at `spacing_um`."""
        return self.window(spacing_um, 0, 0, *self.size_at(spacing_um))

    def scanned_at(self, spacing_um: float) -> "ScannedSection":
        """The same section, scanned at another resolution.

        The corner of the first pixel stays in place, so its centre, which is the origin, moves.
        """
        corner = self.rigid(np.full(2, 0.5 * (spacing_um - self.spacing_um)))
        factor = self.spacing_um / spacing_um
        return replace(
            self,
            rigid=replace(self.rigid, x_um=float(corner[0]), y_um=float(corner[1])),
            rows=round(self.rows * factor),
            columns=round(self.columns * factor),
            spacing_um=spacing_um,
        )


def draw_conditions(
    rng: np.random.Generator, count: int, params: Phantom
) -> tuple[list[str], NDArray[np.bool_]]:
    """The condition of each of `count` sections, and whether it is mirrored.

    Special sections are at least two apart and lie in the middle 70 %, but not at the centre.

    Raises
    ------
    InputError
        If the brain has too few sections for the number of special ones.
    """
    special = ("mirrored", "torn", "blank", "missing", "dirty")
    wanted = [name for name in special for _ in range(getattr(params, name))]
    low, high = int(0.15 * count), int(np.ceil(0.85 * count))
    allowed = [n for n in range(low, high) if abs(n - (count - 1) / 2) > 1.5]
    conditions = ["good"] * count
    flipped = np.zeros(count, bool)
    for name in wanted:
        if not allowed:
            raise InputError(
                f"phantom: {count} sections are too few for {len(wanted)} mirrored, torn, blank, "
                "missing and dirty ones; lower these numbers or section_step"
            )
        chosen = int(rng.choice(allowed))
        allowed = [n for n in allowed if abs(n - chosen) > 1]
        if name == "mirrored":
            flipped[chosen] = True
        else:
            conditions[chosen] = name
    return conditions, flipped


def draw_placement(
    rng: np.random.Generator, centre_um: Floats, canvas_um: Floats, name: str, params: Phantom
) -> tuple[Rigid, int, int]:
    """The transform of the section `name` to the stack, and the rows and columns of its scan.

    The middle of the scan lies within `shift_mm` of the middle of the brain, turned by up to
    `rotation_deg`. The size of the scan differs by a few pixels from section to section.
    """
    spacing_um = params.spacing_um
    columns, rows = (int(side / spacing_um) + int(rng.integers(0, 24)) for side in canvas_um)
    angle = float(np.deg2rad(rng.uniform(-params.rotation_deg, params.rotation_deg)))
    target = centre_um + rng.uniform(-params.shift_mm, params.shift_mm, 2) * 1000
    middle = np.array([columns - 1, rows - 1]) * spacing_um / 2
    return Rigid.onto(angle, middle, target, name, "stack"), rows, columns


def canvas_size(outline_um: Floats, params: Phantom) -> Floats:
    """Width and height in um of a scan that holds points (n, 2) at all rotations."""
    size = np.zeros(2)
    middle = (outline_um.min(0) + outline_um.max(0)) / 2
    # at least every 5 degrees
    angles = max(7, 2 * int(np.ceil(params.rotation_deg / 5)) + 1)
    for angle in np.deg2rad(np.linspace(-params.rotation_deg, params.rotation_deg, angles)):
        turned = Rigid(float(angle), 0.0, 0.0, "a", "b")(outline_um - middle)
        size = np.maximum(size, 2 * np.abs(turned).max(0))
    return size + 2000 * (params.shift_mm + params.margin_mm)


def draw_tear(rng: np.random.Generator, tissue_um: Floats, share: float) -> tuple[float, float]:
    """A line beyond which `share` of the tissue points (n, 2) lie: (distance um, direction rad)."""
    # from the left or right, up to 30 degrees from above or below
    direction = float(rng.choice([0.0, np.pi]) + np.deg2rad(rng.uniform(-30, 30)))
    along = tissue_um @ np.array([np.cos(direction), np.sin(direction)])
    return float(np.quantile(along, 1 - share)), direction


def torn_away(window: Window, tear: tuple[float, float]) -> NDArray[np.bool_]:
    """Pixels of the missing part, whose edge is ragged by about 2 mm."""
    columns, rows = np.arange(window.columns), np.arange(window.rows)
    x = window.matrix[0, 0] * columns + window.matrix[0, 1] * rows[:, None] + window.shift[0]
    y = window.matrix[1, 0] * columns + window.matrix[1, 1] * rows[:, None] + window.shift[1]
    distance, direction = tear
    along = x * np.cos(direction) + y * np.sin(direction)
    across = (y * np.cos(direction) - x * np.sin(direction)) / 1000
    ragged = (
        1.2 * np.sin(across / 2.1) + 0.7 * np.sin(across / 0.9 + 1) + 0.3 * np.sin(across / 0.31)
    )
    return np.asarray(along > distance + 1000 * ragged)
