"""What is watched while a network trains: finite losses, gradients, and what its features hold."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from cytopipe.learning import embedding, networks
from cytopipe.learning.distributed import World
from cytopipe.learning.loading import Patches

if TYPE_CHECKING:  # so that importing this needs neither pandas nor pydantic
    import pandas as pd

    from cytopipe.study.config import PretrainingRun

NEIGHBOURS = 10  # of the kNN probe; of the same order as the patches of an area and section
CHECK_EVERY = 50  # steps between two looks at the loss: some seconds on a GPU


class DelayedCopy:
    """A number on the device, read some steps later, so that nobody waits for the device."""

    def __init__(self, device: torch.device) -> None:
        self._event: torch.cuda.Event | None = None
        if device.type == "cuda":
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._copy = torch.zeros((), pin_memory=device.type == "cuda")

    def read(self) -> float:
        """The number that was last put; 0 before the first one."""
        if self._event is not None:
            self._event.synchronize()
        return float(self._copy)

    def put(self, value: Tensor) -> None:
        self._copy.copy_(value, non_blocking=True)
        if self._event is not None:
            self._event.record()


def gradient_norm(network: nn.Module) -> Tensor:
    """The 2-norm of all gradients together, a scalar tensor on the device."""
    gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
    norm: Tensor = get_total_norm(gradients)
    return norm


def probe_rows(table: "pd.DataFrame", params: "PretrainingRun") -> list[int]:
    """The rows of the patches that are probed after each epoch, drawn by the seed of the run."""
    count = min(params.probe_patches, len(table))
    random = np.random.default_rng([params.seed, len(table)])
    return sorted(random.choice(len(table), count, replace=False).tolist())


def probe(
    encoder: networks.Encoder,
    patches: Patches,
    table: "pd.DataFrame",
    rows: list[int],
    world: World,
    params: "PretrainingRun",
) -> tuple[float, float]:
    """`knn_accuracy` and `effective_rank` of the backbone's features of some patches.

    Parameters
    ----------
    table, rows : the patches of the run (PatchRow), and the rows to probe.
    """
    if not rows:
        return np.nan, np.nan
    batches = embedding.batches_of(rows, params.batch_size, world)
    parts = [
        features
        for features, _ in embedding.outputs_of(
            encoder, patches, batches, params.precision, params.workers
        )
    ]
    features = embedding.gathered(parts, len(rows), world)
    probed = table.iloc[rows]
    areas = probed.area.to_numpy(str)
    section_of = probed.groupby(["brain", "section"]).ngroup().to_numpy(np.int64)
    return knn_accuracy(features, areas, section_of), effective_rank(features)


def knn_accuracy(features: Tensor, areas: NDArray[np.str_], sections: NDArray[np.integer]) -> float:
    """The share of patches whose most similar patches are mostly of their area.

    Neighbours have the largest cosine similarity and lie in other sections, because patches of one
    section overlap. Patches without an area do not count.

    Parameters
    ----------
    features, areas, sections : (n, d), (n,) empty if unknown, and (n,) numbers of the sections.

    Returns
    -------
    0 to 1; NaN if fewer than two areas or two sections are known.
    """
    known = np.flatnonzero(areas != "")
    names, labels = np.unique(areas[known], return_inverse=True)
    if len(names) < 2 or len(np.unique(sections[known])) < 2:
        return float("nan")
    unit = nn.functional.normalize(features[torch.from_numpy(known).to(features.device)])
    similarity = (unit @ unit.T).cpu()
    section = torch.from_numpy(sections[known])
    same_section = section[:, None] == section
    similarity[same_section] = -torch.inf
    # a section may hold nearly all patches
    count = min(NEIGHBOURS, int((~same_section).sum(1).min()))
    nearest = similarity.topk(count).indices
    votes = nn.functional.one_hot(torch.from_numpy(labels)[nearest], len(names)).sum(1)
    return float((votes.argmax(1) == torch.from_numpy(labels)).double().mean())


def effective_rank(features: Tensor) -> float:
    """How many dimensions the features (n, d) use: the exponential of the singular values' entropy.

    1 if all features lie on a line (a collapse), at most min(n - 1, d); 0 if they are equal. After
    Roy & Vetterli 2007, without the mean, because a common offset tells nothing of their variety.
    """
    values = features.double().cpu()
    centred = values - values.mean(0)
    if centred.norm() <= 1e-9 * values.norm():
        return 0.0
    wide = centred.shape[1] > centred.shape[0]
    squares = torch.linalg.eigvalsh(centred @ centred.T if wide else centred.T @ centred)
    singular = squares.clamp(min=0).sqrt()
    shares = singular / singular.sum()
    return float(torch.exp(torch.special.entr(shares).sum()))
