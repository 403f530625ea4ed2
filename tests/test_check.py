"""The check of a study: a correct study passes, and the check names what a test has broken."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from slide_files import write_aperio
from small_study import COLUMNS, HEAD, NUMBERS, PICTURE, ROWS, SPACING_UM, SmallStudy

from cytopipe import __main__ as command_line
from cytopipe.commands.check import scans
from cytopipe.formats import transforms
from cytopipe.formats.images import write_pyramid


@pytest.fixture
def study(tmp_path: Path) -> SmallStudy:
    return SmallStudy(tmp_path / "study")


def check(study: SmallStudy) -> tuple[int, pd.DataFrame]:
    table = study.folder / "check.tsv"
    status = command_line.main(["check", "--study", str(study.folder), "--table", str(table)])
    return status, pd.read_csv(table, sep="\t", dtype=str, keep_default_na=False)


def test_a_study_in_order(study: SmallStudy, capsys) -> None:
    status, found = check(study)
    said = capsys.readouterr().out
    assert status == 0, said
    assert not found["level"].isin(["error", "warning"]).any(), found
    ok = found[(found["subject"] == "scan") & (found["level"] == "ok")]
    assert ok["section"].tolist() == [str(n) for n in NUMBERS]
    assert "80 x 60 px of 64 um, 3 levels to 256 um, uint8, gray" in ok["finding"].iloc[0]
    assert "3 scan" in said and "2 template" in said and "warnings: 0" in said
    assert "removes 21.4 % of the tissue" in found.loc[found["subject"] == "mask", "finding"].item()
    estimates = found.loc[found["subject"] == "estimate", "finding"]
    assert estimates.iloc[0].split(":")[0] == "segmentation"
    assert "up to the points" in estimates.iloc[-1]


def other_size(study: SmallStudy) -> None:
    study.rows[1] = study.rows[1].replace("\t64\t", "\t0.064\t")
    study.write_rows()


def one_image_twice(study: SmallStudy) -> None:
    study.rows[1] = study.rows[1].replace("images/30", "images/15")
    study.write_rows()


def thickness_in_mm(study: SmallStudy) -> None:
    study.rows = [row.replace("\t100", "\t0.02") for row in study.rows]
    study.write_rows()


def no_file(study: SmallStudy) -> None:
    study.image(30).unlink()


def half_a_file(study: SmallStudy) -> None:
    content = study.image(30).read_bytes()
    study.image(30).write_bytes(content[: len(content) // 2])


def too_fine(study: SmallStudy) -> None:
    study.config["segmentation"]["spacing_um"] = 32
    study.write_config()


def labels_of_another_size(study: SmallStudy) -> None:
    path = study.manual / "segmentation" / "00030.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, np.zeros((ROWS, COLUMNS - 9), np.uint8))


def labels_of_four_kinds(study: SmallStudy) -> None:
    labels_of_another_size(study)
    path = study.manual / "segmentation" / "00030.tif"
    tifffile.imwrite(path, np.full((ROWS, COLUMNS), 3, np.uint8))


def labels_of_no_section(study: SmallStudy) -> None:
    labels_of_another_size(study)
    path = study.manual / "segmentation" / "00030.tif"
    path.rename(path.with_name("30.tif"))


def mask_elsewhere(study: SmallStudy) -> None:
    study.volume("manual/B01/exclusion.nii.gz", np.ones((9, 9, 9), np.uint8), 1.0, 200.0)


def mask_of_everything(study: SmallStudy) -> None:
    study.volume("manual/B01/exclusion.nii.gz", np.ones((30, 30, 30), np.uint8))


def two_masks(study: SmallStudy) -> None:
    (study.manual / "exclusion.seg.nrrd").touch()


def mask_of_three_channels(study: SmallStudy) -> None:
    study.volume("manual/B01/exclusion.nii.gz", np.ones((9, 9, 9, 3), np.uint8))


def broken_transform(study: SmallStudy) -> None:
    (study.manual / "to-colin27.h5").write_bytes(b"nothing")


def chain_to_nowhere(study: SmallStudy) -> None:
    np.savetxt(study.manual / "m.txt", np.eye(4))
    (study.manual / "transforms.tsv").write_text(
        "from\tto\tfile\ttype\tmoves\tframe\nstack\tmni\tm.txt\tmatrix\tpoints\tRAS\n"
    )


def transforms_of(study: SmallStudy, section: str, matrix: np.ndarray) -> None:
    np.savetxt(study.manual / "m.txt", matrix)
    (study.manual / "transforms.tsv").write_text(
        "section\tfrom\tto\tfile\ttype\tmoves\tframe\n"
        f"{section}\tstack\tcolin27\tm.txt\tmatrix\tpoints\tRAS\n"
    )


def transform_to_elsewhere(study: SmallStudy) -> None:
    matrix = np.eye(4)
    matrix[1, 3] = 900.0
    transform = transforms.affine_transform(matrix, "B01", "colin27")
    transforms.write(transform, study.manual / "to-colin27.h5")


def section_elsewhere(study: SmallStudy) -> None:
    transforms_of(study, "30", np.eye(4) + np.eye(4, k=3) * -900)


def half_outside(study: SmallStudy) -> None:
    """The stack's volume is there: 6 of its 14 mm of tissue lie in the template's 8 mm."""
    tissue = np.zeros((20, 20, 20), np.uint8)
    tissue[3:17, 3:17, 3:17] = 1
    study.volume("results/reconstruction/B01/tissue.nii.gz", tissue)
    transforms_of(study, "", np.eye(4))


def corrected_number(study: SmallStudy) -> None:
    (study.manual / "sections.tsv").write_text("section\tmirrored\n16\tyes\n")


def atlas_elsewhere(study: SmallStudy) -> None:
    study.volume("template/atlas.nii.gz", np.ones((9, 9, 9), np.int16), 1.0, 500.0)


def atlas_without_a_name(study: SmallStudy) -> None:
    study.volume("template/atlas.nii.gz", np.full((9, 9, 9), 7, np.int16))


def no_white_matter(study: SmallStudy) -> None:
    study.volume("template/tissue.nii.gz", np.ones((9, 9, 9), np.uint8))


def no_template(study: SmallStudy) -> None:
    (study.folder / "template" / "tissue.nii.gz").unlink()


def unknown_key(study: SmallStudy) -> None:
    study.config["segmentation"]["spacing"] = 64
    study.write_config()


@pytest.mark.parametrize(
    ("spoil", "subject", "section", "finding", "remedy"),
    [
        (
            other_size,
            "spacing",
            "30",
            "say 64 um per pixel, .* 0.064: a factor of 1000",
            "spacing_um",
        ),
        (one_image_twice, "same scans", "30", "the image of sections 15 and 30", "correct `image`"),
        (thickness_in_mm, "thickness", "", "0.02 um; 20 um given in mm", "correct thickness_um"),
        (no_file, "scan", "30", "30.ome.tif: not found", "correct `image` of section 30 of brain"),
        (half_a_file, "scan", "30", "30.ome.tif: ", "scan or copy it again"),
        (too_fine, "spacing", "", "segmentation.spacing_um is 32 um, and 3 scans", "set segment"),
        (
            labels_of_another_size,
            "manual",
            "30",
            r"has the shape \(60, 71\), .*\(60, 80\)",
            "a copy",
        ),
        (labels_of_four_kinds, "manual", "30", "contains the value 3", "use 0 background"),
        (labels_of_no_section, "manual", "", "30.tif: there is no such section", "00420.tif"),
        (mask_elsewhere, "mask", "", "removes 0.0 % of the tissue", "draw it on .*whole.nii.gz"),
        (mask_of_everything, "mask", "", "removes 100.0 %", "invert the mask"),
        (two_masks, "mask", "", "two masks", "delete one"),
        (mask_of_three_channels, "mask", "", "a volume is three-dimensional", "one label map"),
        (broken_transform, "manual", "", "to-colin27.h5", ""),
        (chain_to_nowhere, "manual", "", "the chain ends in 'mni', but the template is", "add the"),
        (
            transform_to_elsewhere,
            "manual",
            "",
            "to-colin27.h5: puts 100 % of the brain outside the template, its mid.*90[0-9], ",
            "their unit",
        ),
        (
            section_elsewhere,
            "manual",
            "",
            "transforms.tsv: section 30: puts 100 % of the brain outside",
            "unit",
        ),
        (
            half_outside,
            "manual",
            "",
            "transforms.tsv: puts 9[0-9] % of the brain outside the template",
            "unit",
        ),
        (corrected_number, "manual", "", "there is no section 16", "correct the number"),
        (atlas_elsewhere, "template", "", "1 areas, 0 % on gray matter", "one template"),
        (atlas_without_a_name, "template", "", "atlas.nii.gz", ""),
        (no_white_matter, "template", "", "has no white matter", "label gray matter 1"),
        (no_template, "template", "", "tissue.nii.gz: not found", "correct template.tissue"),
        (unknown_key, "config", "", "segmentation.spacing is unknown", "allowed keys"),
    ],
)
def test_what_was_spoiled_is_named(
    study: SmallStudy,
    capsys,
    spoil: Callable[[SmallStudy], None],
    subject: str,
    section: str,
    finding: str,
    remedy: str,
) -> None:
    spoil(study)
    status, found = check(study)
    assert status == 1
    errors = found[found["level"] == "error"]
    assert errors["subject"].tolist() == [subject], errors
    (row,) = errors.to_dict("records")
    assert row["section"] == section
    assert pd.Series([row["finding"]]).str.contains(finding).all(), row
    assert pd.Series([row["remedy"]]).str.contains(remedy).all(), row
    said = capsys.readouterr().out
    assert f"error: {subject}" in said and "errors: 1, warnings: " in said


def test_the_check_goes_on_after_a_broken_file(study: SmallStudy) -> None:
    names = ["template/tissue.nii.gz", "template/atlas.nii.gz", "manual/B01/tissue.nii.gz"]
    for name in names:
        study.volume(name, np.ones((9, 9, 9), np.int16))
        path = study.folder / name
        path.write_bytes(path.read_bytes()[:-4])
    status, found = check(study)
    assert status == 1
    errors = found[found["level"] == "error"]["finding"].tolist()
    assert sorted(error.split(":")[0] for error in errors) == sorted(
        str(study.folder / name) for name in names
    )


def test_what_is_only_odd_warns(study: SmallStudy) -> None:
    (study.manual / "exclusion.nii.gz").rename(study.manual / "mask.nii.gz")
    (study.folder / "manual" / "B99").mkdir()
    study.rows.append("B01\t52\timages/52.ome.tif\t64\t100")
    study.scan(52)
    study.write_rows()
    status, found = check(study)
    assert status == 0
    warned = found[found["level"] == "warning"]
    told = " ".join(warned["finding"])
    assert "1 are off the step of 15: 52" in told
    assert "mask.nii.gz: is not read" in told and "B99: there is no such brain" in told
    assert "the run stops at the reconstruction" in told
    assert len(warned) == 4
    study.config["study"]["missing_exclusion"] = "go_on"
    study.write_config()
    assert (check(study)[1]["level"] == "warning").sum() == 3


def test_a_black_half_of_a_bright_slide_warns(study: SmallStudy) -> None:
    image = np.full((ROWS, COLUMNS), 230, np.uint8)
    image[15:45, 10:30] = 90
    image[:, 40:] = 0
    write_pyramid(image, study.image(30), 64.0, 256.0)
    status, found = check(study)
    assert status == 0
    (row,) = found[found["finding"].str.contains("exactly 0")].to_dict("records")
    assert (row["level"], row["section"]) == ("warning", "30")
    assert "50 % of its pixels are exactly 0, on a bright slide" in row["finding"]


def test_an_excluded_scan_may_be_broken(study: SmallStudy) -> None:
    half_a_file(study)
    study.sheet.write_text(
        study.sheet.read_text().replace("thickness_um\n", "thickness_um\texcluded\n")
    )
    study.sheet.write_text(
        "".join(
            line + ("\tyes\n" if line.startswith("B01\t30") else "\n")
            for line in study.sheet.read_text().splitlines()
        )
    )
    assert check(study)[0] == 0


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError()])
def test_the_check_goes_on_after_a_file_that_the_machine_cannot_read(
    study: SmallStudy, monkeypatch, error: Exception
) -> None:
    examine = scans.examine

    def failing(path: Path) -> object:
        if path.name.startswith("30"):
            raise error
        return examine(path)

    monkeypatch.setattr(scans, "examine", failing)
    status, found = check(study)
    assert status == 1
    of_scans = found[found["subject"] == "scan"].set_index("section")
    assert of_scans["level"].to_dict() == {"15": "ok", "30": "error", "45": "ok"}
    assert re.search(r"images/30\S*: (.*Input/output|MemoryError)", of_scans["finding"]["30"])


def test_files_of_scanners_are_checked(study: SmallStudy) -> None:
    """One in order, one that a person wants to read in place, and a damaged one."""
    color = np.stack([PICTURE] * 3, axis=-1)
    for number in NUMBERS:
        write_aperio(study.folder / "images" / f"{number}.svs", color, SPACING_UM)
    path = study.folder / "images" / "45.svs"
    path.write_bytes(path.read_bytes()[:6000])
    study.rows = [f"B01\t{n}\timages/{n}.svs\t64\t100\t{'yes' * (n == 30)}" for n in NUMBERS]
    study.sheet.write_text(HEAD.rstrip() + "\tlevels\n" + "".join(f"{r}\n" for r in study.rows))
    status, found = check(study)
    assert status == 1
    wrong = found[found["level"] == "error"].set_index("section")
    assert wrong["subject"].to_dict() == {"30": "levels", "45": "scan"}
    assert "a scanner's own format, and it is to be read in place" in wrong["finding"]["30"]
    assert "images/45.svs" in wrong["finding"]["45"]
    assert (
        found.loc[found["finding"].str.startswith("pyramids: "), "finding"]
        .item()
        .startswith("pyramids: 1 jobs, 0 s on one core")
    )


def test_a_table_of_transforms_and_its_files_are_read(study: SmallStudy) -> None:
    chain_to_nowhere(study)
    table = study.manual / "transforms.tsv"
    table.write_text(table.read_text().replace("mni", "colin27"))
    status, found = check(study)
    assert status == 0
    said = found.loc[found["subject"] == "manual", "finding"]
    assert said.str.contains("transforms.tsv: a transform of the brain, 0 sections with").any()
    assert not said.str.contains("is not read").any()
