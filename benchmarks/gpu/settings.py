"""What is measured: the parts in the order of their importance, and the values of a training.

The values are those of config/config.yaml, written out because the machine may lack yaml;
tests/test_benchmarks_gpu.py compares them.
"""

from dataclasses import dataclass

TEMPERATURE, SIGMA_MM, SEED = 0.07, 10.0, 1
SPACING_UM, MARGIN, PRECISION = 2.0, "exact", "bfloat16"
OPTIMISER = {
    "name": "lars",
    "learning_rate": 0.01,
    "schedule": "constant",
    "momentum": 0.9,
    "weight_decay": 0.0001,
    "trust": 0.02,
    "lars_exclude": "bias",
}
AUGMENTATION = {
    "angle_rad": 3.1415926,
    "shift_mm": 0.2,
    "mirror": 0.5,
    "alpha": [0.9, 1.0],
    "beta": [-0.1, 0.1],
    "gamma_z": 0.05,
    "blur": 0.25,
    "sharpen": 0.25,
    "sigma_px": [0.125, 1.0],
    "delta": [0.5, 1.5],
}


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes
    ----------
    patch_px, batch : of the training steps; where a batch does not fit, half of it is tried.
    measure_s : seconds that the measured steps of a part take, about.
    most_steps : of a part, measured.
    agreement_px, agreement_batch : patches of the comparison with the CPU.
    section_px : least edge of the sections that patches are read from.
    repeats : of each decoding.
    stand_in : a network that is measured in place of every architecture; empty for none.
    inductor : whether compilation generates code; otherwise it only traces.
    """

    patch_px: int
    batch: int
    measure_s: float
    most_steps: int
    agreement_px: int
    agreement_batch: int
    section_px: int
    repeats: int
    stand_in: str
    inductor: bool


FULL = Sizes(2048, 64, 6, 40, 256, 8, 8192, 5, "", True)
QUICK = Sizes(32, 4, 0, 2, 32, 4, 1024, 1, "small_vit", False)


@dataclass(frozen=True)
class Part:
    """One measurement, in a process of its own.

    Attributes
    ----------
    kind : `training`, `loading`, `agreement` or `decoding`: the module that measures it.
    limit_s : after this the process is ended; what it has measured by then is kept.
    architecture : name in `learning.networks.BACKBONES`.
    compiled, checkpointing : of a training.
    """

    kind: str
    limit_s: float
    architecture: str = ""
    compiled: bool = False
    checkpointing: bool = False

    @property
    def name(self) -> str:
        """Such as `r50_vit compiled`."""
        words = [] if self.kind == "training" else [self.kind]
        words += [self.architecture] if self.architecture else []
        words += ["compiled"] if self.compiled else []
        words += ["checkpointing"] if self.checkpointing else []
        return " ".join(words)


PARTS = [
    Part("training", 75, "r50"),
    Part("training", 75, "r50_vit"),
    Part("loading", 75, "r50"),
    Part("training", 150, "r50", compiled=True),
    Part("agreement", 50, "r50"),
    Part("agreement", 50, "r50_vit"),
    Part("decoding", 40),
    Part("training", 150, "r50_vit", compiled=True),
    Part("training", 60, "r50", checkpointing=True),
    Part("training", 60, "r50_vit", checkpointing=True),
    Part("loading", 60, "r50_vit"),
    Part("training", 90, "r50", compiled=True, checkpointing=True),
    Part("training", 90, "r50_vit", compiled=True, checkpointing=True),
]
