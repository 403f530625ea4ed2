"""Format `bids`: a BIDS derivatives data set (BIDS 1.11, microscopy).

BIDS has no names yet for segmentations, surfaces, transforms and points of microscopy; they are
named as its derivatives of other modalities and the proposals 014 (transforms) and 011 (surfaces)
have them, and listed in `.bidsignore`, as BIDS asks of what its validator does not know.
"""

import re
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from cytopipe.export import Params, readme
from cytopipe.export.areas import Areas, areas_of
from cytopipe.export.csv import columns_of, write_json, write_table
from cytopipe.export.gifti import carry, named, to_template
from cytopipe.export.gifti_files import write_labels
from cytopipe.export.nifti import in_template, stack_volumes, write_area_table
from cytopipe.files import InputError, atomic_write
from cytopipe.formats import surfaces, volumes
from cytopipe.formats.atlas import HEMISPHERES
from cytopipe.formats.tables import PointRow, StackRow, frame_of
from cytopipe.study.results import BrainResults

BIDS_VERSION = "1.11.0"
_IGNORED = "# not yet in BIDS: derivatives of microscopy\nsub-*/micr/\n"
_SPACES = {
    "stack": "the rigidly aligned stack of sections of this brain, RAS mm",
    "template": "the template {name}, RAS mm",
}


def write(brains: Sequence[BrainResults], folder: Path, params: Params) -> None:
    """Write the data set.

    Raises
    ------
    InputError
        If two brains have the same letters and digits, of which alone BIDS makes labels.
    """
    subjects = {brain.name: label(brain.name) for brain in brains}
    if len(set(subjects.values())) < len(subjects):
        raise InputError(
            f"brains {', '.join(subjects)}: with letters and digits alone, as in BIDS, they are "
            f"{', '.join(subjects.values())}; export them one by one with --brain"
        )
    areas = areas_of(brains)
    for brain in brains:
        start = folder / f"sub-{subjects[brain.name]}" / "micr" / f"sub-{subjects[brain.name]}"
        start.parent.mkdir(parents=True)
        _write_volumes(brain, areas, params.reach_mm, start)
        for hemisphere in HEMISPHERES:
            _write_surfaces(brain, areas, params.reach_mm, hemisphere, start)
        _write_points(brain, start)
        _write_transform(brain, start)
    write_json(_description(), folder / "dataset_description.json")
    participants = pd.DataFrame(
        {
            "participant_id": [f"sub-{subject}" for subject in subjects.values()],
            "brain": list(subjects),
        }
    )
    write_table(participants, folder / "participants.tsv", "\t", na="n/a")
    meaning = {"brain": {"Description": "name of the brain in the study"}}
    write_json(meaning, folder / "participants.json")
    with atomic_write(folder / ".bidsignore") as beside:
        beside.write_text(_IGNORED)
    readme.write("bids", brains, folder)


def label(name: str) -> str:
    """The letters and digits of a name: all that a BIDS label may hold."""
    return re.sub("[^0-9A-Za-z]", "", name)


def resolution_label(voxel_mm: float) -> str:
    """1.4 mm as 1p4mm."""
    return f"{voxel_mm:g}mm".replace(".", "p")


def _description() -> dict[str, Any]:
    return {
        "Name": "Reconstructed brains, midlines of the cortex and template coordinates",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": "cytopipe",
                "Version": version("cytopipe"),
                "Description": "from scanned serial sections to points with template coordinates",
            }
        ],
    }


def _spaces(brain: BrainResults) -> dict[str, str]:
    """Label of each space to what it is."""
    return {
        "stack": _SPACES["stack"],
        label(brain.template): _SPACES["template"].format(name=brain.template),
    }


def _write_volumes(brain: BrainResults, areas: Areas, reach_mm: float | None, start: Path) -> None:
    found = stack_volumes(brain, areas, reach_mm)
    both = (found, in_template(brain, found))
    for (space, reference), there in zip(_spaces(brain).items(), both, strict=True):
        voxel_mm = float(there["tissue"].voxel_mm.mean())
        for kind, volume in there.items():
            suffix = "depth" if kind == "depth" else "dseg"
            resolution = resolution_label(round(voxel_mm, 3))
            name = f"{start.name}_space-{space}_res-{resolution}_desc-{kind}_{suffix}"
            volumes.write(volume, start.with_name(f"{name}.nii.gz"))
            about = {
                "Description": _VOLUMES[kind],
                "Resolution": f"voxels of {voxel_mm:g} mm",
                "SpatialReference": reference,
            }
            write_json(about, start.with_name(f"{name}.json"))
    write_area_table(areas, start.with_name(f"{start.name}_desc-areas_dseg.tsv"))
    tissue = pd.DataFrame(
        {
            "index": [0, 1, 2],
            "name": ["background", "gray matter", "white matter"],
            "abbreviation": ["BG", "GM", "WM"],
            "color": ["#000000", "#787878", "#deb887"],
        }
    )
    write_table(tissue, start.with_name(f"{start.name}_desc-tissue_dseg.tsv"), "\t", na="n/a")


_VOLUMES = {
    "tissue": "0 background, 1 gray matter, 2 white matter",
    "depth": "Laplacian depth in the cortex, 0 pial to 1 white matter; NaN outside gray matter",
    "areas": "area of the nearest usable point for each gray voxel; 0 for none",
}


def _write_surfaces(
    brain: BrainResults, areas: Areas, reach_mm: float | None, hemisphere: str, start: Path
) -> None:
    surface = brain.surface(hemisphere)
    there, _ = to_template(brain, surface)
    name = f"{start.name}_hemi-{hemisphere}"
    for (space, reference), each in zip(_spaces(brain).items(), (surface, there), strict=True):
        path = start.with_name(f"{name}_space-{space}_midthickness.surf.gii")
        surfaces.write(each, path, hemisphere)
        about = {"SpatialReference": reference}
        write_json(about, start.with_name(f"{name}_space-{space}_midthickness.json"))
    maps = {
        "thickness": (brain.thickness(hemisphere), "mm", "cortical thickness"),
        "curv": (brain.curvature(hemisphere), "1/mm", "mean curvature, positive on gyral crowns"),
    }
    for suffix, (values, unit, meaning) in maps.items():
        path = start.with_name(f"{name}_{suffix}.shape.gii")
        surfaces.write_map(values, path, hemisphere, suffix)
        about = {"Description": meaning, "Units": unit}
        write_json(about, start.with_name(f"{name}_{suffix}.json"))
    carried = carry(brain, surface, hemisphere, reach_mm)
    keys = carried.keys(areas.keys_of(brain.points["area"].to_numpy(object)))
    path = start.with_name(f"{name}_desc-areas_dseg.label.gii")
    write_labels(keys, named(areas), areas.colours, "areas", path, hemisphere)


def _write_points(brain: BrainResults, start: Path) -> None:
    for name, table, frame in (
        ("midline_points", PointRow, brain.points),
        ("stack_sections", StackRow, frame_of(StackRow, brain.stack)),
    ):
        path = start.with_name(f"{start.name}_desc-{name}.tsv")
        write_table(frame, path, "\t", na="n/a")
        write_json(columns_of(table), path.with_suffix(".json"))


def _write_transform(brain: BrainResults, start: Path) -> None:
    target = label(brain.template)
    name = f"{start.name}_from-stack_to-{target}_mode-points_xfm"
    with atomic_write(start.with_name(f"{name}.h5")) as beside:
        shutil.copyfile(brain.transform_file, beside)
    about = {
        "Description": f"moves POINTS from the stack to {brain.template}; to resample an image of "
        "the stack on the template, its inverse is needed",
        "Type": "ITK composite, LPS mm",
    }
    write_json(about, start.with_name(f"{name}.json"))
