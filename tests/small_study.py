"""A study of three small sections that everything is right about, for tests that spoil it."""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cytopipe.formats import volumes
from cytopipe.formats.images import write_pyramid
from cytopipe.study import config as study_config

ROOT = Path(__file__).parents[1]
SPACING_UM = 64.0
# 1.5 mm from section to section: a stack of 4.5 mm, about as long as its sections are wide
THICKNESS_UM = 100
ROWS, COLUMNS = 60, 80
NUMBERS = (15, 30, 45)
PICTURE = (np.add.outer(np.arange(ROWS), np.arange(COLUMNS)) + 60).astype(np.uint8)
HEAD = "brain\tsection\timage\tspacing_um\tthickness_um\n"


class SmallStudy:
    """Brain B01 of three sections, a template with an atlas, a mask; change what you like."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sheet = folder / "config" / "sections.tsv"
        self.sheet.parent.mkdir(parents=True)
        self.manual = folder / "manual" / "B01"
        self.rows = [f"B01\t{n}\timages/{n}.ome.tif\t64\t{THICKNESS_UM}" for n in NUMBERS]
        self.write_rows()
        (folder / "config" / "brains.tsv").write_text("brain\trole\nB01\tseen\n")
        self.config: dict[str, Any] = study_config.read(ROOT / "config" / "config.yaml")
        self.config["pretraining"]["common"]["spacing_um"] = 64
        self.config["features"]["profiles"]["spacing_um"] = 64
        self.config["reconstruction"]["max_gap_mm"] = 4
        self.config["template"] |= {"atlas": "template/atlas.nii.gz", "areas": "template/areas.tsv"}
        self.write_config()
        for number in NUMBERS:
            self.scan(number)
        tissue = np.zeros((20, 20, 20), np.uint8)
        tissue[3:17, 3:17, 3:17] = 1
        tissue[6:14, 6:14, 6:14] = 2
        self.volume("template/tissue.nii.gz", tissue, 0.4)
        self.volume("template/atlas.nii.gz", (tissue == 1).astype(np.int16), 0.4)
        (folder / "template" / "areas.tsv").write_text("label\tname\themisphere\n1\tA\t\n")
        self.volume("results/reconstruction/B01/whole.nii.gz", tissue)
        mask = np.zeros((20, 20, 20), np.uint8)
        mask[:, :, :6] = 1
        self.volume("manual/B01/exclusion.nii.gz", mask)

    def write_rows(self) -> None:
        self.sheet.write_text(HEAD + "".join(f"{row}\n" for row in self.rows))

    def write_config(self) -> None:
        path = self.folder / "config" / "config.yaml"
        path.write_text(yaml.safe_dump(self.config))

    def image(self, number: int) -> Path:
        return self.folder / "images" / f"{number}.ome.tif"

    def scan(self, number: int, spacing_um: float = SPACING_UM) -> None:
        self.image(number).parent.mkdir(exist_ok=True)
        # no two scans are equal
        picture = PICTURE + np.uint8(number % 50)
        write_pyramid(picture, self.image(number), spacing_um, 4 * spacing_um, tile=64)

    def volume(self, name: str, data: np.ndarray, voxel_mm: float = 1.0, at: float = 0.0) -> None:
        affine = volumes.regular_affine(voxel_mm, np.full(3, at))
        volumes.write(volumes.Volume(data, affine), self.folder / name)
