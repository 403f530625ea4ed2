"""`python -m cytopipe config`: print the values that a config may have."""

import argparse
import json

from cytopipe.study import config as study_config


def run(arguments: list[str]) -> int:
    """Print the values that a config may have: as tables, a schema, or config.yaml itself."""
    sections = [*study_config.Config.model_fields, study_config.NOT_IN_A_STUDY]
    parser = argparse.ArgumentParser("cytopipe config", description=run.__doc__)
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--reference", action="store_true", help="tables in Markdown")
    form.add_argument("--schema", action="store_true", help="the JSON schema, for an editor")
    form.add_argument(
        "--defaults", action="store_true", help="config/config.yaml with the models' comments"
    )
    parser.add_argument("--section", choices=sections, help="one section; all by default")
    options = parser.parse_args(arguments)
    defaults = study_config.read(study_config.DEFAULTS)
    if options.defaults:
        print(study_config.commented(defaults), end="")
    elif options.reference:
        chosen = [options.section] if options.section else sections
        print(study_config.reference(defaults, chosen), end="")
    else:
        section = options.section
        model = study_config.section_model(section) if section else study_config.Config
        print(json.dumps(model.model_json_schema(), indent=2))
    return 0
