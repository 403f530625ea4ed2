"""`python -m cytopipe check`: what can be known before a run."""

import argparse
from pathlib import Path

from cytopipe.files import require
from cytopipe.formats import config as study_config
from cytopipe.formats.sections import read_brains, read_sections


def run(arguments: list[str]) -> int:
    """Check a study's config, its tables, and that every file they name is there."""
    parser = argparse.ArgumentParser("cytopipe check", description=run.__doc__)
    parser.add_argument("--study", type=Path, default=Path(), help="study folder; here by default")
    study: Path = parser.parse_args(arguments).study

    path = study / "config" / "config.yaml"
    config = study_config.read(path)
    study_config.check(config, study_config.SCHEMAS, str(path))
    roles = read_brains(study / "config" / "brains.tsv")
    sections = read_sections(study / "config" / "sections.tsv", brains=list(roles))
    study_config.check_brains(sections, roles)
    for section in sections:
        require(
            study / section.image,
            f"correct `image` of section {section.section} of brain {section.brain} "
            "in config/sections.tsv, or remove the row",
        )
    for key in ("tissue", "atlas", "areas"):
        if config["template"][key] is not None:
            require(study / config["template"][key], f"correct template.{key} in {path}")
    print(f"{study}: config, {len(roles)} brains and {len(sections)} sections are in order")
    return 0
