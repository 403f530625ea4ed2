"""Depth against the formula of a spherical shell and against a direct solver."""

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse import linalg

from cytopipe.numerics.laplace import RHO, continued, laplace_depth
from cytopipe.numerics.relaxation import STRIP


def shell(inner: float, outer: float, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of a spherical shell around the centre of a cube, and the radius of each voxel."""
    centre = (size - 1) / 2 + np.array([0.13, -0.21, 0.37])  # off the grid
    radius = np.linalg.norm(np.indices((size,) * 3) - centre[:, None, None, None], axis=0)
    labels = np.where(radius < inner, 2, np.where(radius < outer, 1, 0)).astype(np.uint8)
    return labels, radius


def equations(labels: np.ndarray) -> tuple[sparse.csc_matrix, np.ndarray]:
    """Matrix and right side of the equations, with boundary values on the faces of the voxels."""
    labels = np.pad(labels, 1)
    cortex = np.argwhere(labels == 1)
    number = np.full(labels.shape, -1)
    number[tuple(cortex.T)] = np.arange(len(cortex))
    matrix = sparse.lil_matrix((len(cortex), len(cortex)))
    diagonal = np.full(len(cortex), 6.0)
    right = np.zeros(len(cortex))
    for step in np.vstack([np.eye(3, dtype=int), -np.eye(3, dtype=int)]):
        at = tuple((cortex + step).T)
        other = number[at]
        inside = other >= 0
        matrix[np.flatnonzero(inside), other[inside]] = -1
        right += 2 * (labels[at] == 2)
        diagonal += labels[at] != 1
    matrix.setdiag(diagonal)
    return matrix.tocsc(), right


def direct(labels: np.ndarray) -> np.ndarray:
    """The same equations by sparse LU: the definition."""
    matrix, right = equations(labels)
    depth = (labels == 2).astype(float)
    depth[labels == 1] = linalg.spsolve(matrix, right)
    return depth


def converged(labels: np.ndarray) -> np.ndarray:
    """The same equations by scipy's conjugate gradients in double precision."""
    matrix, right = equations(labels)
    depth = (labels == 2).astype(float)
    depth[labels == 1], failed = linalg.cg(matrix, right, rtol=1e-11)
    assert not failed
    return depth


def test_shell_follows_the_formula() -> None:
    inner, outer = 12.0, 20.0
    labels, radius = shell(inner, outer, 49)
    depth = laplace_depth(labels)
    formula = (1 / np.maximum(radius, 1) - 1 / outer) / (1 / inner - 1 / outer)
    # near the borders their staircase shows
    middle = (radius > inner + 3) & (radius < outer - 3)
    assert np.abs(depth - formula)[middle].max() < 0.02
    assert abs((depth - formula)[middle].mean()) < 0.01
    assert (depth[labels == 0] == 0).all() and (depth[labels == 2] == 1).all()


def test_equals_a_direct_solver() -> None:
    labels, _ = shell(5.0, 9.0, 24)
    labels[14:, 10:13, :] = 0  # no symmetry
    for tolerance in (1e-3, 1e-5):
        error = np.abs(laplace_depth(labels, tolerance) - direct(labels)).max()
        assert error < tolerance


def bank(thickness: int, width: int) -> np.ndarray:
    """Two banks without a sulcus between them: cortex from white matter to white matter."""
    labels = np.full((thickness + 2, width + 2, width + 2), 2, np.uint8)
    labels[1:-1, 1:-1, 1:-1] = 1
    return labels


def bridge() -> np.ndarray:
    """A ribbon over white matter, joined by a bridge of 1 voxel to a lump far from white matter."""
    labels = np.zeros((40, 30, 30), np.uint8)
    labels[:6], labels[6:12] = 2, 1
    labels[12:16, 15, 15] = 1
    labels[16:, 4:26, 4:26] = 1
    return labels


def narrow() -> np.ndarray:
    """A ribbon 2 voxels thick and 3 wide, 200 long, that widens into a flat one 24 thick."""
    labels = np.zeros((200, 12, 30), np.uint8)
    labels[:, :, 0] = 2
    labels[:160, 4:7, 1:3] = 1
    labels[160:, :, 1:25] = 1
    labels[160:, :, 25:] = 2
    return labels


SHAPES = {
    "banks, 8 thick": bank(8, 12),
    "banks, 24 thick": bank(24, 40),
    "banks, 48 thick": bank(48, 40),
    "bank beside a ribbon": np.concatenate([bank(30, 28), shell(8, 12, 30)[0]]),
    "bridge": bridge(),
    "narrow": narrow(),
    "stretched": shell(5.0, 9.0, 24)[0].repeat(3, axis=2),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("tolerance", [1e-3, 1e-4])
def test_ends_within_its_tolerance(name: str, tolerance: float) -> None:
    """Also where the cortex is thicker than the acceleration assumes."""
    error = np.abs(laplace_depth(SHAPES[name], tolerance) - converged(SHAPES[name])).max()
    assert error < tolerance


@pytest.mark.parametrize("thickness", [30, 60, pytest.param(100, marks=pytest.mark.slow)])
def test_thick_banks_end_within_tolerance(thickness: int) -> None:
    """The depth around white matter is 1; thicker cortex converges more slowly."""
    labels = np.full((thickness + 2, 202, 202), 2, np.uint8)
    labels[1:-1, 1:-1, 1:-1] = 1
    depth = laplace_depth(labels, 1e-3, most_sweeps=3000)
    assert np.abs(depth - 1).max() < 1e-3


def plain(labels: np.ndarray, sweeps: int) -> np.ndarray:
    """The same relaxation in NumPy, with successive half sweeps over the whole array."""
    padded = np.pad(labels, 1)
    cortex = padded == 1
    depth = np.where(padded == 2, 2, np.where(cortex, 0.5, 0)).astype(np.float32)
    odd = np.indices(padded.shape).sum(0) % 2

    def around(array: np.ndarray) -> np.ndarray:
        pairs = [np.roll(array, -1, axis) + np.roll(array, 1, axis) for axis in range(3)]
        return (pairs[0] + pairs[1]) + pairs[2]

    weights = np.float32(1) / (6 + around((~cortex).astype(np.float32)))
    omega = np.float32(1)
    for half in range(2 * sweeps):
        change = around(depth) * weights - depth
        depth = np.where(cortex & (odd == half % 2), depth + omega * change, depth)
        omega = np.float32(1 / (1 - RHO**2 * (0.5 if half == 0 else 0.25 * float(omega))))
    depth[padded == 2] = 1
    return depth[1:-1, 1:-1, 1:-1]


# the last three have lines of more than one strip, and ones that end where a strip does
@pytest.mark.parametrize(
    "shape",
    [
        *[(1, 1, 40), (7, 5, 31), (30, 4, 33), (9, 21, 90)],
        *[(13, STRIP - 1, 17), (5, STRIP, 20), (14, 2 * STRIP + 7, 18)],
    ],
)
def test_the_order_of_the_work_changes_no_bit(shape: tuple[int, int, int]) -> None:
    labels = np.random.default_rng(shape).choice([0, 1, 2], shape, p=[0.1, 0.8, 0.1])
    labels = labels.astype(np.uint8)
    assert np.array_equal(laplace_depth(labels, 0, most_sweeps=40), plain(labels, 40))


def test_cortex_at_the_border_of_the_array() -> None:
    labels = np.full((6, 7, 8), 1, np.uint8)
    labels[2:4, 3:5, 3:5] = 2
    assert np.abs(laplace_depth(labels, 1e-5) - direct(labels)).max() < 1e-5


def test_order_in_memory_does_not_matter() -> None:
    """nibabel reads volumes in Fortran order."""
    labels, _ = shell(5.0, 9.0, 24)
    assert np.array_equal(laplace_depth(np.asfortranarray(labels)), laplace_depth(labels))


def test_continued_through_the_faces() -> None:
    """The solution in a slab is linear, also half a voxel beyond it."""
    labels = np.zeros((9, 5, 5), np.uint8)
    labels[3:7], labels[7:] = 1, 2
    whole = np.pad(labels, ((0, 0), (40, 40), (40, 40)), mode="edge")
    depth = laplace_depth(whole, 1e-6)
    expected = [0, 0, -0.125, 0.125, 0.375, 0.625, 0.875, 1.125, 1]
    assert np.abs(continued(depth, whole)[:, 42, 42] - expected).max() < 1e-4


def test_lump_without_white_matter_ends() -> None:
    assert laplace_depth(np.ones((9, 9, 9), np.uint8)).max() < 1e-3


def test_empty() -> None:
    assert (laplace_depth(np.zeros((4, 4, 4), np.uint8)) == 0).all()
