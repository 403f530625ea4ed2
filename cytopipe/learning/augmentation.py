"""Random changes of patches (CytoNet section 3.4), drawn on the CPU and applied on the device.

A draw depends on (seed, epoch, index, view) alone, so that the same patch is seen whatever the
number of workers or ranks. Applying a batch of draws is one affine grid sample, one gamma and one
Gaussian.
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

    log(0.5 + z / sqrt 2) / log(0.5 - z / sqrt 2), 0.815 to 1.227 for z of -0.05 to 0.05. Both
    papers print 2^(-0.5 z) for z / sqrt 2, which is undefined for every z.
    """
    return float(np.log(0.5 + z / np.sqrt(2)) / np.log(0.5 - z / np.sqrt(2)))


def identity(count: int) -> Tensor:
    """Draws (count, 1, 9) of one view a patch that change nothing."""
    draws = torch.zeros(count, 1, DRAWS)
    draws[..., [ALPHA, GAMMA]] = 1
    return draws


def draw(
    params: "Augmentation", seed: int, epoch: int, index: int, view: int = 0
) -> NDArray[np.float32]:
    """The nine numbers (float32) that change the patch `index` in a view of an epoch."""
    random = np.random.default_rng([seed, epoch, index, view])
    row = np.zeros(DRAWS)
    row[ANGLE] = random.uniform(-params.angle_rad, params.angle_rad)
    direction, distance = random.uniform(-np.pi, np.pi), random.uniform(0, params.shift_mm)
    row[SHIFT_X], row[SHIFT_Y] = distance * np.cos(direction), distance * np.sin(direction)
    row[MIRROR] = random.random() < params.mirror
    row[ALPHA] = _between(random, params.alpha)
    row[BETA] = _between(random, params.beta)
    row[GAMMA] = gamma_of(random.uniform(-params.gamma_z, params.gamma_z))
    # all numbers are drawn in any case: a changed probability leaves the other changes as they are
    chosen, sigma, delta = (
        random.random(),
        *(_between(random, limits) for limits in (params.sigma_px, params.delta)),
    )
    if chosen < params.blur:
        row[SIGMA], row[AMOUNT] = sigma, 1
    elif chosen < params.blur + params.sharpen:
        row[SIGMA], row[AMOUNT] = sigma, -delta
    return row.astype(np.float32)


def _between(random: np.random.Generator, limits: Sequence[float]) -> float:
    low, high = limits
    return random.uniform(low, high)


def apply(windows: Tensor, draws: Tensor, patch_px: int, spacing_um: float) -> Tensor:
    """Changed patches, cut from the middle of larger windows.

    Parameters
    ----------
    windows : (n, 1, w, w) uint8; w - patch_px is even. Where a turned or shifted patch leaves its
        window, the window is continued by reflection.
    draws : (n, views, 9), rows as from `draw`.

    Returns
    -------
    (n * views, 1, patch_px, patch_px) float32, the views of a patch after one another; 0 to 1
    before the intensity changes, which are not clipped.
    """
    windows, draws = windows.repeat_interleave(draws.shape[1], 0), draws.flatten(0, 1)
    patches = turn(windows.float() / 255, draws, patch_px, spacing_um)
    alpha, beta, gamma, amount = (
        draws[:, column].view(-1, 1, 1, 1) for column in (ALPHA, BETA, GAMMA, AMOUNT)
    )
    patches = alpha * patches.clamp(0, 1) ** gamma + beta
    # amount 1: the blurred patch. -delta: x + delta (x - G(x)); the papers print G(x) - x, a blur
    return patches + amount * (blurred(patches, draws[:, SIGMA]) - patches)


def turn(images: Tensor, draws: Tensor, patch_px: int, spacing_um: float) -> Tensor:
    """Rotate, flip and shift by one bilinear grid sample about the window's centre.

    A point p of the patch (from its centre, x right, y down) shows the window at
    R(angle) flip(p) + shift.
    """
    cos, sin = torch.cos(draws[:, ANGLE]), torch.sin(draws[:, ANGLE])
    flip = 1 - 2 * draws[:, MIRROR]
    window_px = images.shape[-1]
    # grid_sample's coordinates run from -1 to 1 over the window, and over the patch in the grid
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


def blurred(images: Tensor, sigma_px: Tensor, radius: int = 3) -> Tensor:
    """Gaussian of its own sigma for each image (n, 1, h, w); sigma 0 leaves it as it is."""
    at = torch.arange(-radius, radius + 1, device=images.device)
    kernels = torch.exp(-(at**2) / (2 * sigma_px.clamp(min=1e-3)[:, None] ** 2))
    kernels = (kernels / kernels.sum(1, keepdim=True)).view(-1, 1, 1, 2 * radius + 1)
    height, width = images.shape[-2:]
    padded = functional.pad(images, [radius] * 4, mode="reflect")
    # shifted sums: a convolution with another kernel for each image would need a group an image
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


def middle(windows: Tensor, patch_px: int) -> Tensor:
    """The unchanged patches, 0 to 1, from the middle of windows (n, 1, w, w) uint8."""
    edge = (windows.shape[-1] - patch_px) // 2
    return windows[..., edge : edge + patch_px, edge : edge + patch_px].float() / 255
