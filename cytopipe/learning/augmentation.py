"""Data augmentation (CytoNet section 3.4): drawn on the CPU, applied to a batch on the device.

A draw depends only on (seed, epoch, index, view), not on the number of workers or processes. A
batch of draws is applied by one affine grid sample, one gamma and one Gaussian.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:  # so that importing this needs no pydantic
    from cytopipe.study.config import Augmentation

# columns of a draw
ANGLE, SHIFT_X, SHIFT_Y, MIRROR, ALPHA, BETA, GAMMA, SIGMA, AMOUNT = range(9)
DRAWS = 9


def gamma_of(z: float) -> float:
    """Exponent of the unbiased gamma augmentation of Pohlen et al. (2017).

    log(0.5 + z / sqrt 2) / log(0.5 - z / sqrt 2), which is 0.815 to 1.227 for z in [-0.05, 0.05].
    Both papers misprint z / sqrt 2 as 2^(-0.5 z), for which the formula is undefined.
    """
    return float(np.log(0.5 + z / np.sqrt(2)) / np.log(0.5 - z / np.sqrt(2)))


def draw(
    params: "Augmentation", seed: int, epoch: int, index: int, view: int = 0
) -> NDArray[np.float32]:
    """The draw (9,) float32 for one view of the patch `index` in an epoch."""
    random = np.random.default_rng([seed, epoch, index, view])
    row = np.zeros(DRAWS)
    row[ANGLE] = random.uniform(-params.angle_rad, params.angle_rad)
    direction, distance = random.uniform(-np.pi, np.pi), random.uniform(0, params.shift_mm)
    row[SHIFT_X], row[SHIFT_Y] = distance * np.cos(direction), distance * np.sin(direction)
    row[MIRROR] = random.random() < params.mirror
    row[ALPHA] = _between(random, params.alpha)
    row[BETA] = _between(random, params.beta)
    row[GAMMA] = gamma_of(random.uniform(-params.gamma_z, params.gamma_z))
    # drawn in any case, so that changing a probability does not change the other draws
    chance = random.random()
    sigma, delta = _between(random, params.sigma_px), _between(random, params.delta)
    if chance < params.blur:
        row[SIGMA], row[AMOUNT] = sigma, 1
    elif chance < params.blur + params.sharpen:
        row[SIGMA], row[AMOUNT] = sigma, -delta
    return row.astype(np.float32)


def _between(random: np.random.Generator, limits: Sequence[float]) -> float:
    low, high = limits
    return random.uniform(low, high)


def apply(windows: Tensor, draws: Tensor, patch_px: int, spacing_um: float) -> Tensor:
    """Augmented patches, cut from the centre of larger windows.

    Parameters
    ----------
    windows : (n, 1, w, w) uint8, where w - patch_px is even. They are continued by reflection where
        a rotated or shifted patch extends beyond them.
    draws : (n, views, 9) from `draw`.

    Returns
    -------
    (n * views, 1, patch_px, patch_px) float32, the views of a patch after one another. Intensities
    are 0 to 1 before alpha, beta and sharpening, and are not clipped afterwards.
    """
    windows, draws = windows.repeat_interleave(draws.shape[1], 0), draws.flatten(0, 1)
    patches = warp(windows.float() / 255, draws, patch_px, spacing_um)
    alpha, beta, gamma, amount = (
        draws[:, column].view(-1, 1, 1, 1) for column in (ALPHA, BETA, GAMMA, AMOUNT)
    )
    patches = alpha * patches.clamp(0, 1) ** gamma + beta
    # amount 1 gives G(x), amount -delta x + delta (x - G(x)); the papers print G(x) - x, a blur
    return patches + amount * (gaussian(patches, draws[:, SIGMA]) - patches)


def warp(images: Tensor, draws: Tensor, patch_px: int, spacing_um: float) -> Tensor:
    """Rotate, flip and shift about the centre of the window, by one bilinear grid sample.

    The patch at p shows the window at R(angle) flip(p) + shift, both relative to their centres,
    with x to the right and y down.
    """
    cos, sin = torch.cos(draws[:, ANGLE]), torch.sin(draws[:, ANGLE])
    flip = 1 - 2 * draws[:, MIRROR]
    window_px = images.shape[-1]
    # grid_sample's coordinates run from -1 to 1 across the window, the grid's across the patch
    scale = patch_px / window_px
    shift = draws[:, [SHIFT_X, SHIFT_Y]] * (2000 / spacing_um / window_px)
    affine = torch.stack(
        [
            torch.stack([cos * scale, -sin * flip * scale, shift[:, 0]], 1),
            torch.stack([sin * scale, cos * flip * scale, shift[:, 1]], 1),
        ],
        dim=1,
    )
    grid = functional.affine_grid(affine, [len(images), 1, patch_px, patch_px], align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def gaussian(images: Tensor, sigma_px: Tensor, radius: int = 3) -> Tensor:
    """Blur each image of (n, 1, h, w) with its own sigma (n,); sigma 0 leaves it unchanged."""
    at = torch.arange(-radius, radius + 1, device=images.device)
    kernels = torch.exp(-(at**2) / (2 * sigma_px.clamp(min=1e-3)[:, None] ** 2))
    kernels = (kernels / kernels.sum(1, keepdim=True)).view(-1, 1, 1, 2 * radius + 1)
    height, width = images.shape[-2:]
    padded = functional.pad(images, [radius] * 4, mode="reflect")
    # sums of shifted images: a convolution with one kernel per image would need one group per image
    across = sum(
        kernels[..., k].unsqueeze(-1) * padded[..., k : k + width] for k in range(2 * radius + 1)
    )
    assert isinstance(across, Tensor)
    down = sum(
        kernels[..., k].unsqueeze(-1) * across[..., k : k + height, :]
        for k in range(2 * radius + 1)
    )
    assert isinstance(down, Tensor)
    return down


def centre_crop(windows: Tensor, patch_px: int) -> Tensor:
    """Patches without augmentation, 0 to 1, from the centre of windows (n, 1, w, w) uint8."""
    edge = (windows.shape[-1] - patch_px) // 2
    return windows[..., edge : edge + patch_px, edge : edge + patch_px].float() / 255
