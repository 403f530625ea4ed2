"""SimCLR: two views of the same patch shall have similar features."""

from torch import Tensor

from cytopipe.learning.losses.contrastive import contrast
from cytopipe.learning.losses.rows import Rows


def simclr(
    features: Tensor, patches: Tensor, *, temperature: float, own: Tensor | None = None
) -> Rows:
    """The NT-Xent losses of views (Chen et al. 2020, equation 1; CytoNet section 3.5).

    The other view of the patch is similar, all other views of the batch are not. `contrast` with
    weights of 0 and 1; more than two views of a patch would all count.

    Parameters
    ----------
    features : (m, d) projected features of all views of the batch.
    patches : (m,) the patch that each is a view of.
    temperature : tau, 0.07.
    own : (n,) which of the m views the losses are wanted of; all if not given.

    Returns
    -------
    Rows of n.
    """
    same = (patches if own is None else patches[own])[:, None] == patches
    return contrast(features, same, temperature=temperature, own=own)
