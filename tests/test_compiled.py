"""Compiled code is cached wherever the package lies, and every job finds a folder for it."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from empty_study import ROOT

MODULES = [path for path in (ROOT / "cytopipe").rglob("*.py") if "numba" in path.read_text()]
KERNEL = """
import numpy
from cytopipe.numerics.histograms import mean
print(mean(numpy.full((2, 3), 7, numpy.uint8), numpy.ones((2, 3), bool)))
"""


def test_every_kernel_is_kept() -> None:
    kernels = 0
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            for decorator in getattr(node, "decorator_list", []):
                words = ast.unparse(decorator)
                if words.split("(")[0].split(".")[-1] in (
                    "njit",
                    "jit",
                    "vectorize",
                    "guvectorize",
                ):
                    kernels += 1
                    assert "cache=True" in words, f"{path.name}:{node.lineno}: {words}"
    assert kernels > 40


def copy_of_a_kernel(folder: Path) -> Path:
    """The part of the package that `KERNEL` needs."""
    for name in ("__init__.py", "compiled.py", "numerics/__init__.py", "numerics/histograms.py"):
        (folder / "cytopipe" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "cytopipe" / name, folder / "cytopipe" / name)
    return folder


def run(package: Path, home: Path, temporary: Path) -> str:
    temporary.mkdir(exist_ok=True)
    places = {"PYTHONPATH": str(package), "HOME": str(home), "TMPDIR": str(temporary)}
    kept_out = ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")
    env = {key: value for key, value in os.environ.items() if key not in kept_out} | places
    done = subprocess.run(
        [sys.executable, "-B", "-c", KERNEL], cwd=package, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("place", ["beside", "home", "temporary"])
def test_compiled_code_finds_a_place(tmp_path: Path, place: str) -> None:
    """Beside the modules, else in the home folder, else in a temporary folder."""
    package = copy_of_a_kernel(tmp_path / "package")
    home, temporary = tmp_path / "home", tmp_path / "temporary"
    if place != "beside":
        # a file where a folder should be: not even root can write into it
        for folder in (package / "cytopipe", package / "cytopipe" / "numerics"):
            (folder / "__pycache__").touch()
    if place == "temporary":
        home.touch()
    else:
        home.mkdir()
    assert run(package, home, temporary) == "7.0\n"
    kept = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*.nbi")}
    assert kept == {{"beside": "package"}.get(place, place)}
