"""Put what a study needs from the repository into the wheel; all else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

# `cytopipe.files.shipped` finds them; MANIFEST.in names the same files
SHIPPED = ("Snakefile", "config/config.yaml", "config/presets", "workflow", "local", "slurm")


class BuildWithWorkflow(build_py):
    """The package, and inside it a folder `shipped` with the workflow, its config and profiles."""

    def run(self) -> None:
        """Build the package; an editable install reads the repository itself."""
        super().run()
        if self.editable_mode:
            return
        for name in SHIPPED:
            copy = Path(self.build_lib, "cytopipe", "shipped", name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            if Path(name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(name, copy, ignore=ignored, dirs_exist_ok=True)
            else:
                shutil.copy(name, copy)


setup(cmdclass={"build_py": BuildWithWorkflow})
