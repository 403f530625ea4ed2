"""The one reader for the results of a study: for the report, the exports and notebooks.

Elsewhere rules own the paths and the package knows formats only. This module is the exception:
`RESULTS` repeats where the rules write the results of a brain. A test compares the two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe.files import InputError
from cytopipe.formats import surfaces, tables, transforms, volumes
from cytopipe.formats.atlas import HEMISPHERES, read_names
from cytopipe.formats.feature_arrays import read_features
from cytopipe.formats.surfaces import Surface
from cytopipe.formats.transforms import PointTransform
from cytopipe.formats.volumes import Volume
from cytopipe.numerics.geometry import Floats, ImageRight, stack_to_ras
from cytopipe.study import config as study_config
from cytopipe.study.corrections import corrected
from cytopipe.study.sections import Section, chunk_of, read_brains, read_sections

# under results/; the first folder has the name of the stage that writes the file
RESULTS = {
    "labels": "segmentation/{brain}/{chunk}.tif",
    "segmentations": "segmentation/{brain}/{chunk}.parquet",
    "stack": "alignment/{brain}/stack.parquet",
    "pairs": "alignment/{brain}/pairs.parquet",
    "tissue": "reconstruction/{brain}/tissue.nii.gz",
    "repairs": "reconstruction/{brain}/repairs.parquet",
    "depth": "midsurface/{brain}/depth.nii.gz",
    "hemispheres": "midsurface/{brain}/hemispheres.nii.gz",
    "surfaces": "midsurface/{brain}/hemi-{hemisphere}_mid.surf.gii",
    "thickness": "midsurface/{brain}/hemi-{hemisphere}_thickness.shape.gii",
    "curvature": "midsurface/{brain}/hemi-{hemisphere}_curvature.shape.gii",
    "surface_table": "midsurface/{brain}/surfaces.parquet",
    "midlines": "midline/{brain}/{chunk}.parquet",
    "points": "coordinates/{brain}/points.parquet",
    "checks": "coordinates/{brain}/checks.parquet",
    "transform": "coordinates/{brain}/to-{template}.h5",
    "affine": "coordinates/{brain}/affine-to-{template}.h5",
    "features": "features/{run}/{brain}.npy",
    "feature_rows": "features/{run}/{brain}.parquet",
    "area_map": "mapping/{brain}.parquet",
    "parcellation": "evaluation/parcellation/{run}/clusters.parquet",
    "predictions": "evaluation/areas/{run}/predictions.parquet",
}


@dataclass(frozen=True)
class BrainResults:
    """The results of one brain. Each file is read when its content is first used.

    Every property raises InputError if its file is missing, and names the stage that writes it.

    Attributes
    ----------
    name : name of the brain.
    sections : its sections, with the corrections of `manual/`.
    files : for each name in `RESULTS` a path, a list with one path per chunk, or a dictionary with
        one path per hemisphere. `{run}` stands for the name of a run. `template` is the tissue
        volume of the template, `areas` the table of its atlas, if there is one.
    template : name of the template in the config; "" if the caller, a rule, does not know it.
    """

    name: str
    sections: Sequence[Section]
    files: Mapping[str, Any]
    template: str = ""

    @cached_property
    def segmentation(self) -> list[tuple[tables.SegmentationRow, Path]]:
        """One SegmentationRow per section, each with the file that holds its label image."""
        labels, segmentations = self.files["labels"], self.files["segmentations"]
        for name, paths in (("labels", labels), ("segmentations", segmentations)):
            for path in paths:
                self._existing(name, path)
        return tables.read_segmentation(segmentations, labels)

    @cached_property
    def stack(self) -> list[tables.StackRow]:
        """The place of each section in the stack."""
        return tables.read_rows(tables.StackRow, self._file("stack"))

    @property
    def image_right(self) -> ImageRight:
        """The side of the brain at the right of an unmirrored image."""
        return self.stack[0].image_right if self.stack else "R"

    @cached_property
    def pairs(self) -> list[tables.PairRow]:
        """The transforms between neighbouring sections, one row per pair."""
        return tables.read_rows(tables.PairRow, self._file("pairs"))

    @cached_property
    def tissue(self) -> Volume:
        """0 background, 1 gray matter, 2 white matter; stack RAS mm."""
        return volumes.read_tissue(self._file("tissue"))

    @cached_property
    def repairs(self) -> list[tables.RepairRow]:
        """The repairs of the reconstruction."""
        return tables.read_rows(tables.RepairRow, self._file("repairs"))

    @cached_property
    def depth(self) -> Volume:
        """Laplacian depth, 0 pial to 1 white, NaN outside the gray matter; stack RAS mm."""
        return volumes.read(self._file("depth"))

    @cached_property
    def hemispheres(self) -> Volume:
        """1 left, 2 right hemisphere, 0 outside the tissue; stack RAS mm."""
        return volumes.read(self._file("hemispheres"))

    def surface(self, hemisphere: str) -> Surface:
        """The mid-surface of a hemisphere, "L" or "R"; stack RAS mm. Empty if it is absent."""
        return surfaces.read(self._file("surfaces", hemisphere))

    def thickness(self, hemisphere: str) -> Floats:
        """(vertices,) thickness of the cortex in mm."""
        return surfaces.read_map(self._file("thickness", hemisphere))

    def curvature(self, hemisphere: str) -> Floats:
        """(vertices,) mean curvature in 1/mm, positive on gyral crowns."""
        return surfaces.read_map(self._file("curvature", hemisphere))

    @cached_property
    def surface_table(self) -> list[tables.SurfaceRow]:
        """Topology and size of the mid-surface of each hemisphere."""
        return tables.read_rows(tables.SurfaceRow, self._file("surface_table"))

    @property
    def sides(self) -> list[str]:
        """The hemispheres that the brain has, of "L" and "R"."""
        return sorted(row.hemisphere for row in self.surface_table if not row.is_absent)

    @cached_property
    def midline(self) -> pd.DataFrame:
        """The midline points of all sections (MidlineRow), in the section frame."""
        paths = [self._existing("midlines", path) for path in self.files["midlines"]]
        return pd.concat([tables.read(tables.MidlineRow, path) for path in paths])

    @cached_property
    def points(self) -> pd.DataFrame:
        """The midline points with their coordinates (PointRow).

        Raises
        ------
        InputError
            If the file is missing, or was made for another template than that of the config.
        """
        path = self._file("points")
        table = tables.read(tables.PointRow, path)
        others = sorted(set(table["template"]) - {self.template})
        if self.template and others:
            raise InputError(
                f"{path}: coordinates in {', '.join(others)}, the config says "
                f"{self.template}; run snakemake --until coordinates"
            )
        return table

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(points,) whether the status is ok."""
        return (self.points["status"] == "ok").to_numpy(bool)

    @cached_property
    def stack_mm(self) -> Floats:
        """(points, 3) points in stack RAS mm."""
        columns = ["x_stack_um", "y_stack_um", "z_stack_um"]
        return stack_to_ras(self.points[columns].to_numpy(np.float64), self.image_right)

    @cached_property
    def normals(self) -> Floats:
        """(points, 3) surface normals towards the pial surface, stack RAS."""
        normals = self.points[["nx", "ny", "nz"]].to_numpy(np.float64)
        return stack_to_ras(normals * 1000, self.image_right)

    @cached_property
    def template_mm(self) -> Floats:
        """(points, 3) points in template RAS mm; NaN for points without a coordinate."""
        return self.points[["x_mm", "y_mm", "z_mm"]].to_numpy(np.float64)

    @cached_property
    def checks(self) -> list[tables.CheckRow]:
        """The checks of the transform to the template."""
        return tables.read_rows(tables.CheckRow, self._file("checks"))

    @property
    def transform_file(self) -> Path:
        """ITK composite that moves points from the stack to the template, in LPS mm."""
        return self._file("transform")

    @cached_property
    def to_template(self) -> PointTransform:
        """From stack to template, RAS mm."""
        return transforms.read(self.transform_file, self.name, self.template, "points")

    @cached_property
    def affine_to_template(self) -> PointTransform:
        """The affine part of `to_template`, which covers all of space."""
        return transforms.read(self._file("affine"), self.name, self.template, "points")

    @cached_property
    def template_tissue(self) -> Volume:
        """Tissue of the template, whose grid is that of volumes in template space; RAS mm."""
        return volumes.read_tissue(self.files["template"])

    @cached_property
    def area_names(self) -> tuple[str, ...]:
        """The areas of the template's atlas, in the order of its table; empty without an atlas."""
        return read_names(self.files["areas"]) if "areas" in self.files else ()

    def features(self, run: str) -> NDArray[np.float32]:
        """(points, features) of a run as a memory map; NaN for a point without features.

        Raises
        ------
        InputError
            If there are none, or if they belong to other points than `points`.
        """
        array, path = (self._file(name, run=run) for name in ("features", "feature_rows"))
        if list(tables.read(tables.FeatureRow, path)["point_id"]) != list(self.points["point_id"]):
            raise InputError(
                f"{path}: belongs to other points than {self.files['points']}; "
                "run snakemake --until features"
            )
        return read_features(array, len(self.points))

    @cached_property
    def area_map(self) -> pd.DataFrame | None:
        """The predicted area of every point (MapRow), rows as `points`; None without a map.

        Raises
        ------
        InputError
            If the map belongs to other points.
        """
        path = self.files.get("area_map")
        if path is None or not path.exists():
            return None
        table = tables.read(tables.MapRow, path)
        if list(table["point_id"]) != list(self.points["point_id"]):
            raise InputError(
                f"{path}: belongs to other points than {self.files['points']}; "
                "run snakemake --until mapping_scores"
            )
        return table

    def predictions(self, run: str) -> pd.DataFrame | None:
        """The areas that a run predicts (PredictionRow), one row per point; None without them."""
        path = Path(str(self.files["predictions"]).replace("{run}", run))
        if not path.exists():
            return None
        table = tables.read(tables.PredictionRow, path)
        return table[table["point_id"].isin(self.points["point_id"])].drop_duplicates("point_id")

    def parcellation(self, run: str) -> NDArray[np.int64] | None:
        """(points,) cluster of each point that was located by the atlas, 0 for others.

        None if the run's features have not been clustered, or only those of another brain.
        """
        path = Path(str(self.files["parcellation"]).replace("{run}", run))
        if not path.exists():
            return None
        table = tables.read(tables.ClusterRow, path)
        of_points = table[table["split"] == "atlas"].set_index("point_id")["cluster"]
        clusters = self.points["point_id"].map(of_points).fillna(0).to_numpy(np.int64)
        return clusters if clusters.any() else None

    def _file(self, name: str, hemisphere: str = "", run: str = "") -> Path:
        path = self.files[name][hemisphere] if hemisphere else self.files[name]
        return self._existing(name, Path(str(path).replace("{run}", run)))

    def _existing(self, name: str, path: Path) -> Path:
        if not path.exists():
            stage = RESULTS[name].partition("/")[0]
            raise InputError(
                f"no {name.replace('_', ' ')} of {self.name} ({path}); "
                f"run snakemake --until {stage}, or use another brain"
            )
        return path


@dataclass(frozen=True)
class Study:
    """A study: its config, its brains and their results.

    Attributes
    ----------
    folder : the study's folder, which holds `config/`, `manual/` and `results/`.
    config : the content of config/config.yaml.
    brains : brain to role (seen, transfer or unseen), in the order of config/brains.tsv.
    sections : sections of all brains, as config/sections.tsv lists them.
    """

    folder: Path
    config: dict[str, Any]
    brains: dict[str, str]
    sections: list[Section]

    @property
    def runs(self) -> list[str]:
        """The pretraining runs that have features."""
        folders = (self.folder / "results" / "features").glob("*")
        return sorted(path.name for path in folders if path.is_dir())

    def brain(self, name: str) -> BrainResults:
        """The results of one brain.

        Raises
        ------
        InputError
            If the study has no brain of this name.
        """
        if name not in self.brains:
            raise InputError(
                f"{self.folder}/config/brains.tsv: has no brain {name!r}; "
                f"use one of {', '.join(self.brains)}"
            )
        own = [section for section in self.sections if section.brain == name]
        sections = corrected(own, self.folder / "manual")
        span = self.config["study"]["chunk_span"]
        chunks = sorted({chunk_of(section.section, span) for section in sections})
        template = self.config["template"]
        files: dict[str, Any] = {"template": self.folder / template["tissue"]}
        if template["areas"]:
            files["areas"] = self.folder / template["areas"]
        for result, pattern in RESULTS.items():
            pattern = pattern.replace("{brain}", name).replace("{template}", template["name"])
            path = self.folder / "results" / pattern
            if "{chunk}" in pattern:
                files[result] = [path.with_stem(chunk) for chunk in chunks]
            elif "{hemisphere}" in pattern:
                names = {h: path.name.format(hemisphere=h) for h in HEMISPHERES}
                files[result] = {h: path.with_name(names[h]) for h in HEMISPHERES}
            else:
                files[result] = path
        return BrainResults(name, sections, files, template["name"])


def open_study(path: Path | str = ".") -> Study:
    """Open a study, to read its config, its brains and their results.

    Parameters
    ----------
    path : the study's folder, which holds `config/`, `manual/` and `results/`.

    Raises
    ------
    InputError
        If the config or a table of the study is missing or wrong. A missing result is reported
        when it is used.

    Examples
    --------
    >>> study = cytopipe.open_study("demo")
    >>> study.brain("B01").points
    """
    folder = Path(path)
    config = study_config.read(folder / "config" / "config.yaml")
    brains = read_brains(folder / "config" / "brains.tsv")
    sections = read_sections(folder / "config" / "sections.tsv", brains=list(brains))
    return Study(folder, config, brains, sections)
