"""The state of a run on disk: an interrupted training resumes where it stopped."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from cytopipe import provenance
from cytopipe.files import InputError, reading
from cytopipe.learning import checkpoints, distributed, networks
from cytopipe.learning.distributed import World
from cytopipe.logs import info

# params that affect only speed and memory: a training can be resumed with other values
SPEED = ("workers", "cache_mb", "checkpointing")


def identity_of(settings: Any, files: Sequence[Path]) -> str:
    """Hash of what determines the result of a training: plain values, and files by their bytes."""
    digest = hashlib.sha256(yaml.safe_dump(settings).encode())
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()


@dataclass
class State:
    """How far a run has come; with the weights and the optimiser, all that is needed to resume it.

    There is no random state, because order and augmentation follow from (seed, epoch, index, view),
    and no gradient scaler, because bfloat16 needs none.

    Attributes
    ----------
    epoch, step : complete epochs, and complete steps of the current one.
    loss_sum, gradient_sum : losses and norms of the gradient, summed over the steps of the current
        epoch; they stay on the device and are equal in all processes.
    seconds : spent on the current epoch.
    metrics : one row per complete epoch (MetricRow).
    """

    epoch: int
    step: int
    loss_sum: Tensor
    gradient_sum: Tensor
    seconds: float
    metrics: list[dict[str, float]]


@dataclass(frozen=True)
class Checkpoint:
    """The file of a run's state.

    Attributes
    ----------
    path : of the file.
    identity : of what determines the result, see `identity_of`; a checkpoint with another one is
        ignored.
    world : the processes, of which the first one writes.
    signals : of `checkpoints.stop_signals`: whether the training is asked to stop.
    """

    path: Path
    identity: str
    world: World
    signals: list[int]

    def save(
        self, encoder: networks.Encoder, optimiser: torch.optim.Optimizer, state: State
    ) -> None:
        """Write weights, optimiser and state; returns when the file is there for all processes.

        Raises
        ------
        InputError
            If an image changed since the training started.
        """
        provenance.check_inputs()
        if self.world.first:
            content = {
                "identity": self.identity,
                "processes": self.world.size,
                "weights": encoder.state_dict(),
                "optimiser": optimiser.state_dict(),
                "state": vars(state),
            }
            checkpoints.save(content, self.path)
        distributed.barrier(self.world)

    def resume(self, encoder: networks.Encoder, optimiser: torch.optim.Optimizer) -> State:
        """Load weights, optimiser and state from the file, or return the state of a new run.

        Raises
        ------
        InputError
            If the file is damaged or the processes do not all see the same one.
        """
        zero = torch.zeros((), device=self.world.device)
        state = State(0, 0, zero, zero.clone(), 0.0, [])
        messages = []
        if self.path.exists():
            content = checkpoints.load(self.path)
            if content.get("identity") == self.identity:
                with reading(self.path, "checkpoint", "delete it and run again"):
                    encoder.load_state_dict(content["weights"])
                    optimiser.load_state_dict(content["optimiser"])
                    state = State(**content["state"])
                state.loss_sum = state.loss_sum.to(self.world.device)
                state.gradient_sum = state.gradient_sum.to(self.world.device)
                messages.append(
                    f"continues at epoch {state.epoch}, step {state.step} ({self.path})"
                )
                if content["processes"] != self.world.size:
                    messages.append(
                        f"saved by {content['processes']} processes, resumed by {self.world.size}: "
                        "batches, order and augmentation are the same, but sums are rounded "
                        "differently"
                    )
            else:
                messages.append(f"{self.path} has other params or patches: starting anew")
        for message in messages:
            info(message)
        if not distributed.all_equal([state.epoch, state.step], self.world):
            raise InputError(
                f"{self.path}: not all processes see the same file; put the study's results on a "
                "file system that all hosts share"
            )
        return state
