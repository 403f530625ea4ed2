"""Tables of points and patches, and of what networks make of them.

They have up to millions of rows, so that they are read as DataFrames.
"""

from dataclasses import dataclass
from typing import Annotated

from cytopipe.formats.tables.parquet import Row


@dataclass(frozen=True, slots=True)
class _SectionPoint(Row):
    """A sampling location on the midline of the cortex, in section and stack."""

    point_id: Annotated[str, "brain-section-running number, unique in a study"]
    brain: Annotated[str, "brain"]
    section: Annotated[int, "section number"]
    hemisphere: Annotated[str, "L or R"]
    x_um: Annotated[float, "um", "section frame, after refinement"]
    y_um: Annotated[float, "um", "section frame, after refinement"]
    refined_um: Annotated[float, "um", "distance moved by the refinement"]
    tissue_fraction: Annotated[float, "share of tissue around the point"]
    depth: Annotated[
        float, "depth by the section's borders and the volume, 0 pial to 1 white; NaN outside"
    ]
    x_stack_um: Annotated[float, "um", "stack frame"]
    y_stack_um: Annotated[float, "um", "stack frame"]
    z_stack_um: Annotated[float, "um", "stack frame"]
    nx: Annotated[float, "surface normal, stack frame, towards the pial surface"]
    ny: Annotated[float, "surface normal, stack frame, towards the pial surface"]
    nz: Annotated[float, "surface normal, stack frame, towards the pial surface"]
    thickness_mm: Annotated[float, "mm", "of the cortex; NaN where a supplied surface leaves it"]
    curvature_per_mm: Annotated[float, "1/mm", "mean curvature, positive on gyral crowns"]
    cutting_angle_deg: Annotated[float, "deg", "normal to cutting plane: 0 across, 90 along"]


@dataclass(frozen=True, slots=True)
class MidlineRow(_SectionPoint):
    """A point before it has a template coordinate: midline/{brain}/{chunk}.parquet."""

    x_cut_um: Annotated[float, "um", "section frame, before refinement"]
    y_cut_um: Annotated[float, "um", "section frame, before refinement"]
    status: Annotated[
        str,
        "ok, unrefined, low_tissue, off_depth, thin, excluded, or uncertain_place: of its section",
    ]


@dataclass(frozen=True, slots=True)
class PointRow(_SectionPoint):
    """A point with its template coordinate: coordinates/{brain}/points.parquet."""

    x_mm: Annotated[float, "mm", "template R; NaN without a coordinate"]
    y_mm: Annotated[float, "mm", "template A"]
    z_mm: Annotated[float, "mm", "template S"]
    sigma_mm: Annotated[float, "mm", "estimated error along each axis; NaN if unknown"]
    template: Annotated[str, "name of the template"]
    area: Annotated[str, "atlas label at the point; empty outside the atlas"]
    area_probability: Annotated[float, "probability of that label"]
    status: Annotated[
        str,
        "ok, unrefined, low_tissue, off_depth, thin, excluded, uncertain_place, outside_template, "
        "beside_gap or unregistered",
    ]


@dataclass(frozen=True, slots=True)
class PatchRow(Row):
    """A patch of a data set: patches/{dataset}.parquet."""

    point_id: Annotated[str, "the point at the patch's centre; brain-section-aN if annotated"]
    brain: Annotated[str, "brain"]
    section: Annotated[int, "section number"]
    hemisphere: Annotated[str, "L or R; empty if unknown (only for annotated areas)"]
    split: Annotated[str, "pretrain, train, seen, transfer or unseen"]
    image: Annotated[str, "path of the pyramid, relative to the study"]
    full_spacing_um: Annotated[float, "um", "pixel size of level 0"]
    x_um: Annotated[float, "um", "section frame"]
    y_um: Annotated[float, "um", "section frame"]
    x_mm: Annotated[float, "mm", "template R"]
    y_mm: Annotated[float, "mm", "template A"]
    z_mm: Annotated[float, "mm", "template S"]
    area: Annotated[str, "label, empty where not needed"]


@dataclass(frozen=True, slots=True)
class LayerPatchRow(Row):
    """An annotated patch of cortical layers; paths can be opened from the study folder."""

    patch_id: Annotated[str, "name of the patch, unique"]
    brain: Annotated[str, "brain"]
    image: Annotated[str, "path of the 8-bit gray image"]
    mask: Annotated[str, "path of its mask, of the same size: 0 background, 1 to 6 the layers"]
    cells: Annotated[str, "path of the positions of cell bodies (x_um, y_um); empty if none"]
    spacing_um: Annotated[float, "um", "pixel size"]
    width_px: Annotated[int, "px", "columns"]
    height_px: Annotated[int, "px", "rows"]
    split: Annotated[str, "train or test"]
    rank: Annotated[
        int,
        "place in a random order of the n training patches, -1 for test: the share f of them is "
        "rank < floor(f n), its fold k of five rank % 5 == k",
    ]


@dataclass(frozen=True, slots=True)
class FeatureRow(Row):
    """Which point a row of a feature array is of: features/{run}/{brain}.parquet."""

    point_id: Annotated[str, "point of this row of the feature array"]
    status: Annotated[str, "ok, or why the row is NaN"]


@dataclass(frozen=True, slots=True)
class PredictionRow(Row):
    """The area that a run predicts for a point."""

    point_id: Annotated[str, "point"]
    split: Annotated[str, "seen, transfer or unseen: never trained on"]
    area: Annotated[str, "the label"]
    predicted: Annotated[str, "the prediction of the first seed's probe"]
    probability: Annotated[float, "of the prediction, by the probe's softmax"]
    hops: Annotated[float, "steps between adjacent areas from label to prediction; NaN if unknown"]


@dataclass(frozen=True, slots=True)
class MapRow(Row):
    """What the map says of a point: mapping/{brain}.parquet, rows in the order of the points."""

    point_id: Annotated[str, "point"]
    mapped: Annotated[
        str,
        "the area on the map: the prediction, smoothed along the cortex if mapping.smoothing_mm is "
        "above 0; empty without features",
    ]
    predicted: Annotated[str, "the most probable area by the point's own features"]
    probability: Annotated[float, "of `predicted`, calibrated on held-out points of seen brains"]
    second: Annotated[str, "the second most probable area"]
    second_probability: Annotated[float, "of `second`"]
    third: Annotated[str, "the third most probable area; empty if there are only two"]
    third_probability: Annotated[float, "of `third`"]
    margin: Annotated[float, "difference of the two largest logits: how sure the classifier is"]
    novelty: Annotated[
        float,
        "distance from the training points in feature space, in units of the distance that only "
        "mapping.false_alarms of held-out points exceed",
    ]
    status: Annotated[
        str,
        "ok, unlike_training (novelty above 1: do not trust the prediction), or why the point has "
        "no features",
    ]


@dataclass(frozen=True, slots=True)
class ClusterRow(Row):
    """A clustered point: evaluation/parcellation/{run}/clusters.parquet."""

    point_id: Annotated[str, "point"]
    split: Annotated[str, "how the points were chosen: by the atlas, or by annotation"]
    area: Annotated[str, "the label"]
    cluster: Annotated[int, "k-means cluster of the first seed; 1 is the largest of its split"]
    matched: Annotated[str, "the area that the cluster stands for; empty with more clusters"]


@dataclass(frozen=True, slots=True)
class MetricRow(Row):
    """An epoch of a pretraining run: pretraining/{run}/metrics.parquet."""

    epoch: Annotated[int, "epoch, 0-based"]
    step: Annotated[int, "optimiser steps taken"]
    loss: Annotated[float, "mean training loss of the epoch"]
    learning_rate: Annotated[float, "learning rate of the epoch's last step"]
    gradient_norm: Annotated[float, "norm of the gradient, mean over the steps of the epoch"]
    knn_accuracy: Annotated[
        float, "share of probed patches whose nearest ones are of their area; empty without areas"
    ]
    effective_rank: Annotated[
        float, "dimensions that the features of the probed patches use; 1 or less is a collapse"
    ]


@dataclass(frozen=True, slots=True)
class ScoreRow(Row):
    """A score of a run: evaluation/{task}/{run}/scores.parquet."""

    run: Annotated[str, "pretraining run"]
    task: Annotated[str, "evaluation task"]
    split: Annotated[str, "seen, transfer or unseen"]
    fold: Annotated[int, "fold or seed"]
    metric: Annotated[str, "metric"]
    value: Annotated[float, "value"]
