"""One lock, one list of steps: the environments of envs/ and the project's own pins agree."""

import importlib.metadata
import importlib.util
import re
import tomllib

import pytest
import yaml
from empty_study import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

LOCK = dict(
    line.split("==")
    for line in (ROOT / "requirements.lock").read_text().splitlines()
    if not line.startswith("#")
)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONDA = yaml.safe_load((ROOT / "envs" / "cytopipe.yaml").read_text())
DOCKER = (ROOT / "envs" / "Dockerfile").read_text()
APPTAINER = (ROOT / "envs" / "cytopipe.def").read_text()
STEPS = (ROOT / "envs" / "install.sh").read_text()


def test_the_tests_run_with_the_versions_of_the_lock() -> None:
    installed = {
        name: importlib.metadata.version(name).partition("+")[0]  # 2.13.0+cpu is 2.13.0
        for name in LOCK
    }
    assert installed == LOCK


def test_the_lock_holds_and_satisfies_what_the_project_asks_for() -> None:
    project = PROJECT["project"]
    for group in (project["dependencies"], *project["optional-dependencies"].values()):
        for text in group:
            wanted = Requirement(text)
            assert wanted.specifier.contains(LOCK[canonicalize_name(wanted.name)]), text


@pytest.mark.parametrize("name", ["Makefile", "README.md", "pyproject.toml", ".ci/run", "envs/*"])
def test_every_pin_elsewhere_is_that_of_the_lock(name: str) -> None:
    for path in ROOT.glob(name):
        for package, version in re.findall(r"([\w.-]+)==([\d.]*\d)", path.read_text()):
            assert LOCK[canonicalize_name(package)] == version, path


def test_every_environment_has_the_same_python() -> None:
    python = CONDA["dependencies"][0].removeprefix("python=")
    (docker,) = re.findall(r"^FROM (\S+)$", DOCKER, re.MULTILINE)
    (apptainer,) = re.findall(r"^From: (\S+)$", APPTAINER, re.MULTILINE)
    assert docker == apptainer
    assert docker.startswith(f"python:{python}-")
    assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(python)
    assert PROJECT["tool"]["mypy"]["python_version"] == python
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{python.replace('.', '')}"


def test_the_images_hold_the_same_files_and_take_the_same_steps() -> None:
    copied = {}
    for *sources, target in (line.split() for line in re.findall(r"^COPY (.+)$", DOCKER, re.M)):
        for source in sources:
            copied[source] = target if len(sources) == 1 else target + source
    files, _, post = APPTAINER.partition("%files\n")[2].partition("%post\n")
    assert dict(line.split() for line in files.splitlines() if line.strip()) == copied
    assert all((ROOT / source).exists() for source in copied)
    run = [line.strip() for line in post.splitlines() if line.strip()[:1] not in ("", "#")]
    assert run == re.findall(r"^RUN (.+)$", DOCKER, re.MULTILINE)
    assert "sh /opt/cytopipe/envs/install.sh" in run


def test_the_steps_are_those_of_make() -> None:
    """Apart from where things go; make has its own lines, since it says how long they take."""
    recipe = re.search(r"^\.venv/ready:.*?(?=^$)", (ROOT / "Makefile").read_text(), re.M | re.S)
    assert recipe is not None

    def steps(text: str) -> list[str]:
        lines = re.findall(r"(?<!@)python -m pip install (.+)|pip install (.+)", text)
        options = r"-qq |--disable-pip-version-check |--no-cache-dir "
        return [re.sub(options, "", first or second).replace("$$", "$") for first, second in lines]

    assert steps(recipe[0]) == steps(STEPS)
    assert len(steps(STEPS)) == 3


def test_conda_brings_the_system_libraries() -> None:
    spec = importlib.util.spec_from_file_location("libraries", ROOT / "envs/system_libraries.py")
    assert spec is not None and spec.loader is not None
    libraries = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(libraries)
    of_conda = {conda for _, conda in libraries.LIBRARIES.values()}
    _, *others = CONDA["dependencies"]
    assert sorted(others) == sorted({*of_conda, "pip", "cxx-compiler"})
    assert libraries.missing(browser=False) == []
    assert "python envs/system_libraries.py\n" in STEPS


def test_the_snakefile_names_the_image_that_the_recipe_makes() -> None:
    (made,) = re.findall(r"apptainer build (\S+) envs/cytopipe\.def", APPTAINER)
    assert f'container: str(shipped("{made}"))' in (ROOT / "Snakefile").read_text()
    assert f"apptainer build {made} envs/cytopipe.def" in (ROOT / "envs/README.md").read_text()
