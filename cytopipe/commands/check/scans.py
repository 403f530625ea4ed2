"""Check the scans of a study: readability, sizes and section numbers."""

from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from cytopipe.files import InputError
from cytopipe.formats import units
from cytopipe.formats.images import Examination, examine
from cytopipe.study import scans
from cytopipe.study.findings import (
    ABOUT_A_FILE,
    ERROR,
    NOTE,
    OK,
    WARNING,
    Finding,
    of_error,
    some,
)
from cytopipe.study.sections import Section, needs_pyramid

_AT_ONCE = 4  # files examined in parallel, against the latency of storage. Chosen, not measured

# share of black pixels that is worth a look: ink and folds are dark but hardly ever 0. Chosen
_BLACK = 0.01


@dataclass(frozen=True)
class Scanned:
    """A section and the examination of its scan; None if it cannot be read."""

    section: Section
    examination: Examination | None


def examine_scans(study: Path, sections: list[Section]) -> tuple[list[Scanned], list[Finding]]:
    """Examine every scan."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        results = list(pool.map(lambda section: _examined(study, section), sections))
    return [scanned for scanned, _ in results], [f for _, findings in results for f in findings]


def _examined(study: Path, section: Section) -> tuple[Scanned, list[Finding]]:
    path = study / section.image
    if not path.exists():
        remedy = (
            f"correct `image` of section {section.section} of brain {section.brain} in "
            "config/sections.tsv, or remove the row"
        )
        return Scanned(section, None), [
            Finding(ERROR, "scan", f"{path}: not found", remedy, section.brain, section.section)
        ]
    try:
        scan = examine(path)
    except ABOUT_A_FILE as error:
        finding = of_error(error, "scan", section.brain, section.section)
        if not isinstance(error, InputError):
            finding = replace(finding, finding=f"{path}: {finding.finding}")
        remedy = (finding.remedy or "scan or copy it again") + ", or write yes under `excluded`"
        return Scanned(section, None), [replace(finding, remedy=remedy)]
    full = scan.levels[0]
    coarsest_um = scan.factors[-1] * section.spacing_um
    codecs = ", ".join(dict.fromkeys(level.codec for level in scan.levels))
    text = (
        f"{scan.format}, {full.width} x {full.height} px of {section.spacing_um:g} um, "
        f"{len(scan.levels)} levels to {coarsest_um:g} um, {scan.dtype}, "
        f"{'gray' if scan.channels == 1 else 'RGB'}, {codecs}, {scan.size_bytes / 1e6:.1f} MB"
    )
    if scan.left_out:
        text += f"; {scan.left_out} smaller images in the file are left out"
    findings = [Finding(OK, "scan", text, "", section.brain, section.section)]
    findings += _check_spacing(section, scan)
    if scan.black > _BLACK:
        text = f"{path}: {100 * scan.black:.0f} % of its pixels are exactly 0, on a bright slide"
        remedy = "if it is not a border that a program added, a part is lost; scan or copy it again"
        findings.append(Finding(WARNING, "scan", text, remedy, section.brain, section.section))
    copied = needs_pyramid(section.image, section.levels, section.background)
    if scan.needs_copy and not copied:
        text = f"{path}: {scan.needs_copy}, and it is to be read in place"
        remedy = "write no under `levels` of its row in config/sections.tsv, so that it is copied"
        findings.append(Finding(ERROR, "levels", text, remedy, section.brain, section.section))
    return Scanned(section, scan), findings


def _check_spacing(section: Section, scan: Examination) -> list[Finding]:
    texts, level = [], ERROR
    full = scan.levels[0]
    if scan.spacing_um is not None and not units.agree(scan.spacing_um, section.spacing_um):
        why = units.explain_mismatch(scan.spacing_um, section.spacing_um)
        texts.append(
            f"its {scan.spacing_from} say {scan.spacing_um:g} um per pixel, sections.tsv "
            f"{section.spacing_um:g}" + (f": {why}" if why else "")
        )
        if scan.spacing_from == "resolution tags":  # which no reader relies on
            level = WARNING if why else NOTE
    impossible = units.implausible_size(full.width, full.height, section.spacing_um)
    if impossible and not (texts and level == ERROR):  # else the mismatch explains it
        texts.append(impossible)
        level = ERROR
    if not scan.pixels_square:
        texts.append("its pixels are not square")
        level = ERROR
    remedy = "correct spacing_um in config/sections.tsv, or the file's metadata"
    path = section.image
    return [
        Finding(level, "spacing", f"{path}: {text}", remedy, section.brain, section.section)
        for text in texts
    ]


def check_numbers(sections: list[Section]) -> list[Finding]:
    """Describe the numbers of each brain: range, step, gaps, and numbers off the step."""
    findings = []
    of_brain: dict[str, list[Section]] = defaultdict(list)
    for section in sections:
        of_brain[section.brain].append(section)
    for brain, rows in of_brain.items():
        numbers = [row.section for row in rows]
        step, gaps = scans.step_of(numbers), scans.missing(numbers)
        text = f"{len(rows)} sections, {numbers[0]} to {numbers[-1]}, mostly in steps of {step}"
        findings.append(Finding(NOTE, "numbers", text, "", brain))
        if gaps:
            text = f"{len(gaps)} missing: {some(gaps)}"
            findings.append(Finding(NOTE, "numbers", text, "they are bridged", brain))
        off = [n for n in numbers if step and (n - numbers[0]) % step]
        if off:
            text = f"{len(off)} are off the step of {step}: {some(off)}"
            remedy = "a section lies at number x thickness; correct mistyped numbers"
            findings.append(Finding(WARNING, "numbers", text, remedy, brain))
    return findings


def longer_sides_mm(scanned: list[Scanned]) -> dict[str, float]:
    """The median of the longer sides of each brain's scans, slide included.

    Scans whose size is that of no section have an error of their own and are left out.
    """
    sides: dict[str, list[float]] = defaultdict(list)
    for scan in scanned:
        if scan.examination is not None:
            full = scan.examination.levels[0]
            spacing_um = scan.section.spacing_um
            if not units.implausible_size(full.width, full.height, spacing_um):
                longest_mm = max(full.height, full.width) * spacing_um / 1000
                sides[scan.section.brain].append(longest_mm)
    return {brain: median(values) for brain, values in sides.items()}


def check_resolution(scanned: list[Scanned], config: Mapping[str, Any]) -> list[Finding]:
    """Check that the scans are as fine as the stages need them."""
    wanted = {
        "segmentation.spacing_um": config["segmentation"]["spacing_um"],
        "alignment.spacing_um": config["alignment"]["spacing_um"],
    }
    if config["pretraining"]["runs"]:
        wanted |= {
            "pretraining.common.spacing_um": config["pretraining"]["common"]["spacing_um"],
            "features.profiles.spacing_um": config["features"]["profiles"]["spacing_um"],
        }
    findings = []
    sections = [scan.section for scan in scanned]
    coarsest = max((section.spacing_um for section in sections), default=0.0)
    for key, spacing_um in wanted.items():
        if spacing_um < coarsest * 0.999:
            rows = [section for section in sections if section.spacing_um * 0.999 > spacing_um]
            text = (
                f"config/config.yaml: {key} is {spacing_um:g} um, and {len(rows)} scans, the first "
                f"section {rows[0].section} of brain {rows[0].brain}, have {rows[0].spacing_um:g}"
            )
            remedy = f"set {key} to {coarsest:g} or more"
            findings.append(Finding(ERROR, "spacing", text, remedy))
    return findings
