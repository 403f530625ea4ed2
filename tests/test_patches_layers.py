"""Annotated patches of layers: split, ranked, and refused with a message."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cytopipe import patches
from cytopipe.files import InputError
from cytopipe.formats import tables
from cytopipe.patches.layers import split_layers
from cytopipe.study.annotations import write_cells, write_gray
from cytopipe.study.config import LayerSplit


@pytest.fixture
def layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten patches of 40 x 30 pixels of 2 um, every other one with cells."""
    monkeypatch.chdir(tmp_path)
    folder = Path("annotations/layers")
    rows = []
    for number in range(10):
        image = np.full((30, 40), 100 + number, np.uint8)
        mask = np.repeat(np.arange(30, dtype=np.uint8)[:, None] * 7 // 30, 40, axis=1)
        write_gray(image, folder / "images" / f"{number}.tif")
        write_gray(mask, folder / f"{number}_layers.tif")
        cells = f"{number}.csv" if number % 2 else ""
        if cells:
            write_cells(np.array([[-0.9, 0.0], [78.9, 58.9]]), folder / cells)
        image_name = f"images/{number}.tif"
        rows.append((f"p{number}", "B01", image_name, f"{number}_layers.tif", 2.0, cells))
    columns = ["patch", "brain", "image", "mask", "spacing_um", "cells"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "layers.tsv", sep="\t", index=False)
    return folder / "layers.tsv"


def run(table: Path, test_share: float = 0.2) -> pd.DataFrame:
    params = LayerSplit(test_share=test_share, seed=3)
    patches.run_layers(table=table, patches=Path("layers.parquet"), params=params)
    return tables.read(tables.LayerPatchRow, Path("layers.parquet"))


def edited(table: Path, column: str, value: str, row: int = 2) -> None:
    frame = pd.read_csv(table, sep="\t", dtype=str, keep_default_na=False)
    frame.loc[row, column] = value
    frame.to_csv(table, sep="\t", index=False)


def test_the_table_holds_path_and_size_of_each_patch(layers: Path) -> None:
    table = run(layers)
    assert table.patch_id.tolist() == [f"p{number}" for number in range(10)]
    assert (table.width_px == 40).all() and (table.height_px == 30).all()
    assert table.image[4] == "annotations/layers/images/4.tif"
    for column in ("image", "mask"):
        assert all(Path(path).exists() for path in table[column])
    assert table.cells[2] == "" and Path(table.cells[3]).exists()
    assert (table.split == "test").sum() == 2
    assert sorted(table["rank"]) == [-1, -1, *range(8)]
    assert (table["rank"][table.split == "test"] == -1).all()


def test_the_papers_shares_have_the_papers_sizes() -> None:
    """Supplementary table 7: 7, 36, 73, 146 and 732 patches for training, 184 for testing."""
    split, rank = split_layers(916, 184 / 916, seed=1)
    assert split.count("test") == 184
    ranks = np.array(rank)
    shares = [0.01, 0.05, 0.1, 0.2, 1.0]
    chosen = [(ranks >= 0) & (ranks < np.floor(share * 732)) for share in shares]
    assert [share.sum() for share in chosen] == [7, 36, 73, 146, 732]
    for smaller, larger in pairwise(chosen):
        assert (larger | ~smaller).all()
    folds = np.bincount(ranks[chosen[3]] % 5)
    assert len(folds) == 5 and folds.max() - folds.min() <= 1
    assert rank != split_layers(916, 184 / 916, seed=2)[1]
    assert rank != sorted(rank)


def test_the_column_of_cells_is_optional(layers: Path) -> None:
    frame = pd.read_csv(layers, sep="\t", dtype=str).drop(columns="cells")
    frame.to_csv(layers, sep="\t", index=False)
    assert (run(layers).cells == "").all()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("patch", "p1", r"layers\.tsv: patch 'p1' is listed twice"),
        ("brain", "", r"layers\.tsv line 4: brain is empty"),
        ("spacing_um", "two", r"line 4: spacing_um is 'two'; give a number"),
        ("spacing_um", "-1", r"line 4: spacing_um is '-1'"),
        ("image", "images/none.tif", r"images/none\.tif: not found"),
        ("image", "layers.tsv", r"layers\.tsv: not a readable image"),
        ("mask", "images/2.tif", r"images/2\.tif: holds label 102; .* 1 to 6 the layers"),
        ("cells", "none.csv", r"none\.csv: not found"),
    ],
)
def test_a_wrong_row_is_named(layers: Path, column: str, value: str, message: str) -> None:
    edited(layers, column, value)
    with pytest.raises(InputError, match=message):
        run(layers)
    assert not Path("layers.parquet").exists()


def test_masks_of_another_size_than_their_images_are_refused(layers: Path) -> None:
    write_gray(np.zeros((40, 30), np.uint8), layers.parent / "2_layers.tif")
    with pytest.raises(InputError, match=r"2_layers\.tif has 30 x 40 pixels, .*2\.tif 40 x 30"):
        run(layers)


@pytest.mark.parametrize("cell", [(-1.2, 0.0), (0.0, 59.2)])
def test_cells_outside_their_patch_are_refused(layers: Path, cell: tuple[float, float]) -> None:
    write_cells(np.array([[1.0, 1.0], cell]), layers.parent / "3.csv")
    with pytest.raises(InputError, match=r"3\.csv: row 3 lies outside the patch of 80 x 60 um"):
        run(layers)


def test_neither_training_nor_test_may_be_empty(layers: Path) -> None:
    with pytest.raises(InputError, match=r"test_share 0\.01 of 10 patches leaves 10 for training"):
        run(layers, test_share=0.01)


@pytest.mark.parametrize(("column", "message"), [("mask", "'mask' is missing")])
def test_missing_and_unknown_columns_are_named(layers: Path, column: str, message: str) -> None:
    frame = pd.read_csv(layers, sep="\t", dtype=str)
    frame.drop(columns=column).to_csv(layers, sep="\t", index=False)
    with pytest.raises(InputError, match=message):
        run(layers)
    frame.assign(stain="silver").to_csv(layers, sep="\t", index=False)
    with pytest.raises(InputError, match="column 'stain' is unknown"):
        run(layers)
