"""Data sets for pretraining and for classifying areas, drawn from the points of all brains."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cytopipe import provenance
from cytopipe.files import InputError, Output
from cytopipe.formats import images, tables, transforms
from cytopipe.formats.transforms import Moves
from cytopipe.logs import info, progress
from cytopipe.patches.contours import masks_of, points_of_areas, section_of, with_nearest
from cytopipe.study.config import DataSet
from cytopipe.study.sections import Section

COORDINATES = ["x_mm", "y_mm", "z_mm"]


def roles_in(roles: Mapping[str, str], transfer: str | None) -> dict[str, str]:
    """Roles by brain if `transfer` is the transfer brain (CytoNet, Table 6).

    Raises
    ------
    InputError
        If that brain is unknown or unseen.
    """
    if transfer is None:
        return dict(roles)
    if roles.get(transfer, "unseen") == "unseen":
        raise InputError(
            f"patches: transfer is {transfer!r}; name a brain of config/brains.tsv that is seen "
            "or transfer"
        )
    others = {brain: "unseen" if role == "unseen" else "seen" for brain, role in roles.items()}
    return {**others, transfer: "transfer"}


def draw_pretraining(points: pd.DataFrame, count: int | None, seed: int) -> pd.DataFrame:
    """Points drawn at random without replacement (CytoNet section 3.4), in their original order.

    Raises
    ------
    InputError
        If there are fewer than `count`.
    """
    if count is None:
        return points.assign(split="pretrain")
    if count > len(points):
        raise InputError(
            f"patches: count is {count}, only {len(points)} points are usable; "
            "lower count in config/config.yaml or set it to null"
        )
    chosen = np.random.default_rng(seed).choice(len(points), count, replace=False)
    return points.iloc[np.sort(chosen)].assign(split="pretrain")


def select_areas(
    points: pd.DataFrame, names: Sequence[str] | None, min_brains: int
) -> pd.DataFrame:
    """The points of the areas that are named and known in enough brains (CytoNet section 7.1).

    The log lists the areas that are left out, and the named areas without a point.

    Parameters
    ----------
    points : labelled points (PointRow) of all brains of the data set, whatever their role.
    names : of the areas; None for all.
    """
    brains = points.groupby("area").brain.nunique()
    wanted = list(brains.index) if names is None else names
    kept = brains.index[brains.index.isin(wanted) & (brains >= min_brains)]
    left_out = [f"{area} (brains: {brains[area]})" for area in brains.index.difference(kept)]
    absent = [area for area in wanted if area not in brains.index]
    for text, areas in {"left out": left_out, "without a point": absent}.items():
        if areas:
            info(f"areas {text}: {', '.join(areas)}")
    return points.loc[points.area.isin(kept)]


def split_areas(
    points: pd.DataFrame, roles: Mapping[str, str], per_area: int | None, test_every: int, seed: int
) -> pd.DataFrame:
    """Training and test sets for classifying areas (CytoNet section 3.5).

    Every `test_every`-th annotated section of each seen brain is for testing (`seen`), the others
    are for training (`train`), balanced by drawing `per_area` points of each area with replacement.
    Transfer and unseen brains are test sets as they are.

    Parameters
    ----------
    points : labelled points (PointRow).
    roles : by brain.
    """
    split = points.brain.map(roles)
    for brain in sorted(points.brain[split == "seen"].unique()):
        mine = points.brain == brain
        annotated = np.unique(points.section[mine])
        tested = annotated[test_every - 1 :: test_every]
        split[mine & ~points.section.isin(tested)] = "train"
    labelled = points.assign(split=split)
    train, test = labelled[split == "train"], labelled[split != "train"]
    if per_area is not None:
        random = np.random.default_rng(seed)
        rows = [
            random.choice(members, per_area, replace=True)
            for _, members in sorted(train.groupby("area").indices.items())
        ]
        train = train.iloc[np.concatenate(rows)] if rows else train
    return pd.concat([train, test])


def warped(points: pd.DataFrame, warp: Path, moves: Moves) -> pd.DataFrame:
    """Points with the coordinates of another template; points that it does not cover are dropped.

    CytoNet's model M was pretrained in ICBM 152 on coordinates carried over from Colin 27.
    """
    to_other = transforms.read(warp, "template", "other template", moves)
    moved = points.copy()
    moved[COORDINATES] = to_other(points[COORDINATES].to_numpy(np.float64))
    covered = moved.dropna(subset=COORDINATES)
    info(f"{warp}: covers {len(covered)} points, {len(points) - len(covered)} are dropped")
    return covered


def annotated(
    midline: pd.DataFrame,
    files: Sequence[Path],
    brains: Sequence[str],
    sections: Sequence[Section],
    params: DataSet,
) -> pd.DataFrame:
    """Points along the midline of annotated areas (CytoNet section 3.5).

    Contours are drawn on the image as its file shows it, which is the section frame: a mirrored
    section needs no flip.

    Parameters
    ----------
    midline : usable points of these brains (PointRow), for hemisphere and template coordinate.
    files : `{brain}/{section}.geojson` or `.tif`; those of other brains are skipped.

    Raises
    ------
    InputError
        If two files annotate the same section, or `study.annotations` cannot read one.
    """
    by_key = {(section.brain, section.section): section for section in sections}
    annotated_files: dict[tuple[str, int], Path] = {}
    for path in sorted(files):
        key = section_of(path)
        if key in annotated_files:
            raise InputError(
                f"{path}: {annotated_files[key]} annotates the same section; remove one"
            )
        if key[0] in brains:
            annotated_files[key] = path
    midlines = dict(iter(midline.groupby(["brain", "section"])))
    frames, skipped = [], []
    work = sorted(annotated_files.items())
    for (brain, section), path in progress(work, len(work), "annotated sections"):
        if (brain, section) not in by_key:
            skipped.append(str(path))
            continue
        image = by_key[brain, section]
        with images.open_pyramid(Path(image.image), image.spacing_um) as pyramid:
            shape = pyramid.levels[0].height, pyramid.levels[0].width
        masks = masks_of(path, shape, image.spacing_um, params.raster_um)
        points = points_of_areas(
            masks, brain, section, image.spacing_um, params.raster_um, params.point_spacing_mm
        )
        frames.append(with_nearest(points, midlines.get((brain, section), midline.iloc[:0])))
    if skipped:
        info(f"no such section in the study, or an excluded one: {', '.join(skipped)}")
    columns = ["point_id", "brain", "section", "hemisphere", "x_um", "y_um", *COORDINATES, "area"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


@provenance.recorded
def run(
    *,
    points: dict[str, Path],
    roles: dict[str, str],
    sections: Sequence[Section],
    annotations: list[Path],
    patches: Output,
    params: DataSet,
) -> None:
    """Draw one data set.

    Parameters
    ----------
    points : points.parquet by brain.
    roles : of brains.tsv, by brain.
    sections : of these brains; `image` is the pyramid from which windows are read.
    annotations : `{brain}/{section}.geojson` or `.tif`, the latter with areas.tsv beside the
        brains' folders; empty unless params.source is annotations.
    patches : written: table (PatchRow).

    Raises
    ------
    InputError
        If no point is usable, or fewer than the params require.
    """
    roles = roles_in(roles, params.transfer)
    brains = [brain for brain in points if roles[brain] in params.roles]
    if not brains:
        raise InputError(
            f"{patches.stem}: no brain has the role {' or '.join(params.roles)}; correct role in "
            "config/brains.tsv or roles of the data set in config/config.yaml"
        )
    every = pd.concat([tables.read(tables.PointRow, points[brain]) for brain in brains])
    usable = every.loc[every.status == "ok"]
    remedy = "look at the coordinates in the report"
    if params.purpose == "pretraining":
        usable = usable.dropna(subset=COORDINATES)
        if params.warp is not None:
            usable = warped(usable, Path(params.warp), params.warp_moves)
            remedy += f" and at {params.warp}, its direction above all"
    elif params.source == "atlas":
        usable = usable.loc[
            (usable.area != "") & (usable.area_probability >= params.min_probability)
        ]
    else:
        usable = annotated(usable, annotations, brains, sections, params)
        remedy = f"annotate sections of these brains ({len(annotations)} files were supplied)"
    if params.purpose == "areas":
        usable = select_areas(usable, params.areas, params.min_brains)
        remedy += ", or change areas or min_brains of the data set in config/config.yaml"
    if usable.empty:
        raise InputError(
            f"{patches.stem}: none of the {len(every)} points of {', '.join(brains)} "
            f"is usable; {remedy}"
        )
    if params.purpose == "pretraining":
        drawn = draw_pretraining(usable, params.count, params.seed)
    else:
        drawn = split_areas(usable, roles, params.per_area, params.test_every, params.seed)
    images_of = pd.DataFrame(
        [(s.brain, s.section, s.image, s.spacing_um) for s in sections],
        columns=["brain", "section", "image", "full_spacing_um"],
    )
    rows = drawn.merge(images_of, on=["brain", "section"], how="left", validate="many_to_one")
    counts = rows.split.value_counts(sort=False)
    info(f"{patches.stem}: {', '.join(f'{n} {split}' for split, n in counts.items())} patches")
    tables.write(tables.PatchRow, rows[tables.names(tables.PatchRow)], patches)
