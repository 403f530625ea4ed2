"""The data set of cortical layers: annotated patches, checked and split.

CytoNet section 3.6: a fixed 80/20 split, shares of 1 to 100 % of the training patches, five folds
of each share. (The paper states 913 patches, but 732 for training and 184 for testing.)
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from cytopipe import provenance
from cytopipe.files import InputError, Output, require
from cytopipe.formats import tables
from cytopipe.formats.text import positive, read_table
from cytopipe.logs import info
from cytopipe.study import annotations
from cytopipe.study.config import LayerSplit

LAYERS = 6
_REQUIRED = ("patch", "brain", "image", "mask", "spacing_um")


def split_layers(count: int, test_share: float, seed: int) -> tuple[list[str], list[int]]:
    """Split ("train" or "test") and rank of each of `count` patches.

    Ranks are a random order of the training patches, so that a smaller share of them is part of
    each larger one; -1 for test. The share f of n training patches is rank < floor(f n), and its
    fold k of five is rank % 5 == k.

    Raises
    ------
    InputError
        If training or test would be empty.
    """
    tests = round(test_share * count)
    if not 0 < tests < count:
        raise InputError(
            f"patches: test_share {test_share} of {count} patches leaves {count - tests} for "
            "training; change patches.layers.test_share or annotate more"
        )
    order = np.random.default_rng(seed).permutation(count)
    ranks = np.full(count, -1)
    ranks[order[tests:]] = np.arange(count - tests)
    return ["test" if rank < 0 else "train" for rank in ranks], ranks.tolist()


@provenance.recorded
def run_layers(*, table: Path, patches: Output, params: LayerSplit) -> None:
    """Check annotated patches of layers and split them.

    Parameters
    ----------
    table : layers.tsv, tab-separated: patch, brain, image, mask, spacing_um and optionally cells;
        paths are relative to its folder. Images are gray with 8 bits; masks have the same size,
        with 0 background and 1 to 6 the layers; cells are a table of x_um and y_um.
    patches : written: table (LayerPatchRow); its paths start where that of `table` does.

    Raises
    ------
    InputError
        For a missing column, a patch listed twice, a pixel size that is not a positive number, a
        missing or unreadable file, sizes that differ, a label above 6, or a cell outside its patch.
    """
    require(table, "correct the path in the config")
    listed = read_table(table, _REQUIRED, ("cells",))
    names = [cells["patch"] for _, cells in listed]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{table}: patch {name!r} is listed twice; rename one of the two")
    rows = [_checked(cells, table, f"{table} line {line}") for line, cells in listed]
    split, rank = split_layers(len(rows), params.test_share, params.seed)
    tests = split.count("test")
    info(f"{table}: {len(rows) - tests} patches for training, {tests} for testing")
    rows = [replace(row, split=s, rank=r) for row, s, r in zip(rows, split, rank, strict=True)]
    tables.write_rows(tables.LayerPatchRow, rows, patches)


def _checked(row: dict[str, str], table: Path, where: str) -> tables.LayerPatchRow:
    """The row of an annotated patch, not yet split."""
    for name in _REQUIRED:
        if not row[name]:
            raise InputError(f"{where}: {name} is empty; fill it in")
    spacing_um = positive(row["spacing_um"], f"{where}: spacing_um")
    image_path, mask_path = table.parent / row["image"], table.parent / row["mask"]
    image = annotations.read_gray(image_path, is_photograph=True)
    mask = annotations.read_gray(mask_path)
    if image.shape != mask.shape:
        raise InputError(
            f"{where}: {mask_path} has {mask.shape[1]} x {mask.shape[0]} pixels, {image_path} "
            f"{image.shape[1]} x {image.shape[0]}; a mask must have the size of its image"
        )
    if mask.max() > LAYERS:
        raise InputError(
            f"{mask_path}: holds label {mask.max()}; 0 is background, 1 to {LAYERS} the layers"
        )
    cells = str(table.parent / row["cells"]) if row["cells"] else ""
    if cells:
        size_um = np.array(image.shape[::-1]) * spacing_um
        at_um = annotations.read_cells(Path(cells)) + spacing_um / 2
        outside = ~((at_um >= 0) & (at_um <= size_um)).all(1)
        if outside.any():
            raise InputError(
                f"{cells}: row {np.argmax(outside) + 2} lies outside the patch of "
                f"{size_um[0]:g} x {size_um[1]:g} um; x_um and y_um count from its first pixel"
            )
    return tables.LayerPatchRow(
        patch_id=row["patch"],
        brain=row["brain"],
        image=str(image_path),
        mask=str(mask_path),
        cells=cells,
        spacing_um=spacing_um,
        width_px=image.shape[1],
        height_px=image.shape[0],
        split="",
        rank=-1,
    )
