"""The ground truth of a phantom study, read by its file formats alone.

truth/truth.yaml                           truth_spacing_um, coordinates_spacing_um
truth/{brain}/sections.parquet             condition, handedness and place of each section
truth/{brain}/{section}.tif                pages tissue, area, layer, depth; frame as scanned
truth/{brain}/coordinates-{section}.tif    template R, A, S mm on a coarse grid
truth/{brain}/hemi-{L,R}_{pial,white}.surf.gii    true stack RAS mm
truth/{brain}/{tissue,depth}.nii.gz        true stack RAS mm; depth is NaN outside the cortex
truth/{brain}/exclusion.nii.gz             1 where tissue is not cortex; optional
"""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import yaml
from numpy.typing import NDArray

from cytopipe.files import reading, require
from cytopipe.formats import surfaces, tables, volumes
from cytopipe.numerics.geometry import Floats, Placement

PAGES = {"tissue": 0, "area": 1, "layer": 2, "depth": 3}
_REMEDY = "make the phantom study again (python -m cytopipe phantom)"


def placements(rows: Iterable[tables.StackRow]) -> dict[int, Placement]:
    """Placement of each placed section by its number."""
    return {row.section: row.placement for row in rows if row.placement is not None}


class TruthBrain:
    """The ground truth of one brain.

    Attributes
    ----------
    sections : the rows of sections.parquet, in order.
    image_right : side of the brain at the right of an unmirrored image.
    spacing_um, coordinates_spacing_um : pixel sizes of the pages and of the coordinates.
    full_spacing_um, z_um, placements : by section number.
    """

    def __init__(self, folder: Path, brain: str) -> None:
        self.folder = folder / brain
        path = require(folder / "truth.yaml", _REMEDY)
        with reading(path, "YAML file", _REMEDY):
            scale = yaml.safe_load(path.read_text())
            self.spacing_um = float(scale["truth_spacing_um"])
            self.coordinates_spacing_um = float(scale["coordinates_spacing_um"])
        path = require(self.folder / "sections.parquet", _REMEDY)
        rows = tables.read_rows(tables.TruthSectionRow, path)
        self.sections = sorted(rows, key=lambda row: row.section)
        self.image_right = self.sections[0].image_right
        self.full_spacing_um = {row.section: row.full_spacing_um for row in self.sections}
        self.z_um = {row.section: row.z_um for row in self.sections}
        self.placements = {row.section: row.placement for row in self.sections}
        self._pages: dict[tuple[int, str], NDArray[Any]] = {}

    @cached_property
    def tissue_px(self) -> dict[int, int]:
        """Pixels of tissue in each section; 0 for blank and missing ones."""
        return {
            row.section: int(np.count_nonzero(self.page(row.section, "tissue")))
            if row.shows_tissue
            else 0
            for row in self.sections
        }

    @property
    def with_tissue(self) -> list[int]:
        """Sections that were scanned and show tissue, whatever their condition."""
        return [section for section, pixels in self.tissue_px.items() if pixels > 0]

    def good(self) -> list[int]:
        """Sections without damage that show tissue."""
        conditions = {row.section: row.condition for row in self.sections}
        return [section for section in self.with_tissue if conditions[section] == "good"]

    def page(self, section: int, name: str) -> NDArray[Any]:
        """One of the PAGES of a section, in the frame as scanned; float pages as float64."""
        if (section, name) not in self._pages:
            path = require(self.folder / f"{section:05d}.tif", _REMEDY)
            with reading(path, "ground truth", _REMEDY):
                page = np.asarray(tifffile.imread(path, key=PAGES[name]))
            if page.dtype.kind == "f":
                return page.astype(np.float64)
            self._pages[section, name] = page  # small, and used repeatedly
        return self._pages[section, name]

    def coordinates(self, section: int) -> Floats:
        """(3, rows, columns) template R, A, S mm on the grid of `coordinates_spacing_um`."""
        path = require(self.folder / f"coordinates-{section:05d}.tif", _REMEDY)
        with reading(path, "ground truth", _REMEDY):
            pages = [tifffile.imread(path, key=axis) for axis in range(3)]
            return np.stack(pages).astype(np.float64)

    @property
    def hemispheres(self) -> list[str]:
        """The hemispheres that the brain has, "L" and "R"."""
        return [h for h in "LR" if (self.folder / f"hemi-{h}_pial.surf.gii").exists()]

    def surface(self, hemisphere: str, name: str) -> surfaces.Surface:
        """The true pial or white surface, true stack RAS mm."""
        return surfaces.read(self.folder / f"hemi-{hemisphere}_{name}.surf.gii")

    def volume(self, name: str) -> volumes.Volume:
        """The true "tissue" or "depth", true stack RAS mm."""
        return volumes.read(require(self.folder / f"{name}.nii.gz", _REMEDY))

    @property
    def exclusion(self) -> volumes.Volume | None:
        """The true mask of what is not cortex, true stack RAS mm; None if there is only cortex."""
        path = self.folder / "exclusion.nii.gz"
        return volumes.read(path) if path.exists() else None
