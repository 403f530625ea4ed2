"""The wheel, installed where the repository is out of reach, makes a study and runs it."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import yaml
from empty_study import ROOT

from cytopipe.files import shipped
from cytopipe.study.config import Phantom

pytestmark = pytest.mark.slow

BUILT_FROM = ("pyproject.toml", "setup.py", "README.md", "LICENSE", "Snakefile")
BUILT_FROM += ("cytopipe", "config", "workflow", "local", "slurm")


class Installed:
    """A Python with the wheel and the packages that it depends on, but without the repository."""

    def __init__(self, folder: Path) -> None:
        self.elsewhere = folder / "elsewhere"
        self.elsewhere.mkdir()
        self.python = folder / "venv" / "bin" / "python"
        venv.create(folder / "venv", symlinks=True)
        install = [sys.executable, "-m", "pip", "--python", self.python, "install", "--no-index"]
        self.call(*install, "--no-deps", build_wheel(folder))
        packages = sysconfig.get_path("purelib", "venv", {"base": str(folder / "venv")})
        # This adds the packages of the tests to the path, but not the repository: Python does not
        # read the .pth files in a folder that a .pth file names.
        Path(packages, "tests.pth").write_text(sysconfig.get_path("purelib"))

    def call(self, *words: str | Path) -> str:
        """Run a program in a folder without a study; returns its standard output."""
        environment = {name: os.environ[name] for name in os.environ if name != "PYTHONPATH"}
        done = subprocess.run(
            words, cwd=self.elsewhere, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def cytopipe(self, *words: str | Path) -> str:
        return self.call(self.python.with_name("cytopipe"), *words)

    def snakemake(self, study: Path, *words: str) -> str:
        snakefile = self.cytopipe("shipped", "Snakefile").strip()
        call = [self.python, "-m", "snakemake", "--snakefile", snakefile, "--directory", study]
        return self.call(*call, *words)


def build_wheel(folder: Path) -> Path:
    """Build from a copy: setuptools leaves its folder `build` where it works."""
    copy = folder / "copy"
    copy.mkdir()
    for name in BUILT_FROM:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    # a study in the repository's own folder has its tables there
    (copy / "config" / "brains.tsv").write_text("brain\trole\n")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [*build, "--no-index", "--wheel-dir", folder, copy], check=True, capture_output=True
    )
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("wheel"))


def test_the_installed_package_is_the_one_that_runs(installed: Installed) -> None:
    said = installed.call(installed.python, "-c", "import cytopipe; print(cytopipe.__file__)")
    assert Path(said.strip()).is_relative_to(installed.python.parents[1])
    assert "reconstruction" in installed.cytopipe("--help")
    assert "voxel_mm [mm]" in installed.cytopipe("reconstruction", "--help")


def test_the_wheel_holds_what_a_study_needs_from_the_repository(installed: Installed) -> None:
    folder = Path(installed.cytopipe("shipped", "Snakefile").strip()).parent
    assert folder.is_relative_to(installed.python.parents[1])
    for name in ("Snakefile", "config/config.yaml", "config/presets", "workflow", "local", "slurm"):
        assert shipped(name) == ROOT / name
        assert contents(folder / name) == contents(ROOT / name)
    assert sorted(path.name for path in (folder / "config").iterdir()) == ["config.yaml", "presets"]


def contents(path: Path) -> dict[Path, bytes]:
    """The bytes of a file, or of each file below a folder, by its name."""
    files = [path] if path.is_file() else [file for file in path.rglob("*.*") if file.is_file()]
    sources = [file for file in files if file.suffix != ".pyc"]
    return {file.relative_to(path): file.read_bytes() for file in sources}


def test_a_study_is_made_and_run_with_the_installed_package(
    installed: Installed, params: Phantom, tmp_path: Path
) -> None:
    presets = Path(installed.cytopipe("shipped", "config/presets").strip())
    preset = yaml.safe_load((presets / "small.yaml").read_text())
    preset["phantom"] = params.model_dump(mode="json")
    balls, study = tmp_path / "balls.yaml", tmp_path / "study"
    balls.write_text(yaml.safe_dump(preset))
    installed.cytopipe("phantom", "--study", study, "--preset", balls)

    assert "evaluation_areas" in installed.snakemake(study, "-n", "--quiet", "rules")
    installed.snakemake(study, "--cores", "2", "--until", "segmentation")
    assert list((study / "results" / "segmentation" / "B01").glob("*.tif"))
