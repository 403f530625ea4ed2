"""The potential between two electrodes, where a formula gives it."""

import numpy as np
import pytest

from cytopipe.numerics.potential import potential


@pytest.mark.parametrize("step", [1, 2])
def test_the_potential_along_a_beam_is_linear(step: int) -> None:
    beam, electrodes = np.ones((40, 6, 6), bool), np.zeros((40, 6, 6), np.uint8)
    electrodes[:step], electrodes[-step:] = 1, 2
    along = np.arange(40) // step
    expected = np.broadcast_to((along / along[-1])[:, None, None], beam.shape)
    np.testing.assert_allclose(potential(beam, electrodes, step), expected, atol=1e-4)


def test_most_of_the_potential_falls_at_the_narrowest_place() -> None:
    """Three resistors in a row: 9 / 64 each for the ends, 10 / 4 for the neck, and its mouths."""
    conductor, electrodes = np.zeros((30, 8, 8), bool), np.zeros((30, 8, 8), np.uint8)
    conductor[:10] = conductor[20:] = True
    conductor[8:22, 3:5, 3:5] = True
    electrodes[0], electrodes[-1] = 1, 2
    values = potential(conductor, electrodes, 1)
    assert np.isnan(values[15, 0, 0])
    assert values[10, 3, 3] == pytest.approx(1 - values[19, 3, 3], abs=1e-4)
    assert values[5, 4, 4] < 0.06
    assert np.diff(values[10:20, 3, 3]) == pytest.approx(0.08, abs=0.01)


def test_conductors_in_the_same_block_meet_only_at_their_faces() -> None:
    """Blocks of two voxels; between the halves of the beam, one face of four conducts."""
    beam, electrodes = np.ones((8, 2, 2), bool), np.zeros((8, 2, 2), np.uint8)
    electrodes[:2], electrodes[-2:] = 1, 2
    beam[4, 1], beam[4, 0, 1] = False, False
    values = potential(beam, electrodes, 2)
    # conductances 4, 1, 4
    assert values[2, 0, 0] == pytest.approx(1 / 6, abs=1e-4)
    assert values[4, 0, 0] == pytest.approx(5 / 6, abs=1e-4)
