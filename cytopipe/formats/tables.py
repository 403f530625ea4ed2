"""Every table of the chain, declared once: columns, dtypes, units."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from cytopipe import provenance
from cytopipe.files import InputError, require, whole


@dataclass(frozen=True)
class Column:
    """One column: its pandas dtype, unit ("" for none) and meaning."""

    name: str
    dtype: str
    unit: str
    meaning: str


@dataclass(frozen=True)
class Table:
    """The columns of a kind of table, in the order in which they are written."""

    name: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def conform(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return `frame` with exactly this table's columns, order and dtypes.

        Raises
        ------
        ValueError
            If a column is missing, unknown, or holds a value its dtype cannot.
        """
        missing = [name for name in self.names if name not in frame]
        unknown = [name for name in frame if name not in self.names]
        if missing or unknown:
            raise ValueError(f"table {self.name}: missing columns {missing}, unknown {unknown}")
        return frame[self.names].astype({c.name: c.dtype for c in self.columns})

    def empty(self) -> pd.DataFrame:
        """A table of no rows."""
        return self.conform(pd.DataFrame({name: [] for name in self.names}))


def write(table: Table, frame: pd.DataFrame, path: Path) -> None:
    """Write a parquet file of `table`, whole or not at all."""
    arrow = pa.Table.from_pandas(table.conform(frame), preserve_index=False)
    arrow = arrow.replace_schema_metadata({**arrow.schema.metadata, **provenance.entry()})
    with whole(path) as beside:
        pq.write_table(arrow, beside)


def read(table: Table, path: Path) -> pd.DataFrame:
    """Read a parquet file of `table`.

    Raises
    ------
    InputError
        If the file is missing, not parquet, or not this table.
    """
    require(path, "run the stage that writes it")
    try:
        # without threads: where memory is short, Arrow waits for ever for one that did not start
        arrow = pq.ParquetFile(path).read(use_threads=False)
        return table.conform(arrow.to_pandas(use_threads=False))
    except (ValueError, OSError) as error:
        raise InputError(
            f"{path}: not a {table.name} table ({error}); delete it and rerun"
        ) from error


def _table(name: str, *columns: tuple[str, str, str, str]) -> Table:
    return Table(name, tuple(Column(*column) for column in columns))


SEGMENTATION = _table(
    "segmentation",
    ("brain", "str", "", "brain"),
    ("section", "int64", "", "section number"),
    ("page", "int64", "", "page of the chunk's label file, 0-based"),
    ("width_um", "float64", "um", "centre of first to centre of last column of level 0"),
    ("height_um", "float64", "um", "centre of first to centre of last row of level 0"),
    ("full_spacing_um", "float64", "um", "pixel size of level 0"),
    ("spacing_um", "float64", "um", "pixel size of the labels"),
    ("threshold", "float64", "", "tissue is darker (or brighter) than this, 0 to 1"),
    ("threshold_from", "str", "", "minimum, otsu (no minimum found) or manual (labels by hand)"),
    ("background", "str", "", "bright or dark"),
    ("tissue_mm2", "float64", "mm2", "area of gray and white matter"),
    ("gray_mm2", "float64", "mm2", "area of gray matter"),
    ("white_mm2", "float64", "mm2", "area of white matter"),
    ("sulcal_before_mm", "float64", "mm", "open sulcal boundary before clean-up"),
    ("sulcal_after_mm", "float64", "mm", "open sulcal boundary after clean-up"),
    ("contact_ratio", "float64", "", "contact with background per area, gray over white"),
    ("status", "str", "", "ok, blank, excluded, unreadable, or why not"),
)

PAIRS = _table(
    "pairs",
    ("brain", "str", "", "brain"),
    ("fixed", "int64", "", "section number of the fixed section"),
    ("moving", "int64", "", "section number of the moving section"),
    ("distance", "int64", "", "usable sections between the two, plus one"),
    ("inliers_plain", "int64", "", "RANSAC inliers with the moving section as scanned"),
    ("inliers_mirrored", "int64", "", "RANSAC inliers with the moving section mirrored"),
    ("peak_plain", "float64", "", "peak of the textures' correlation in standard deviations"),
    ("peak_mirrored", "float64", "", "the same with the moving section mirrored; NaN if not tried"),
    ("mirrored", "bool", "", "the two sections are of opposite handedness"),
    ("angle_rad", "float64", "rad", "rotation, moving to fixed; NaN without a transform"),
    ("x_um", "float64", "um", "shift, moving to fixed, after the mirror flip of the moving one"),
    ("y_um", "float64", "um", "shift, moving to fixed, after the mirror flip of the moving one"),
    ("residual_um", "float64", "um", "median distance of matched features after the fit"),
    ("overlap", "float64", "", "Dice of the two tissue masks after the fit"),
    ("tissue_mm2", "float64", "mm2", "tissue area of the smaller of the two sections"),
    ("method", "str", "", "texture, features, outline or person"),
    ("status", "str", "", "accepted, uncertain (used, but to be looked at), or why rejected"),
)

STACK = _table(
    "stack",
    ("brain", "str", "", "brain"),
    ("section", "int64", "", "section number"),
    ("z_um", "float64", "um", "section number times thickness"),
    ("width_um", "float64", "um", "centre of first to centre of last column of level 0"),
    ("height_um", "float64", "um", "centre of first to centre of last row of level 0"),
    ("full_spacing_um", "float64", "um", "pixel size of level 0"),
    ("mirrored", "bool", "", "flip left to right before the transform"),
    ("angle_rad", "float64", "rad", "rotation, unmirrored section to stack; NaN if unaligned"),
    ("x_um", "float64", "um", "shift, unmirrored section to stack; NaN if unaligned"),
    ("y_um", "float64", "um", "shift, unmirrored section to stack; NaN if unaligned"),
    ("via", "int64", "", "the section through which it was placed; itself for base and person; -1"),
    ("sigma_um", "float64", "um", "error of the place, x or y, against the base; NaN if not known"),
    ("image_right", "str", "", "side of the brain at the right of an unmirrored image, R or L"),
    ("status", "str", "", "ok, uncertain, blank, excluded, or why it has no transform"),
)

AUDIT = _table(
    "audit",
    ("brain", "str", "", "brain"),
    ("section", "int64", "", "section number"),
    ("finding", "str", "", "mirrored, swapped, belongs elsewhere, or matches neither neighbour"),
    ("confidence", "float64", "", "0.5 to 1"),
    ("remedy", "str", "", "what to write where, once a person has looked at it"),
)

REPAIRS = _table(
    "repairs",
    ("brain", "str", "", "brain"),
    ("kind", "str", "", "defect (median's value taken), fragment (dropped), excluded (mask)"),
    ("volume_mm3", "float64", "mm3", "size"),
    ("r_mm", "float64", "mm", "centre of mass, stack RAS"),
    ("a_mm", "float64", "mm", "centre of mass, stack RAS"),
    ("s_mm", "float64", "mm", "centre of mass, stack RAS"),
)

SURFACES = _table(
    "surfaces",
    ("brain", "str", "", "brain"),
    ("hemisphere", "str", "", "L or R"),
    ("components", "int64", "", "connected components of the final mesh"),
    ("euler", "int64", "", "Euler number of the final mesh (2: a sphere)"),
    ("manifold", "bool", "", "every edge has two faces"),
    ("euler_before", "int64", "", "Euler number of the isosurface without topology correction"),
    ("voxels_removed", "int64", "", "voxels taken from the solid to correct its topology"),
    ("voxels_added", "int64", "", "voxels added to the solid to correct its topology"),
    ("voxels_opened", "int64", "", "voxels carved open between fused banks (open_sulci)"),
    ("vertices", "int64", "", "vertices of the final mesh"),
    ("edge_median_mm", "float64", "mm", "median edge length"),
    ("edge_in_range", "float64", "", "share of edges within 0.8 to 1.33 of the target"),
    ("area_mm2", "float64", "mm2", "area of the surface"),
    ("status", "str", "", "ok or what is wrong"),
)

# the heart of the chain: one row a sampling location
_POINT_2D = (
    ("point_id", "str", "", "brain-section-running number, unique in a study"),
    ("brain", "str", "", "brain"),
    ("section", "int64", "", "section number"),
    ("hemisphere", "str", "", "L or R"),
    ("x_um", "float64", "um", "section frame, after refinement"),
    ("y_um", "float64", "um", "section frame, after refinement"),
    ("refined_um", "float64", "um", "distance moved by the refinement"),
    ("tissue_fraction", "float64", "", "share of tissue around the point"),
    ("depth", "float64", "", "2D Laplacian depth at the point, 0 pial to 1 white; NaN outside"),
    ("x_stack_um", "float64", "um", "stack frame"),
    ("y_stack_um", "float64", "um", "stack frame"),
    ("z_stack_um", "float64", "um", "stack frame"),
    ("nx", "float64", "", "surface normal, stack frame, towards the pial surface"),
    ("ny", "float64", "", "surface normal, stack frame, towards the pial surface"),
    ("nz", "float64", "", "surface normal, stack frame, towards the pial surface"),
    (
        "thickness_mm",
        "float64",
        "mm",
        "cortical thickness; NaN where a ready-made surface leaves it",
    ),
    ("curvature_per_mm", "float64", "1/mm", "mean curvature, positive on gyral crowns"),
    (
        "cutting_angle_deg",
        "float64",
        "deg",
        "normal to cutting plane: 0 across the sheet, 90 along",
    ),
)
_STATUS = ("status", "str", "", "ok, low_tissue, unrefined, outside_template, ...")

# midline/{brain}/{chunk}.parquet: also where the cut lay before the refinement
MIDLINE = _table(
    "midline",
    *_POINT_2D,
    ("x_cut_um", "float64", "um", "section frame, before refinement"),
    ("y_cut_um", "float64", "um", "section frame, before refinement"),
    _STATUS,
)

POINTS = _table(
    "points",
    *_POINT_2D,
    ("x_mm", "float64", "mm", "template R; NaN without a coordinate"),
    ("y_mm", "float64", "mm", "template A"),
    ("z_mm", "float64", "mm", "template S"),
    ("sigma_mm", "float64", "mm", "estimated error of the coordinate, an axis; NaN if not known"),
    ("template", "str", "", "name of the template"),
    ("area", "str", "", "atlas label at the point; empty outside the atlas"),
    ("area_probability", "float64", "", "probability of that label"),
    _STATUS,
)

# coordinates/{brain}/checks.parquet
CHECKS = _table(
    "checks",
    ("brain", "str", "", "brain"),
    ("check", "str", "", "what was looked at"),
    ("value", "float64", "", "what was found; NaN where there was nothing to look at"),
    ("unit", "str", "", "unit of value and limit"),
    ("limit", "str", "", "e.g. at most 0.01; empty if only reported"),
    ("status", "str", "", "ok, failed, or empty if only reported"),
    ("remedy", "str", "", "where to look and what to do if it failed"),
)

PATCHES = _table(
    "patches",
    ("point_id", "str", "", "the point at the patch's centre; brain-section-aN if annotated"),
    ("brain", "str", "", "brain"),
    ("section", "int64", "", "section number"),
    ("hemisphere", "str", "", "L or R; empty if not known (annotated areas alone)"),
    ("split", "str", "", "pretrain, train, seen, transfer or unseen"),
    ("image", "str", "", "path of the pyramid, relative to the study"),
    ("full_spacing_um", "float64", "um", "pixel size of level 0"),
    ("x_um", "float64", "um", "section frame"),
    ("y_um", "float64", "um", "section frame"),
    ("x_mm", "float64", "mm", "template R"),
    ("y_mm", "float64", "mm", "template A"),
    ("z_mm", "float64", "mm", "template S"),
    ("area", "str", "", "label, empty where not needed"),
)

# annotated patches of cortical layers; paths can be opened from the study folder
LAYER_PATCHES = _table(
    "layer_patches",
    ("patch_id", "str", "", "name of the patch, unique"),
    ("brain", "str", "", "brain"),
    ("image", "str", "", "path of the 8-bit gray image"),
    ("mask", "str", "", "path of its mask, of the same size: 0 background, 1 to 6 the layers"),
    ("cells", "str", "", "path of the positions of cell bodies (x_um, y_um); empty if none"),
    ("spacing_um", "float64", "um", "pixel size"),
    ("width_px", "int64", "px", "columns"),
    ("height_px", "int64", "px", "rows"),
    ("split", "str", "", "train or test"),
    (
        "rank",
        "int64",
        "",
        "place in a random order of the n training patches, -1 for test: the share f of them is "
        "rank < floor(f n), its fold k of five rank % 5 == k",
    ),
)

METRICS = _table(
    "metrics",
    ("epoch", "int64", "", "epoch, 0-based"),
    ("step", "int64", "", "optimiser steps taken"),
    ("loss", "float64", "", "mean training loss of the epoch"),
)

FEATURE_ROWS = _table(
    "feature_rows",
    ("point_id", "str", "", "point of this row of the feature array"),
    ("status", "str", "", "ok, or why the row is NaN"),
)

SCORES = _table(
    "scores",
    ("run", "str", "", "pretraining run"),
    ("task", "str", "", "evaluation task"),
    ("split", "str", "", "seen, transfer or unseen"),
    ("fold", "int64", "", "fold or seed"),
    ("metric", "str", "", "metric"),
    ("value", "float64", "", "value"),
)

PREDICTIONS = _table(
    "predictions",
    ("point_id", "str", "", "point"),
    ("split", "str", "", "seen, transfer or unseen: never trained on"),
    ("area", "str", "", "the label"),
    ("predicted", "str", "", "the answer of the probe of the first seed"),
    ("probability", "float64", "", "of the answer, by the probe's softmax"),
    ("hops", "float64", "", "steps between adjacent areas from label to answer; NaN if unknown"),
)

TRUTH = _table(
    "truth",
    ("metric", "str", "", "what is scored"),
    ("brain", "str", "", "brain, or all"),
    ("value", "float64", "", "measured value"),
    ("unit", "str", "", "unit of value and goal"),
    ("goal", "str", "", "e.g. at least 0.92; empty if only reported"),
    ("met", "str", "", "yes, no, or empty if only reported"),
)

# truth/{brain}/sections.parquet of a phantom
TRUTH_SECTIONS = _table(
    "truth_sections",
    ("brain", "str", "", "brain"),
    ("section", "int64", "", "section number"),
    ("condition", "str", "", "good, torn, blank, dirty, or missing (not in sections.tsv)"),
    ("mirrored", "bool", "", "the scan is flipped left to right"),
    ("z_um", "float64", "um", "section number times thickness"),
    ("angle_rad", "float64", "rad", "rotation, unmirrored section to true stack"),
    ("x_um", "float64", "um", "shift, unmirrored section to true stack"),
    ("y_um", "float64", "um", "shift, unmirrored section to true stack"),
    ("width_um", "float64", "um", "centre of first to centre of last column of level 0"),
    ("height_um", "float64", "um", "centre of first to centre of last row of level 0"),
    ("full_spacing_um", "float64", "um", "pixel size of level 0"),
    ("image_right", "str", "", "side of the brain at the right of an unmirrored image, R or L"),
)
