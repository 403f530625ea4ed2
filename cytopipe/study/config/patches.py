"""The section `patches`."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from cytopipe.study.config.base import (
    ConfigSection,
    Count,
    FilePath,
    Moves,
    Role,
    Unique,
    field,
    text,
)


class DataSet(ConfigSection):
    """One data set; `count` and `warp` are for pretraining, the other keys for areas."""

    purpose: Literal["pretraining", "areas"] = field(
        "pretraining: points with a coordinate, unbalanced; areas: points with an area, split for "
        "training and testing a classifier."
    )
    source: Literal["atlas", "annotations"] = field(
        "Where areas are taken from: atlas (the labels of the points of the midline), or "
        "annotations (contours under study.annotations, as in the paper)."
    )
    roles: Annotated[Sequence[Role], Field(min_length=1), *Unique] = field(
        "Brains of these roles in config/brains.tsv take part; unseen brains stay out of "
        "pretraining."
    )
    transfer: str | None = field(
        "A brain that takes the place of the transfer brains, for a cross-validation by hand, or "
        "null."
    )
    count: Count | None = field(
        "The number of points drawn for pretraining, without replacement; null for all.",
        source="CytoNet 3.4: 200k and 1M",
    )
    per_area: Count | None = field(
        "The number of training points per area, drawn with replacement; null leaves the areas "
        "as they are.",
        source="CytoNet 3.5",
    )
    min_probability: float = field(
        "Atlas labels with a lower probability do not count.", ge=0, le=1
    )
    areas: Annotated[Sequence[str], Field(min_length=2), *Unique] | None = field(
        "The names of the areas that take part; null for all.",
        source="CytoNet 7.1: 113",
    )
    min_brains: int = field(
        "Areas that are known in fewer brains are left out.", source="CytoNet 7.1: 4", ge=1
    )
    raster_um: float = field(
        "The pixel size in which annotations are drawn; their skeleton is the midline.",
        unit="um",
        gt=0,
    )
    point_spacing_mm: float = field(
        "The distance between points along the midline of an annotation.",
        unit="mm",
        source="CytoNet 3.5",
        gt=0,
    )
    test_every: int = field("Every n-th annotated section of a seen brain is for testing.", ge=2)
    warp: FilePath | None = field(
        "An ITK transform of the coordinates to another template (the paper's model M), or null."
    )
    warp_moves: Moves = field(
        "What the warp moves from the template to the other one: points or image."
    )
    seed: int = field("The seed of the draws.", ge=0)


class LayerSplit(ConfigSection):
    """Annotated patches under study.annotations, CytoNet section 3.6."""

    test_share: float = field("The share of the annotated patches that is for testing.", gt=0, lt=1)
    seed: int = field("The seed of the split.", ge=0)


class GeodesicTable(ConfigSection):
    """Distances along the template's mid-surface, for pretraining.common.distance: geodesic."""

    nodes: int = field(
        "Distances are tabulated between this many points of both hemispheres; 4000 lie about 5 "
        "mm apart on fsaverage5, and their table takes 64 MB.",
        ge=2,
    )


# layers and geodesic are files of the workflow; a cross-validation makes names with -transfer-
DataSetName = Annotated[
    str,
    text(
        "letters, digits, _ and -, but neither layers nor geodesic nor -transfer- in it",
        "(?!layers$|geodesic$|.*-transfer-)[A-Za-z0-9_-]+",
    ),
]


class PatchSets(ConfigSection):
    """The data sets, by name; each has all keys."""

    datasets: Annotated[dict[DataSetName, DataSet], Field(min_length=1)] = field(
        "The data sets by name: letters, digits, _ and -, but neither layers nor geodesic nor "
        "-transfer- in it."
    )
    layers: LayerSplit
    geodesic: GeodesicTable
