"""`python -m cytopipe template`: convert a reference brain to the template of a study.

Tissue labels come from maps of gray and white matter. Areas come from label volumes or from one
probability map per area. The lab supplies the files, except those that are installed with nilearn.
"""

import re
import xml.etree.ElementTree as ET
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from skimage.filters import threshold_multiotsu

from cytopipe.commands.study_parser import number, study_parser
from cytopipe.files import InputError, atomic_write, reading, require
from cytopipe.formats import volumes
from cytopipe.formats.atlas import Atlas
from cytopipe.formats.text import read_table, whole
from cytopipe.formats.volumes import Volume, labels_at
from cytopipe.study.consistency.template import RECORD, description_of

NAMES = ("icbm152_2009a", "icbm152_2009c", "colin27")
_SHIPPED = "data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
# plausible volumes of a human brain without skull. Chosen, not measured
_BRAIN_ML = (700.0, 2500.0)
_SIDE = re.compile(r"[\s_-]+(left|right|lh|rh|l|r)(\s+hemisphere)?$", re.IGNORECASE)
# a label with this share of its voxels on one side belongs to it. Chosen, not measured
_ONE_SIDE = 0.95


def run(arguments: list[str]) -> int:
    """Write template/tissue.nii.gz and, if there is an atlas, atlas.nii.gz and areas.tsv."""
    parser = study_parser("template", run)
    parser.add_argument("name", choices=NAMES, help="icbm152_2009a needs no files")
    parser.add_argument("--gray", type=Path, help="probability map of gray matter, NIfTI")
    parser.add_argument("--white", type=Path, help="probability map of white matter, NIfTI")
    parser.add_argument("--t1", type=Path, help="instead of both: T1 of the brain without skull")
    parser.add_argument(
        "--labels", type=Path, nargs="+", help="label volume, or one for each hemisphere"
    )
    parser.add_argument("--probabilities", type=Path, help="instead: 4D volume, one map per area")
    parser.add_argument("--names", type=Path, nargs="+", help="their names: .tsv, .csv or .xml")
    parser.add_argument(
        "--min-probability", type=number, default=0.25, help="of an area in --probabilities; 0.25"
    )
    options = parser.parse_args(arguments)
    folder = options.study / "template"
    require(options.study, "create the folder of the study first")
    maps = [options.gray, options.white, options.t1]
    wants_atlas = bool(options.labels or options.probabilities)
    if bool(options.names) != wants_atlas or (options.labels and options.probabilities):
        raise InputError("an atlas is --names with either --labels or --probabilities; give both")

    path = folder / "tissue.nii.gz"
    # keep a template, which may have been corrected, if an atlas is added later
    if wants_atlas and path.exists() and not any(maps):
        _refuse_other_name(path, options.name)
        tissue = volumes.read_tissue(path)
        print(f"{path}: kept")
    else:
        _free(path)
        tissue = tissue_of(options.name, *maps)
        volumes.write(tissue, path, f"{RECORD}{options.name}")
        print(f"{path}: gray {_ml(tissue, 1):.0f} ml, white {_ml(tissue, 2):.0f} ml")
    values = [f"  name: {options.name}", "  tissue: template/tissue.nii.gz"]
    if wants_atlas:
        atlas = (
            atlas_of_labels(options.labels, options.names)
            if options.labels
            else atlas_of_maps(options.probabilities, options.names[0], options.min_probability)
        )
        _write_atlas(atlas, tissue, folder, options.name)
        values += ["  atlas: template/atlas.nii.gz", "  areas: template/areas.tsv"]
    print("\n".join(["in config/config.yaml:", "template:", *values]))
    return 0


def tissue_of_maps(gray: Volume, white: Volume) -> Volume:
    """Labels of the most probable of background, gray and white; the first wins if they are equal.

    `gray` and `white` are probabilities from 0 to 1 on one grid; the background has the rest.
    """
    background = 1 - gray.data - white.data
    labels = np.argmax(np.stack([background, gray.data, white.data]), axis=0)
    return Volume(labels.astype(np.uint8), gray.affine)


def tissue_of_t1(t1: Volume) -> Volume:
    """Labels from three classes of brightness (Otsu, over voxels above 0) of a T1 without skull.

    The darkest class, fluid, becomes background. This is cruder than `tissue_of_maps`, because deep
    nuclei are as bright as white matter.
    """
    brain = t1.data > 0
    labels = np.zeros(t1.data.shape, np.uint8)
    labels[brain] = np.digitize(t1.data[brain], threshold_multiotsu(t1.data[brain], 3))
    return Volume(labels, t1.affine)


def atlas_of_labels(paths: list[Path], tables: list[Path]) -> Atlas:
    """An atlas from label volumes on one grid, such as one per hemisphere, and a table for each.

    Labels of a later volume are raised above those of earlier ones, whose voxels win. Labels
    without a name are left out.

    Raises
    ------
    InputError
        If a file is invalid, if the grids differ, or if a name contradicts the side of its voxels.
    """
    if len(paths) != len(tables):
        raise InputError(f"--labels are {len(paths)} files, --names {len(tables)}; give one each")
    names: dict[int, str] = {}
    data: NDArray[np.int32] | None = None
    affine = np.eye(4)
    for path, table in zip(paths, tables, strict=True):
        volume = volumes.read_labels(path)
        if data is not None and not _same_grid(volume, Volume(data, affine)):
            raise InputError(f"{path}: its grid differs from {paths[0]}; resample by nearest voxel")
        here = volume.data.astype(np.int32)
        own = _names(table, ("label", "index"))
        absent = sorted(set(np.unique(here).tolist()) - {0, *own})
        if absent:
            print(f"{path}: labels {', '.join(map(str, absent))} have no name and are left out")
            here[np.isin(here, absent)] = 0
        raised = max(names, default=0)
        names |= {label + raised: name for label, name in own.items() if label > 0}
        here[here > 0] += raised
        data = here if data is None else np.where(data > 0, data, here)
        affine = volume.affine
    assert data is not None  # argparse requires at least one
    return _sided(Volume(data, affine), names, tables[0])


def atlas_of_maps(path: Path, table: Path, min_probability: float) -> Atlas:
    """An atlas with the label 1 + index of the map with the largest probability at each voxel.

    The first of equal maps wins. Voxels below `min_probability` (0 to 1) get no label. Maps whose
    index (from 0) is not in the table, such as fibre tracts, are ignored.

    Raises
    ------
    InputError
        If a file is invalid, if an index has no map, or if a name contradicts the side of its
        voxels.
    """
    if not 0 <= min_probability <= 1:
        raise InputError(f"--min-probability is {min_probability}; give a number from 0 to 1")
    maps = volumes.read_maps(path)
    full = _full_scale(maps, path)
    names = _names(table, ("index",))
    beyond = sorted(index for index in names if index >= maps.data.shape[3])
    if beyond:
        raise InputError(
            f"{table}: index {beyond[0]} has no map, {path} holds {maps.data.shape[3]}; "
            "count from 0 in the order of the maps"
        )
    labels = np.zeros(maps.data.shape[:3], np.int32)
    best = np.zeros(maps.data.shape[:3], np.float32)
    for index in sorted(names):
        # one at a time: all maps as floating point may not fit into memory
        here = maps.data[..., index].astype(np.float32) / full
        better = (here > best) & (here >= min_probability)
        labels[better], best[better] = index + 1, here[better]
    raised = {index + 1: name for index, name in names.items()}
    return _sided(Volume(labels, maps.affine), raised, table)


def tissue_of(
    name: str, gray: Path | None = None, white: Path | None = None, t1: Path | None = None
) -> Volume:
    """Tissue labels of a template, from files of the lab or from those that nilearn ships."""
    if t1 is not None and (gray or white):
        raise InputError("--t1 replaces --gray and --white; use only the maps, they are better")
    if t1 is not None:
        volume = volumes.read(t1)
        volume_ml = _ml(Volume(volume.data > 0, volume.affine), 1)
        if not _BRAIN_ML[0] < volume_ml < _BRAIN_ML[1]:
            raise InputError(
                f"{t1}: {volume_ml:.0f} ml are above 0; give a brain without skull, and 0 around "
                "it (of mricron's Colin 27: ch2bet.nii.gz)"
            )
        try:
            return tissue_of_t1(volume)
        except ValueError as error:
            raise InputError(f"{t1}: has too few values, like a mask; give a T1") from error
    if name == "icbm152_2009a" and gray is None and white is None:
        shipped = [_SHIPPED.format(kind) for kind in ("gm", "wm")]
        gray, white = (Path(str(files("nilearn.datasets").joinpath(file))) for file in shipped)
        print("icbm152_2009a: the symmetric version, which nilearn ships; 1 mm")
    if gray is None or white is None:
        raise InputError(f"{name}: give its maps with --gray and --white, or --t1 without skull")
    maps = _probabilities(gray), _probabilities(white)
    if not _same_grid(*maps):
        raise InputError(f"{gray} and {white}: grids differ; take both from one template")
    return tissue_of_maps(*maps)


def _probabilities(path: Path) -> Volume:
    """Read a volume and scale it to 0 to 1."""
    volume = volumes.read(path)
    scaled = volume.data.astype(np.float32) / _full_scale(volume, path)
    return Volume(np.clip(scaled, 0, 1), volume.affine)


def _full_scale(volume: Volume, path: Path) -> float:
    """The value of probability 1: 1, 100 or 255."""
    lowest, highest = float(np.min(volume.data)), float(np.max(volume.data))
    full = [scale for scale in (1.0, 100.0, 255.0) if 0.9 * scale < highest < 1.01 * scale]
    if not full or lowest < -0.01 * full[0]:
        raise InputError(
            f"{path}: has values from {lowest:g} to {highest:g}; probabilities go from 0 to 1, 100 "
            "or 255"
        )
    return full[0]


def _names(path: Path, columns: tuple[str, ...]) -> dict[int, str]:
    """Names by label, from a table (one of `columns`, and `name`) or the XML of Julich-Brain."""
    require(path, "check --names")
    if path.suffix == ".xml":
        with reading(path, "XML file", "get it again"):
            nodes = ET.parse(path).getroot().findall(".//Structure")
        rows = [(node.get("grayvalue", ""), (node.text or "").strip()) for node in nodes]
    else:
        separator = "," if path.suffix == ".csv" else "\t"
        table = read_table(path, ("name",), separators=separator, is_foreign=True)
        number = next((column for column in columns if table and column in table[0][1]), None)
        if number is None:
            raise InputError(f"{path}: give it columns {' or '.join(columns)}, and name")
        rows = [(row[number], row["name"]) for _, row in table]
    names: dict[int, str] = {}
    for label, name in rows:
        value = whole(label.strip(), f"{path}: label")
        if value in names or not name.strip():
            raise InputError(
                f"{path}: label {label!r}, name {name!r}; give unique numbers and names"
            )
        names[value] = name.strip()
    if not names:
        raise InputError(f"{path}: names no area; give a row for each")
    return names


def _sided(labels: Volume, names: dict[int, str], table: Path) -> Atlas:
    """Hemispheres by the ending of a name, which is removed, or by the position of the voxels."""
    index = np.argwhere(labels.data > 0)
    right = labels.to_mm(index)[:, 0] > 0
    values = labels.data[tuple(index.T)]
    size = max(names, default=0) + 1
    counts = np.bincount(values, minlength=size)
    shares = np.bincount(values, right, minlength=size) / np.maximum(counts, 1)
    plain: dict[int, str] = {}
    sides: dict[int, str] = {}
    for label, name in names.items():
        if not counts[label]:
            continue
        ending = _SIDE.search(name)
        share = float(shares[label])
        if ending is None:
            side = "R" if share > _ONE_SIDE else "L" if share < 1 - _ONE_SIDE else ""
        else:
            side = ending[1][0].upper()
            if (share if side == "R" else 1 - share) < 0.5:
                raise InputError(
                    f"{table}: {name!r} has {100 * share:.0f} % of its voxels at the right; the "
                    "volume is mirrored or has another table: get both from one source"
                )
        plain[label] = name[: ending.start()] if ending else name
        sides[label] = side
    if not plain:
        raise InputError(f"{table}: none of its areas has a voxel; give the table of this volume")
    return Atlas(labels, plain, sides)


def _write_atlas(atlas: Atlas, tissue: Volume, folder: Path, name: str) -> None:
    """Write atlas.nii.gz and areas.tsv, the table last."""
    volume, table = folder / "atlas.nii.gz", folder / "areas.tsv"
    _free(volume)
    _free(table)
    points = atlas.labels.to_mm(np.argwhere(atlas.labels.data > 0))
    share = float((labels_at(tissue, points) > 0).mean())
    if share < 0.5:
        raise InputError(
            f"{100 * share:.0f} % of the atlas lie on the template's tissue; take maps in its space"
        )
    kind = np.int16 if max(atlas.names) <= np.iinfo(np.int16).max else np.int32
    labels = Volume(atlas.labels.data.astype(kind), atlas.labels.affine)
    volumes.write(labels, volume, f"{RECORD}{name}")
    rows = [(label, atlas.names[label], atlas.hemispheres[label]) for label in sorted(atlas.names)]
    frame = pd.DataFrame(rows, columns=["label", "name", "hemisphere"])
    with atomic_write(table) as beside:
        frame.to_csv(beside, sep="\t", index=False, lineterminator="\n")
    print(f"{volume}: {len(rows)} labels, {100 * share:.0f} % of them on gray or white matter")


def _refuse_other_name(path: Path, name: str) -> None:
    recorded = description_of(path).removeprefix(RECORD)
    if recorded in NAMES and recorded != name:
        raise InputError(
            f"{path}: was made as {recorded}, not {name}; give the atlas of {recorded}, or delete "
            "the file and make the template again"
        )


def _free(path: Path) -> None:
    if path.exists():
        raise InputError(f"{path}: exists already; delete it or rename it")


def _same_grid(one: Volume, other: Volume) -> bool:
    return one.data.shape == other.data.shape and bool(
        np.allclose(one.affine, other.affine, atol=1e-4)
    )


def _ml(volume: Volume, label: int) -> float:
    voxel_mm3 = abs(float(np.linalg.det(volume.affine[:3, :3])))
    return float((volume.data == label).sum()) * voxel_mm3 / 1000
