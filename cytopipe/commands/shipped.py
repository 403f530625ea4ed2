"""`python -m cytopipe shipped`: show where the workflow, its config and its profiles lie."""

import argparse

from cytopipe.files import require, shipped

EXAMPLES = "Snakefile, config/config.yaml, config/presets/demo.yaml, slurm or local"


def run(arguments: list[str]) -> int:
    """Print the path of a file or folder that comes with cytopipe."""
    parser = argparse.ArgumentParser("cytopipe shipped", description=run.__doc__)
    parser.add_argument("name", help=f"its name in the repository, such as {EXAMPLES}")
    options = parser.parse_args(arguments)
    print(require(shipped(options.name), f"name a file such as {EXAMPLES}"))
    return 0
