"""Values of a config that follow from a lab's scans: their pixels, spacing and size.

The values of config.yaml are for human brains in sections 0.3 mm apart at 1 um per pixel. Other
stacks need others: pixels cannot be finer than the scan, a volume cannot be finer than the sections
are apart, and a mouse's cortex is thinner.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cytopipe.study.config.reading import merge

# brains of at least this width use the lengths of config.yaml: the cortex of a macaque, 60 mm wide,
# is nearly as thick as a human's
LARGE_MM = 60.0
_HUMAN_MM = 130.0
_CHUNK_SECTIONS = 32  # as in config.yaml
# a level this much finer than the goal is fine enough, so that scans of 0.46 um use the level of
# 58.9 um in place of 64 um
_NEARLY = 0.85
# shrink as the cortex does
_LENGTHS = (
    ("segmentation", "block_um"),
    ("segmentation", "max_cut_mm"),
    ("segmentation", "line_um"),
    ("segmentation", "min_line_mm"),
    ("segmentation", "matter_um"),
    ("segmentation", "filter_um"),
    ("segmentation", "clahe_um"),
    ("segmentation", "sigma_um"),
    ("segmentation", "min_thickness_um"),
    ("segmentation", "rim_um"),
    ("segmentation", "sulcus_um"),
    ("reconstruction", "cortex_mm"),
    ("reconstruction", "farthest_mm"),
    ("midsurface", "clear_mm"),
    ("midsurface", "farthest_mm"),
    ("midsurface", "usual_thickness_mm"),
    ("midsurface", "lost_mm"),
    ("midsurface", "symmetry_mm"),
    ("midline", "max_move_mm"),
    ("midline", "spacing_mm"),
)
# shrink as the brain does; areas of tissue, too
_EXTENTS = (
    ("segmentation", "min_tissue_mm2"),
    ("segmentation", "min_object_mm2"),
    ("segmentation", "max_hole_mm2"),
    ("segmentation", "min_white_mm2"),
    ("segmentation", "max_island_mm2"),
    ("alignment", "coarse_um"),
    ("alignment", "reach_um"),
    ("midsurface", "pocket_mm3"),
)


@dataclass(frozen=True)
class Stack:
    """What is known of the sections of a study before anything runs.

    Attributes
    ----------
    spacing_um : pixel size of the scans, the finest of the study.
    step : the usual difference of consecutive section numbers.
    section_mm : distance of sections, step x thickness.
    length_mm : from the first to the last section.
    width_mm : width of the tissue in the sections at the middle.
    """

    spacing_um: float
    step: int
    section_mm: float
    length_mm: float
    width_mm: float

    @property
    def extents(self) -> float:
        """Size of the brain, compared with a human's; 1 for large brains."""
        return 1.0 if self.width_mm >= LARGE_MM else self.width_mm / _HUMAN_MM

    @property
    def lengths(self) -> float:
        """Thickness of its cortex and width of its sulci, compared with a human's.

        They grow more slowly than the brain: a mouse's brain is 12 times narrower than a human's,
        its cortex is 2 to 3 times thinner.
        """
        return math.sqrt(self.extents)


@dataclass(frozen=True)
class Derived:
    """A value that differs from config.yaml, and why."""

    path: tuple[str, ...]
    value: float | int
    why: str


def derive(stack: Stack, defaults: dict[str, Any]) -> list[Derived]:
    """The values of a config that a stack needs, where they differ from the defaults."""
    values = [*_of_sections(stack), *_of_pixels(stack), *_of_volume(stack)]
    if stack.extents < 1:
        values += _of_anatomy(stack, defaults)
    return [value for value in values if _at(defaults, value.path) != value.value]


def changed(defaults: dict[str, Any], values: list[Derived]) -> dict[str, Any]:
    """A config with derived values."""
    config = defaults
    for value in values:
        change: Any = value.value
        for key in reversed(value.path):
            change = {key: change}
        config = merge(config, change)
    return config


def _of_sections(stack: Stack) -> Iterator[Derived]:
    yield Derived(
        ("study", "chunk_span"),
        _CHUNK_SECTIONS * stack.step,
        f"{_CHUNK_SECTIONS} sections, {stack.step} numbers apart",
    )


def _of_pixels(stack: Stack) -> Iterator[Derived]:
    goal_um = 64 * stack.lengths
    pixel_um = stack.spacing_um
    while pixel_um < _NEARLY * goal_um:
        pixel_um *= 2
    pixel_um = _rounded(pixel_um)
    level = f"the level of the scans ({stack.spacing_um:g} um) next to {goal_um:.3g} um"
    # a human brain at 128 um still shows its texture
    inlier_um = _rounded(
        max(2.5 * pixel_um, 256 * math.sqrt(stack.lengths * stack.section_mm / 0.3))
    )
    texture_um = max(pixel_um, _rounded(256 * stack.lengths))
    yield Derived(("segmentation", "spacing_um"), pixel_um, level)
    yield Derived(("alignment", "spacing_um"), pixel_um, level)
    yield Derived(
        ("alignment", "inlier_um"),
        inlier_um,
        f"sections {stack.section_mm:g} mm apart match less exactly the farther apart they are",
    )
    yield Derived(("alignment", "texture_um"), texture_um, "the size of vessels, at least a pixel")
    yield Derived(("alignment", "part_um"), 3 * texture_um, "3 pixels of texture_um")


def _of_volume(stack: Stack) -> Iterator[Derived]:
    apart = stack.section_mm / stack.lengths > 0.6
    voxel_mm = _rounded(stack.section_mm / 2 if apart else stack.section_mm)
    half = "half the section spacing, as sections are far apart" if apart else "the section spacing"
    radius_mm = _rounded(max(0.6 * stack.lengths, 1.1 * voxel_mm))
    depth = math.ceil(math.log2(stack.length_mm / voxel_mm) - 0.3)
    yield Derived(("reconstruction", "voxel_mm"), voxel_mm, half)
    yield Derived(
        ("reconstruction", "max_gap_mm"),
        _rounded(max(2 * stack.lengths, 3.3 * stack.section_mm)),
        "at least two missing sections in a row",
    )
    yield Derived(("reconstruction", "defect_radius_mm"), radius_mm, "at least a voxel")
    yield Derived(
        ("reconstruction", "defect_min_mm3"),
        _rounded(2 * (radius_mm / 0.6) ** 3),
        "as many voxels as in config.yaml, by the radius",
    )
    yield Derived(
        ("reconstruction", "label_gap_mm"),
        _rounded(max(3 * stack.lengths, stack.section_mm)),
        "at least the section spacing",
    )
    yield Derived(("midsurface", "edge_mm"), voxel_mm, "one voxel")
    yield Derived(
        ("midsurface", "poisson_depth"),
        min(max(depth, 6), 9),
        f"{stack.length_mm:.0f} mm in voxels, as a power of two",
    )
    yield Derived(
        ("coordinates", "registration_mm"),
        _rounded(max(stack.lengths, 1.4 * voxel_mm)),
        "at least a voxel",
    )


def _of_anatomy(stack: Stack, defaults: dict[str, Any]) -> Iterator[Derived]:
    """Lengths and areas of tissue in a small brain."""
    width = f"a brain {stack.width_mm:.0f} mm wide; {_HUMAN_MM:.0f} in a human"
    for names, factor in (
        (_LENGTHS, stack.lengths),
        (_EXTENTS, stack.extents),
    ):
        for path in names:
            yield Derived(path, _rounded(_at(defaults, path) * factor), width)
    # only its cortex has white matter below it, and nuclei lie deeper than any cortex
    for name in ("max_deep", "min_expected"):
        yield Derived(("segmentation", name), 1, width)


def _at(config: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        config = config[key]
    return config


def _rounded(value: float) -> float:
    """Two digits are all that these rules are good for; exact values of the scans keep theirs."""
    return float(f"{value:.3g}")
