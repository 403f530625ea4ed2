"""The section `pretraining`."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import model_validator

from cytopipe.study.config.base import ConfigSection, Precision, Range, changes_of, field, text
from cytopipe.study.config.optimiser import Optimiser

_PAPER = "CytoNet 3.4"


class Augmentation(ConfigSection):
    """The random changes of patches, CytoNet section 3.4."""

    angle_rad: float = field(
        "The largest rotation, to either side.", unit="rad", source=_PAPER, ge=0, le=3.1415927
    )
    shift_mm: float = field(
        "The largest shift, in a random direction.", unit="mm", source=_PAPER, ge=0
    )
    mirror: float = field(
        "The probability of turning a patch upside down.", source=_PAPER, ge=0, le=1
    )
    alpha: Range = field(
        "The range of alpha, with which an intensity x becomes alpha x^gamma + beta.",
        source=_PAPER,
    )
    beta: Range = field("The range of beta.", source=_PAPER)
    gamma_z: float = field(
        "The spread of Z, from which gamma is drawn: 0.05 gives 0.815 to 1.227. The formula of the "
        "papers is misprinted; see learning/augmentation.py.",
        source="Pohlen et al. 2017",
        ge=0,
        le=0.7,
    )
    blur: float = field("The probability of blurring.", source=_PAPER, ge=0, le=0.5)
    sharpen: float = field("The probability of sharpening.", source=_PAPER, ge=0, le=0.5)
    sigma_px: Range = field(
        "The range of the standard deviation of the Gaussian that blurs or sharpens.",
        unit="px",
        source=_PAPER,
    )
    delta: Range = field("The range of the strength of the sharpening.", source=_PAPER)


# profiles is the name of the baseline without a network, and the release of a run has its own log
RunName = Annotated[
    str,
    text(
        "letters, digits, _ and -, but neither profiles nor -release at the end",
        "(?!profiles$|.*-release$)[A-Za-z0-9_-]+",
    ),
]


class PretrainingRun(ConfigSection):
    """The settings of one run. The values are those of CytoNet, section 3.4, unless noted."""

    architecture: Literal["r50", "r50_vit", "unet_encoder", "small", "small_vit"] = field(
        "The backbone: r50, r50_vit (CytoNet 3.3), unet_encoder (ISBI), or the demo's small and "
        "small_vit."
    )
    start: RunName | None = field(
        "The run whose trained network this run continues from (architecture, patch_px and "
        "spacing_um must be the same), or null for random weights."
    )
    dataset: str = field(
        "The name of a data set in patches.datasets; supcon and supervised need one with areas."
    )
    loss: Literal["spatialnce", "simclr", "supcon", "supervised", "distance"] = field(
        "The objective: spatialnce; simclr; distance (predicts the place of a patch and the "
        "distance of a pair); for data sets with areas also supcon (ISBI's contrastive loss) and "
        "supervised (a classifier from scratch)."
    )
    projection: int = field(
        "The number of outputs of the projection head of spatialnce, simclr and supcon; 128 in "
        "ISBI.",
        source=_PAPER,
        ge=1,
    )
    temperature: float = field(
        "The temperature of the softmax over similarities.", source=_PAPER, gt=0
    )
    sigma_mm: float = field(
        "The bandwidth of the similarity of two patches, exp(-distance^2 / (2 sigma^2)).",
        unit="mm",
        source=_PAPER,
        gt=0,
    )
    distance: Literal["euclidean", "same_hemisphere", "geodesic"] = field(
        "The distance that spatialnce uses: euclidean, same_hemisphere (infinite across "
        "hemispheres) or geodesic (along the mid-surface)."
    )
    epochs: int = field(
        "The number of passes over the data set; 0 keeps the random weights.", source=_PAPER, ge=0
    )
    batch_size: int = field(
        "The number of patches per step, of all processes together: 64 on one GPU of 80 GB, 2048 "
        "on 64 GPUs in the paper.",
        ge=2,
    )
    batch_parts: int = field(
        "The number of parts in which each process passes its share of a batch through the "
        "network. With more than 1, large batches fit on few GPUs, a step takes a third longer, "
        "and the batch norm of the backbone is over a part.",
        source="GradCache, Gao et al. 2021",
        ge=1,
    )
    optimiser: Optimiser
    patch_px: int = field(
        "The edge of a patch: 2048 px of 2 um are a field of 4.096 mm.",
        unit="px",
        source=_PAPER,
        ge=8,
    )
    spacing_um: float = field(
        "The pixel size of a patch, which is a level of the pyramids.",
        unit="um",
        source=_PAPER,
        gt=0,
    )
    margin: Literal["exact", "reflect"] = field(
        "What fills the corners of a rotated patch: exact, the tissue there (reads 9.6 MB per "
        "patch); reflect, the mirrored patch (4.2 MB)."
    )
    augmentation: Augmentation
    precision: Precision = field("The precision of the network; the loss is always float32.")
    checkpointing: bool = field(
        "Whether to keep few activations and compute the others again: less memory, but slower.",
        source="CytoNet 3.9",
    )
    compile: bool = field(
        "Whether to compile the network (torch.compile): minutes at the start, then faster steps."
    )
    workers: int = field(
        "The number of processes that read patches, for each training process; 0 reads them in "
        "that process.",
        ge=0,
    )
    cache_mb: float = field(
        "Each training process keeps its windows in memory if all of them fit into this.",
        unit="MB",
        ge=0,
    )
    probe_patches: int = field(
        "The number of patches, drawn once, whose features are examined after each epoch: are the "
        "nearest ones of the same area, and how many dimensions do they use; 0 for none.",
        ge=0,
    )
    seed: int = field("The seed of weights, order and augmentation.", ge=0)


if TYPE_CHECKING:
    Changes = PretrainingRun
else:
    Changes = changes_of(PretrainingRun)

# what a run has in common with the run that it continues from: the shape of the network, and the
# size of what it sees
_KEPT = ("architecture", "patch_px", "spacing_um")


class Pretraining(ConfigSection):
    """A run is `common` with the changes that it names."""

    common: PretrainingRun
    runs: dict[RunName, Changes] = field(
        "The runs by name (letters, digits, _ and -, but not profiles, which is the baseline "
        "without a network, and without -release at the end), each with the settings that it "
        "changes. A run with epochs: 0 keeps its random weights: a baseline. {} for a study that "
        "ends with points and pages."
    )

    @model_validator(mode="after")
    def _starts_fit(self) -> Self:
        """Each run continues from a run of the same network, or from random weights."""
        for name in self.runs:
            chain = [name]
            while (start := self._of_run(chain[-1], "start")) is not None:
                where = f"pretraining.runs.{chain[-1]}.start is {start}"
                if start not in self.runs:
                    raise ValueError(f"{where}, which is not a run; give one of {[*self.runs]}")
                if start in chain:
                    raise ValueError(f"{where}, so the run continues from itself; give another")
                if self._of_run(chain[-1], "epochs") == 0:
                    raise ValueError(f"{where}, but its epochs are 0; give at least 1")
                for key in _KEPT:
                    own, other = (self._of_run(run, key) for run in (chain[-1], start))
                    if own != other:
                        raise ValueError(
                            f"{where}, whose {key} is {other} and not {own}; give both the same "
                            f"{key}, or start: null"
                        )
                chain.append(start)
        return self

    def _of_run(self, run: str, key: str) -> Any:
        """A setting of a run: its own, or that of `common`."""
        changes = self.runs[run]
        return getattr(changes if key in changes.model_fields_set else self.common, key)
