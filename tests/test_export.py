"""The command `export`: complete or absent, reproducible, and clear about missing results."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from cytopipe import __main__ as command_line
from cytopipe import export
from cytopipe.export import csv, nifti
from cytopipe.files import InputError, atomic_folder
from cytopipe.formats import tables


def run(study: Path, form: str, to: Path, *more: str) -> int:
    options = ["--study", str(study), "--format", form, "--to", str(to)]
    return command_line.main(["export", *options, "--brain", "B01", *more])


@pytest.mark.parametrize("form", list(export.FORMATS))
def test_an_export_has_a_readme_and_the_same_bytes_each_time(
    form: str, shell_study_folder: Path, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        assert run(shell_study_folder, form, tmp_path / name) == 0
    written = {
        name: {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("one", "two")
    }
    assert len(written["one"]) > 3
    assert written["one"] == written["two"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
    text = (tmp_path / "one" / "README.md").read_text()
    assert export.FORMATS[form][1:] in text
    assert "RAS mm" in text and "| B01 | 14 |" in text and "**shells**" in text


def test_a_spreadsheet_runs_no_cell(tmp_path: Path) -> None:
    names = ["=1+1", "+V1", "-V1", "@SUM(A1)", "V1", "4-a", "", "\t=1", "\uff1d1", "\n=1"]
    frame = pd.DataFrame({"area": names, "x_mm": [-1.5] * 10, "n": range(-3, 7)})
    csv.write_table(frame, tmp_path / "a.csv", ",", na="")
    read = pd.read_csv(tmp_path / "a.csv", keep_default_na=False)
    assert read["area"].tolist() == [
        "'=1+1", "'+V1", "'-V1", "'@SUM(A1)", "V1", "4-a", "", "'\t=1", "'\uff1d1", "'\n=1",
    ]  # fmt: skip
    assert (read["x_mm"] == -1.5).all() and read["n"].tolist() == list(range(-3, 7))
    assert frame["area"].tolist() == names


def test_a_missing_input_is_named_and_nothing_is_written(
    shell_study_folder: Path, tmp_path: Path, capsys
) -> None:
    options = ["--study", str(shell_study_folder), "--to", str(tmp_path / "out")]
    assert command_line.main(["export", *options, "--format", "csv"]) == 1
    message = capsys.readouterr().err
    assert "no points of B02" in message and "run snakemake --until coordinates" in message
    assert command_line.main(["export", *options, "--format", "csv", "--brain", "B03"]) == 1
    assert "has no brain 'B03'; use one of B01, B02" in capsys.readouterr().err
    arguments = [*options, "--format", "gifti", "--brain", "B01", "--run", "none"]
    assert command_line.main(["export", *arguments]) == 1
    assert "no features of the run 'none'" in capsys.readouterr().err
    for option, value in (("--clusters", "0"), ("--reach-mm", "-1")):
        arguments = [*options, "--format", "gifti", "--brain", "B01", option, value]
        assert command_line.main(["export", *arguments]) == 1
        assert f"{option} is {value}" in capsys.readouterr().err.replace("-1.0", "-1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("form", "file", "message"),
    [
        ("nifti", "midsurface/B01/depth.nii.gz", "no depth of B01"),
        ("gifti", "midsurface/B01/hemi-R_mid.surf.gii", "no surfaces of B01"),
        ("gifti", "coordinates/B01/to-shells.h5", "run snakemake --until coordinates"),
        ("geojson", "segmentation/B01/00000.tif", "no labels of B01"),
        ("csv", "alignment/B01/stack.parquet", "run snakemake --until alignment"),
    ],
)
def test_a_missing_result_stops_the_whole_export(
    form: str, file: str, message: str, shell_study_folder: Path, tmp_path: Path, capsys
) -> None:
    study = tmp_path / "study"
    shutil.copytree(shell_study_folder, study)
    (study / "results" / file).unlink()
    assert run(study, form, tmp_path / "out") == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


def test_points_of_another_template_are_refused(
    shell_study_folder: Path, tmp_path: Path, capsys
) -> None:
    study = tmp_path / "study"
    shutil.copytree(shell_study_folder, study)
    path = study / "config" / "config.yaml"
    path.write_text(path.read_text().replace("name: shells", "name: colin27"))
    assert run(study, "csv", tmp_path / "out") == 1
    assert "coordinates in shells, the config says colin27" in capsys.readouterr().err


def test_a_folder_that_is_not_empty_is_left_alone(
    shell_study_folder: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine")
    assert run(shell_study_folder, "csv", tmp_path / "out") == 1
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]
    (tmp_path / "empty").mkdir()
    assert run(shell_study_folder, "csv", tmp_path / "empty") == 0


def test_a_folder_is_complete_or_absent(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "out", replace=False) as beside:
        (beside / "half").write_text("written")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    refused = pytest.raises(InputError, match="already exists")
    with refused, atomic_folder(tmp_path / "file", replace=False):
        pass


def test_csv_reads_back_to_the_same_numbers_with_a_unit_for_each(
    shell_study_folder: Path, tmp_path: Path
) -> None:
    assert run(shell_study_folder, "csv", tmp_path / "out") == 0
    results = shell_study_folder / "results"
    for name, kind, path in (
        ("points", tables.PointRow, results / "coordinates" / "B01" / "points.parquet"),
        ("sections", tables.StackRow, results / "alignment" / "B01" / "stack.parquet"),
    ):
        table = pd.read_csv(
            tmp_path / "out" / f"B01_{name}.csv",
            dtype={column.name: column.dtype for column in tables.columns(kind)},
            keep_default_na=True,
        )
        expected = tables.read(kind, path)
        for name_of_text in ("area", "handedness"):
            if name_of_text in table:
                table[name_of_text] = table[name_of_text].fillna("")
        pd.testing.assert_frame_equal(table, expected, check_dtype=False)
        described = json.loads((tmp_path / "out" / f"B01_{name}.json").read_text())
        assert list(described) == list(table)
        for column in tables.columns(kind):
            assert described[column.name].get("Units", "") == column.unit


def test_every_format_has_a_page(tmp_path: Path) -> None:
    folder = Path(nifti.__file__).parent
    for form in export.FORMATS:
        assert (folder / f"{form}.py").exists() and (folder / f"{form}.md").exists()
        assert f"`{form}`" in (folder.parents[1] / "docs" / "export.md").read_text()
