# What the rules share: the study's sections and chunks as dictionaries, and the input functions.
# Everything here runs for every job of the DAG: look-ups only, no file is opened per section.

import re
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

import cytopipe
from cytopipe.cluster import slurm
from cytopipe.files import InputError
from cytopipe.study import config as study_config
from cytopipe.study import transform_table
from cytopipe.study.corrections import corrected
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
        study_config.read(Path(path))  # Snakemake takes a key that stands twice
    study_config.check(config)
    ROLES = read_brains(Path("config/brains.tsv"))
    SECTIONS = read_sections(Path("config/sections.tsv"), brains=list(ROLES))
    check_brains(SECTIONS, ROLES)
    DECIDED = corrected(SECTIONS, Path("manual"))
    # manual/{brain}/transforms.tsv and what it names
    GIVEN = {
        brain: [table, *transform_table.files_of(table)]
        for brain in ROLES
        if (table := Path("manual", brain, transform_table.NAME)).is_file()
    }
except InputError as error:
    raise WorkflowError(
        f"{error}\n(study folder: {Path.cwd()}; another one: snakemake --directory STUDY, e.g. demo after `make demo`)"
    ) from None

BRAINS = list(ROLES)
HEMISPHERES = ["L", "R"]
RUNS = list(config["pretraining"]["runs"])

OF_BRAIN = {brain: [] for brain in BRAINS}
OF_CHUNK = {}  # (brain, chunk) -> sections, both in order
for section in SECTIONS:
    OF_BRAIN[section.brain].append(section)
    chunk = chunk_of(section.section, config["study"]["chunk_span"])
    OF_CHUNK.setdefault((section.brain, chunk), []).append(section)
CHUNKS = {brain: [c for b, c in OF_CHUNK if b == brain] for brain in BRAINS}
# what a person decides about sections concerns their places: scans are segmented all the same,
# and a row of one chunk does not touch the others
ROWS = {(s.brain, s.section): s.row() for s in DECIDED}
# the audit looks at hand and order; where a section lies is nothing to it
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
    """Stop while Slurm still has jobs of this study from an earlier start."""
    try:
        slurm.refuse_second_start(Path.cwd(), must_know=not workflow.local_exec)
    except InputError as error:
        raise WorkflowError(str(error)) from None


def correct_slurm_plugin():
    """Where the profile names squeue, Snakemake stays with it."""
    if getattr(workflow.executor_settings, "status_command", None) == "squeue":
        sys.path.append(str(Path(workflow.basedir) / "workflow"))
        from slurm_plugin import stay_with_squeue

        stay_with_squeue()


@cache
def version(stage):
    """VERSION of a stage, read as text: importing the stage would cost seconds."""
    source = SOURCE / f"{stage}.py"
    if not source.exists():
        source = SOURCE / stage / "__init__.py"
    found = re.search(
        r"^VERSION\s*(?::\s*\w+\s*)?=\s*(\d+)", source.read_text(), re.MULTILINE
    )
    if found is None:
        raise WorkflowError(f"{source}: no line `VERSION = <number>`; add one")
    return int(found[1])


def chunks_before(w):
    """The chunk of `w` and, if there is one, the chunk before it."""
    chunks = CHUNKS[w.brain]
    place = chunks.index(w.chunk)
    return chunks[max(0, place - 1) : place + 1]


def rows_of(sections, rows=ROWS):
    return [rows[s.brain, s.section] for s in sections]


@cache
def image_of(section):
    """The scan itself, or the pyramid that is to be made of it."""
    if needs_pyramid(section.image, section.levels, section.background):
        return f"results/pyramids/{section.brain}/{section.section:05d}.ome.tif"
    return section.image


def scan_of_section(w):
    """The scan as sections.tsv names it."""
    return SCANS[w.brain, int(w.section)]["image"]


def row_of_section(w):
    return {**SCANS[w.brain, int(w.section)], "excluded": False}


def memory_of_scan(w, input, attempt):
    """MB, more at each attempt: a band of a scan, but all of a PNG or JPEG; JPEG unpacks the most."""
    name = str(input.image).lower()
    if not name.endswith((".png", ".jpg", ".jpeg")):
        return attempt * 2500
    return attempt * (1500 + int((8 if name.endswith(".png") else 40) * input.size_mb))


def images_of_chunk(w):
    return [image_of(s) for s in OF_CHUNK[w.brain, w.chunk]]


def images_of_brain(w):
    return [image_of(s) for s in OF_BRAIN[w.brain]]


def audit_of_brain(w):
    """What the audit proposes, where study.audit asks for one."""
    wanted = config["study"]["audit"]
    return f"results/alignment/{w.brain}/audit-sections.tsv" if wanted else []


def scans_of_chunk(w):
    return rows_of(OF_CHUNK[w.brain, w.chunk], SCANS)


def images_of_chunk_and_before(w):
    return [image_of(s) for c in chunks_before(w) for s in OF_CHUNK[w.brain, c]]


def rows_of_chunk_and_before(w):
    """Of the chunk before, what was decided about its last sections: pairs reach no further."""
    *before, here = (OF_CHUNK[w.brain, c] for c in chunks_before(w))
    # twice as far and some more, since blank sections are stepped over
    reached = 2 * config["alignment"]["neighbours"] + 4
    rows = [row for chunk in before for row in rows_of(chunk[:-reached], SCANS)]
    return (
        rows
        + [row for chunk in before for row in rows_of(chunk[-reached:])]
        + rows_of(here)
    )


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
    """Input function: `pattern` for the chunk before, if any, and for the chunk itself."""

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
    """Input function: what a person laid down at `pattern`, or nothing."""

    def of_brain(w):
        path = pattern.format(brain=w.brain)
        return [path] if path in present(f"manual/{w.brain}") else []

    return of_brain


def given_transforms(w):
    """manual/{brain}/transforms.tsv and the files that it names, or nothing."""
    return [str(path) for path in GIVEN.get(w.brain, [])]


def anchoring_target(w):
    """The volume whose voxels anchorings count, where the brain has a table of transforms."""
    return (config["coordinates"]["anchoring_target"] or []) if w.brain in GIVEN else []


def manual_exclusion(w):
    """The mask of what is no cortex, in either form."""
    paths = [f"manual/{w.brain}/exclusion{end}" for end in (".nii.gz", ".seg.nrrd")]
    return [path for path in paths if path in present(f"manual/{w.brain}")]


def manual_surfaces(w):
    """Ready-made surfaces of a brain."""
    paths = [
        f"manual/{w.brain}/hemi-{h}_{kind}{ending}"
        for h in "LR"
        for kind in ("mid", "pial", "white")
        for ending in (".surf.gii", ".obj")
    ]
    return [path for path in paths if path in present(f"manual/{w.brain}")]


def proposed_exclusion(w):
    """The template's mask on the brain, where there is one and a person has not drawn any."""
    if config["template"]["exclusion"] is None or manual_exclusion(w):
        return []
    return f"results/coordinates/{w.brain}/proposed-exclusion.nii.gz"


def earlier_numbers_of_brain(w):
    """What an earlier report said of the brain, where report.compare_with names its folder."""
    folder = config["report"]["compare_with"]
    if folder and not Path(folder).is_dir():
        raise WorkflowError(
            f'config/config.yaml: report.compare_with names {folder}, which is no folder; copy results/report/*.tsv of an earlier run there, or set ""'
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


@cache
def dataset_settings(dataset):
    """A data set of the config; {dataset}-transfer-{brain} is one with that brain for transfer."""
    datasets = config["patches"]["datasets"]
    if dataset in datasets:
        return datasets[dataset]
    base, _, brain = dataset.rpartition("-transfer-")
    if base in datasets and ROLES.get(brain, "unseen") != "unseen":
        return {**datasets[base], "transfer": brain}
    raise WorkflowError(
        f"config/config.yaml: there is no data set {dataset!r}; patches.datasets has {', '.join(datasets)}"
    )


def settings_of_dataset(w):
    return dataset_settings(w.dataset)


def annotations_under(folder):
    """Files that a lab laid down under a folder of its annotations, if it has any."""
    base = config["study"]["annotations"]
    return sorted(present(f"{base}/{folder}")) if base else []


def contours_of_dataset(w):
    """Annotated areas of the sections of the data set's brains, if it is drawn from them."""
    if dataset_settings(w.dataset)["source"] != "annotations":
        return []
    return [
        path
        for brain in brains_of_dataset(w)
        for path in annotations_under(f"areas/{brain}")
        if path.endswith((".geojson", ".tif"))
    ]


def area_names_of_dataset(w):
    """The table of the labels in annotated label images, where there is one."""
    if dataset_settings(w.dataset)["source"] != "annotations":
        return []
    return [path for path in annotations_under("areas") if path.endswith("areas.tsv")]


def warp_of_dataset(w):
    return dataset_settings(w.dataset)["warp"] or []


def geodesic_of_run(w):
    wanted = settings_of_run(w)["distance"] == "geodesic"
    return "results/patches/geodesic.npz" if wanted else []


def tissue_of(w):
    """What is known of the tissue: of a brain its reconstruction, or the template."""
    if w.brain == "template":
        return config["template"]["tissue"]
    return f"results/reconstruction/{w.brain}/tissue.nii.gz"


def brains_of_dataset(w):
    """Brains of the data set's roles; where it is drawn from annotations, those that have any."""
    settings = dataset_settings(w.dataset)
    brains = [b for b in BRAINS if ROLES[b] in settings["roles"]]
    if settings["purpose"] == "areas" and settings["source"] == "annotations":
        return [b for b in brains if annotations_under(f"areas/{b}")] or brains
    return brains


def points_of_dataset(w):
    return [
        f"results/coordinates/{brain}/points.parquet" for brain in brains_of_dataset(w)
    ]


def roles_of_dataset(w):
    """Brain to role; for pretraining all count alike, so that seen or transfer retrains nothing."""
    settings = dataset_settings(w.dataset)
    roles = {brain: ROLES[brain] for brain in brains_of_dataset(w)}
    if settings["purpose"] == "pretraining":
        return dict.fromkeys(roles, settings["roles"][0])
    return roles


def readable_rows(brains):
    """Rows of the sections of brains, each with the image that windows are read from."""
    return [
        {**SCANS[s.brain, s.section], "image": image_of(s)}
        for brain in brains
        for s in OF_BRAIN[brain]
    ]


def readable_rows_of_dataset(w):
    return readable_rows(brains_of_dataset(w))


def readable_rows_of_brain(w):
    return readable_rows([w.brain])


def settings_of_run(w):
    """What one run of config["pretraining"]["runs"] changes, over what all share."""
    return study_config.merge(
        config["pretraining"]["common"], config["pretraining"]["runs"][w.run]
    )


def setting_of_run(name):
    """Param function: one value of the settings of a run."""

    def of_run(w):
        return settings_of_run(w)[name]

    return of_run


def roles_of_run(w):
    """Of the brains of a run's data set: a card of a network names no brain that came later."""
    wanted = dataset_settings(settings_of_run(w)["dataset"])["roles"]
    return {brain: role for brain, role in ROLES.items() if role in wanted}


def patches_of_run(w):
    return f"results/patches/{settings_of_run(w)['dataset']}.parquet"


def chunks_of_brains(pattern):
    """`pattern` for every chunk of every brain, in order."""
    return [pattern.format(brain=b, chunk=c) for b in BRAINS for c in CHUNKS[b]]
