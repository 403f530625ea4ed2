"""The length and the spacing of a stack of sections, against a brain and the config."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from cytopipe.formats import units
from cytopipe.study.findings import ERROR, WARNING, Finding, some
from cytopipe.study.scans import step_of
from cytopipe.study.sections import Section

# No brain is longer. The largest is a sperm whale's of 8 kg: a ball of that volume is 25 cm wide
LONGEST_MM = 400.0
# Whole human brains in any of the three planes: BigBrain has 7404 coronal sections of 20 um, 148 mm
# (Amunts et al., Science 340, 2013); a cerebrum is 9 to 19 cm long along its three axes, and
# embedding shrinks it to 0.8
HUMAN_MM = (70.0, 200.0)
# A whole brain's length over that of a template of its species. Persons differ by 0.85 to 1.15, and
# embedding shrinks to 0.7 to 1; chosen a little wider
OF_TEMPLATE = (0.5, 1.3)
# A stack of fewer voxels has no room for the cortex of both banks and white matter between. Chosen;
# demo, head and the mouse of demo-real have 120, 327 and 78
LEAST_VOXELS = 10
# The length over the longer side of its scans, slide included. Whole brains of humans and mice have
# 0.3 to 2 in the three planes; a part of a brain less. Chosen
FLAT, THIN, LONG = 1 / 20, 1 / 4, 5.0
# Sections per voxel or voxels per section; 1 in the paper, 2 where sections are far apart. Chosen
MOST_APART = 5.0
# Sections of a chunk, one job; 16 to 32 in the presets. Chosen
FEWEST_IN_CHUNK, MOST_IN_CHUNK = 4.0, 500.0

_PLACE = "a section lies at number x thickness: correct thickness_um or the numbers in"
_SHEET = "config/sections.tsv"


@dataclass(frozen=True)
class BrainStack:
    """The sections of one brain that are used.

    Attributes
    ----------
    numbers : section numbers in their order, at least one.
    """

    brain: str
    numbers: tuple[int, ...]
    thickness_um: float

    @property
    def step(self) -> int:
        """The most frequent difference of the numbers; 0 for one section."""
        return step_of(list(self.numbers))

    @property
    def spacing_mm(self) -> float:
        """The usual distance of two sections."""
        return self.step * self.thickness_um / 1000

    @property
    def length_mm(self) -> float:
        """From the first section to the last one, each as thick as the usual distance."""
        extent = self.numbers[-1] - self.numbers[0]
        return extent * self.thickness_um / 1000 + self.spacing_mm

    def __str__(self) -> str:
        return (
            f"sections {self.numbers[0]} to {self.numbers[-1]} of {self.thickness_um:g} um are "
            f"{self.length_mm:.4g} mm long"
        )


def stacks_of(sections: Sequence[Section]) -> list[BrainStack]:
    """The stacks of all brains, without excluded sections; none for a brain that has no others."""
    brains: dict[str, list[Section]] = {}
    for section in sections:
        if not section.excluded:
            brains.setdefault(section.brain, []).append(section)
    return [
        BrainStack(brain, tuple(sorted(s.section for s in rows)), rows[0].thickness_um)
        for brain, rows in brains.items()
    ]


def check_thickness(stack: BrainStack) -> list[Finding]:
    """An error if no section is as thick."""
    impossible = units.implausible_thickness(stack.thickness_um)
    if not impossible:
        return []
    remedy = f"correct thickness_um in {_SHEET}"
    return [Finding(ERROR, "thickness", impossible, remedy, stack.brain)]


def check_longest(stack: BrainStack) -> list[Finding]:
    """An error if no brain is as long."""
    if stack.length_mm <= LONGEST_MM:
        return []
    return [_length(ERROR, stack, f"{stack}; no brain is longer than {LONGEST_MM:g} mm")]


def check_shape(
    stack: BrainStack, voxel_mm: float | None, scan_mm: float | None = None
) -> list[Finding]:
    """At most one finding: the stack is too short for a brain, or strange beside its scans.

    Parameters
    ----------
    voxel_mm : reconstruction.voxel_mm; None before the config is written.
    scan_mm : longer side of the brain's scans (their median); None if they were not opened.
    """
    length_mm = stack.length_mm
    if len(stack.numbers) == 1:
        return [_length(ERROR, stack, f"section {stack.numbers[0]} is the only one that is used")]
    if scan_mm is not None and length_mm > LONG * scan_mm:
        text = f"{stack}, {length_mm / scan_mm:.0f} times as long as a scan is wide"
        return [_length(ERROR, stack, text)]
    if scan_mm is not None and length_mm < FLAT * scan_mm:
        text = f"{stack}; its scans are {scan_mm / length_mm:.0f} times as wide, as no brain is"
        return [_length(ERROR, stack, text)]
    if voxel_mm is not None and length_mm < LEAST_VOXELS * voxel_mm:
        text = (
            f"{stack}, {length_mm / voxel_mm:.2g} voxels of reconstruction.voxel_mm {voxel_mm:g}; "
            f"a brain needs at least {LEAST_VOXELS}"
        )
        return [_length(ERROR, stack, text)]
    if scan_mm is not None and length_mm < THIN * scan_mm:
        text = f"{stack}; its scans are {scan_mm / length_mm:.0f} times as wide: a part of a brain?"
        return [_length(WARNING, stack, text)]
    return []


def _length(level: str, stack: BrainStack, text: str) -> Finding:
    slides = (
        "; numbers without gaps may be those of slides: if every 15th section is on a slide, they "
        "are 15, 30, 45"
        if stack.step == 1
        else ""
    )
    return Finding(level, "length", text, f"{_PLACE} {_SHEET}{slides}", stack.brain)


def compare_with_template(stack: BrainStack, template_mm: float) -> list[Finding]:
    """A warning if the stack is longer or shorter than persons differ and sections shrink.

    Parameters
    ----------
    template_mm : extent of the template's tissue from back to front, as section numbers rise.
    """
    least, most = (share * template_mm for share in OF_TEMPLATE)
    return _compare(stack, least, most, f"the template's brain is {template_mm:.4g} mm long")


def compare_with_humans(stack: BrainStack) -> list[Finding]:
    """A warning if no whole human brain is as long, for a study without a template."""
    least, most = HUMAN_MM
    return _compare(stack, least, most, f"human brains are {least:g} to {most:g} mm long")


def _compare(stack: BrainStack, least: float, most: float, other: str) -> list[Finding]:
    if least <= stack.length_mm <= most:
        return []
    remedy = (
        f"{_PLACE} {_SHEET}, or choose a template of the species; if it is only a part of a brain, "
        "go on"
    )
    return [Finding(WARNING, "length", f"{stack}; {other}", remedy, stack.brain)]


def check_gaps(stack: BrainStack, cuts: Collection[int], max_gap_mm: float) -> list[Finding]:
    """An error if sections are farther apart than the reconstruction bridges.

    Parameters
    ----------
    cuts : numbers of the sections before gaps that config/brains.tsv declares.
    """
    # as `reconstruction.refuse_gaps`, which also sees sections that cannot be used
    wide = [
        (before, after)
        for before, after in pairwise(stack.numbers)
        if (after - before) * stack.thickness_um / 1000 > max_gap_mm + 1e-6
        and not {before, after} & set(cuts)
    ]
    if not wide:
        return []
    limit = f"reconstruction.max_gap_mm is {max_gap_mm:g}"
    if stack.spacing_mm > max_gap_mm + 1e-6:
        text = (
            f"sections of {stack.thickness_um:g} um in steps of {stack.step} are "
            f"{stack.spacing_mm:.4g} mm apart; {limit}"
        )
        remedy = f"correct thickness_um or the numbers in {_SHEET}, or raise max_gap_mm"
        return [Finding(ERROR, "gap", text, remedy, stack.brain)]
    gaps = [
        f"{before} to {after} ({(after - before) * stack.thickness_um / 1000:.1f} mm)"
        for before, after in wide
    ]
    text = f"no section from {some(gaps)}: the brain is in {len(wide) + 1} pieces; {limit}"
    remedy = (
        "add the sections between, raise max_gap_mm, or, if the tissue is truly cut there, write "
        "the section before each gap into the column cuts of config/brains.tsv"
    )
    return [Finding(ERROR, "gap", text, remedy, stack.brain)]


def check_spacing(stack: BrainStack, config: Mapping[str, Any]) -> list[Finding]:
    """Warnings if voxels or chunks do not fit the distance of the sections."""
    findings = []
    voxel_mm, span = config["reconstruction"]["voxel_mm"], config["study"]["chunk_span"]
    spacing_mm = stack.spacing_mm
    text = f"sections are {spacing_mm:.4g} mm apart; reconstruction.voxel_mm is {voxel_mm:g}"
    if spacing_mm > MOST_APART * voxel_mm:
        remedy = f"set it to the distance of the sections or half of it, {spacing_mm / 2:.2g}"
        findings.append(Finding(WARNING, "spacing", text, remedy, stack.brain))
    elif 0 < spacing_mm < voxel_mm / MOST_APART:
        text += f", so that {voxel_mm / spacing_mm:.0f} sections lie in one voxel"
        remedy = "choose smaller voxels, or correct the numbers if they are those of slides"
        findings.append(Finding(WARNING, "spacing", text, remedy, stack.brain))
    in_chunk = span / stack.step if stack.step else FEWEST_IN_CHUNK
    if in_chunk < FEWEST_IN_CHUNK or min(in_chunk, len(stack.numbers)) > MOST_IN_CHUNK:
        text = (
            f"a chunk holds {in_chunk:.2g} sections, in steps of {stack.step}; study.chunk_span is "
            f"{span}"
        )
        remedy = f"set it to {32 * stack.step}, for 32 sections per job"
        findings.append(Finding(WARNING, "chunks", text, remedy, stack.brain))
    return findings
