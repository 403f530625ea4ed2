"""Scans of a study: a window of each level decoded, sizes, numbers."""

from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cytopipe.commands.check.findings import ERROR, NOTE, OK, WARNING, Finding, of_error
from cytopipe.files import InputError
from cytopipe.formats import units
from cytopipe.formats.images import Examination, examine
from cytopipe.study import scans
from cytopipe.study.sections import Section, needs_pyramid

_AT_ONCE = 4  # files looked at together: storage answers late more often than it is slow


@dataclass(frozen=True)
class Looked:
    """A section and what was found of its scan; None if it cannot be read."""

    section: Section
    found: Examination | None


def look(study: Path, sections: list[Section]) -> tuple[list[Looked], list[Finding]]:
    """Examine every scan."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        results = list(pool.map(lambda section: _examined(study, section), sections))
    return [looked for looked, _ in results], [it for _, found in results for it in found]


def _examined(study: Path, section: Section) -> tuple[Looked, list[Finding]]:
    path = study / section.image
    if not path.exists():
        remedy = (
            f"correct `image` of section {section.section} of brain {section.brain} in "
            "config/sections.tsv, or remove the row"
        )
        return Looked(section, None), [
            Finding(ERROR, "scan", f"{path}: not found", remedy, section.brain, section.section)
        ]
    try:
        found = examine(path)
    except InputError as error:
        seen = of_error(error, "scan", section.brain, section.section)
        remedy = (seen.remedy or "scan or copy it again") + ", or write yes under `excluded`"
        return Looked(section, None), [replace(seen, remedy=remedy)]
    full = found.levels[0]
    size_mb = found.size_bytes / 1e6
    coarsest_um = found.factors[-1] * section.spacing_um
    codecs = ", ".join(dict.fromkeys(level.codec for level in found.levels))
    told = (
        f"{found.format}, {full.width} x {full.height} px of {section.spacing_um:g} um, "
        f"{len(found.levels)} levels to {coarsest_um:g} um, {found.dtype}, "
        f"{'gray' if found.channels == 1 else 'RGB'}, {codecs}, {size_mb:.1f} MB"
    )
    findings = [Finding(OK, "scan", told, "", section.brain, section.section)]
    findings += _of_spacing(section, found)
    copied = needs_pyramid(section.image, section.levels, section.background)
    if found.needs_copy and not copied:
        findings.append(
            Finding(
                ERROR,
                "levels",
                f"{path}: {found.needs_copy}, and it is to be read in place",
                "write no under `levels` of its row in config/sections.tsv: a copy is made then",
                section.brain,
                section.section,
            )
        )
    return Looked(section, found), findings


def _of_spacing(section: Section, found: Examination) -> list[Finding]:
    told, level = [], ERROR
    full = found.levels[0]
    if found.spacing_um is not None and not units.agree(found.spacing_um, section.spacing_um):
        why = units.explain_mismatch(found.spacing_um, section.spacing_um)
        told.append(
            f"its {found.spacing_from} say {found.spacing_um:g} um a pixel, sections.tsv "
            f"{section.spacing_um:g}" + (f": {why}" if why else "")
        )
        if found.spacing_from == "resolution tags":  # which no reader relies on
            level = WARNING if why else NOTE
    impossible = units.implausible_size(full.width, full.height, section.spacing_um)
    if impossible and level == ERROR and told:
        impossible = ""  # said already
    if impossible:
        told.append(impossible)
        level = ERROR
    if not found.pixels_square:
        told.append("its pixels are not square")
        level = ERROR
    remedy = "correct spacing_um in config/sections.tsv, or the file's metadata"
    path = section.image
    return [
        Finding(level, "spacing", f"{path}: {text}", remedy, section.brain, section.section)
        for text in told
    ]


def numbers(sections: list[Section]) -> list[Finding]:
    """Gaps, odd steps, images used twice, thickness, brain by brain."""
    findings = []
    of_brain: dict[str, list[Section]] = defaultdict(list)
    for section in sections:
        of_brain[section.brain].append(section)
    for brain, rows in of_brain.items():
        found = [row.section for row in rows]
        step, gaps = scans.step_of(found), scans.missing(found)
        text = f"{len(rows)} sections, {found[0]} to {found[-1]}, mostly in steps of {step}"
        findings.append(Finding(NOTE, "numbers", text, "", brain))
        if gaps:
            listed = ", ".join(map(str, gaps[:20])) + (" ..." if len(gaps) > 20 else "")
            findings.append(
                Finding(
                    NOTE, "numbers", f"{len(gaps)} missing: {listed}", "they are bridged", brain
                )
            )
        off = [n for n in found if step and (n - found[0]) % step]
        if off:
            listed = ", ".join(map(str, off[:20])) + (" ..." if len(off) > 20 else "")
            findings.append(
                Finding(
                    WARNING,
                    "numbers",
                    f"{len(off)} are off the step of {step}: {listed}",
                    "a section lies at number x thickness; correct numbers that are mistyped",
                    brain,
                )
            )
        if impossible := units.implausible_thickness(rows[0].thickness_um):
            remedy = "correct thickness_um in config/sections.tsv"
            findings.append(Finding(ERROR, "thickness", impossible, remedy, brain))
        images: dict[str, int] = {}
        for row in rows:
            other = images.setdefault(row.image, row.section)
            if other != row.section:
                findings.append(
                    Finding(
                        ERROR,
                        "numbers",
                        f"{row.image} is the image of sections {other} and {row.section}",
                        "correct `image` of one of the two rows in config/sections.tsv",
                        brain,
                        row.section,
                    )
                )
    return findings


def resolution(looked: list[Looked], config: Mapping[str, Any]) -> list[Finding]:
    """Whether the scans are as fine as the stages want them."""
    wanted = {
        "segmentation.spacing_um": config["segmentation"]["spacing_um"],
        "alignment.spacing_um": config["alignment"]["spacing_um"],
        "pretraining.common.spacing_um": config["pretraining"]["common"]["spacing_um"],
        "features.profiles.spacing_um": config["features"]["profiles"]["spacing_um"],
    }
    findings = []
    coarsest = max((it.section.spacing_um for it in looked), default=0.0)
    for key, spacing_um in wanted.items():
        if spacing_um < coarsest * 0.999:
            rows = [it.section for it in looked if it.section.spacing_um * 0.999 > spacing_um]
            findings.append(
                Finding(
                    ERROR,
                    "spacing",
                    f"config/config.yaml: {key} is {spacing_um:g} um, and {len(rows)} scans, the "
                    f"first section {rows[0].section} of brain {rows[0].brain}, have "
                    f"{rows[0].spacing_um:g}",
                    f"set {key} to {coarsest:g} or more",
                )
            )
    return findings
