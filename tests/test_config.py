"""Config and presets: held against schemas, refused by name."""

import copy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from cytopipe.files import InputError
from cytopipe.study import config as study_config
from cytopipe.study.sections import Section

ROOT = Path(__file__).parents[1]
SCHEMAS = ROOT / "config" / "schemas"
DEFAULTS = study_config.read(ROOT / "config" / "config.yaml")
PRESETS = sorted((ROOT / "config" / "presets").glob("*.yaml"))


def test_the_repositorys_config_is_valid() -> None:
    study_config.check(DEFAULTS, SCHEMAS)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_every_preset_makes_a_valid_config(preset: Path) -> None:
    change = study_config.read(preset)
    phantom = change.pop("phantom", None)
    config = study_config.merge(DEFAULTS, change)
    study_config.check(config, SCHEMAS)
    if phantom is not None:
        study_config.check_section("phantom", phantom, SCHEMAS, str(preset))
        # nobody draws a mask for a phantom: its run would stop and wait for a person
        assert config["study"]["missing_exclusion"] == "go_on"


def places(values: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where a config holds a mapping, by the keys that lead there."""
    if not isinstance(values, dict):
        return []
    return [path, *(place for key in values for place in places(values[key], (*path, key)))]


@pytest.mark.parametrize("place", places(DEFAULTS)[1:], ids=".".join)
def test_no_mapping_lets_an_unknown_key_through(place: tuple[str, ...]) -> None:
    config = copy.deepcopy(DEFAULTS)
    mapping = config
    for key in place:
        mapping = mapping[key]
    mapping["misspelt"] = -1
    with pytest.raises(InputError, match="misspelt"):
        study_config.check(config, SCHEMAS)


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.yaml")), ids=lambda path: path.stem)
def test_schemas_are_schemas_and_describe_their_keys(path: Path) -> None:
    schema = study_config.read(path)
    Draft202012Validator.check_schema(schema)
    for name, key in schema["properties"].items():
        nested = {"properties", "$ref", "additionalProperties"} & set(key)
        assert nested or key.get("description"), f"{name} has no description"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("study", "chunk_spam", 3),
            r"study\.chunk_spam is unknown \(its value: 3\); allowed keys: ",
        ),
        (
            ("study", "chunk_span", 0),
            r"study\.chunk_span: 0 is less than the minimum of 1 \(section",
        ),
        (("study", "image_right", "X"), r"study\.image_right: 'X' is not one of \['R', 'L'\]"),
        (
            ("segmentation", "max_failed", "1e-3"),
            r"segmentation\.max_failed: '1e-3' is not of type",
        ),
        (("template", "name", "a/b"), r"template\.name: 'a/b' does not match"),
        (("segmentation", "spacing", 1), r"segmentation\.spacing is unknown"),
    ],
)
def test_a_wrong_value_is_named(change: tuple[str, str, Any], message: str) -> None:
    section, key, value = change
    config = copy.deepcopy(DEFAULTS)
    config[section][key] = value
    with pytest.raises(InputError, match=rf"^config/config\.yaml: {message}"):
        study_config.check(config, SCHEMAS)


def test_an_atlas_needs_its_table() -> None:
    config = copy.deepcopy(DEFAULTS)
    config["template"]["atlas"] = "template/atlas.nii.gz"
    with pytest.raises(InputError, match=r"template\.areas None; .* give both or neither"):
        study_config.check(config, SCHEMAS)


def test_a_missing_key_or_section_is_named() -> None:
    config = copy.deepcopy(DEFAULTS)
    del config["study"]["chunk_span"]
    with pytest.raises(InputError, match=r"study\.chunk_span is missing; add it \(section numbers"):
        study_config.check(config, SCHEMAS)
    del config["study"]
    with pytest.raises(InputError, match=r"section 'study' is missing"):
        study_config.check(config, SCHEMAS)


def test_an_unknown_section_is_named() -> None:
    for section in ("segmentatoin", "phantom"):
        with pytest.raises(InputError, match=rf"unknown section '{section}'; allowed: .*template"):
            study_config.check({**DEFAULTS, section: {}}, SCHEMAS)


def test_merge_goes_into_mappings_and_replaces_lists() -> None:
    base = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    assert study_config.merge(base, {"a": {"y": [3]}, "c": 2}) == {
        "a": {"x": 1, "y": [3]},
        "b": 1,
        "c": 2,
    }
    assert base == {"a": {"x": 1, "y": [1, 2]}, "b": 1}


def test_a_file_that_is_no_config_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("a: [1")
    with pytest.raises(InputError, match=r"config\.yaml: not readable as YAML"):
        study_config.read(path)
    path.write_text("- 1")
    with pytest.raises(InputError, match=r"config\.yaml: holds no sections"):
        study_config.read(path)


def test_brains_have_sections_and_names_that_can_be_folders() -> None:
    section = Section("B01", 15, "a.ome.tif", 1.0, 20.0)
    study_config.check_brains([section], {"B01": "seen"})
    with pytest.raises(InputError, match="brain 'B02' has no row in sections"):
        study_config.check_brains([section], {"B01": "seen", "B02": "seen"})
    with pytest.raises(InputError, match="brain 'B/1'; use letters"):
        study_config.check_brains([section], {"B/1": "seen"})
