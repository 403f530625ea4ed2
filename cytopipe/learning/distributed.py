"""Which process of how many this is, and on which device: the only place that knows."""

import os
from dataclasses import dataclass

import torch

from cytopipe.files import InputError


@dataclass(frozen=True)
class World:
    """One process among `size`, numbered from 0.

    Everything that depends on the number of processes goes through these two numbers: a process
    takes each `size`-th patch of a batch from `rank` on.
    """

    rank: int
    size: int
    device: torch.device


def world() -> World:
    """The process that torchrun or srun started, or the only one.

    Raises
    ------
    InputError
        If there are several processes: features are not gathered across them yet.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size != 1:
        raise InputError(f"WORLD_SIZE is {size}; pretraining runs as a single process, start one")
    return World(0, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
