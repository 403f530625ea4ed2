"""Print requirements.lock: what pyproject.toml needs, at the versions of the running environment.

Run it with `make lock` after you changed the environment and the tests passed.
A resolver cannot make this file: antspyx 0.6 declares numpy < 2.4 and scipy < 1.16 but works with
newer ones, and the Slurm plugin needs numpy >= 2.4.5. This is also why pip gets `--no-deps`.
"""

import importlib.metadata
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

BUILD = ["setuptools"]  # builds the package itself; torch asks for it from Python 3.12


def main() -> None:
    """Write the lock to standard output."""
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + sum(project["optional-dependencies"].values(), []) + BUILD
    versions: dict[str, str] = {}
    to_visit = [Requirement(text) for text in wanted]
    visited: set[str] = set()
    while to_visit:
        requirement = to_visit.pop()
        if str(requirement) in visited:
            continue
        visited.add(str(requirement))
        found = importlib.metadata.distribution(requirement.name)
        # 2.13.0+cpu and 2.13.0 are the same release, built for other machines
        versions[canonicalize_name(requirement.name)] = found.version.partition("+")[0]
        for text in found.requires or []:
            needed = Requirement(text)
            extras = [*requirement.extras, ""]
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras):
                to_visit.append(needed)
    print("# Made by `make lock`; installed with `pip install --no-deps` (see envs/lock.py).")
    for name in sorted(versions):
        print(f"{name}=={versions[name]}")


if __name__ == "__main__":
    main()
