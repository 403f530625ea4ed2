"""A brain that is to be added: its stack beside its scans, the config and the other brains."""

from collections.abc import Sequence
from pathlib import Path

from cytopipe.commands.check.scans import Scanned, longer_sides_mm
from cytopipe.commands.check.template import check_template, length_mm
from cytopipe.files import InputError
from cytopipe.formats.images import Examination
from cytopipe.study import config as study_config
from cytopipe.study.consistency import impossible, stacks
from cytopipe.study.consistency.scans import check_same_scans
from cytopipe.study.findings import ERROR, WARNING
from cytopipe.study.sections import Section, read_sections

Notes = list[tuple[str, str]]


def compared(
    study: Path, sections: Sequence[Section], examinations: Sequence[Examination | None]
) -> Notes:
    """The length of the stack, and what is strange about it.

    Parameters
    ----------
    sections : of one brain, with absolute paths.
    examinations : of their scans; None for those that cannot be read.

    Raises
    ------
    InputError
        If no brain is as long, or if scans are those of another brain of the study.
    """
    sheet, path = study / "config" / "sections.tsv", study / "config" / "config.yaml"
    known = read_sections(sheet) if sheet.exists() else []
    same = check_same_scans(study, [*known, *sections])
    refused = [finding for finding in same if finding.level == ERROR]
    strange = [finding for finding in same if finding.level == WARNING]
    scanned = [Scanned(*pair) for pair in zip(sections, examinations, strict=True)]
    notes = []
    for stack in stacks.stacks_of(sections):
        notes.append(("length", f"{stack.length_mm:.4g} mm"))
        refused += impossible(stack)
        shape = stacks.check_shape(stack, None, longer_sides_mm(scanned).get(stack.brain))
        if not path.exists():
            strange += shape or stacks.compare_with_humans(stack)
            continue
        config = study_config.read(path)
        study_config.check(config, str(path))
        _, tissue = check_template(study, config)
        if not shape and tissue is not None:
            shape = stacks.compare_with_template(stack, length_mm(tissue))
        strange += [*shape, *stacks.check_spacing(stack, config)]
        strange += stacks.check_gaps(stack, (), config["reconstruction"]["max_gap_mm"])
    if refused:
        raise InputError("\n".join(map(str, refused)))
    return notes + [("warning", f"{f.finding}\n              {f.remedy}") for f in strange]
