"""Which scans the workflow copies, and that it accepts folders (OME-Zarr) as images."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from empty_study import dry_run

from cytopipe.formats.images import open_pyramid
from cytopipe.study import config as study_config

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
FOREIGN = Path(__file__).parent / "foreign_images"
TABLE = "results/segmentation/B01/00000.parquet"
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


def test_the_table_or_the_file_name_decides_which_scans_are_copied(study: Path) -> None:
    copies = [n for n, (*_, copied) in enumerate(SCANS, start=1) if copied]
    assert dry_run(study, targets=[TABLE]).listed == {
        "segmentation B01 00000",
        *(f"pyramids B01 {n:05d}" for n in copies),
    }


def test_an_ome_zarr_folder_is_processed_like_a_file(study: Path) -> None:
    command = [sys.executable, "-m", "snakemake", "--directory", str(study), "--cores", "1", TABLE]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "is unreadable" not in (study / "logs/segmentation/B01/00000.log").read_text()
    with open_pyramid(study / "results/pyramids/B01/00005.ome.tif", 20.0) as pyramid:
        copied = pyramid.read_level(0)
    with open_pyramid(study / "images/gray-16-05.ome.zarr", 20.0) as pyramid:
        assert (copied == 65535 - pyramid.read_level(0)).all()
    assert not dry_run(study, targets=[TABLE]).listed
