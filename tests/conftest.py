"""What several test files share: the study of `shell_study`, its pages, and a phantom."""

import gzip
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from ball_phantom import MIDDLE_MM, PIAL_MM, WHITE_MM, ball, preset
from browser import Browser
from export_study import write_study
from report_pages import write_pages
from shell_study import write_truth
from snakemake.api import SnakemakeApi

from cytopipe.formats import surfaces
from cytopipe.phantom import run
from cytopipe.phantom.brain import Brain, Template, make_brain
from cytopipe.phantom.study import make_template
from cytopipe.study.config import Phantom
from cytopipe.truth.ground_truth import TruthBrain

# the coordinates stage sets it before it loads ANTs, whose results are repeatable in one thread
# alone; here a test may have loaded it first
os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"

# how a test can start a process, a browser or a workflow
STARTS = ((subprocess.Popen, "__init__"), (BaseProcess, "start"), (SnakemakeApi, "__init__"))


def only_in_slow_tests(start: Callable[..., Any]) -> Callable[..., Any]:
    def refused(*args: Any, **options: Any) -> None:
        # joblib runs lscpu once, when it first wants to know the number of cores
        if args[1:] and isinstance(args[1], list) and args[1][:1] == ["lscpu"]:
            return start(*args, **options)
        pytest.fail(f"{start.__qualname__} is called: mark the test with pytest.mark.slow")

    return refused


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """A test that starts a process without being marked as slow fails."""
    with pytest.MonkeyPatch.context() as patch:
        if not item.get_closest_marker("slow"):
            for owner, name in STARTS:
                patch.setattr(owner, name, only_in_slow_tests(getattr(owner, name)))
        return (yield)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_truth(tmp_path_factory.mktemp("shells") / "truth")


@pytest.fixture
def truth(folder: Path) -> TruthBrain:
    return TruthBrain(folder, "B01")


@pytest.fixture(scope="session")
def shell_study_folder(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of that brain, for what reads results."""
    return write_study(TruthBrain(folder, "B01"), tmp_path_factory.mktemp("finished") / "study")


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The report of that brain and the files that it shows, by name."""
    return write_pages(tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with Browser(Path(__file__).with_name("browser_probes.js").read_text()) as browser:
        yield browser


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """A browser; whatever its page complains about fails the test."""
    yield chromium
    assert chromium.errors == []
    assert all(address.startswith(("file:", "data:")) for address in chromium.requests)


@pytest.fixture(scope="session")
def two_balls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A brain of two balls of unequal size, so that left and right can be told apart."""
    folder = tmp_path_factory.mktemp("balls")
    for name, sign, share in (("left", -1, 1.0), ("right", 1, 0.7)):
        for kind, radius in (("pial", PIAL_MM), ("white", WHITE_MM)):
            surface = ball(share * radius, (sign * MIDDLE_MM, 0, 0))
            plain = folder / f"{kind}_{name}.gii"
            surfaces.write(surface, plain)
            (folder / f"{kind}_{name}.gii.gz").write_bytes(gzip.compress(plain.read_bytes()))
    return folder


@pytest.fixture(scope="session")
def params(two_balls: Path) -> Phantom:
    return preset(
        surfaces=str(two_balls),
        brains={"B01": "seen"},
        workers=1,
        spacing_um=256,
        coarsest_um=512,
        truth_spacing_um=512,
        section_step=70,
        depth_voxel_mm=0.7,
        callosum_mm=[],
        bend_mm=1.5,
        areas=3,
        vessels_per_cm2=0,
        texture=0.02,
        stain_variation=0.05,
        bridges=0,
        tunnels=0,
        mirrored=1,
        dirty=1,
        annotated_every=3,
        layer_patches=6,
        layer_patch_um=2048,
    )


@pytest.fixture(scope="session")
def study(params: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    run(study=folder, params=params)
    return folder


@pytest.fixture(scope="session")
def template(params: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Template:
    return make_template(tmp_path_factory.mktemp("template"), params)


@pytest.fixture(scope="session")
def brain(template: Template, params: Phantom) -> Brain:
    return make_brain("B01", template, params)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Let this process allocate one GB more than it has, so that a damaged size does no harm."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    size = pages * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (size + 10**9, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)
