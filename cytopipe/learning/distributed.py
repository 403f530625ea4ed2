"""Which process of how many this is, on which device, and what the processes tell each other.

Each process computes the losses of its own patches and DistributedDataParallel averages the
gradients. For that average to be the gradient of the mean over the whole batch, a process hands on
`size` x (sum over its patches) / (patches of all), and the backward pass of `gather` SUMS over the
processes, each of which has used the gathered features. Both shortcuts of public code are wrong:
the own slice of the gradient alone points elsewhere, the mean is too small by 1/size.
"""

import gc
import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as group
from torch import Tensor


@dataclass(frozen=True)
class World:
    """One process among `size`, numbered from 0.

    Everything that depends on the number of processes goes through these two numbers: a process
    takes each `size`-th patch of a batch from `rank` on. One process needs no group.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0


def world() -> World:
    """The process that torchrun or srun started, or the only one; does not join the others."""
    rank, size, local, _ = _started_by(os.environ)
    if not torch.cuda.is_available():
        return World(rank, size, torch.device("cpu"))
    # a cluster may show each process its own GPU alone
    return World(rank, size, torch.device("cuda", local % torch.cuda.device_count()))


@contextmanager
def joined() -> Iterator[World]:
    """Join this process to the others for the length of the block.

    Several processes meet at MASTER_ADDR and MASTER_PORT (torchrun sets both; under srun the first
    host of the step and a port from the job's number unless they are set). Tensors on GPUs travel
    by nccl, those on the CPU by gloo. DistributedDataParallel must not outlive the block: keep it
    inside a function that the block calls.
    """
    here = world()
    if here.size == 1:
        yield here
        return
    *_, (host, port) = _started_by(os.environ)
    os.environ.setdefault("MASTER_ADDR", host)
    os.environ.setdefault("MASTER_PORT", str(port))
    backend = "gloo"
    if here.device.type == "cuda":
        torch.cuda.set_device(here.device)
        backend = "cpu:gloo,cuda:nccl"
    # through the environment: under torchrun the meeting point is served already
    group.init_process_group(backend, rank=here.rank, world_size=here.size)
    try:
        yield here
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)
        raise
    finally:
        # what is left of DistributedDataParallel, also in the frames of an error, must go before
        # the group: as its last owner it waits for gloo's threads, and they for Python, for ever
        gc.collect()
        group.destroy_process_group()


def _started_by(environment: Any) -> tuple[int, int, int, tuple[str, int]]:
    """Rank, size, rank on this host and meeting point from the variables of torchrun or srun."""
    found = environment.get
    if "WORLD_SIZE" in environment:
        rank, size, local = found("RANK", "0"), found("WORLD_SIZE"), found("LOCAL_RANK", "0")
    elif "SLURM_STEP_NUM_TASKS" in environment:
        # not SLURM_NTASKS: a batch script has that as well, with a rank of 0 and no other process
        size = found("SLURM_STEP_NUM_TASKS")
        rank, local = found("SLURM_PROCID", "0"), found("SLURM_LOCALID", "0")
    else:
        rank, size, local = "0", "1", "0"
    hosts = found("SLURM_STEP_NODELIST", found("SLURM_JOB_NODELIST", "127.0.0.1"))
    job = 64 * int(found("SLURM_JOB_ID", "0")) + int(found("SLURM_STEP_ID", "0"))
    # below the ports that Linux hands out by itself, from 32768 on
    host, port = found("MASTER_ADDR", first_host(hosts)), found("MASTER_PORT", 10000 + job % 20000)
    return int(rank), int(size), int(local), (host, int(port))


def first_host(hosts: str) -> str:
    """The first of Slurm's list of hosts: `node03` of `node[03-04,07]-ib,login`."""
    parts = re.match(r"([^,\[]*)(?:\[([^\],-]*)[^\]]*\])?([^,\[]*)", hosts)
    assert parts is not None  # every part may be empty
    return "".join(part or "" for part in parts.groups())


def share(values: Tensor, world: World) -> Tensor:
    """Of values (m, ...) in the order of the batch, those (m / size, ...) of this process."""
    return values[world.rank :: world.size]


def gather(values: Tensor, world: World) -> Tensor:
    """The values (m, ...) of the whole batch, in its order, from (m / size, ...) of each process.

    Floating-point values carry gradients: the backward pass sums over the processes.
    """
    if world.size == 1:
        return values
    gathered: Tensor = _Gather.apply(values.contiguous(), world)  # type: ignore[no-untyped-call]
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, world: World) -> Tensor:
        ctx.world = world
        parts = [torch.empty_like(values) for _ in range(world.size)]
        group.all_gather(parts, values)
        # process r holds the patches r, r + size, ... of the batch
        return torch.stack(parts, dim=1).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = gradients[0].contiguous()
        group.all_reduce(gradient)
        return share(gradient, ctx.world), None


def total(values: Tensor, world: World) -> Tensor:
    """The sum of the values of all processes; the backward pass sums the gradients as well."""
    if world.size == 1:
        return values
    summed: Tensor = _Total.apply(values)  # type: ignore[no-untyped-call]
    return summed


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        summed = values.clone(memory_format=torch.contiguous_format)
        group.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        summed = gradients[0].clone(memory_format=torch.contiguous_format)
        group.all_reduce(summed)
        return summed


def mean(losses: Tensor, valid: Tensor, world: World) -> tuple[Tensor, Tensor]:
    """The mean loss of a batch over the patches that have one, twice.

    Parameters
    ----------
    losses, valid : (n,) of the patches of this process, see `losses.Rows`.

    Returns
    -------
    What to differentiate in this process, whose average over the processes is the mean; and the
    mean itself, without gradient, the same in every process.
    """
    own = losses.sum()
    both = total(torch.stack([own.detach(), valid.sum().to(own.dtype)]), world)
    count = both[1].clamp(min=1)
    return world.size * own / count, both[0] / count


def any_of(flag: bool, world: World) -> bool:
    """Whether the flag is up in any process; every process waits for the others here."""
    if world.size == 1:
        return flag
    # on the CPU, by gloo: asking must not wait for a GPU
    raised = torch.tensor(int(flag))
    group.all_reduce(raised, group.ReduceOp.MAX)
    return bool(raised)


def wait(world: World) -> None:
    """Return when every process has come here."""
    any_of(False, world)


def alike(numbers: list[int], world: World) -> bool:
    """Whether every process gives the same whole numbers."""
    if world.size == 1:
        return True
    largest, smallest = torch.tensor(numbers), torch.tensor(numbers)
    group.all_reduce(largest, group.ReduceOp.MAX)
    group.all_reduce(smallest, group.ReduceOp.MIN)
    return torch.equal(largest, smallest)
