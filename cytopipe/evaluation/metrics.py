"""Scores of a classifier."""

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


def f1_of_classes(truth: Labels, predicted: Labels, classes: int) -> NDArray[np.float64]:
    """F1 (classes,): 2 hits / (occurrences + predictions); NaN for a class that has neither."""
    hits = np.bincount(truth[truth == predicted], minlength=classes)
    both = np.bincount(truth, minlength=classes) + np.bincount(predicted, minlength=classes)
    return np.divide(2 * hits, both, out=np.full(classes, np.nan), where=both > 0)


def rank_of_truth(truth: Labels, logits: NDArray[np.floating]) -> NDArray[np.intp]:
    """(n,) number of classes whose logit is at least that of the true class; 1 is a hit.

    A tie counts against the class: constant logits must not look like a perfect top-3.
    """
    return np.asarray((logits >= np.take_along_axis(logits, truth[:, None], 1)).sum(1))


def scores(
    truth: Labels, predicted: NDArray[np.intp], rank: NDArray[np.intp], classes: int
) -> dict[str, float]:
    """Scores of a test set, all from 0 to 1.

    Parameters
    ----------
    truth, predicted : (n,) class of each sample.
    rank : from `rank_of_truth`.

    Returns
    -------
    macro_f1 : mean F1 of the classes that occur in `truth` or are predicted, as in scikit-learn and
        the paper (section 7.4): a class that is predicted but does not occur counts as 0.
    macro_f1_present : mean F1 of the classes that occur in `truth`. It compares test sets with
        different classes: those of a brain in which only some areas are annotated.
    weighted_f1 : mean F1 weighted by how often the classes occur, as in the ISBI paper.
    top1, top3 : share of samples whose class is among the one or three largest logits.
    """
    f1 = f1_of_classes(truth, predicted, classes)
    counts = np.bincount(truth, minlength=classes)
    occurs = counts > 0
    return {
        "macro_f1": float(np.nanmean(f1)),
        "macro_f1_present": float(f1[occurs].mean()),
        "weighted_f1": float(np.average(f1[occurs], weights=counts[occurs])),
        "top1": float((predicted == truth).mean()),
        "top3": float((rank <= 3).mean()),
    }
