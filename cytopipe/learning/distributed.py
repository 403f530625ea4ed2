"""Training by several processes: who this process is, and what it exchanges with the others.

Each process computes the losses of its own patches and DistributedDataParallel averages the
gradients. For that average to be the gradient of the mean loss of the whole batch,

- each process differentiates `size` x (sum of its losses) / (number of patches with a loss), see
  `mean`;
- the backward pass of `gather` sums over the processes, because each of them has used the gathered
  embeddings.

Public code often does one of two wrong things instead: keeping only the own slice of the gradient,
which changes its direction, or averaging over the processes, which makes it too small by 1/size.
"""

import gc
import os
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as group
from torch import Tensor

from cytopipe import logs


@dataclass(frozen=True)
class World:
    """One process among `size`, numbered from 0.

    Whatever depends on the number of processes depends on these two numbers: a process takes every
    `size`-th patch of a batch, starting at `rank`.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process writes the files and the messages."""
        return self.rank == 0


def world() -> World:
    """The rank, size and device of this process; does not connect to the other processes."""
    rank, size, local, _ = _launched_by(os.environ)
    if not torch.cuda.is_available():
        return World(rank, size, torch.device("cpu"))
    # modulo: a cluster may show each process only its own GPU
    return World(rank, size, torch.device("cuda", local % torch.cuda.device_count()))


def device_name(world: World) -> str:
    """The model of the process's GPU, or `cpu`."""
    if world.device.type == "cpu":
        return "cpu"
    return str(torch.cuda.get_device_name(world.device))


@contextmanager
def joined() -> Iterator[World]:
    """Connect the processes for the length of the block.

    Several processes meet at MASTER_ADDR and MASTER_PORT. torchrun sets both; under srun they
    default to the first host of the step and a port derived from the job's number. Tensors travel
    by nccl on GPUs and by gloo on the CPU. DistributedDataParallel must not outlive the block: keep
    it inside a function that the block calls.
    """
    here = world()
    if here.size == 1:
        yield here
        return
    if not here.first:
        logs.only_errors()
    *_, (host, port) = _launched_by(os.environ)
    os.environ.setdefault("MASTER_ADDR", host)
    os.environ.setdefault("MASTER_PORT", str(port))
    backend = "gloo"
    if here.device.type == "cuda":
        torch.cuda.set_device(here.device)
        backend = "cpu:gloo,cuda:nccl"
    # by environment variables: under torchrun, the meeting point is already being served
    group.init_process_group(backend, rank=here.rank, world_size=here.size)
    try:
        yield here
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)
        raise
    finally:
        # free DistributedDataParallel, which an error's frames may still hold, before the group: if
        # it owns the group last, it waits forever for gloo's threads, which wait for Python
        gc.collect()
        group.destroy_process_group()


def _launched_by(environment: Mapping[str, str]) -> tuple[int, int, int, tuple[str, int]]:
    """Rank, size, rank on this host and meeting point from the variables of torchrun or srun."""
    get = environment.get
    if "WORLD_SIZE" in environment:
        rank, size, local = get("RANK", "0"), get("WORLD_SIZE", "1"), get("LOCAL_RANK", "0")
    elif "SLURM_STEP_NUM_TASKS" in environment:
        # not SLURM_NTASKS: a batch script has it too, with rank 0 and no other process
        size = get("SLURM_STEP_NUM_TASKS", "1")
        rank, local = get("SLURM_PROCID", "0"), get("SLURM_LOCALID", "0")
    else:
        rank, size, local = "0", "1", "0"
    hosts = get("SLURM_STEP_NODELIST", get("SLURM_JOB_NODELIST", "127.0.0.1"))
    job = 64 * int(get("SLURM_JOB_ID", "0")) + int(get("SLURM_STEP_ID", "0"))
    # below the ports that Linux assigns by itself, from 32768 on
    host, port = get("MASTER_ADDR", first_host(hosts)), get("MASTER_PORT", 10000 + job % 20000)
    return int(rank), int(size), int(local), (host, int(port))


def first_host(hosts: str) -> str:
    """The first host of a Slurm node list: `node03` of `node[03-04,07],login`."""
    parts = re.match(r"([^,\[]*)(?:\[([^\],-]*)[^\]]*\])?([^,\[]*)", hosts)
    assert parts is not None  # every part may be empty
    return "".join(part or "" for part in parts.groups())


def gather_batch(embeddings: Tensor, rows: Tensor, world: World) -> tuple[Tensor, Tensor, Tensor]:
    """The whole batch, and which of its views belong to this process.

    Parameters
    ----------
    embeddings : (n * views, d) of this process, the views of a patch after one another.
    rows : (n,) row numbers of its patches.

    Returns
    -------
    Embeddings (m * views, d) and row numbers (m * views,) of all views of all processes, and the
    indices (n * views,) of the views of this process among them.
    """
    by_patch = gather(embeddings.view(len(rows), -1, embeddings.shape[-1]), world)
    patches, views = by_patch.shape[:2]
    indices = torch.arange(patches * views, device=rows.device).view(patches, views)
    own = share(indices, world).flatten()
    return by_patch.flatten(0, 1), gather(rows, world).repeat_interleave(views), own


def share(values: Tensor, world: World) -> Tensor:
    """The values (m / size, ...) of this process out of those of the whole batch (m, ...)."""
    return values[world.rank :: world.size]


def gather(values: Tensor, world: World) -> Tensor:
    """The values (m, ...) of the whole batch, in its order, from (m / size, ...) of each process.

    Differentiable: the backward pass sums over the processes.
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
    """The sum over all processes. Differentiable: the backward pass sums, too."""
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
    """The mean loss over the patches of the whole batch that have one.

    Parameters
    ----------
    losses, valid : (n,) of the patches of this process, see `losses.PatchLosses`.

    Returns
    -------
    The loss to differentiate in this process, whose average over the processes is the mean; and the
    mean itself, without gradient and equal in all processes.
    """
    own = losses.sum()
    loss_and_count = total(torch.stack([own.detach(), valid.sum().to(own.dtype)]), world)
    count = loss_and_count[1].clamp(min=1)
    return world.size * own / count, loss_and_count[0] / count


def average_gradients(network: torch.nn.Module, world: World) -> None:
    """Replace each gradient by its mean over the processes, as DistributedDataParallel does."""
    if world.size == 1:
        return
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    together = torch.cat([gradient.flatten() for gradient in gradients])
    group.all_reduce(together)
    sizes = [gradient.numel() for gradient in gradients]
    parts = torch.split(together / world.size, sizes)
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def any_process(flag: bool, world: World) -> bool:
    """Whether the flag is set in any process; waits for all of them."""
    if world.size == 1:
        return flag
    # on the CPU, by gloo, so that it does not wait for a GPU
    flags = torch.tensor(int(flag))
    group.all_reduce(flags, group.ReduceOp.MAX)
    return bool(flags)


def barrier(world: World) -> None:
    """Wait until every process is here."""
    any_process(False, world)


def all_equal(numbers: list[int], world: World) -> bool:
    """Whether all processes pass the same integers."""
    rows = gather(torch.tensor([numbers]), world)
    return bool((rows == rows[0]).all())
