"""From scan to points: a brain in scanners' files has the points of the same brain in OME-TIFF."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from slide_files import write_aperio, write_generic

from cytopipe import __main__ as command_line
from cytopipe.formats.images import open_pyramid
from cytopipe.study import config as study_config
from cytopipe.study.sections import read_sections

ROOT = Path(__file__).parents[1]
PRESET = ROOT / "config" / "presets" / "demo.yaml"
SPACING_UM, VOXEL_MM = 256.0, 2.0
# both compress without loss, as scanners may, so that the points must be the same
APERIO = {"compression": "aperio_jp2000_rgb", "compressionargs": {"level": 0}}


@pytest.fixture(scope="module")
def two_brains(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every second section of the phantom of two balls, and a brain of the same as scanners' files.

    Coarse voxels and few features are enough to compare two brains.
    """
    folder = tmp_path_factory.mktemp("slides") / "study"
    for name in ("config", "images", "template"):
        shutil.copytree(study / name, folder / name)
    preset = study_config.read(PRESET)
    study_config.take_phantom(preset)
    config = study_config.merge(study_config.read(study_config.DEFAULTS), preset)
    config["study"] |= {"chunk_span": 7000, "truth": None, "annotations": None}
    config["alignment"] |= {"max_features": 300, "neighbours": 2}
    config["reconstruction"]["voxel_mm"] = VOXEL_MM
    config["coordinates"]["given_suffix"] = ".txt"
    (folder / "config" / "config.yaml").write_text(yaml.safe_dump(config))
    slides = folder / "slides"
    slides.mkdir()
    table = folder / "config" / "sections.tsv"
    header, *rows = table.read_text().splitlines()
    table.write_text("\n".join([header, *rows[::2]]) + "\n")
    for number, section in enumerate(read_sections(table)):
        with open_pyramid(folder / section.image, SPACING_UM) as pyramid:
            gray = pyramid.read_level(0)
        color, name = np.stack([gray] * 3, axis=-1), f"slide_{section.section:05d}.svs"
        if number % 2:
            write_aperio(slides / name, color, SPACING_UM, **APERIO)
        else:
            write_generic(slides / name, color, compression="deflate")
    # a registration takes long, and sees no image; the brain is 30, 19 and -32 mm from the template
    to_template = np.eye(4)
    to_template[:3, 3] = (-30, -19, 32)
    for brain in ("B01", "W01"):
        manual = folder / "manual" / brain
        manual.mkdir(parents=True)
        np.savetxt(manual / "to-phantom.txt", to_template)
    return folder


@pytest.mark.slow
def test_the_points_of_a_brain_do_not_depend_on_its_files(two_brains: Path, capsys) -> None:
    words = ["add-brain", "W01", "--study", str(two_brains), "--images", str(two_brains / "slides")]
    assert command_line.main([*words, "--thickness-um", "20", "--spacing-um", "256"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "OpenSlide generic TIFF" in said and "OpenSlide aperio" in said
    tables = [f"results/coordinates/{brain}/points.parquet" for brain in ("B01", "W01")]
    command = [sys.executable, "-m", "snakemake", "--directory", str(two_brains), "--cores", "2"]
    run = subprocess.run([*command, *tables], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    pyramids = two_brains / "results" / "pyramids"
    assert not (pyramids / "B01").exists()
    copies = list((pyramids / "W01").glob("*.ome.tif"))
    assert len(copies) == len(list((two_brains / "slides").iterdir()))
    ome, slides = (pd.read_parquet(two_brains / table) for table in tables)
    assert len(ome) > 500
    for name in set(ome) - {"point_id", "brain"}:
        pd.testing.assert_series_equal(ome[name], slides[name])
