"""Supervised contrastive learning: patches of the same area shall have similar features."""

from torch import Tensor

from cytopipe.learning.losses.contrastive import contrast
from cytopipe.learning.losses.rows import Rows


def supcon(
    features: Tensor, labels: Tensor, *, temperature: float, own: Tensor | None = None
) -> Rows:
    """The contrastive losses of patches by their labels (Schiffer et al., ISBI 2021, section 2).

    Similar means the same label, and nothing else: there are no two views of a patch. The sum over
    the N_y - 1 others of label y is divided by N_y - 1: `contrast` with weights of 0 and 1.

    Parameters
    ----------
    features : (m, d) projected features of all patches of the batch.
    labels : (m,) of all patches.
    temperature : tau, 0.07.
    own : (n,) which of the m patches the losses are wanted of; all if not given.

    Returns
    -------
    Rows of n. A patch that is alone with its label has no target.
    """
    same = (labels if own is None else labels[own])[:, None] == labels
    return contrast(features, same, temperature=temperature, own=own)
