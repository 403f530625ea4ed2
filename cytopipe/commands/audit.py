"""`python -m cytopipe audit`: find sections out of order or face down from their images alone."""

from pathlib import Path

import numpy as np

from cytopipe import open_study, threads
from cytopipe.alignment.audit import from_files
from cytopipe.commands.study_parser import config_of, study_parser
from cytopipe.files import InputError, atomic_write
from cytopipe.formats.tables import AuditRow
from cytopipe.study import config as study_config
from cytopipe.study.sections import needs_pyramid

COLUMNS = ("section", "finding", "confidence", "remedy")


def run(arguments: list[str]) -> int:
    """List sections of a brain that seem mirrored, swapped or misplaced, with a confidence.

    Reads the results of the segmentation, takes about 4 seconds per section, and changes nothing. A
    person examines the sections and decides.
    """
    parser = study_parser("audit", run)
    parser.add_argument("--brain", required=True, help="a brain of brains.tsv")
    parser.add_argument("--table", type=Path, help="also write the findings here, tab-separated")
    options = parser.parse_args(arguments)
    rows = rows_of(options.study, options.brain)
    lines = ["\t".join(COLUMNS)]
    lines += [f"{r.section}\t{r.finding}\t{r.confidence:.3f}\t{r.remedy}" for r in rows]
    if options.table:
        with atomic_write(options.table) as beside:
            beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if not rows:
        print(f"{options.brain}: nothing found")
        return 0
    width = max(len(row.finding) for row in rows)
    print(f"section  {'finding':{width}}  confidence  what to do, once you have looked at it")
    for row in rows:
        print(f"{row.section:7d}  {row.finding:{width}}  {row.confidence:10.3f}  {row.remedy}")
    return 0


def rows_of(study: Path, brain: str) -> list[AuditRow]:
    """The audit of one brain of a study.

    Raises
    ------
    InputError
        If the brain does not exist or is not segmented.
    """
    threads.use(1)
    config_path = config_of(study)
    config = study_config.check(study_config.read(config_path), str(config_path))
    results = open_study(study).brain(brain)
    segmented = {row.section: (row, path) for row, path in results.segmentation}
    images = []
    for section in results.sections:
        if section.section not in segmented:
            raise InputError(
                f"section {section.section} of {section.brain} is not in its segmentation; run "
                "snakemake --until segmentation, then audit again"
            )
        made = needs_pyramid(section.image, section.levels, section.background)
        pyramid = f"results/pyramids/{brain}/{section.section:05d}.ome.tif"
        images.append(study / (pyramid if made else section.image))
    max_rotation_rad = float(np.radians(config.alignment.max_rotation_deg))
    audited = from_files.audit_sections(
        list(results.sections), images, segmented, max_rotation_rad, config.audit
    )
    return [row for row, _ in audited]
