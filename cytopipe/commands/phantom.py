"""`python -m cytopipe phantom`: make a study of artificial brains whose truth is known."""

import argparse
from pathlib import Path
from typing import Any

from cytopipe.files import InputError, atomic_write, shipped
from cytopipe.study import config as study_config


def run(arguments: list[str]) -> int:
    """Make a study whose truth is known."""
    parser = argparse.ArgumentParser("cytopipe phantom", description=run.__doc__)
    parser.add_argument("--study", type=Path, required=True, help="the folder to create")
    parser.add_argument("--preset", type=Path, required=True, help="YAML, with a `phantom` section")
    options = parser.parse_args(arguments)

    preset = study_config.read(options.preset)
    if study_config.NOT_IN_A_STUDY not in preset:
        raise InputError(
            f"{options.preset}: has no `phantom` section; start from "
            f"{shipped('config/presets/demo.yaml')}"
        )
    values = study_config.take_phantom(preset)
    study_config.check_section("phantom", values, str(options.preset))

    from cytopipe import phantom as maker

    maker.run(study=options.study, params=study_config.Phantom(**values))
    write_config(options.study, preset, str(options.preset))
    return 0


def write_config(study: Path, preset: dict[str, Any], origin: str) -> None:
    """Write config/config.yaml of the study: that of the repository with the values of `preset`.

    Raises
    ------
    InputError
        If the result is not valid.
    """
    import yaml

    config = study_config.merge(study_config.read(study_config.DEFAULTS), preset)
    study_config.check(config, origin)
    text = (
        f"# config/config.yaml of the repository, where the keys are explained, with {origin}.\n"
        f"{yaml.safe_dump(config, sort_keys=False, width=100)}"
    )
    path = study / "config" / "config.yaml"
    if not path.exists() or path.read_text() != text:
        with atomic_write(path) as beside:
            beside.write_text(text)
