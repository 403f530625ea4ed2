# What the rules share: the sections and chunks of the study as dictionaries, and the input functions.
# They run for every job of the DAG, so they only look things up and open no file per section.

import re
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

import cytopipe
from cytopipe.cluster import slurm
from cytopipe.files import InputError, shipped
from cytopipe.study import config as study_config
from cytopipe.study import consistency, transform_table
from cytopipe.study.consistency.scans import check_places
from cytopipe.study.corrections import corrected
from cytopipe.study.declarations import Declarations, read_declarations
from cytopipe.study.findings import ERROR, WARNING
from cytopipe.study.sections import (
    check_brains,
    chunk_of,
    needs_pyramid,
    read_brains,
    read_sections,
)

SOURCE = Path(cytopipe.__file__).parent

try:
    for path in workflow.configfiles:
        study_config.read(Path(path))  # refuses duplicate keys, which Snakemake accepts
    study_config.check(config)
    ROLES = read_brains(Path("config/brains.tsv"))
    SECTIONS = read_sections(Path("config/sections.tsv"), brains=list(ROLES))
    check_brains(SECTIONS, ROLES)
    DECLARED = read_declarations(Path("config/brains.tsv"))
    DECIDED = corrected(SECTIONS, Path("manual"))
    # manual/{brain}/transforms.tsv and the files that it names
    SUPPLIED_TRANSFORMS = {
        brain: [table, *transform_table.files_of(table)]
        for brain in ROLES
        if (table := Path("manual", brain, transform_table.NAME)).is_file()
    }
except InputError as error:
    raise WorkflowError(
        f"{error}\n(study folder: {Path.cwd()}; for another one: snakemake --directory STUDY, e.g. demo after `make demo`)"
    ) from None


def warn_of(findings):
    for finding in findings:
        logger.warning(f"{finding}")


def refuse_errors(findings):
    """Stop before any job, with all errors at once."""
    warn_of([finding for finding in findings if finding.level == WARNING])
    errors = [str(finding) for finding in findings if finding.level == ERROR]
    if errors:
        raise WorkflowError("\n".join([*errors, "(more: python -m cytopipe check)"]))


# not again in each job, whose study may have been edited since the run began
if workflow.is_main_process:
    refuse_errors(consistency.of_tables(Path(), config, DECIDED, ROLES))
    # Snakemake stops if a job needs a scan that is missing
    warn_of(check_places(Path(), DECIDED))


@cache
def refuse_unfinished():
    """Stop before any job if a later stage would fail; a run that ends before is only warned."""
    findings = consistency.of_later_stages(Path(), config, DECIDED, ROLES, DECLARED)
    if workflow.dag_settings.until:
        warn_of(findings)
    else:
        refuse_errors(findings)


BRAINS = list(ROLES)
HEMISPHERES = ["L", "R"]
RUNS = list(config["pretraining"]["runs"])
EXTERNAL = config["features"]["external"]  # name of an encoder to its folder

OF_BRAIN = {brain: [] for brain in BRAINS}
OF_CHUNK = {}  # (brain, chunk) to its sections, in order
for section in SECTIONS:
    OF_BRAIN[section.brain].append(section)
    chunk = chunk_of(section.section, config["study"]["chunk_span"])
    OF_CHUNK.setdefault((section.brain, chunk), []).append(section)
CHUNKS = {brain: [c for b, c in OF_CHUNK if b == brain] for brain in BRAINS}
# decisions concern the stack; scans are segmented without them (SCANS). Each section has its own row,
# so that a decision reruns only the jobs of its chunk
ROWS = {(s.brain, s.section): s.row() for s in DECIDED}
# the audit checks handedness and order; the place of a section does not matter to it
AUDITED = {(s.brain, s.section): replace(s, onto="").row() for s in DECIDED}
SCANS = {
    (s.brain, s.section): s.scan_row(excluded=s.excluded and decided.excluded)
    for s, decided in zip(SECTIONS, DECIDED)
}


wildcard_constraints:
    brain="|".join(BRAINS),
    chunk=r"\d+",
    section=r"\d+",
    dataset=r"[^/]+",
    run=r"[^/]+",
    task=r"[^/]+",
    template=r"[^/]+",
    hemisphere="[LR]",


def refuse_second_start():
    """Stop if Slurm still has jobs of this study from an earlier start."""
    try:
        slurm.refuse_second_start(Path.cwd(), must_know=not workflow.local_exec)
    except InputError as error:
        raise WorkflowError(str(error)) from None


def correct_slurm_plugin():
    """Make Snakemake use only squeue for the status of jobs, if the profile says so."""
    if getattr(workflow.executor_settings, "status_command", None) == "squeue":
        sys.path.append(str(shipped("workflow")))
        from slurm_plugin import stay_with_squeue

        stay_with_squeue()


@cache
def version(stage):
    """VERSION of a stage, read as text, because importing a stage takes seconds."""
    source = SOURCE / f"{stage}.py"
    if not source.exists():
        source = SOURCE / stage / "__init__.py"
    line = re.search(
        r"^VERSION\s*(?::\s*\w+\s*)?=\s*(\d+)", source.read_text(), re.MULTILINE
    )
    if line is None:
        raise WorkflowError(f"{source}: no line `VERSION = <number>`; add one")
    return int(line[1])


def is_excluded(section):
    return ROWS[section.brain, section.section]["excluded"]


def chunks_before(w):
    """The chunk before that of `w`, and earlier ones as far as pairs reach; and the chunk of `w`."""
    chunks = CHUNKS[w.brain]
    first = place = chunks.index(w.chunk)
    usable = 0
    while first > 0 and usable < config["alignment"]["neighbours"]:
        first -= 1
        usable += sum(not is_excluded(s) for s in OF_CHUNK[w.brain, chunks[first]])
    return chunks[first : place + 1]


def rows_of(sections, rows=ROWS):
    return [rows[s.brain, s.section] for s in sections]


@cache
def image_of(section):
    """The scan itself, or the pyramid that the workflow makes of it."""
    if needs_pyramid(section.image, section.levels, section.background):
        return f"results/pyramids/{section.brain}/{section.section:05d}.ome.tif"
    return section.image


def scan_of_section(w):
    """The scan as sections.tsv names it."""
    return SCANS[w.brain, int(w.section)]["image"]


def row_of_section(w):
    return {**SCANS[w.brain, int(w.section)], "excluded": False}


def memory_of_scan(w, input, attempt):
    """MB for a band of a scan, or for a whole PNG or JPEG; a JPEG expands most. More per attempt."""
    name = str(input.image).lower()
    if not name.endswith((".png", ".jpg", ".jpeg")):
        return attempt * 2500
    return attempt * (1500 + int((8 if name.endswith(".png") else 40) * input.size_mb))


def images_of_chunk(w):
    return [image_of(s) for s in OF_CHUNK[w.brain, w.chunk]]


def images_of_brain(w):
    return [image_of(s) for s in OF_BRAIN[w.brain]]


def audit_of_brain(w):
    """The proposals of the audit, if study.audit is set."""
    wanted = config["study"]["audit"]
    return f"results/alignment/{w.brain}/audit-sections.tsv" if wanted else []


def scans_of_chunk(w):
    return rows_of(OF_CHUNK[w.brain, w.chunk], SCANS)


def images_of_chunk_and_before(w):
    return [image_of(s) for c in chunks_before(w) for s in OF_CHUNK[w.brain, c]]


def rows_of_chunk_and_before(w):
    """The chunk's rows and those before; decisions only where pairs of this chunk can reach."""
    *earlier, here = (OF_CHUNK[w.brain, c] for c in chunks_before(w))
    before = [s for chunk in earlier for s in chunk]
    usable = [place for place, s in enumerate(before) if not is_excluded(s)]
    # with room for blank sections, which are skipped as excluded ones are
    reached = usable[-2 * config["alignment"]["neighbours"] - 4 :]
    first = reached[0] if reached else 0
    return rows_of(before[:first], SCANS) + rows_of(before[first:] + here)


def rows_of_brain(w):
    return rows_of(OF_BRAIN[w.brain])


def audited_rows_of_brain(w):
    return rows_of(OF_BRAIN[w.brain], AUDITED)


def chunks_of(pattern):
    """Input function: `pattern` for every chunk of the brain, in order."""

    def of_brain(w):
        return [pattern.format(brain=w.brain, chunk=chunk) for chunk in CHUNKS[w.brain]]

    return of_brain


def chunk_and_before(pattern):
    """Input function: `pattern` for the chunks before that pairs reach, and for the chunk itself."""

    def of_chunk(w):
        return [
            pattern.format(brain=w.brain, chunk=chunk) for chunk in chunks_before(w)
        ]

    return of_chunk


def hemispheres(pattern):
    """`pattern` for the left and the right hemisphere."""
    return [pattern.replace("{hemisphere}", side) for side in HEMISPHERES]


def brains_of(pattern):
    """`pattern` for every brain of the study."""
    return [pattern.format(brain=brain) for brain in BRAINS]


@cache
def present(folder):
    """Files under a folder of `manual/`, listed once."""
    return {str(path) for path in Path(folder).rglob("*") if path.is_file()}


def manual(pattern):
    """Input function: the file of a person at `pattern`, or nothing."""

    def of_brain(w):
        path = pattern.format(brain=w.brain)
        return [path] if path in present(f"manual/{w.brain}") else []

    return of_brain


def supplied_transforms(w):
    """manual/{brain}/transforms.tsv and the files that it names, or nothing."""
    return [str(path) for path in SUPPLIED_TRANSFORMS.get(w.brain, [])]


def anchoring_target(w):
    """The volume whose voxels are the units of anchorings, if the brain has a transforms.tsv."""
    return (
        (config["coordinates"]["anchoring_target"] or [])
        if w.brain in SUPPLIED_TRANSFORMS
        else []
    )


def exclusions_of(brain):
    """The mask of what is not cortex, in either format; two are an error of the reconstruction."""
    paths = [f"manual/{brain}/exclusion{end}" for end in (".nii.gz", ".seg.nrrd")]
    return [path for path in paths if path in present(f"manual/{brain}")]


def manual_exclusion(w):
    """The mask of a brain: a person's, or that of a phantom's ground truth."""
    drawn = exclusions_of(w.brain)
    if not drawn and config["study"]["missing_exclusion"] == "truth":
        return [f"results/reconstruction/{w.brain}/true-exclusion.nii.gz"]
    return drawn


def masked_brains(w):
    """The brains with a mask of what is not cortex."""
    return [brain for brain in BRAINS if exclusions_of(brain)]


def manual_exclusions(w):
    """The masks of these brains."""
    return [path for brain in BRAINS for path in exclusions_of(brain)]


def manual_surfaces(w):
    """Surfaces of a brain that a person supplied."""
    paths = [
        f"manual/{w.brain}/hemi-{h}_{kind}{ending}"
        for h in "LR"
        for kind in ("mid", "pial", "white")
        for ending in (".surf.gii", ".obj")
    ]
    return [path for path in paths if path in present(f"manual/{w.brain}")]


def proposed_exclusion(w):
    """The template's mask on the brain, if there is one and a person has not drawn any."""
    if config["template"]["exclusion"] is None or manual_exclusion(w):
        return []
    return f"results/coordinates/{w.brain}/proposed-exclusion.nii.gz"


def earlier_numbers_of_brain(w):
    """The numbers of an earlier report on the brain, if report.compare_with names its folder."""
    folder = config["report"]["compare_with"]
    if folder and not Path(folder).is_dir():
        raise WorkflowError(
            f'config/config.yaml: report.compare_with names {folder}, which is not a folder; copy results/report/*.tsv of an earlier run there, or set ""'
        )
    path = str(Path(folder) / f"{w.brain}.tsv")
    return path if folder and path in present(folder) else []


def manual_segmentations_of_chunk(w):
    """Corrected label images of the chunk's sections: manual/{brain}/segmentation/{section}.tif."""
    paths = [
        f"manual/{w.brain}/segmentation/{s.section:05d}.tif"
        for s in OF_CHUNK[w.brain, w.chunk]
    ]
    return [path for path in paths if path in present(f"manual/{w.brain}")]


def declared_hemispheres(w):
    """The hemispheres of the brain, or of the template, as brains.tsv declares them."""
    return DECLARED.get(w.brain, Declarations()).hemispheres


def declared_cuts(w):
    """Sections before gaps that brains.tsv declares."""
    return list(DECLARED[w.brain].cuts)


def tissue_of(w):
    """The tissue volume of a brain, or of the template."""
    if w.brain == "template":
        return config["template"]["tissue"]
    return f"results/reconstruction/{w.brain}/tissue.nii.gz"


@cache
def rows_with_images(brain):
    """Rows of the sections of a brain, each with the image from which patches are read."""
    return [
        {**SCANS[s.brain, s.section], "image": image_of(s)} for s in OF_BRAIN[brain]
    ]


def readable_rows(brains):
    """These rows of several brains; made once, as dozens of jobs have them among their params."""
    return [row for brain in brains for row in rows_with_images(brain)]


def readable_rows_of_brain(w):
    return readable_rows([w.brain])


def chunks_of_brains(pattern):
    """`pattern` for every chunk of every brain, in order."""
    return [pattern.format(brain=b, chunk=c) for b in BRAINS for c in CHUNKS[b]]
