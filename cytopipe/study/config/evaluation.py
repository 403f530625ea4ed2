"""The section `evaluation`: one mapping per task, and the runs that each task scores."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from cytopipe.files import InputError
from cytopipe.study.config.base import (
    ConfigSection,
    Count,
    FilePath,
    Name,
    Names,
    Precision,
    Seeds,
    Unique,
    changes_of,
    field,
)
from cytopipe.study.config.optimiser import Optimiser

Runs = Literal["all"] | Names

_POINTS = "The largest number of points of a brain, drawn at random; null for all."
_DATASET = "The name of a data set for areas in patches.datasets."
_FOLDS = "The number of folds of the cross-validation."
_PRECISION = "The precision of the network's passes."
_RUNS = "Runs with settings of their own, by name, each with the settings that it changes."


class Tasks(ConfigSection):
    """The runs that each task scores: all, or a list of names; [] switches a task off."""

    areas: Runs = field("The runs that the areas task scores; all includes the profiles.")
    cross_validation: Runs = field("The runs that the cross-validation scores.")
    finetuning: Runs | Literal["named"] = field(
        "The runs that the finetuning task scores; named: those of evaluation.finetuning.runs."
    )
    layers: Runs = field("The runs that the layers task scores.")
    structure: Runs = field("The runs that the structure task scores.")
    coordinates: Runs = field("The runs that the coordinates task scores.")
    parcellation: Runs = field("The runs that the parcellation task scores.")
    embedding: Runs = field("The runs that the embedding task scores.")
    retrieval: Runs = field("The runs that the retrieval task scores.")
    shortcuts: Runs = field("The runs that the shortcuts task scores.")
    attention: Runs = field("The runs that the attention task scores; only transformers count.")


class AreasTask(ConfigSection):
    """The probe of one run."""

    dataset: str = field(_DATASET)
    standardise: bool = field(
        "Whether each feature is scaled to mean 0 and standard deviation 1 on the training set; "
        "false in the paper, see evaluation/probes.py."
    )
    epochs: int = field("The number of passes over the training set.", ge=1)
    batch_size: int = field("The number of points per step; 2048 in the paper.", ge=1)
    optimiser: Optimiser
    cache_mb: float = field(
        "Training features are held in memory if all of them fit into this; otherwise each batch "
        "is read from disk, which gives the same result.",
        unit="MB",
        ge=0,
    )
    seeds: Seeds = field("The seeds; a probe is trained for each.")


class FinetuningTask(ConfigSection):
    """The fine-tuning of one run."""

    dataset: str = field(_DATASET)
    epochs: int = field("The number of passes over the training set from pretrained weights.", ge=1)
    epochs_scratch: int = field(
        "The number of passes from the weights of a run that was not trained (epochs: 0).", ge=1
    )
    batch_size: int = field("The number of patches per step; 2048 in the paper.", ge=1)
    optimiser: Optimiser
    precision: Precision = field(_PRECISION)
    projected: bool = field(
        "Whether to train also on the output of the projection head (the paper's variant P)."
    )
    workers: int = field(
        "The number of processes that read patches; 0 reads them in the training process.", ge=0
    )
    cache_mb: float = field(
        "Windows are held in memory if all of them fit into this.", unit="MB", ge=0
    )
    seeds: Seeds = field("The seeds; a network is trained for each.")


# the data set is the same for all runs: rules name its files
if TYPE_CHECKING:
    AreasChanges = AreasTask
    FinetuningChanges = FinetuningTask
else:
    AreasChanges = changes_of(AreasTask, without=["dataset"])
    FinetuningChanges = changes_of(FinetuningTask, without=["dataset"])


class AreasOfRuns(AreasTask):
    """A linear probe on frozen features, CytoNet section 3.5."""

    runs: dict[Name, AreasChanges] = field(_RUNS)


class FinetuningOfRuns(FinetuningTask):
    """Network and classifier trained together, CytoNet section 3.5."""

    runs: dict[Name, FinetuningChanges] = field(_RUNS)


class LayersTask(ConfigSection):
    """Segmentation of the cortical layers, CytoNet section 3.6."""

    spacing_um: float = field("The pixel size that the patches are brought to.", unit="um", gt=0)
    patch_px: int = field("The edge of the square that the patches are padded to.", unit="px", ge=8)
    fractions: Annotated[
        Sequence[Annotated[float, Field(gt=0, le=1)]], Field(min_length=1), *Unique
    ] = field("The fractions of the training patches that are trained on.")
    probe_steps: int = field(
        "The number of optimiser steps of a probe, whatever the fraction; 0 leaves probing out.",
        ge=0,
    )
    finetune_steps: int = field(
        "The number of optimiser steps that also train the network; 0 leaves fine-tuning out.", ge=0
    )
    batch_size: int = field("The number of patches per step.", ge=1)
    optimiser: Optimiser
    precision: Precision = field(_PRECISION)
    examples: int = field("The number of test patches in the figure.", ge=0)
    seed: int = field("The seed of the first weights and of the order.", ge=0)


class OneBrainTask(ConfigSection):
    """A task on the points of one brain."""

    brain: str | None = field(
        "The brain whose points are used: B20 in the paper, B06 for its parcellation; null is the "
        "first of brains.tsv."
    )

    @property
    def named_brain(self) -> str:
        """The brain's name; the rules have replaced null."""
        if self.brain is None:
            raise InputError("evaluation: brain is null; name a brain of config/brains.tsv")
        return self.brain


class StructureTask(OneBrainTask):
    """Linear regression to position, shape, layers and cells, CytoNet section 3.7."""

    points: Count | None = field(_POINTS)
    components: Annotated[Sequence[Count], Field(min_length=1), *Unique] = field(
        "The numbers of principal components to regress on; the raw features are always used as "
        "well."
    )
    pca: Literal["per_fold", "all"] = field(
        "What the components are fitted on: per_fold, the training samples of each fold; all, "
        "every sample as in the paper, which leaks test samples."
    )
    folds: int = field(_FOLDS, ge=2)
    seed: int = field("The seed of the folds and of the draw of the points.", ge=0)
    attributed: int = field(
        "The figure shows how much each of this many first components contributes to each target.",
        ge=1,
    )
    reach_mm: float = field(
        "A point takes the layer thickness of the nearest vertex within this distance.",
        unit="mm",
        gt=0,
    )
    bandwidth_um: float = field(
        "The standard deviation of the Gaussian that turns cells into densities.", unit="um", gt=0
    )


class CoordinatesTask(OneBrainTask):
    """Regressors of one brain applied to the others, CytoNet section 7.3."""

    folds: int = field(_FOLDS, ge=2)
    points: Count | None = field(_POINTS)
    seed: int = field("The seed of the draws and of the folds.", ge=0)


class ParcellationTask(OneBrainTask):
    """k-means clusters of neighbouring areas, CytoNet section 3.8."""

    annotated: FilePath | None = field(
        "A data set of annotated points, in patches.datasets, that is clustered as well, or null."
    )
    areas: Annotated[Sequence[str], Field(min_length=2), *Unique] | None = field(
        "The names of two or more areas, [Fp1, Fp2] in the paper; null is the pair of touching "
        "areas with the most points."
    )
    touching_mm: float = field(
        "Areas touch if they have points at most this far apart.", unit="mm", gt=0
    )
    probability: float = field("The smallest probability of a point's atlas label.", ge=0, le=1)
    clusters: int = field(
        "The number of clusters of points chosen by the atlas; annotated points get one cluster "
        "per area.",
        ge=2,
    )
    seeds: Seeds = field("The seeds; a clustering is made for each.")


class EmbeddingTask(ConfigSection):
    """Maps of the features, CytoNet sections 1.2 and 7.2."""

    most_per_brain: int = field("The largest number of points of a brain for UMAP.", ge=1)
    neighbours: int = field(
        "The number of neighbours of UMAP.", source="umap-learn's default", ge=2
    )
    min_distance: float = field(
        "The smallest distance of UMAP.", source="umap-learn's default", ge=0, lt=1
    )
    cluster_points: int = field(
        "The number of points of all brains for t-SNE and Ward's method, whose memory grows with "
        "its square.",
        ge=1,
    )
    perplexity: float = field("The perplexity of t-SNE.", gt=0)
    clusters: int = field("The number of clusters of Ward's method.", source="ISBI", ge=2)
    seed: int = field("The seed of the draws and of both embeddings.", ge=0)


class RetrievalTask(ConfigSection):
    """The nearest patches by cosine similarity, CytoNet section 7.6."""

    queries_per_brain: int = field("The number of queries of each brain, drawn at random.", ge=1)
    neighbours: int = field(
        "The number of neighbours of a query, among all points of all brains.", ge=1
    )
    exclude_mm: float = field(
        "A second count leaves out points of the query's section within this distance.",
        unit="mm",
        ge=0,
    )
    shown: int = field("The number of queries in the figure, with their neighbours.", ge=0)
    seed: int = field("The seed of the draws.", ge=0)


class ShortcutsTask(ConfigSection):
    """What else can be read from the features, beside areas and position."""

    points_per_brain: int = field(
        "The number of points of each brain, drawn at random, whose patches are read.", ge=1
    )
    turned_per_brain: int = field(
        "The number of these that are rotated by quarter turns and embedded again.", ge=1
    )
    section_pairs: int = field(
        "The number of pairs of adjacent sections of each brain that a probe tells apart.", ge=1
    )
    slab_mm: float = field(
        "Sections within this distance along the cutting axis stay in one fold.", unit="mm", gt=0
    )
    folds: int = field("The number of folds; the slabs are assigned to them in turn.", ge=2)
    neighbours: int = field(
        "The number of nearest points in other brains; their distance tells how different a brain "
        "is.",
        ge=1,
    )
    batch_size: int = field("The number of rotated patches that are embedded at a time.", ge=1)
    seed: int = field("The seed of the draws.", ge=0)


class AttentionTask(ConfigSection):
    """Where the class token of a transformer looks, CytoNet Figure 3."""

    dataset: str = field(_DATASET)
    areas: Count | Annotated[Sequence[str], Field(min_length=1), *Unique] = field(
        "The names of areas, [hOc1, 4a, 3b] in the paper, or the number of areas to draw."
    )
    patches: int = field("The largest number of patches of each area to score.", ge=1)
    shown: int = field("The number of these patches to show.", ge=0)
    gamma: float = field(
        "The exponent that is applied to the attention for display.", source="CytoNet", gt=0
    )
    tissue_below: float = field(
        "A cell of the map is tissue if its mean gray value, 0 to 1, is lower.", ge=0, le=1
    )
    batch_size: int = field("The number of patches at a time.", ge=1)
    seed: int = field("The seed of the draws.", ge=0)


class Evaluation(ConfigSection):
    """Tasks on the features of the runs.

    A task is left out if the study lacks its inputs (areas, annotations).
    """

    tasks: Tasks
    areas: AreasOfRuns
    finetuning: FinetuningOfRuns
    layers: LayersTask
    structure: StructureTask
    coordinates: CoordinatesTask
    parcellation: ParcellationTask
    embedding: EmbeddingTask
    retrieval: RetrievalTask
    shortcuts: ShortcutsTask
    attention: AttentionTask
