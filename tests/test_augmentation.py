import numpy as np
import pytest
import torch

from cytopipe.learning.augmentation import (
    ALPHA,
    AMOUNT,
    ANGLE,
    BETA,
    GAMMA,
    MIRROR,
    SHIFT_X,
    SHIFT_Y,
    SIGMA,
    apply,
    centre_crop,
    draw,
    gamma_of,
)
from cytopipe.study.config import Augmentation

PAPER = Augmentation(
    angle_rad=np.pi,
    shift_mm=0.2,
    mirror=0.5,
    alpha=(0.9, 1.0),
    beta=(-0.1, 0.1),
    gamma_z=0.05,
    blur=0.25,
    sharpen=0.25,
    sigma_px=(0.125, 1.0),
    delta=(0.5, 1.5),
)
SPACING_UM = 100.0


def identity(count: int) -> torch.Tensor:
    """Draws (count, 1, 9) that change nothing, with one view per patch."""
    draws = torch.zeros(count, 1, 9)
    draws[..., [ALPHA, GAMMA]] = 1
    return draws


def window(edge: int = 24) -> torch.Tensor:
    random = np.random.default_rng(0)
    return torch.from_numpy(random.integers(0, 256, (1, 1, edge, edge), dtype=np.uint8))


def changed(patch_px: int = 16, edge: int = 24, **changes: float) -> np.ndarray:
    columns = {
        "angle": ANGLE,
        "x": SHIFT_X,
        "y": SHIFT_Y,
        "mirror": MIRROR,
        "alpha": ALPHA,
        "beta": BETA,
        "gamma": GAMMA,
        "sigma": SIGMA,
        "amount": AMOUNT,
    }
    draws = identity(1)
    for name, value in changes.items():
        draws[0, 0, columns[name]] = value
    return apply(window(edge), draws, patch_px, SPACING_UM)[0, 0].numpy()


def plain(patch_px: int = 16, edge: int = 24) -> np.ndarray:
    return centre_crop(window(edge), patch_px)[0, 0].numpy()


def test_no_change_is_the_centre_of_the_window() -> None:
    np.testing.assert_allclose(changed(), plain(), atol=1e-5)
    np.testing.assert_array_equal(plain(), window().numpy()[0, 0, 4:20, 4:20] / np.float32(255))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_quarter_turn_moves_pixels_exactly(turns: int) -> None:
    # the patch at p shows the window at R(angle) p, with y down: its content turns the other way
    patch = changed(angle=turns * np.pi / 2)
    np.testing.assert_allclose(patch, np.rot90(plain(), turns), atol=1e-4)


def test_mirroring_flips_the_patch_vertically() -> None:
    np.testing.assert_allclose(changed(mirror=1), plain()[::-1], atol=1e-5)


def test_a_shift_in_mm_moves_by_whole_pixels() -> None:
    expected = window().numpy()[0, 0, 4 - 1 : 20 - 1, 4 + 2 : 20 + 2] / 255
    np.testing.assert_allclose(changed(x=0.2, y=-0.1), expected, atol=1e-4)


def test_corners_of_a_window_without_margin_are_reflected() -> None:
    # shifted by one pixel to the right, the last column appears twice
    expected = np.pad(plain(16, 16), ((0, 0), (0, 1)), mode="symmetric")[:, 1:]
    np.testing.assert_allclose(changed(16, 16, x=0.1), expected, atol=1e-4)


def test_intensities_follow_the_formula() -> None:
    patch = changed(alpha=0.9, beta=0.05, gamma=1.2)
    np.testing.assert_allclose(patch, 0.9 * plain() ** 1.2 + 0.05, atol=1e-4)


def test_gamma_has_the_range_of_the_corrected_formula() -> None:
    assert gamma_of(0) == 1
    assert gamma_of(-0.05) == pytest.approx(1 / gamma_of(0.05))
    assert sorted((gamma_of(-0.05), gamma_of(0.05))) == pytest.approx([0.815, 1.227], abs=5e-4)


def gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    at = np.arange(-3, 4)
    kernel = np.exp(-(at**2) / (2 * sigma**2))
    kernel /= kernel.sum()
    padded = np.pad(image, 3, mode="reflect")
    rows = sum(k * padded[:, i : i + image.shape[1]] for i, k in enumerate(kernel))
    return np.asarray(sum(k * rows[i : i + image.shape[0]] for i, k in enumerate(kernel)))


def test_blurring_and_sharpening_are_a_gaussian_and_an_unsharp_mask() -> None:
    smooth = gaussian(plain(), 0.8)
    np.testing.assert_allclose(changed(sigma=0.8, amount=1), smooth, atol=1e-4)
    sharp = plain() + 1.5 * (plain() - smooth)
    np.testing.assert_allclose(changed(sigma=0.8, amount=-1.5), sharp, atol=1e-4)
    assert changed(sigma=0.8, amount=-1.5).std() > plain().std() > smooth.std()


def test_each_patch_of_a_batch_has_its_own_changes() -> None:
    draws = torch.cat([identity(1), identity(1)])
    draws[1, 0, [ANGLE, SIGMA, AMOUNT]] = torch.tensor([np.pi / 2, 0.8, 1]).float()
    both = apply(window().repeat(2, 1, 1, 1), draws, 16, SPACING_UM).numpy()[:, 0]
    np.testing.assert_allclose(both[0], plain(), atol=1e-5)
    np.testing.assert_allclose(both[1], gaussian(np.rot90(plain()), 0.8), atol=1e-4)


def test_views_of_a_patch_follow_one_another() -> None:
    draws = identity(2).repeat(1, 2, 1)
    draws[:, 1, ANGLE] = np.pi / 2
    windows = torch.cat([window(), window().flip(-1)])
    patches = apply(windows, draws, 16, SPACING_UM).numpy()[:, 0]
    expected = [plain(), np.rot90(plain()), plain()[:, ::-1], np.rot90(plain()[:, ::-1])]
    np.testing.assert_allclose(patches, expected, atol=1e-4)


def test_draws_respect_ranges_and_probabilities() -> None:
    draws = np.stack([draw(PAPER, 7, 0, index) for index in range(4000)])
    assert np.abs(draws[:, ANGLE]).max() <= np.float32(np.pi)
    shift = np.hypot(draws[:, SHIFT_X], draws[:, SHIFT_Y])
    # uniform in distance, not in area: half of the shifts are below 0.1 mm
    assert shift.max() <= 0.2 and (shift < 0.1).mean() == pytest.approx(0.5, abs=0.03)
    assert draws[:, MIRROR].mean() == pytest.approx(0.5, abs=0.03)
    assert draws[:, GAMMA].min() >= 0.815 and draws[:, GAMMA].max() <= 1.228
    assert (draws[:, AMOUNT] > 0).mean() == pytest.approx(0.25, abs=0.03)
    assert (draws[:, AMOUNT] < 0).mean() == pytest.approx(0.25, abs=0.03)
    assert (draws[draws[:, AMOUNT] == 0][:, SIGMA] == 0).all()
    assert draws[:, ALPHA].min() >= np.float32(0.9) and np.abs(draws[:, BETA]).max() <= 0.1001


def test_a_draw_depends_on_seed_epoch_index_and_view() -> None:
    one = draw(PAPER, 1, 2, 3)
    np.testing.assert_array_equal(one, draw(PAPER, 1, 2, 3, 0))
    for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 2, 3, 1)):
        assert not np.array_equal(one, draw(PAPER, *other))
