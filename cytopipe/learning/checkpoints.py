"""What survives an interruption (checkpoints) and what is kept (weights)."""

import io
import signal
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from cytopipe import provenance
from cytopipe.files import InputError, require, whole
from cytopipe.learning import networks


@dataclass
class Stop:
    """Whether a signal has asked the process to save its state and leave."""

    requested: bool = False


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Turn SIGTERM and SIGUSR1 (what a cluster sends before it kills) into a request to stop."""
    stop = Stop()

    def request(number: int, frame: FrameType | None) -> None:
        stop.requested = True

    before = {number: signal.signal(number, request) for number in (signal.SIGTERM, signal.SIGUSR1)}
    # blocked since the program began: a warning that came meanwhile is a request now
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def save(content: dict[str, Any], path: Path) -> None:
    """Write tensors, numbers, strings, lists and dictionaries, whole or not at all."""
    # through memory: torch.save to a file puts the file's temporary name into the archive
    buffer = io.BytesIO()
    torch.save({**content, **provenance.entry()}, buffer)
    with whole(path) as beside:
        beside.write_bytes(buffer.getbuffer())


def load(path: Path) -> dict[str, Any]:
    """Read what `save` wrote, on the CPU.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    require(path, "run the pretraining")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path}: damaged or no file of torch; delete it and run again")
    content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return content


def load_encoder(path: Path) -> tuple[networks.Encoder, dict[str, Any]]:
    """The trained encoder of a `final.pt`, in evaluation mode, and the params of its run.

    Raises
    ------
    InputError
        If the file is missing, damaged, or of another version.
    """
    content = load(path)
    params: dict[str, Any] = content["params"]
    return encoder_of(content["plan"], content["weights"], path), params


def encoder_of(plan: dict[str, Any], weights: dict[str, Tensor], path: Path) -> networks.Encoder:
    """The encoder of a plan's fields and its weights, in evaluation mode.

    Raises
    ------
    InputError
        If they do not belong together; the message names `path`.
    """
    try:
        encoder = networks.build(networks.Plan(**plan), seed=0)
        encoder.load_state_dict(weights)
    except (TypeError, KeyError, RuntimeError) as error:
        raise InputError(
            f"{path}: its weights do not fit the plan {plan} ({error}); it was written by another "
            "version of cytopipe, train the network again"
        ) from error
    return encoder.eval()
