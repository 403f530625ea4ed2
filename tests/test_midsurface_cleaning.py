"""Cavities, holes and pale layer I in the labels of a hemisphere."""

import numpy as np
import pytest

from cytopipe.midsurface.cleaning import fill_cavities, fill_pits, mend_cortex

THICK = 8


def test_only_cavities_lined_by_white_matter_count_as_white_matter() -> None:
    labels = np.zeros((20, 12, 12), np.uint8)
    labels[2:18, 2:10, 2:10] = 1
    labels[3:9, 3:9, 3:9] = 2
    hole, pocket = (slice(5, 7),) * 3, (slice(12, 15), slice(5, 7), slice(5, 7))
    labels[hole] = labels[pocket] = 0
    filled = fill_cavities(labels, white_lining=0.5)
    assert (filled[hole] == 2).all()
    assert (filled[pocket] == 0).all()
    assert (filled != labels).sum() == 8


def test_a_pit_in_white_matter_is_filled_and_a_sulcus_is_not() -> None:
    """The place of an excluded nucleus, open to the outside below; a cortex with an open sulcus."""
    labels = np.zeros((30, 30, 30), np.uint8)
    labels[2:28, 2:28, 2:28] = 1
    labels[5:25, 5:25, 5:25] = 2
    pit, sulcus = (slice(8, 16), slice(8, 16), slice(2, 18)), (slice(20, 22), slice(5, 25))
    labels[17:25, 5:25, 20:28] = 1
    labels[(*sulcus, slice(22, 28))] = 0
    labels[pit] = 0
    filled = fill_pits(labels, labels > 0, 0.5)
    deep = (slice(8, 16), slice(8, 16), slice(8, 18))
    assert (filled[deep] == 2).mean() > 0.95
    assert (filled[8:16, 8:16, 2] == 0).all()
    assert (filled[(*sulcus, slice(22, 28))] == 0).all()


def slab() -> np.ndarray:
    """Flat cortex of `THICK` voxels: white matter below row 12, outside from row 20."""
    labels = np.zeros((40, 30, 40), np.uint8)
    labels[:, :20] = 1
    labels[:, :12] = 2
    return labels


@pytest.mark.parametrize(
    ("label", "rows", "stays"),
    [
        pytest.param(2, slice(17, 19), False, id="pale layer I"),
        pytest.param(2, slice(13, 15), True, id="white matter of a thin gyrus"),
        pytest.param(0, slice(13, 15), False, id="bubble"),
        pytest.param(0, slice(17, 19), True, id="pocket of a sulcus"),
    ],
)
def test_a_patch_in_the_cortex_counts_by_the_half_it_lies_in(
    label: int, rows: slice, stays: bool
) -> None:
    labels = slab()
    patch = (slice(15, 25), rows, slice(15, 25))
    labels[patch] = label
    mended = mend_cortex(labels, 20, 0.65)
    assert (mended[patch] == (label if stays else 1)).all()
    np.testing.assert_array_equal(
        np.delete(mended, np.r_[rows], 1), np.delete(labels, np.r_[rows], 1)
    )


def test_pale_layer_1_between_two_banks_that_touch_is_no_white_matter() -> None:
    labels = np.zeros((33, 40, 30), np.uint8)
    labels[:, :36] = 2
    labels[8:25, 5:36] = 1  # two banks of 8 voxels, and their mouth above
    labels[:, 30:36] = 1
    pale = (slice(15, 18), slice(14, 28), slice(3, 27))
    labels[pale] = 2
    mended = mend_cortex(labels, 20, 0.65)
    assert (mended[pale] == 1).all()
    assert (mended != labels).sum() == labels[pale].size


def test_the_white_matter_of_a_brain_in_two_pieces_stays() -> None:
    labels = np.zeros((40, 20, 20), np.uint8)
    for start, end in ((2, 24), (28, 38)):
        labels[start:end, 2:18, 2:18] = 1
        labels[start + 3 : end - 3, 5:15, 5:15] = 2
    np.testing.assert_array_equal(mend_cortex(labels, 20, 0.65), labels)


def test_a_crack_along_the_white_matter_is_filled_with_what_lies_beside_it() -> None:
    labels = slab()
    crack = (slice(15, 25), slice(9, 15), slice(15, 25))
    labels[crack] = 0
    mended = mend_cortex(labels, 20, 0.65)
    assert (mended[15:25, 9:12, 15:25] == 2).mean() > 0.9
    assert (mended[15:25, 12:15, 15:25] == 1).mean() > 0.9


def test_a_hole_that_reaches_from_the_middle_to_the_surface_keeps_its_outer_half() -> None:
    """A pocket of a sulcus with a crack below it."""
    labels = slab()
    labels[15:25, 13:19, 15:25] = 0
    mended = mend_cortex(labels, 20, 0.65)
    assert (mended[15:25, 18, 15:25] == 0).all() and (mended[15:25, 13:15, 15:25] > 0).all()
