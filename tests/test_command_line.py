"""`python -m cytopipe`: stages without Snakemake, checks of studies, and helpful errors."""

import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml

import cytopipe
from cytopipe import __main__ as command_line
from cytopipe import logs, midline
from cytopipe.commands.phantom import write_config
from cytopipe.formats import images, tables
from cytopipe.study import config as study_config

ROOT = Path(__file__).parents[1]


def test_an_unknown_command_is_refused(capsys) -> None:
    assert command_line.main(["segmentatoin"]) == 2
    assert "unknown command 'segmentatoin'" in capsys.readouterr().err
    assert command_line.main(["alignment-triples"]) == 1
    assert "alignment-pairs" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0_5", "nan", "inf", "1,5", "٣"])
def test_a_number_of_an_option_is_plain(value: str, capsys) -> None:
    """Python would read 0_5 as 5."""
    for words, option in (
        (("add-brain", "B01", "--images", "."), "--spacing-um"),
        (("add-brain", "B01", "--images", "."), "--thickness-um"),
        (("template", "colin27"), "--min-probability"),
        (("export", "--format", "gifti"), "--seed"),
        (("alignment-pairs",), "--chunk-span"),
    ):
        with pytest.raises(SystemExit):
            command_line.main([*words, option, value])
        assert f"argument {option}: invalid" in capsys.readouterr().err


def test_help_describes_every_command_and_stage_in_a_line(capsys) -> None:
    assert command_line.main(["--help"]) == 0
    said = capsys.readouterr().out
    for name in (*command_line.COMMANDS, *command_line.STAGES):
        assert re.search(rf"^  {name} +\w+,? \w+.*[^.:\n]$", said, re.MULTILINE), name


def test_the_version_is_that_of_the_package(capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        command_line.main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"cytopipe {cytopipe.__version__}\n"


def test_quiet_leaves_out_progress_and_verbose_adds_the_place_of_an_error(capsys) -> None:
    assert command_line.main(["-q", "config", "--defaults"]) == 0
    assert "study:" in capsys.readouterr().out
    logs.info("half is done")
    assert capsys.readouterr().err == ""
    assert command_line.main(["-v", "alignment-triples"]) == 1
    assert "Traceback" in capsys.readouterr().err
    logs.info("half is done")
    assert "half is done" in capsys.readouterr().err


def parts_of(stage: str) -> list[str]:
    """The commands of a stage: `alignment-pairs` runs `alignment.run_pairs`."""
    module = importlib.import_module(f"cytopipe.{stage}")
    runs = [name for name in dir(module) if name == "run" or name.startswith("run_")]
    return [(stage + run.removeprefix("run")).replace("_", "-") for run in runs]


@pytest.mark.parametrize("stage", command_line.STAGES)
def test_help_describes_every_option_of_a_stage(stage: str, capsys) -> None:
    for command in parts_of(stage):
        with pytest.raises(SystemExit) as stopped:
            command_line.main([command, "--help"])
        assert stopped.value.code == 0
        told = capsys.readouterr().out
        options = re.split(r"\n  (?=--)", told.partition("\noptions:\n")[2].partition("\n\n")[0])
        for option in options[1:]:
            # behind the name and its placeholder, on this line or the next
            assert re.search(r"\S(  +|\n +)\S", option), f"{command}: {option}"
        if "--config" in told:
            assert "values of the config:" in told


def test_help_gives_unit_range_and_meaning_of_every_value(capsys) -> None:
    with pytest.raises(SystemExit):
        command_line.main(["midsurface", "--help"])
    told = capsys.readouterr().out
    assert "edge_mm [mm]: a number above 0" in told
    assert "The target length of the surface's edges" in told


def test_an_argument_of_few_values_takes_these_alone(capsys) -> None:
    for value, said in (("R", "required: --brain"), ("X", "invalid choice: 'X'")):
        with pytest.raises(SystemExit):
            command_line.main(["coordinates", "--image-right", value])
        assert said in capsys.readouterr().err


def test_a_stage_runs_without_snakemake(tmp_path: Path) -> None:
    """Segmentation of a disc, from the command line."""
    rows, columns = np.mgrid[:200, :200]
    disc = np.hypot(rows - 100, columns - 100) < 70
    noise = np.random.default_rng(0).integers(0, 12, disc.shape)
    image = np.where(disc, 110, 235).astype(np.uint8) + noise.astype(np.uint8)
    scan = tmp_path / "a.ome.tif"
    images.write_pyramid(image, scan, 256, 512)
    (tmp_path / "sections.tsv").write_text(
        "brain\tsection\timage\tspacing_um\tthickness_um\n"
        f"B01\t15\t{scan}\t256\t20\nB01\t30\t{scan}\t256\t20\nB02\t15\t{scan}\t256\t20\n"
    )
    config = study_config.read(ROOT / "config" / "config.yaml")
    config["segmentation"]["spacing_um"] = 256
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    status = command_line.main(
        ["segmentation", "--sections", str(tmp_path / "sections.tsv"), "--select", "B01:15"]
        + ["--images", str(scan), "--labels", str(tmp_path / "labels.tif")]
        + ["--table", str(tmp_path / "a.parquet"), "--config", str(tmp_path / "config.yaml")]
    )
    assert status == 0
    found = tables.read(tables.SegmentationRow, tmp_path / "a.parquet")
    assert found["section"].tolist() == [15]
    tissue = images.read_labels(tmp_path / "labels.tif", 0) > 0
    assert (tissue == disc).mean() > 0.97


def test_lists_and_mappings_of_files_are_taken_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, object] = {}

    def run_parts(
        *,
        parts: Sequence[Path],
        brains: Mapping[str, Path],
        maps: Mapping[str, Sequence[Path]],
        none: Mapping[str, Path],
        final: Path | None,
    ) -> None:
        given.update(parts=parts, brains=brains, maps=maps, none=none, final=final)

    monkeypatch.setattr(midline, "run_parts", run_parts, raising=False)
    words = "--parts a b --brains B01=x B02=y --maps L=1,2 R=3 --none"
    assert command_line.main(["midline-parts", *words.split()]) == 0
    assert given == {
        "parts": [Path("a"), Path("b")],
        "brains": {"B01": Path("x"), "B02": Path("y")},
        "maps": {"L": [Path("1"), Path("2")], "R": [Path("3")]},
        "none": {},
        "final": None,
    }


def test_status_prints_the_truth_table(tmp_path: Path, capsys) -> None:
    report = tmp_path / "results" / "report"
    report.mkdir(parents=True)
    assert command_line.main(["status", "--study", str(tmp_path)]) == 0
    assert "is not made yet" in capsys.readouterr().out
    (report / "index.html").touch()
    (report / "truth.tsv").write_text(
        "metric\tbrain\tvalue\tunit\tgoal\tmet\n"
        "dice gray\tB01\t0.95\t\tat least 0.92\tyes\ndice white\tB01\t0.9\t\tat least 0.97\tno\n"
        "drift\tB01\t0.4\tmm\t\t\n"
    )
    assert command_line.main(["status", "--study", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "goals met: 1 of 2" in said
    assert "dice white  at least 0.97  0.9 !" in said
    assert str(report / "index.html") in said


def test_a_study_config_is_the_repositorys_with_the_preset(tmp_path: Path) -> None:
    write_config(tmp_path, {"study": {"chunk_span": 77}}, "a preset")
    path = tmp_path / "config" / "config.yaml"
    written = study_config.read(path)
    assert written["study"]["chunk_span"] == 77
    assert list(written) == list(study_config.read(ROOT / "config" / "config.yaml"))
    before = path.stat().st_mtime_ns
    write_config(tmp_path, {"study": {"chunk_span": 77}}, "a preset")
    assert path.stat().st_mtime_ns == before  # the same config is not written again
