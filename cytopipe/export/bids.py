"""Format `bids`: a BIDS derivatives data set (BIDS 1.11, microscopy).

BIDS does not yet name segmentations, surfaces, transforms and points of microscopy. The files use
the names of derivatives of other modalities, and of the proposals 014 (transforms) and 011
(surfaces). They are listed in `.bidsignore`, as BIDS requires for files unknown to its validator.
"""

import re
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from cytopipe.export import Params, readme
from cytopipe.export.csv import columns_of, write_json, write_table
from cytopipe.export.gifti import to_template
from cytopipe.export.nifti import stack_volumes, to_template_grid, write_area_table
from cytopipe.files import InputError, atomic_write
from cytopipe.formats import surfaces, volumes
from cytopipe.formats.atlas import HEMISPHERES
from cytopipe.formats.tables import PointRow, StackRow, frame_of
from cytopipe.study.areas import Areas, areas_of
from cytopipe.study.nearest_point import nearest_points
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
        If the names of two brains become the same BIDS label.
    """
    subjects = {brain.name: label(brain.name) for brain in brains}
    if len(set(subjects.values())) < len(subjects):
        raise InputError(
            f"brains {', '.join(subjects)}: BIDS labels contain only letters and digits, so these "
            f"become {', '.join(subjects.values())}; export one brain at a time with --brain"
        )
    areas = areas_of(brains)
    for brain in brains:
        subject = f"sub-{subjects[brain.name]}"
        prefix = f"{folder / subject / 'micr' / subject}_"
        _write_volumes(brain, areas, params.reach_mm, prefix)
        for hemisphere in HEMISPHERES:
            _write_surfaces(brain, areas, params.reach_mm, hemisphere, prefix)
        _write_points(brain, prefix)
        _write_transform(brain, prefix)
    write_json(_description(), folder / "dataset_description.json")
    ids = [f"sub-{subject}" for subject in subjects.values()]
    participants = pd.DataFrame({"participant_id": ids, "brain": list(subjects)})
    write_table(participants, folder / "participants.tsv", "\t", na="n/a")
    meaning = {"brain": {"Description": "name of the brain in the study"}}
    write_json(meaning, folder / "participants.json")
    with atomic_write(folder / ".bidsignore") as beside:
        beside.write_text(_IGNORED)
    readme.write("bids", brains, folder)


def label(name: str) -> str:
    """The letters and digits of a name; a BIDS label may contain nothing else."""
    return re.sub("[^0-9A-Za-z]", "", name)


def resolution_label(voxel_mm: float) -> str:
    """1.4 mm as 1p4mm."""
    return f"{voxel_mm:g}mm".replace(".", "p")


def _description() -> dict[str, Any]:
    generator = {
        "Name": "cytopipe",
        "Version": version("cytopipe"),
        "Description": "from scanned serial sections to points with template coordinates",
    }
    return {
        "Name": "Reconstructed brains, midlines of the cortex and template coordinates",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [generator],
    }


def _spaces(brain: BrainResults) -> dict[str, str]:
    """Label of each space to its description."""
    return {
        "stack": _SPACES["stack"],
        label(brain.template): _SPACES["template"].format(name=brain.template),
    }


_VOLUMES = {
    "tissue": "0 background, 1 gray matter, 2 white matter",
    "depth": "Laplacian depth in the cortex, 0 pial to 1 white matter; NaN outside gray matter",
    "areas": "area of the nearest usable point for each gray voxel; 0 for none",
}


def _write_volumes(brain: BrainResults, areas: Areas, reach_mm: float | None, prefix: str) -> None:
    in_stack = stack_volumes(brain, areas, reach_mm)
    in_spaces = (in_stack, to_template_grid(brain, in_stack))
    for (space, reference), kinds in zip(_spaces(brain).items(), in_spaces, strict=True):
        voxel_mm = float(kinds["tissue"].voxel_mm.mean())
        resolution = resolution_label(round(voxel_mm, 3))
        for kind, volume in kinds.items():
            suffix = "depth" if kind == "depth" else "dseg"
            name = f"{prefix}space-{space}_res-{resolution}_desc-{kind}_{suffix}"
            volumes.write(volume, Path(f"{name}.nii.gz"))
            about = {
                "Description": _VOLUMES[kind],
                "Resolution": f"voxels of {voxel_mm:g} mm",
                "SpatialReference": reference,
            }
            write_json(about, Path(f"{name}.json"))
    write_area_table(areas, Path(f"{prefix}desc-areas_dseg.tsv"))
    tissue = pd.DataFrame(
        {
            "index": [0, 1, 2],
            "name": ["background", "gray matter", "white matter"],
            "abbreviation": ["BG", "GM", "WM"],
            "color": ["#000000", "#787878", "#deb887"],
        }
    )
    write_table(tissue, Path(f"{prefix}desc-tissue_dseg.tsv"), "\t", na="n/a")


def _write_surfaces(
    brain: BrainResults, areas: Areas, reach_mm: float | None, hemisphere: str, prefix: str
) -> None:
    prefix += f"hemi-{hemisphere}_"
    surface = brain.surface(hemisphere)
    if surface.is_empty:
        return
    in_spaces = (surface, to_template(brain, surface)[0])
    for (space, reference), moved in zip(_spaces(brain).items(), in_spaces, strict=True):
        name = f"{prefix}space-{space}_midthickness"
        surfaces.write(moved, Path(f"{name}.surf.gii"), hemisphere)
        write_json({"SpatialReference": reference}, Path(f"{name}.json"))
    maps = {
        "thickness": (brain.thickness(hemisphere), "mm", "cortical thickness"),
        "curv": (brain.curvature(hemisphere), "1/mm", "mean curvature, positive on gyral crowns"),
    }
    for suffix, (values, unit, meaning) in maps.items():
        surfaces.write_map(values, Path(f"{prefix}{suffix}.shape.gii"), hemisphere, suffix)
        write_json({"Description": meaning, "Units": unit}, Path(f"{prefix}{suffix}.json"))
    nearest = nearest_points(brain, surface, hemisphere, reach_mm)
    keys = nearest.keys(areas.keys_of(brain.points["area"]))
    path = Path(f"{prefix}desc-areas_dseg.label.gii")
    surfaces.write_labels(keys, areas.names, areas.colours, path, hemisphere, "areas")


def _write_points(brain: BrainResults, prefix: str) -> None:
    for name, table, frame in (
        ("midline_points", PointRow, brain.points),
        ("stack_sections", StackRow, frame_of(StackRow, brain.stack)),
    ):
        write_table(frame, Path(f"{prefix}desc-{name}.tsv"), "\t", na="n/a")
        write_json(columns_of(table), Path(f"{prefix}desc-{name}.json"))


def _write_transform(brain: BrainResults, prefix: str) -> None:
    name = f"{prefix}from-stack_to-{label(brain.template)}_mode-points_xfm"
    with atomic_write(Path(f"{name}.h5")) as beside:
        shutil.copyfile(brain.transform_file, beside)
    about = {
        "Description": f"moves POINTS from the stack to {brain.template}; to resample an image of "
        "the stack on the template, its inverse is needed",
        "Type": "ITK composite, LPS mm",
    }
    write_json(about, Path(f"{name}.json"))
