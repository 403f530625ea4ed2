"""Which scans the workflow copies, and that it accepts folders (OME-Zarr) as images."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cytopipe.formats.images import open_pyramid
from cytopipe.study import config as study_config

ROOT = Path(__file__).parents[1]
FOREIGN = Path(__file__).parent / "foreign_images"
SCANS = (  # image, levels, background, whether a copy is made
    ("gray-04.ome.zarr", "", "", False),
    ("levels-lzw.ome.tif", "", "", False),
    ("pages-lzw.tif", "yes", "", False),
    ("tiled-lzw.tif", "", "", True),
    ("gray-16-05.ome.zarr", "yes", "dark", True),
    ("levels-jpeg.ome.tif", "no", "", True),
)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    (folder / "config").mkdir()
    (folder / "images").mkdir()
    rows = ["brain\tsection\timage\tspacing_um\tthickness_um\tlevels\tbackground"]
    for number, (name, levels, background, _) in enumerate(SCANS, start=1):
        source, copy = FOREIGN / name, folder / "images" / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, copy)
        rows.append(f"B01\t{number}\timages/{name}\t20\t20\t{levels}\t{background}")
    (folder / "config" / "sections.tsv").write_text("\n".join(rows) + "\n")
    (folder / "config" / "brains.tsv").write_text("brain\trole\nB01\tseen\n")
    config = study_config.read(ROOT / "config" / "config.yaml")
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def snakemake(study: Path, *arguments: str) -> str:
    """Run Snakemake up to the segmentation of the sections."""
    command = [sys.executable, "-m", "snakemake", "--directory", str(study), *arguments]
    run = subprocess.run(
        [*command, "results/segmentation/B01/00000.parquet"],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
    return run.stdout


def test_the_table_or_the_file_name_decides_which_scans_are_copied(study: Path) -> None:
    plan = snakemake(study, "-n")
    expected = {f"{n:05d}" for n, (*_, copied) in enumerate(SCANS, start=1) if copied}
    assert set(re.findall(r"output: results/pyramids/B01/(\d+)\.ome\.tif", plan)) == expected


def test_an_ome_zarr_folder_is_processed_like_a_file(study: Path) -> None:
    snakemake(study, "--cores", "1")
    assert "is unreadable" not in (study / "logs/segmentation/B01/00000.log").read_text()
    with open_pyramid(study / "results/pyramids/B01/00005.ome.tif", 20.0) as pyramid:
        copied = pyramid.read_level(0)
    with open_pyramid(study / "images/gray-16-05.ome.zarr", 20.0) as pyramid:
        assert (copied == 65535 - pyramid.read_level(0)).all()
    assert "Nothing to be done" in snakemake(study, "-n")
