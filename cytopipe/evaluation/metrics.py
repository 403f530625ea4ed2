"""Scores of a classifier."""

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


def f1_of_classes(truth: Labels, predicted: Labels, classes: int) -> NDArray[np.float64]:
    """F1 (classes,): 2 hits / (occurrences + predictions); NaN for a class that has neither."""
    hits = np.bincount(truth[truth == predicted], minlength=classes)
    both = np.bincount(truth, minlength=classes) + np.bincount(predicted, minlength=classes)
    return np.divide(2 * hits, both, out=np.full(classes, np.nan), where=both > 0)


def scores(truth: Labels, logits: NDArray[np.floating]) -> dict[str, float]:
    """Scores of a test set, all from 0 to 1.

    Parameters
    ----------
    truth : (n,) class of each sample.
    logits : (n, classes).

    Returns
    -------
    macro_f1 : mean F1 of the classes that occur in `truth` or are predicted, as in scikit-learn and
        the paper (section 7.4): a class that is predicted but does not occur counts as 0.
    macro_f1_present : mean F1 of the classes that occur in `truth`. It compares test sets with
        different classes: those of a brain in which only some areas are annotated.
    weighted_f1 : mean F1 weighted by how often the classes occur, as in the ISBI paper.
    top1, top3 : share of samples whose class is among the one or three largest logits.
    """
    predicted = logits.argmax(1)
    f1 = f1_of_classes(truth, predicted, logits.shape[1])
    counts = np.bincount(truth, minlength=logits.shape[1])
    occurs = counts > 0
    of_truth = np.take_along_axis(logits, truth[:, None], 1)
    # a tie counts against the class: constant logits must not look like a perfect top-3
    rank = (logits >= of_truth).sum(1)
    return {
        "macro_f1": float(np.nanmean(f1)),
        "macro_f1_present": float(f1[occurs].mean()),
        "weighted_f1": float(np.average(f1[occurs], weights=counts[occurs])),
        "top1": float((predicted == truth).mean()),
        "top3": float((rank <= 3).mean()),
    }
