"""Bad input of many kinds: each is refused by name and remedy, and nothing is written or lost."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_study import HEAD, PICTURE, SmallStudy
from spoiling import (
    Spoil,
    a_broken_tile,
    an_unknown_codec,
    bids,
    decided,
    mask,
    nothing,
    ready_tissue,
    rows,
    setting,
    supplied_matrix,
    template,
    tiff,
    truncated,
    written,
)

from cytopipe import __main__ as command_line
from cytopipe import segmentation
from cytopipe.files import InputError
from cytopipe.formats import atlas, images, volumes
from cytopipe.reconstruction import repair
from cytopipe.study import config as study_config
from cytopipe.study.corrections import corrected
from cytopipe.study.masks import read_mask
from cytopipe.study.sections import read_brains, read_sections

Act = Callable[[SmallStudy], object]


def sheet(study: SmallStudy) -> object:
    return read_sections(study.sheet, list(read_brains(study.sheet.with_name("brains.tsv"))))


def corrections(study: SmallStudy) -> object:
    return corrected(read_sections(study.sheet), study.folder / "manual")


def opened(study: SmallStudy) -> object:
    with images.open_pyramid(study.image(30), 64.0) as pyramid:
        return pyramid.read_at(64.0)


def excluded(study: SmallStudy) -> object:
    tissue = volumes.read_tissue(study.folder / "results/reconstruction/B01/whole.nii.gz")
    return repair.exclude(tissue, study.manual / "exclusion.nii.gz", 0.6, "B01")


def checked_config(study: SmallStudy) -> object:
    path = study.folder / "config" / "config.yaml"
    return study_config.check(study_config.read(path), str(path))


# a command is its words; it must end with status 1, and what it prints is its message
CHECK = ("check", "--study", "STUDY")
ADD = ("add-brain", "B09", "--study", "STUDY", "--thickness-um", "20")
BIDS = (*ADD, "--bids", "STUDY/bids")


def by_hand(study: SmallStudy) -> object:
    return segmentation.read_manual(study.folder / "00030.tif", (60, 80))


def read_areas(study: SmallStudy) -> object:
    folder = study.folder / "template"
    return atlas.read_atlas(folder / "atlas.nii.gz", folder / "areas.tsv")


GOOD = "B01\t15\timages/15.ome.tif\t64\t100"
CASES: dict[str, tuple[Spoil, Act | tuple[str, ...], str, str]] = {
    # the tables
    "doubled number": (rows(GOOD, GOOD), sheet, "section 15 .* twice", "remove or renumber"),
    "text in a number column": (
        rows(GOOD.replace("15\ti", "fifteen\ti")),
        sheet,
        "line 2: section is 'fifteen'",
        "number",
    ),
    "NaN for a spacing": (rows(GOOD.replace("64", "nan")), sheet, "spacing_um is 'nan'", "number"),
    "negative thickness": (rows(GOOD[:-3] + "-20"), sheet, "thickness_um is '-20'", "positive"),
    "comma for a decimal point": (rows(GOOD.replace("64", "0,5")), sheet, "'0,5'", "give a number"),
    "missing column": (rows(GOOD, head="brain\tsection\n"), sheet, "'image' is missing", "add it"),
    "unknown column": (
        rows(GOOD, head=HEAD[:-1] + "\tmirorred\n"),
        sheet,
        "'mirorred' is unknown",
        "allowed",
    ),
    "too many cells": (rows(GOOD + "\t\t1"), sheet, "line 2: 7 cells under 5", "remove a tab"),
    "a spreadsheet": (
        written("config/sections.tsv", b"PK\x03\x04\xff\xfe\x00"),
        sheet,
        "not a text file",
        "save",
    ),
    "a brain that is nowhere": (rows(GOOD.replace("B01", "B7")), sheet, "'B7' is not in", "add it"),
    "an unknown role": (
        written("config/brains.tsv", b"brain\trole\nB01\tsene\n"),
        sheet,
        "'sene'",
        "use one of",
    ),
    "two thicknesses": (
        rows(GOOD, GOOD.replace("15\t", "30\t")[:-3] + "30"),
        sheet,
        "thickness_um",
        "use one thickness",
    ),
    # scans
    "truncated file": (truncated, CHECK, "30.ome.tif", "scan or copy it again"),
    "broken tile": (a_broken_tile, CHECK, "30.ome.tif", "scan or copy it again"),
    "unreadable codec": (an_unknown_codec, opened, "30.ome.tif", "64999|copy it again"),
    "no image at all": (
        written("images/30.ome.tif", b"hello"),
        CHECK,
        "30.ome.tif",
        "copy it again",
    ),
    "floating point": (
        tiff("images/30.ome.tif", PICTURE.astype(np.float32)),
        CHECK,
        "float32",
        "8 or 16 bit",
    ),
    "nothing but zeros": (tiff("images/30.ome.tif", 0 * PICTURE), CHECK, "nothing but 0", "again"),
    "wrong spacing": (
        lambda study: study.scan(30, 0.64),
        CHECK,
        "0.64 um per pixel.*64",
        "correct spacing_um",
    ),
    "pixels of the wrong unit": (
        rows(GOOD.replace("64", "0.064")),
        CHECK,
        "a factor of 1000: mm vs um",
        "spacing_um",
    ),
    "coarser than the config": (
        setting("segmentation", "spacing_um", 32),
        CHECK,
        "spacing_um is 32 um",
        "64 or more",
    ),
    # what a person lays down
    "NaN in a correction": (
        decided("15\t\t\tstack\tnan\t0\t0"),
        corrections,
        "angle_rad is 'nan'",
        "give a number",
    ),
    "degrees for radians": (
        decided("15\t\t\tstack\t90\t0\t0"),
        corrections,
        "angle_rad is 90",
        "give radians",
    ),
    "half a transform": (
        decided("15\t\t\tstack\t0.1\t\t"),
        corrections,
        "x_um is empty",
        "all four or none",
    ),
    "a circle of places": (
        decided("15\tno\t\t30\t0\t0\t0", "30\tno\t\t15\t0\t0\t0"),
        corrections,
        "circle",
        "empty one of them",
    ),
    "3-channel mask": (
        mask(np.zeros((9, 9, 9, 3), np.uint8)),
        lambda study: read_mask(study.manual / "exclusion.nii.gz"),
        "shape",
        "one label map",
    ),
    "NaN in a mask": (
        mask(np.full((9, 9, 9), np.nan, np.float32)),
        lambda study: read_mask(study.manual / "exclusion.nii.gz"),
        "NaN",
        "whole numbers",
    ),
    "mask on a grid elsewhere": (
        mask(np.ones((5, 5, 5), np.uint8), 99.0),
        excluded,
        "marks no tissue",
        "draw it on whole",
    ),
    "mask of the whole brain": (
        mask(np.ones((20, 20, 20), np.uint8)),
        excluded,
        "marks 100 % of the tissue",
        "invert the mask",
    ),
    "empty mask": (mask(np.zeros((20, 20, 20), np.uint8)), excluded, "marks no", "or delete it"),
    "left-handed matrix": (
        supplied_matrix(np.diag([-1.0, 1.0, 1.0])),
        CHECK,
        "left-handed",
        "two axes change their sign",
    ),
    "NaN in a transform": (
        supplied_matrix(np.diag([np.nan, 1.0, 1.0])),
        CHECK,
        "to-colin27.h5",
        "write|number|not a",
    ),
    "labels of another shape": (
        tiff("00030.tif", PICTURE[:50] * 0),
        by_hand,
        r"\(50, 80\)",
        "correct a copy",
    ),
    "a label of no tissue": (
        tiff("00030.tif", PICTURE * 0 + 7),
        by_hand,
        "the value 7",
        "use 0 background",
    ),
    "supplied tissue in 4D": (
        ready_tissue(np.zeros((9, 9, 9, 3), np.uint8)),
        CHECK,
        r"B01.tissue.nii.gz: of shape \(9, 9, 9, 3\)",
        "is three-dimensional",
    ),
    "supplied tissue of other labels": (
        ready_tissue(np.full((9, 9, 9), 3, np.uint8)),
        CHECK,
        "B01.tissue.nii.gz: .*values 3 to 3",
        "contains only 0 .background., 1",
    ),
    "probabilities for tissue": (
        ready_tissue(np.full((9, 9, 9), 0.4, np.float32)),
        CHECK,
        "B01.tissue.nii.gz: .*values 0.4 to 0.4",
        "contains only 0",
    ),
    "unreadable supplied tissue": (
        written("manual/B01/tissue.nii.gz", b"hello"),
        CHECK,
        "B01.tissue.nii.gz",
        "not a readable NIfTI",
    ),
    "unreadable supplied surface": (
        written("manual/B01/hemi-L_mid.surf.gii", b"hello"),
        CHECK,
        "hemi-L_mid.surf.gii",
        "not a readable GIfTI surface",
    ),
    "another program's obj": (
        written("manual/B01/hemi-L_mid.obj", b"v 0 0 0\nf 1 1 1\n"),
        CHECK,
        "hemi-L_mid.obj: not a surface in MNI's .obj",
        "as .surf.gii",
    ),
    "pial without white": (
        written("manual/B01/hemi-R_pial.surf.gii", b""),
        CHECK,
        "hemi-R_pial.surf.gii",
        "add hemi-R_white.surf.gii",
    ),
    # config and template
    "misspelt key": (
        setting("alignment", "neighbors", 2),
        checked_config,
        "alignment.neighbors is unknown",
        "allow",
    ),
    "value out of range": (
        setting("study", "chunk_span", 0),
        checked_config,
        "study.chunk_span is 0",
        "give a whole number of at least 1",
    ),
    "a number as text": (
        setting("alignment", "max_ratio", "8e-1"),
        checked_config,
        "alignment.max_ratio is '8e-1'",
        r"YAML reads 8e-1 as text: write 0\.8",
    ),
    "a key that stands twice": (
        written("config/config.yaml", b"study:\n  audit: true\n  audit: false\n"),
        checked_config,
        "the key 'audit' stands twice",
        "remove one",
    ),
    "no YAML": (
        written("config/config.yaml", b"study: [1"),
        checked_config,
        "config.yaml: not r",
        "correct",
    ),
    "atlas without its table": (
        setting("template", "areas", None),
        checked_config,
        "template.atlas",
        "both or neither",
    ),
    "unnamed label": (
        template("atlas", np.full((9, 9, 9), 5, np.int16)),
        read_areas,
        "5",
        "name|add|table",
    ),
    "tissue of other labels": (
        template("tissue", np.full((9, 9, 9), 5, np.int16)),
        CHECK,
        "values 5 to 5",
        "contains only 0",
    ),
    # a brain that is added
    "no image in the folder": (
        nothing,
        (*ADD, "--images", "STUDY/config"),
        "holds no image",
        "use one of .bif, .btf",
    ),
    "no folder": (nothing, (*ADD, "--images", "STUDY/scan"), "scan: not found", "give the"),
    "a brain added twice": (
        nothing,
        ("add-brain", "B01", "--study", "STUDY", "--images", "STUDY/images"),
        "brain B01 has 3 rows already",
        "remove them",
    ),
    "a name that is no folder": (
        nothing,
        ("add-brain", "B/1", "--study", "STUDY", "--images", "STUDY/images"),
        "brain 'B/1'",
        "use only letters",
    ),
    "a sidecar that is not JSON": (bids("{"), BIDS, "BF.json: not a readable JSON", "correct it"),
    "a unit of no length": (
        bids({"PixelSize": [1, 1], "PixelSizeUnits": "px"}),
        BIDS,
        "1 px",
        "mm, um or nm",
    ),
    "a sidecar that contradicts": (
        bids({"PixelSize": [64, 64], "PixelSizeUnits": "nm"}),
        BIDS,
        "a factor of 1000",
        "correct",
    ),
    "a table that names no file": (
        written("lab.csv", b"section,image\n1,x\n"),
        (*ADD, "--images", "STUDY/images", "--table", "STUDY/lab.csv"),
        "'x'",
        "remove the row",
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_bad_input_is_named_and_nothing_is_written(kind: str, tmp_path: Path, capsys) -> None:
    spoil, act, names, remedy = CASES[kind]
    study = SmallStudy(tmp_path / "study")
    spoil(study)
    before = snapshot(study.folder)
    if isinstance(act, tuple):
        words = [word.replace("STUDY", str(study.folder)) for word in act]
        assert command_line.main(words) == 1
        printed = capsys.readouterr()
        said = printed.out + printed.err
    else:
        with pytest.raises(InputError) as refused:
            act(study)
        said = str(refused.value)
    assert re.search(names, said, re.DOTALL), said
    assert re.search(remedy, said, re.DOTALL), said
    assert "Traceback" not in said
    assert snapshot(study.folder) == before


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_there_are_kinds_enough() -> None:
    assert len(CASES) >= 25
