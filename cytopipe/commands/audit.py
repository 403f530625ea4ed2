"""`python -m cytopipe audit`: sections out of order or face down, told from their images alone."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cytopipe import logs, threads
from cytopipe.alignment.audit import (
    ELSEWHERE,
    MIRRORED,
    NEITHER,
    SWAPPED,
    Finding,
    Params,
    audit,
)
from cytopipe.alignment.likeness import likeness
from cytopipe.alignment.views import View, make_view, oriented
from cytopipe.files import InputError, whole
from cytopipe.formats import config as study_config
from cytopipe.formats.corrections import corrected
from cytopipe.formats.images import open_pyramid, read_labels
from cytopipe.formats.sections import (
    Section,
    chunk_of,
    needs_pyramid,
    read_brains,
    read_sections,
)
from cytopipe.formats.tables import SEGMENTATION, read
from cytopipe.logs import progress
from cytopipe.numerics.geometry import resample_labels

COLUMNS = ("section", "finding", "confidence", "remedy")
# one section in ten face down, one in fifty misplaced: what moved an audit to be asked for
PARAMS = Params(
    hand_reach=4,
    order_reach=3,
    mirrored_share=0.1,
    misplaced_share=0.02,
    min_confidence=0.9,
)
# pixels along the root of the largest section's area, so that a mouse and a human look alike
_PIXELS = 138


@dataclass(frozen=True)
class Row:
    """A finding in words: the section, what it is, how sure, and what to write where."""

    section: int
    finding: str
    confidence: float
    remedy: str


def run(arguments: list[str]) -> int:
    """Say which sections of a brain are mirrored, swapped, or belong elsewhere, and how sure it is.

    Works on the segmentation's results, before or after the alignment, some 4 seconds a section;
    changes nothing. A person looks at what it names and decides.
    """
    parser = argparse.ArgumentParser("cytopipe audit", description=run.__doc__)
    parser.add_argument("--study", type=Path, default=Path(), help="study folder; here by default")
    parser.add_argument("--brain", required=True, help="of brains.tsv")
    parser.add_argument("--table", type=Path, help="also write the findings here, tab-separated")
    options = parser.parse_args(arguments)
    logs.to(None)
    rows = rows_of(options.study, options.brain)
    lines = ["\t".join(COLUMNS)]
    lines += [f"{r.section}\t{r.finding}\t{r.confidence:.3f}\t{r.remedy}" for r in rows]
    if options.table:
        with whole(options.table) as beside:
            beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if not rows:
        print(f"{options.brain}: nothing found")
        return 0
    width = max(len(row.finding) for row in rows)
    print(f"section  {'finding':{width}}  confidence  what to do, once you have looked at it")
    for row in rows:
        print(f"{row.section:7d}  {row.finding:{width}}  {row.confidence:10.3f}  {row.remedy}")
    return 0


def rows_of(study: Path, brain: str) -> list[Row]:
    """The audit of one brain; sections that are excluded, blank or unreadable take no part.

    Raises
    ------
    InputError
        For a brain that is not there or not segmented.
    """
    threads.use(1)
    config_path = study / "config" / "config.yaml"
    if not config_path.exists():
        raise InputError(f"{study} has no config/config.yaml; name a study with --study")
    config = study_config.read(config_path)
    study_config.check(config, study_config.SCHEMAS, str(config_path))
    known = list(read_brains(study / "config" / "brains.tsv"))
    if brain not in known:
        raise InputError(f"there is no brain {brain!r} in brains.tsv; use one of {known}")
    table = read_sections(study / "config" / "sections.tsv", brains=known)
    sections = corrected([s for s in table if s.brain == brain], study / "manual")
    views = views_of(study, sections, int(config["study"]["chunk_span"]))
    max_rotation_rad = float(np.radians(config["alignment"]["max_rotation_deg"]))
    compared: dict[tuple[int, int], tuple[float, float]] = {}

    def compare(one: int, other: int) -> tuple[float, float]:
        if (one, other) not in compared:
            plain, mirrored = (
                likeness(views[one], views[other], flipped, max_rotation_rad)
                for flipped in (False, True)
            )
            compared[one, other] = plain, mirrored
        return compared[one, other]

    numbers = range(len(views))
    for one in progress(numbers, len(views), f"comparing the sections of {brain}"):
        for other in numbers[one + 1 : one + 1 + PARAMS.hand_reach]:
            compare(one, other)
    usable = {view.section for view in views}
    ordered = [section for section in sections if section.section in usable]
    return [_row(finding, ordered) for finding in audit(len(views), compare, PARAMS)]


def views_of(study: Path, sections: list[Section], chunk_span: int) -> list[View]:
    """The usable sections at the audit's resolution, unmirrored where a person says so."""
    segmented: dict[int, tuple[dict[str, Any], Path]] = {}
    for chunk in sorted({chunk_of(s.section, chunk_span) for s in sections}):
        path = study / "results" / "segmentation" / sections[0].brain / f"{chunk}.parquet"
        if not path.exists():
            raise InputError(
                f"{path} is not there; run snakemake --until segmentation, then audit again"
            )
        for row in read(SEGMENTATION, path).to_dict("records"):
            fields = {str(name): value for name, value in row.items()}
            segmented[int(fields["section"])] = fields, path.with_suffix(".tif")
    for section in sections:
        if section.section not in segmented:
            raise InputError(
                f"section {section.section} of {section.brain} is not in its segmentation; run "
                "snakemake --until segmentation, then audit again"
            )
    usable = [s for s in sections if not s.excluded and segmented[s.section][0]["status"] == "ok"]
    rows = [segmented[s.section][0] for s in usable]
    largest_mm2 = max((float(row["tissue_mm2"]) for row in rows), default=0.0)
    finest_um = max((float(row["spacing_um"]) for row in rows), default=0.0)
    spacing_um = max(1000 * largest_mm2**0.5 / _PIXELS, finest_um)
    return [_view(study, s, *segmented[s.section], spacing_um) for s in usable]


def _view(
    study: Path, section: Section, row: dict[str, Any], labels_path: Path, spacing_um: float
) -> View:
    made = needs_pyramid(section.image, section.levels, section.background)
    pyramid_path = f"results/pyramids/{section.brain}/{section.section:05d}.ome.tif"
    with open_pyramid(
        study / (pyramid_path if made else section.image), section.spacing_um
    ) as pyramid:
        pixels = pyramid.to_8_bit(pyramid.read_at(spacing_um))
    labels = read_labels(labels_path, int(row["page"]))
    full_um = float(row["full_spacing_um"])
    labels = resample_labels(labels, float(row["spacing_um"]), pixels.shape, spacing_um, full_um)
    flipped = bool(section.mirrored)
    return make_view(
        section.section,
        oriented(pixels, flipped),
        oriented(labels, flipped),
        spacing_um,
        spacing_um,
        full_um,
        float(row["width_um"]),
        float(row["height_um"]),
    )


def _row(finding: Finding, sections: list[Section]) -> Row:
    section = sections[finding.index]
    others = [str(sections[i].section) if i >= 0 else "" for i in finding.others]
    manual = f"manual/{section.brain}/sections.tsv: {section.section}"
    if finding.kind == MIRRORED:
        words = {None: "mirrored", True: "not mirrored, against what is written"}
        found = words.get(section.mirrored, "mirrored, against what is written")
        return _said(
            section, found, finding, f"{manual}, mirrored {'no' if section.mirrored else 'yes'}"
        )
    if finding.kind == SWAPPED:
        found = f"swapped with {others[0]}"
        remedy = f"config/sections.tsv: exchange the images of {section.section} and {others[0]}"
    elif finding.kind == ELSEWHERE:
        before, after = others
        found = f"belongs between {before} and {after}" if before and after else ""
        found = found or (f"belongs before {after}" if after else f"belongs after {before}")
        remedy = f"config/sections.tsv: correct its number, or {manual}, excluded yes"
    else:
        assert finding.kind == NEITHER
        found = f"matches neither {others[0]} nor {others[1]}"
        remedy = f"if it is foreign or too damaged, {manual}, excluded yes"
    return _said(section, found, finding, remedy)


def _said(section: Section, found: str, finding: Finding, remedy: str) -> Row:
    return Row(section.section, found, finding.confidence, remedy)
