"""What happens to a section between the knife and the scanner."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.numerics.geometry import Floats, Placement, Rigid, mirror, pixels_to_section
from cytopipe.phantom.damage import SectionDamage
from cytopipe.phantom.slide import Marks
from cytopipe.phantom.window import Window
from cytopipe.study.config import Phantom


@dataclass(frozen=True)
class ScannedSection:
    """One section as it lies on the slide.

    Attributes
    ----------
    rigid : UNMIRRORED section um to true stack um.
    rows, columns : size of the scan at full resolution.
    damage : what happened to its tissue.
    marks : what its scan shows apart from tissue.
    """

    section: int
    condition: str
    mirrored: bool
    z_um: float
    rigid: Rigid
    rows: int
    columns: int
    spacing_um: float
    damage: SectionDamage = field(default_factory=SectionDamage)
    marks: Marks = field(default_factory=Marks)

    def as_scanned(self, points_um: Floats) -> Floats:
        """Points (n, 2) of the stack's plane in um of the scan."""
        return Placement(self.mirrored, self.width_um, self.rigid).back(points_um)

    def cropped(self, sides_px: Sequence[int]) -> "ScannedSection":
        """The same section with fewer pixels at the left, top, right and bottom of its scan."""
        left, top, right, bottom = sides_px
        # the origin of the unmirrored section is at the right of a mirrored scan
        corner = self.rigid(np.array([right if self.mirrored else left, top]) * self.spacing_um)
        return replace(
            self,
            rigid=replace(self.rigid, x_um=float(corner[0]), y_um=float(corner[1])),
            rows=self.rows - top - bottom,
            columns=self.columns - left - right,
        )

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
    flipped = np.full(count, params.handling.face_down)
    for name in wanted:
        if not allowed:
            raise InputError(
                f"phantom: {count} sections are too few for {len(wanted)} mirrored, torn, blank, "
                "missing and dirty ones; lower these numbers or section_step"
            )
        chosen = int(rng.choice(allowed))
        allowed = [n for n in allowed if abs(n - chosen) > 1]
        if name == "mirrored":
            flipped[chosen] = not params.handling.face_down
        else:
            conditions[chosen] = name
    gaps = params.handling.gaps
    for place, length in enumerate(gaps):
        # not at the middle, where most stacks start
        start = int(count * (place + 0.8) / (len(gaps) + 1)) - length // 2
        conditions[start : start + length] = ["missing"] * length
    return conditions[:count], flipped


def exclude(conditions: list[str], numbers: Sequence[int], params: Phantom) -> None:
    """Mark the sections that sections.tsv excludes, in place."""
    before = params.handling.excluded_before or numbers[-1] + 1
    earlier = [place for place, number in enumerate(numbers) if number < before]
    for place in earlier[len(earlier) - params.handling.excluded :]:
        if conditions[place] != "missing":
            conditions[place] = "excluded"


def cut_by_edge(
    rng: np.random.Generator, section: ScannedSection, rim_um: Floats, params: Phantom
) -> ScannedSection:
    """The section as scanned, with an edge of the scan that cuts its tissue in some of them.

    `rim_um` (n, 2) are points of the pial contours in the stack's plane.
    """
    if not (params.slide.touching and len(rim_um)):
        return section
    depth_um = 1000 * params.slide.touching_mm
    rim = section.as_scanned(rim_um)
    low, high = rim.min(0), rim.max(0)
    side = int(rng.integers(4))
    # a small section would lose most of its tissue
    if rng.uniform() >= params.slide.touching or (high - low).min() < 5 * depth_um:
        return section
    outer = np.array([section.width_um, section.height_um])
    empty = [*(low + depth_um), *(outer - high + depth_um)]
    cut = [0, 0, 0, 0]
    cut[side] = max(0, int(empty[side] / section.spacing_um))
    return section.cropped(cut)


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
    angle += float(np.deg2rad(params.handling.turned_deg))
    target = centre_um + rng.uniform(-params.shift_mm, params.shift_mm, 2) * 1000
    middle = np.array([columns - 1, rows - 1]) * spacing_um / 2
    return Rigid.onto(angle, middle, target, name, "stack"), rows, columns


def canvas_size(outline_um: Floats, params: Phantom) -> Floats:
    """Width and height in um of a scan that holds points (n, 2) at all rotations."""
    size = np.zeros(2)
    middle = (outline_um.min(0) + outline_um.max(0)) / 2
    turned = params.handling.turned_deg
    # at least every 5 degrees
    count = max(7, 2 * int(np.ceil(params.rotation_deg / 5)) + 1)
    for angle in np.deg2rad(turned + np.linspace(-params.rotation_deg, params.rotation_deg, count)):
        placed = Rigid(float(angle), 0.0, 0.0, "a", "b")(outline_um - middle)
        size = np.maximum(size, 2 * np.abs(placed).max(0))
    border_mm = params.slide.padding_mm + params.slide.frame_mm
    return size + 2000 * (params.shift_mm + params.margin_mm + border_mm)
