"""Files of tensors: checkpoints of an interrupted training, and trained weights."""

import io
import signal
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cytopipe import provenance
from cytopipe.files import InputError, atomic_write, reading, require
from cytopipe.learning import networks


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """Yield a list that collects SIGTERM and SIGUSR1, which a cluster sends before it kills."""
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: received.append(number))
        for number in (signal.SIGTERM, signal.SIGUSR1)
    }
    # blocked since the program started: a warning that has come since is delivered now
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def save(content: dict[str, Any], path: Path) -> None:
    """Write tensors, numbers, strings, lists and dictionaries; the file is complete or absent."""
    # through memory: torch.save to a file stores the file's temporary name in the archive
    buffer = io.BytesIO()
    torch.save({**content, **provenance.entry()}, buffer)
    with atomic_write(path) as beside:
        beside.write_bytes(buffer.getbuffer())


def load(path: Path) -> dict[str, Any]:
    """Read a file that `save` wrote, with its tensors on the CPU.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    require(path, "run the pretraining")
    with reading(path, "PyTorch file", "delete it and run again"):
        with zipfile.ZipFile(path) as archive:
            # torch passes over the checksums
            if damaged := archive.testzip():
                raise ValueError(f"the checksum of {damaged} is wrong")
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}")
    return content


def load_trained(path: Path, *more: str) -> dict[str, Any]:
    """Read trained weights: `params`, `plan` and `weights`.

    Parameters
    ----------
    more : what else the file must contain, such as `classes`.

    Raises
    ------
    InputError
        If the file is missing, damaged, or written by an earlier version.
    """
    content = load(path)
    if missing := {"params", "plan", "weights", *more} - content.keys():
        raise InputError(
            f"{path}: lacks {', '.join(sorted(missing))}; it was written by an earlier version of "
            "cytopipe, train the network again"
        )
    return content


def load_encoder(path: Path) -> tuple[networks.Encoder, dict[str, Any]]:
    """The trained encoder of a `final.pt`, in evaluation mode, and the params of its run.

    Raises
    ------
    InputError
        If the file is missing, damaged, or written by an incompatible version.
    """
    content = load_trained(path)
    params: dict[str, Any] = content["params"]
    return encoder_of(content["plan"], content["weights"], path), params


def encoder_of(plan: dict[str, Any], weights: dict[str, Tensor], path: Path) -> networks.Encoder:
    """The encoder with the fields of a plan and its weights, in evaluation mode.

    Raises
    ------
    InputError
        If the weights do not fit the plan; the message names `path`.
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
