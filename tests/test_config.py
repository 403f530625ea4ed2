"""The config: read, merged with presets, and checked against the models, which explain it."""

import copy
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cytopipe import __main__ as command_line
from cytopipe.files import InputError
from cytopipe.study import config as study_config
from cytopipe.study.sections import Section, check_brains

ROOT = Path(__file__).parents[1]
DEFAULTS = study_config.read(ROOT / "config" / "config.yaml")
PRESETS = sorted((ROOT / "config" / "presets").glob("*.yaml"))
MODELS = (study_config.Config, study_config.Phantom)
# blocks of the phantom that are off unless a preset names them
OFF = (
    study_config.Staining,
    study_config.DamageOptions,
    study_config.SlideOptions,
    study_config.HandlingOptions,
    study_config.Geometry,
)
SUFFIXES = {"mb": "MB"} | {u: u for u in ("um", "mm", "mm2", "mm3", "px", "deg", "rad", "voxels")}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The repository's config with another value."""
    config = copy.deepcopy(DEFAULTS)
    *places, key = path.split(".")
    mapping = config
    for place in places:
        mapping = mapping[place]
    mapping[key] = value
    return config


def test_the_repositorys_config_is_valid_and_kept_as_written() -> None:
    config = study_config.check(DEFAULTS)
    # 64 stays 64, although the type is float: records and digests of earlier results hold
    dumped = config.model_dump(exclude_unset=True)
    assert json.dumps(dumped) == json.dumps(DEFAULTS)
    part = DEFAULTS["segmentation"]
    assert json.dumps(study_config.Segmentation(**part).model_dump()) == json.dumps(part)


def test_config_yaml_has_every_value_with_the_unit_and_text_of_its_model() -> None:
    written = (ROOT / "config" / "config.yaml").read_text().splitlines()
    expected = study_config.commented(DEFAULTS).splitlines()
    for number, (line, wanted) in enumerate(zip(written, expected), start=1):
        assert line == wanted, (
            f"line {number}: write it with `cytopipe config --defaults > new.yaml`"
        )
    assert len(written) == len(expected)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_makes_a_valid_config(preset: Path) -> None:
    change = study_config.read(preset)
    phantom = study_config.take_phantom(change) if "phantom" in change else None
    config = study_config.check(study_config.merge(DEFAULTS, change))
    if phantom is not None:
        study_config.check_section("phantom", phantom, str(preset))
        # nobody draws a mask for a phantom: its run would stop and wait for a person
        assert config.study.missing_exclusion in ("go_on", "truth")


def places(values: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where a config holds a mapping, by the keys that lead there."""
    if not isinstance(values, dict):
        return []
    return [path, *(place for key in values for place in places(values[key], (*path, key)))]


@pytest.mark.parametrize("place", places(DEFAULTS)[1:], ids=".".join)
def test_no_mapping_lets_an_unknown_key_through(place: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="misspelt"):
        study_config.check(changed(".".join([*place, "misspelt"]), -1))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_value_is_described_with_the_unit_of_its_name(model: Any) -> None:
    for key in study_config.keys(model):
        name = key.path[-1]
        assert key.text.endswith((".", "):")), name
        if (suffix := name.rpartition("_")[2]) in SUFFIXES and "_" in name:
            assert key.unit == SUFFIXES[suffix], name


def test_no_model_has_a_hidden_default() -> None:
    def required(model: Any) -> None:
        for name, info in model.model_fields.items():
            if info.annotation in OFF:
                continue
            assert info.is_required(), f"{model.__name__}.{name}"
            if isinstance(info.annotation, type) and issubclass(
                info.annotation, study_config.ConfigSection
            ):
                required(info.annotation)

    for model in (*MODELS, study_config.DataSet):
        required(model)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("study.chunk_spam", 3, r" is unknown \(its value: 3\); allowed keys: chunk_span, "),
        ("study.chunk_span", 0, r" is 0; give a whole number of at least 1 \(A chunk holds"),
        ("study.chunk_span", 1.5, r" is 1\.5; give a whole number"),
        ("study.chunk_span", True, r" is True; give a whole number"),
        ("study.image_right", "X", r" is 'X'; give R or L \("),
        ("segmentation.max_failed", 2, r" is 2; give a number from 0 to 1 \("),
        ("segmentation.max_failed", "1e-3", r" is '1e-3'; .* YAML reads 1e-3 as text: .* 0\.001"),
        ("segmentation.max_failed", "0.1", r" is '0\.1'; .* write 0\.1 without quotes"),
        ("segmentation.spacing_um", float("nan"), r" is nan; give a number above 0 "),
        ("segmentation.spacing_um", float("inf"), r" is inf; give a number above 0 "),
        ("segmentation.spacing", 1, r" is unknown"),
        ("template.name", "mni\n", r" is 'mni\\n'; give text: letters, digits, _ and - "),
        (
            "template.tissue",
            "{brain}.nii.gz",
            r" is '{brain}.nii.gz'; give text: a path without braces",
        ),
        ("coordinates.anchoring_axes", "RAS\n", r" is 'RAS\\n'; give text: own or three letters"),
        ("template.name", "a/b", r" is 'a/b'; give text: letters, digits"),
        ("template.name", False, r" is False; .* YAML reads yes, no, on and off as false"),
        ("evaluation.areas.seeds", [1, 1], r" is \[1, 1\]; give a list .* no two alike"),
        ("evaluation.tasks.areas", "some", r" is 'some'; give all or a list"),
        ("evaluation.attention.areas", [], r" is \[\]; give a whole number .* or a list of 1 or m"),
        ("patches.datasets.areas.roles", ["sene"], r" is \['sene'\]; give .* seen, transfer or "),
        ("report.compare_with", "results/x", r" is 'results/x'; .*outside results/"),
        ("pretraining.runs.new", {"los": 1}, r"\.los is unknown .* allowed keys: architecture, "),
        ("pretraining.runs.new", {"optimiser": {"trust": 0}}, r"\.optimiser\.trust is 0; .* above"),
    ],
)
def test_a_wrong_value_is_named(path: str, value: Any, message: str) -> None:
    with pytest.raises(InputError, match=rf"^config/config\.yaml: {path}{message}"):
        study_config.check(changed(path, value))


@pytest.mark.parametrize(
    "path",
    [
        "pretraining.runs.profiles",
        "pretraining.runs.a-release",
        "patches.datasets.a b",
        "patches.datasets.layers",
        "patches.datasets.geodesic",
        "patches.datasets.a-transfer-b",
    ],
)
def test_a_name_that_is_not_allowed_is_named(path: str) -> None:
    mapping, _, name = path.rpartition(".")
    with pytest.raises(InputError, match=rf"{mapping} has the name .{name}.* \(.*digits"):
        study_config.check(changed(path, {}))


def test_an_atlas_needs_its_table() -> None:
    with pytest.raises(InputError, match=r"template\.areas is None; .* give both or neither"):
        study_config.check(changed("template.atlas", "template/atlas.nii.gz"))


def test_an_audit_reaches_as_far_for_handedness_as_for_order() -> None:
    with pytest.raises(InputError, match=r"audit\.order_reach is 9 and audit\.hand_reach is 4; "):
        study_config.check(changed("audit.order_reach", 9))


def test_a_missing_key_or_section_is_named() -> None:
    config = copy.deepcopy(DEFAULTS)
    del config["study"]["chunk_span"]
    with pytest.raises(InputError, match=r"study\.chunk_span is missing; add it \(A chunk holds"):
        study_config.check(config)
    del config["study"]
    with pytest.raises(InputError, match=r"section 'study' is missing"):
        study_config.check(config)


def test_a_misspelt_key_is_named_as_it_is_written() -> None:
    config = copy.deepcopy(DEFAULTS)
    config["alignment"]["max_featurs"] = config["alignment"].pop("max_features")
    with pytest.raises(InputError, match=r"alignment\.max_featurs is unknown .* max_features"):
        study_config.check(config, "config/config.yaml")


def test_an_unknown_section_is_named() -> None:
    for section in ("segmentatoin", "phantom"):
        with pytest.raises(InputError, match=rf"unknown section '{section}'; allowed: .*template"):
            study_config.check({**DEFAULTS, section: {}})


def test_merge_goes_into_mappings_and_replaces_lists() -> None:
    base = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    assert study_config.merge(base, {"a": {"y": [3]}, "c": 2}) == {
        "a": {"x": 1, "y": [3]},
        "b": 1,
        "c": 2,
    }
    assert base == {"a": {"x": 1, "y": [1, 2]}, "b": 1}


# aliases of aliases: a billion values in a few lines
BOMB = "a: &a [{}]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in itertools.pairwise("abcdefghijk")
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "not readable as YAML"),
        ("- 1", "holds no sections"),
        ("a: {x: 1, y: 2, x: 3}", "the key 'x' stands twice in one mapping; remove one"),
        ("a: 1\nb: 2\na: 3", "the key 'a' stands twice(.|\n)*line 3"),
        ("a: 0400", "0400 is not a plain decimal number; write it as one(.|\n)*line 1"),
        ("a: 0x10", "0x10 is not a plain decimal number"),
        ("a: 0b11", "0b11 is not a plain decimal number"),
        ("a: 1_000", "1_000 is not a plain decimal number"),
        ("a: 1:30", "1:30 is not a plain decimal number"),
        ("a: 1:30.5", "1:30.5 is not a plain decimal number"),
        ("a: [.nan]", ".nan is not a plain decimal number"),
        ("a: -.inf", "-.inf is not a plain decimal number"),
        ("a: 2020-13-45", "not a readable YAML file .month"),
        ("a: " + "9" * 5000, "not a readable YAML file"),
        ("? [a]\n: 1", "not readable as YAML|not a readable YAML file"),
        ("a: " + "[" * 500_000, "more than 50 levels"),
        ("".join(" " * depth + "a:\n" for depth in range(60)), "more than 50 levels"),
        ("a: [" + "1, " * 500_000 + "1]", "more than 1000000 characters"),
        (BOMB, "more than 1000000 characters and values"),
        (BOMB.replace("[", "{<<: [").replace("]", "]}"), "more than 1000000 characters and values"),
    ],
)
def test_a_file_that_is_not_a_config_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"config\.yaml: (.|\n)*{message}"):
        study_config.read(path)


def test_aliases_within_reason_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: &a {x: 1, y: [1, 2]}\nb: {<<: *a, x: 2}\nc: *a\n")
    assert study_config.read(tmp_path / "a.yaml")["b"] == {"x": 2, "y": [1, 2]}


def test_a_text_that_is_not_a_number_is_not_to_be_unquoted() -> None:
    with pytest.raises(InputError, match=r"voxel_mm is 'nan'; give a number above 0 .*10 \("):
        study_config.check(changed("reconstruction.voxel_mm", "nan"))


@pytest.mark.parametrize("path", ["pretraining.runs.run\n", "patches.datasets.a\n"])
def test_a_name_does_not_end_in_a_line_break(path: str) -> None:
    with pytest.raises(InputError, match=r"has the name '\w+\\n', which is not allowed"):
        study_config.check(changed(path, {}))


def test_brains_have_sections_and_names_that_can_be_folders() -> None:
    section = Section("B01", 15, "a.ome.tif", 1.0, 20.0)
    check_brains([section], {"B01": "seen"})
    with pytest.raises(InputError, match="brain 'B02' has no row in sections"):
        check_brains([section], {"B01": "seen", "B02": "seen"})
    for name in ("B/1", "B01\n", "-B01", "", "{brain}"):
        with pytest.raises(InputError, match=r"brains\.tsv: brain .*; use only letters"):
            check_brains([section], {name: "seen"})
    # what the workflow makes for the template, the study, and beside a brain's own files
    for name in (
        "template",
        "index",
        "Index",
        "truth",
        "patches-areas",
        "B01-proposal",
        "B01-projected",
    ):
        with pytest.raises(InputError, match=f"brain '{name}'; .* give another name"):
            check_brains([section], {name: "seen"})


def test_the_command_prints_schema_and_reference(capsys: pytest.CaptureFixture[str]) -> None:
    assert command_line.main(["config", "--schema", "--section", "midline"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["properties"]["spacing_mm"]["unit"] == "mm"
    assert schema["additionalProperties"] is False
    assert command_line.main(["config", "--schema"]) == 0
    assert list(json.loads(capsys.readouterr().out)["properties"]) == list(DEFAULTS)
    assert command_line.main(["config", "--reference"]) == 0
    reference = capsys.readouterr().out
    assert "| `spacing_um` | `64` | um | a number above 0 | The working resolution" in reference
    for model in MODELS:
        for key in study_config.keys(model):
            assert key.text.replace("|", "\\|") in reference


@pytest.mark.slow
def test_reading_the_config_imports_no_array_library() -> None:
    code = (
        "import sys, cytopipe.study.config;"
        "sys.exit(bool({'numpy', 'pandas', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.slow
def test_parts_of_learning_import_no_pydantic() -> None:
    """A benchmark on a GPU machine may lack it."""
    names = ("networks", "losses", "augmentation", "optimisers", "objectives")
    modules = ", ".join(f"cytopipe.learning.{name}" for name in names)
    code = f"import sys, {modules}; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
