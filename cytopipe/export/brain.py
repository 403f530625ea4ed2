"""The results of one brain as an export reads them; what is missing is named with its remedy."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats import images, surfaces, tables, transforms, volumes
from cytopipe.formats.surfaces import Surface
from cytopipe.formats.transforms import PointTransform
from cytopipe.formats.volumes import Volume
from cytopipe.numerics.geometry import Floats, ImageRight, stack_to_ras
from cytopipe.study.sections import Section

HEMISPHERES = ("L", "R")
# codes of results/midsurface/{brain}/hemispheres.nii.gz
HEMISPHERE_CODES = {"L": 1, "R": 2}


@dataclass(frozen=True)
class Files:
    """Where the files of a brain are; whether they are there is found out when they are read.

    Attributes
    ----------
    points, stack, tissue, depth, hemispheres, transform, affine : of the stages that make them.
    surfaces, thickness, curvature : by hemisphere, "L" and "R".
    chunks : label file of each chunk of sections, and the table of its pages.
    features, rows, predictions : of one run, or None where no run is wanted.
    """

    points: Path
    stack: Path
    tissue: Path
    depth: Path
    hemispheres: Path
    transform: Path
    affine: Path
    surfaces: Mapping[str, Path]
    thickness: Mapping[str, Path]
    curvature: Mapping[str, Path]
    chunks: tuple[tuple[Path, Path], ...]
    features: Path | None
    rows: Path | None
    predictions: Path | None


@dataclass(frozen=True)
class Brain:
    """One brain of a study, read as it is needed.

    Attributes
    ----------
    name, template : of the brain and of the template space.
    image_right : side of the brain at the right of an unmirrored image.
    sections : its rows of config/sections.tsv.
    template_tissue : volume that gives the template's grid.
    area_names : of the study's atlas, in the order of its table; empty without an atlas.
    """

    name: str
    template: str
    image_right: ImageRight
    sections: tuple[Section, ...]
    template_tissue: Path
    area_names: tuple[str, ...]
    files: Files

    @cached_property
    def points(self) -> pd.DataFrame:
        """The points (PointRow).

        Raises
        ------
        InputError
            If it is missing or was made for another template than the config's.
        """
        path = self._need(self.files.points, "points", "coordinates")
        table = tables.read(tables.PointRow, path)
        made_for = sorted(set(table["template"]))
        if made_for not in ([], [self.template]):
            raise InputError(
                f"{path}: coordinates in {', '.join(made_for)}, the config says "
                f"{self.template}; run snakemake --until coordinates"
            )
        return table

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(points,) those of status ok: only they stand for their surroundings."""
        return (self.points["status"] == "ok").to_numpy(bool)

    @cached_property
    def stack_mm(self) -> Floats:
        """(points, 3) RAS mm of the points in the stack."""
        columns = ["x_stack_um", "y_stack_um", "z_stack_um"]
        return stack_to_ras(self.points[columns].to_numpy(np.float64), self.image_right)

    @cached_property
    def normals(self) -> Floats:
        """(points, 3) surface normals towards the pial surface, RAS of the stack."""
        normals = self.points[["nx", "ny", "nz"]].to_numpy(np.float64)
        return stack_to_ras(normals * 1000, self.image_right)

    @cached_property
    def template_mm(self) -> Floats:
        """(points, 3) RAS mm in the template; NaN for points without a coordinate."""
        return self.points[["x_mm", "y_mm", "z_mm"]].to_numpy(np.float64)

    @cached_property
    def stack(self) -> pd.DataFrame:
        """Where each section lies (StackRow)."""
        return tables.read(tables.StackRow, self._need(self.files.stack, "stack", "alignment"))

    @cached_property
    def tissue(self) -> Volume:
        """0 background, 1 gray, 2 white matter, in the stack."""
        return volumes.read_tissue(self._need(self.files.tissue, "tissue", "reconstruction"))

    @cached_property
    def depth(self) -> Volume:
        """Laplacian depth in the stack, 0 pial to 1 white, NaN outside gray matter."""
        return volumes.read(self._need(self.files.depth, "depth", "midsurface"))

    @cached_property
    def hemispheres(self) -> Volume:
        """HEMISPHERE_CODES of the tissue in the stack."""
        return volumes.read(self._need(self.files.hemispheres, "hemispheres", "midsurface"))

    def surface(self, hemisphere: str) -> Surface:
        """Mid-surface in stack RAS mm."""
        return surfaces.read(self._need(self.files.surfaces[hemisphere], "surfaces", "midsurface"))

    def thickness(self, hemisphere: str) -> Floats:
        """(vertices,) mm."""
        return surfaces.read_map(
            self._need(self.files.thickness[hemisphere], "thickness", "midsurface")
        )

    def curvature(self, hemisphere: str) -> Floats:
        """(vertices,) 1/mm, positive on gyral crowns."""
        return surfaces.read_map(
            self._need(self.files.curvature[hemisphere], "curvature", "midsurface")
        )

    @property
    def transform_file(self) -> Path:
        """ITK composite that moves POINTS from the stack to the template."""
        return self._need(self.files.transform, "transform", "coordinates")

    @cached_property
    def to_template(self) -> PointTransform:
        """From stack to template, RAS mm."""
        return transforms.read(self.transform_file, self.name, self.template, "points")

    @cached_property
    def affine_to_template(self) -> PointTransform:
        """Its affine part."""
        path = self._need(self.files.affine, "affine transform", "coordinates")
        return transforms.read(path, self.name, self.template, "points")

    def segmentation(self) -> list[tuple[tables.SegmentationRow, Path]]:
        """Rows of all sections, each with the label file that holds its page."""
        return tables.read_segmentation(
            [self._need(table, "segmentation", "segmentation") for _, table in self.files.chunks],
            [labels for labels, _ in self.files.chunks],
        )

    def labels(self, path: Path, page: int) -> NDArray[np.uint8]:
        """(rows, columns) 0 background, 1 gray, 2 white matter of one section."""
        return images.read_labels(self._need(path, "segmentation", "segmentation"), page)

    def features(self, run: str) -> NDArray[np.float32]:
        """(points, features) as a memory map, NaN for a point without features.

        Raises
        ------
        InputError
            If there are none, or they are of other points than the points table.
        """
        assert self.files.features is not None and self.files.rows is not None
        what = f"features of the run {run}"
        array = np.load(self._need(self.files.features, what, "features"), mmap_mode="r")
        rows = tables.read(tables.FeatureRow, self._need(self.files.rows, what, "features"))
        if list(rows["point_id"]) != list(self.points["point_id"]):
            raise InputError(
                f"{self.files.rows}: is of other points than {self.files.points}; "
                "run snakemake --until features"
            )
        return np.asarray(array)

    def predictions(self) -> pd.DataFrame | None:
        """Predictions (PredictionRow), one row per point, or None if the run has none."""
        path = self.files.predictions
        if path is None or not path.exists():
            return None
        table = tables.read(tables.PredictionRow, path)
        return table[table["point_id"].isin(self.points["point_id"])].drop_duplicates("point_id")

    def _need(self, path: Path, what: str, stage: str) -> Path:
        if not path.exists():
            raise InputError(
                f"no {what} of {self.name} ({path}); run snakemake --until {stage}, "
                "or export another brain with --brain"
            )
        return path
