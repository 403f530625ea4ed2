"""What a network is trained for: its head, how often it sees each patch, and its loss."""

from torch import Tensor

from cytopipe.learning import losses
from cytopipe.learning.distances import Distances
from cytopipe.learning.losses import PatchLosses
from cytopipe.learning.losses.distance import OUTPUTS, next_patch
from cytopipe.learning.networks import PROJECTED


class Objective:
    """A loss with what it knows of the k patches of a data set, as tensors on the device.

    Attributes
    ----------
    views : how often each patch of a batch is drawn.
    head, outputs : see `networks.Plan`.
    classes : area names in the order of the labels; empty for objectives without labels.
    """

    views = 1
    head = "projection"
    outputs = PROJECTED
    classes: tuple[str, ...] = ()

    def __call__(self, embeddings: Tensor, rows: Tensor, own: Tensor) -> PatchLosses:
        """Losses of the n views of this process, among the m views of the whole batch.

        Parameters
        ----------
        embeddings : (m, outputs), what the head makes of each view.
        rows : (m,) the row in the data set of the patch that each view shows.
        own : (n,) indices of the views of this process, see `distributed.gather_batch`.
        """
        raise NotImplementedError


class SpatialNCE(Objective):
    """Nearby patches have similar embeddings; see `losses.spatialnce`."""

    def __init__(self, distances: Distances, temperature: float, sigma_mm: float) -> None:
        self.distances = distances
        self.temperature = temperature
        self.sigma_mm = sigma_mm

    def __call__(self, embeddings: Tensor, rows: Tensor, own: Tensor) -> PatchLosses:
        return losses.spatialnce(
            embeddings,
            self.distances(rows[own], rows),
            temperature=self.temperature,
            sigma_mm=self.sigma_mm,
            own=own,
        )


class SimCLR(Objective):
    """Two views of a patch have similar embeddings; see `losses.simclr`."""

    views = 2

    def __init__(self, temperature: float) -> None:
        self.temperature = temperature

    def __call__(self, embeddings: Tensor, rows: Tensor, own: Tensor) -> PatchLosses:
        return losses.simclr(embeddings, rows, temperature=self.temperature, own=own)


class SupCon(Objective):
    """Patches of the same area have similar embeddings; see `losses.supcon`.

    `labels` (k,) are indices into `classes`.
    """

    def __init__(self, labels: Tensor, classes: tuple[str, ...], temperature: float) -> None:
        self.labels = labels
        self.classes = classes
        self.temperature = temperature

    def __call__(self, embeddings: Tensor, rows: Tensor, own: Tensor) -> PatchLosses:
        return losses.supcon(embeddings, self.labels[rows], temperature=self.temperature, own=own)


class Supervised(Objective):
    """Outputs are the logits of the areas; see `losses.supervised`.

    `labels` (k,) are indices into `classes`.
    """

    head = "classifier"

    def __init__(self, labels: Tensor, classes: tuple[str, ...]) -> None:
        self.labels = labels
        self.classes = classes
        self.outputs = len(classes)

    def __call__(self, embeddings: Tensor, rows: Tensor, own: Tensor) -> PatchLosses:
        return losses.supervised(embeddings[own], self.labels[rows[own]])


class Distance(Objective):
    """Outputs are a location and an embedding that keeps distances; see `losses.distance`.

    `positions_mm` (k, 3) are template RAS.
    """

    head = "distance"
    outputs = OUTPUTS

    def __init__(self, positions_mm: Tensor, distances: Distances) -> None:
        self.positions_mm = positions_mm
        self.distances = distances

    def __call__(self, embeddings: Tensor, rows: Tensor, own: Tensor) -> PatchLosses:
        distances_mm = self.distances(rows[own], rows)
        next_mm = distances_mm.gather(1, next_patch(own, len(rows))[:, None])[:, 0]
        return losses.distance(embeddings, self.positions_mm[rows[own]], next_mm, own=own)
