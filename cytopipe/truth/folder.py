"""The truth of a phantom study, read by its file formats alone.

truth/truth.yaml                           truth_spacing_um, coordinates_spacing_um
truth/{brain}/sections.parquet             condition, handedness and displacement of each section
truth/{brain}/{section}.tif                pages tissue, area, layer, depth; frame as scanned
truth/{brain}/coordinates-{section}.tif    template R, A, S mm on a coarse grid
truth/{brain}/hemi-{L,R}_{pial,white}.surf.gii    true stack RAS mm
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
import yaml
from numpy.typing import NDArray

from cytopipe.files import InputError, require
from cytopipe.formats import surfaces
from cytopipe.numerics.geometry import Floats, Placement, Rigid

PAGES = {"tissue": 0, "area": 1, "layer": 2, "depth": 3}
_REMEDY = "make the phantom study again (python -m cytopipe phantom)"
_COLUMNS = (
    "section",
    "condition",
    "mirrored",
    "z_um",
    "angle_rad",
    "x_um",
    "y_um",
    "width_um",
    "full_spacing_um",
    "image_right",
)


def placements(table: pd.DataFrame, stack: str) -> dict[int, Placement]:
    """Placement of each section of a table with mirrored, width_um, angle_rad, x_um, y_um.

    Sections without a transform (NaN) are left out. `stack` names the stack's frame.
    """
    placed = table.dropna(subset=["angle_rad", "x_um", "y_um"])
    return {
        int(row["section"]): Placement(
            bool(row["mirrored"]),
            float(row["width_um"]),
            Rigid(row["angle_rad"], row["x_um"], row["y_um"], str(row["section"]), stack),
        )
        for row in placed.to_dict("records")
    }


class TruthBrain:
    """The truth of one brain.

    Attributes
    ----------
    sections : the table sections.parquet, sorted by section.
    spacing_um, coordinates_spacing_um : pixel sizes of the pages and of the coordinates.
    """

    def __init__(self, folder: Path, brain: str) -> None:
        self.folder = folder / brain
        scale = yaml.safe_load(require(folder / "truth.yaml", _REMEDY).read_text())
        self.spacing_um = float(scale["truth_spacing_um"])
        self.coordinates_spacing_um = float(scale["coordinates_spacing_um"])
        path = require(self.folder / "sections.parquet", _REMEDY)
        frame = pd.read_parquet(path)
        missing = [name for name in _COLUMNS if name not in frame]
        if missing:
            raise InputError(f"{path}: column {missing[0]!r} is missing; {_REMEDY}")
        self.sections = frame.sort_values("section").reset_index(drop=True)
        self._pages: dict[tuple[int, str], NDArray[Any]] = {}

    @cached_property
    def full_spacing_um(self) -> dict[int, float]:
        return dict(zip(self.sections["section"], self.sections["full_spacing_um"], strict=True))

    @cached_property
    def z_um(self) -> dict[int, float]:
        return dict(zip(self.sections["section"], self.sections["z_um"], strict=True))

    @cached_property
    def placements(self) -> dict[int, Placement]:
        """Where each section truly lies."""
        return placements(self.sections, "true stack")

    @cached_property
    def with_tissue(self) -> list[int]:
        """Sections that were scanned and show tissue, whatever their condition."""
        scanned = self.sections[~self.sections["condition"].isin(["blank", "missing"])]
        return [int(s) for s in scanned["section"] if self.tissue_px[int(s)] > 0]

    @cached_property
    def tissue_px(self) -> dict[int, int]:
        """Pixels of tissue in each section; 0 for blank and missing ones."""
        return {
            int(row["section"]): 0
            if row["condition"] in ("blank", "missing")
            else int(np.count_nonzero(self.page(int(row["section"]), "tissue")))
            for row in self.sections.to_dict("records")
        }

    def good(self) -> list[int]:
        """Sections without damage that show tissue."""
        good = self.sections.loc[self.sections["condition"] == "good", "section"]
        return [int(section) for section in good if self.tissue_px[int(section)] > 0]

    def page(self, section: int, name: str) -> NDArray[Any]:
        """One of the PAGES of a section, in the frame as scanned; float pages as float64."""
        if (section, name) not in self._pages:
            path = require(self.folder / f"{section:05d}.tif", _REMEDY)
            page = np.asarray(tifffile.imread(path, key=PAGES[name]))
            if page.dtype.kind != "f":
                self._pages[section, name] = page  # used again and again, and small
                return page
            return page.astype(np.float64)
        return self._pages[section, name]

    def coordinates(self, section: int) -> Floats:
        """(3, rows, columns) template R, A, S mm on the grid of `coordinates_spacing_um`."""
        path = require(self.folder / f"coordinates-{section:05d}.tif", _REMEDY)
        pages = [tifffile.imread(path, key=number) for number in range(3)]
        return np.stack(pages).astype(np.float64)

    def surface(self, hemisphere: str, name: str) -> surfaces.Surface:
        """The true pial or white surface, true stack RAS mm."""
        return surfaces.read(self.folder / f"hemi-{hemisphere}_{name}.surf.gii")
