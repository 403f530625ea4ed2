"""Task `attention`: where the class token of a transformer looks (CytoNet 1.2, Figure 3).

Returns the entropy of each head's attention, and how much of it lies in tissue.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import entr
from torch.nn import functional

from cytopipe import provenance
from cytopipe.evaluation import charts
from cytopipe.evaluation.samples import Score, write_scores
from cytopipe.files import InputError, Output
from cytopipe.formats import tables
from cytopipe.learning import augmentation, checkpoints, distributed, networks
from cytopipe.learning.loading import Field, Patches
from cytopipe.study.config import AttentionTask, Augmentation

RED = np.array([255, 0, 0])
SHOWN_PX = 256  # largest edge of a picture; chosen, not measured: keeps the page small


def entropy(maps: NDArray[np.floating]) -> NDArray[np.floating]:
    """Entropy of maps (..., rows, columns) over that of a uniform map: 0 if one cell has all."""
    flat = maps.reshape(*maps.shape[:-2], -1).astype(np.float64)
    shares = flat / flat.sum(-1, keepdims=True)
    return np.asarray(entr(shares).sum(-1) / np.log(shares.shape[-1]))


def share_inside(maps: NDArray[np.floating], inside: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Share (n, heads) of maps (n, heads, rows, columns) in some cells (n, rows, columns)."""
    within = np.where(inside[:, None], maps, 0).sum((2, 3))
    return np.asarray(within / maps.sum((2, 3)))


def overlay(
    image: NDArray[np.uint8], attention: NDArray[np.floating], gamma: float
) -> NDArray[np.uint8]:
    """Overlay a gray image (h, w) with red in proportion to attention (rows, columns): (h, w, 3).

    The cell with the most attention is entirely red. Values between the cells' centres are
    interpolated.
    """
    cells = torch.from_numpy(np.asarray(attention, np.float32))[None, None]
    fine = functional.interpolate(cells, image.shape, mode="bilinear")[0, 0].numpy()
    strength = ((fine / attention.max()).clip(0, 1) ** gamma)[..., None]
    return np.asarray(np.rint(strength * RED + (1 - strength) * image[..., None]), np.uint8)


def chosen_patches(table: pd.DataFrame, params: AttentionTask) -> pd.DataFrame:
    """Draw patches of the areas of the task, each point once; sorted by area.

    Raises
    ------
    InputError
        If the data set lacks an area, or has fewer areas than are to be drawn.
    """
    once = table[table.area != ""].drop_duplicates("point_id").sort_values(["area", "point_id"])
    known = sorted(once.area.unique())
    random = np.random.default_rng(params.seed)
    if isinstance(params.areas, int):
        if params.areas > len(known):
            raise InputError(
                f"attention: {params.areas} areas are to be drawn, but {params.dataset} has "
                f"{len(known)}; lower evaluation.attention.areas in config/config.yaml"
            )
        areas = sorted(random.choice(known, params.areas, replace=False).tolist())
    else:
        areas = list(params.areas)
    unknown = [area for area in areas if area not in known]
    if unknown:
        raise InputError(
            f"attention: {params.dataset} has no area {unknown[0]!r}; it has {', '.join(known)}: "
            "correct evaluation.attention.areas in config/config.yaml"
        )
    drawn = []
    for area in areas:
        members = once[once.area == area]
        order = random.permutation(len(members))[: params.patches]
        drawn.append(members.iloc[order])
    return pd.concat(drawn, ignore_index=True)


@provenance.recorded
def run_attention(
    *,
    patches: Path,
    weights: Path,
    scores: Output,
    html: Output,
    run: str,
    threads: int,
    params: AttentionTask,
) -> None:
    """Score and show the attention of the class token in the first layer, for each head.

    Scores are means over all patches, with one split per head (`head 1` and so on): `entropy` of
    the map over that of a uniform map, and `tissue_share`, the share of attention in cells of
    tissue. The split `uniform` has the `tissue_share` of a uniform map. The class token's attention
    to itself does not count.

    Parameters
    ----------
    patches : a data set with areas (PatchRow); paths of images are relative to the current folder.
    weights : final.pt of the run.
    scores, html, run, threads : as in `run_areas`.

    Raises
    ------
    InputError
        If the run's network has no transformer, the data set lacks an area, or a patch cannot be
        read.
    """
    device = distributed.world().device
    encoder, trained = checkpoints.load_encoder(weights)
    encoder.to(device)
    chosen = chosen_patches(tables.read(tables.PatchRow, patches), params)
    changes = Augmentation(**trained["augmentation"])  # needed for reading, not applied
    field = Field(trained["patch_px"], trained["spacing_um"], "reflect", 0.0)
    read = Patches(chosen, field, changes, seed=0, cache_mb=0)
    maps, inside, images = [], [], []
    for start in range(0, len(chosen), params.batch_size):
        places = range(start, min(start + params.batch_size, len(chosen)))
        windows = torch.stack([read[0, place].windows for place in places])
        pixels = augmentation.centre_crop(windows.to(device), trained["patch_px"])
        with torch.inference_mode():
            attention = networks.attention(encoder, pixels)
            rows, columns = attention.shape[2:]
            gray = functional.adaptive_avg_pool2d(pixels, (rows, columns))[:, 0]
        maps.append(attention.float().cpu().numpy())
        inside.append((gray < params.tissue_below).cpu().numpy())
        images.append(windows[:, 0].numpy())
    attended = np.concatenate(maps)
    tissue = np.concatenate(inside)
    values = {"entropy": entropy(attended), "tissue_share": share_inside(attended, tissue)}
    listed: list[Score] = [
        (f"head {head + 1}", 0, metric, float(value))
        for metric, of_heads in values.items()
        for head, value in enumerate(of_heads.mean(0))
    ]
    listed.append(("uniform", 0, "tissue_share", float(tissue.mean())))
    panels: list[charts.Panel] = [_scores_panel(values, float(tissue.mean()))]
    pictures = np.concatenate(images)
    for area, members in chosen.groupby("area", sort=False).indices.items():
        first = members[: params.shown]
        panels.append(_pictures_panel(str(area), pictures[first], attended[first], params.gamma))
    charts.write(f"Attention: {run}", panels, html)
    write_scores(scores, run, {"attention": listed})


def _scores_panel(values: dict[str, NDArray[np.floating]], uniform: float) -> charts.Panel:
    heads = [f"{head + 1}" for head in range(values["entropy"].shape[1])]
    series = {
        name: (values[metric].mean(0), values[metric].std(0))
        for name, metric in {"entropy": "entropy", "share in tissue": "tissue_share"}.items()
    }
    caption = (
        "Entropy of a head's map (0: a single cell, 1: all alike) and the share of it in tissue, "
        f"mean and deviation over patches; without preference, {uniform:.0%} were in tissue."
    )
    return charts.bars("Heads", caption, "share", heads, series)


def _pictures_panel(
    area: str, images: NDArray[np.uint8], maps: NDArray[np.floating], gamma: float
) -> charts.Panel:
    step = -(-images.shape[1] // SHOWN_PX)
    pictures: list[NDArray[np.uint8]] = []
    labels: list[str] = []
    half = maps.shape[1] // 2
    for image, heads in zip(images[:, ::step, ::step], maps, strict=True):
        red = [overlay(image, head, gamma) for head in heads]
        names = [f"head {head + 1}" for head in range(len(heads))]
        # two rows, which start with the patch and with the mean of all heads
        pictures += [image, *red[:half], overlay(image, heads.mean(0), gamma), *red[half:]]
        labels += ["patch", *names[:half], "mean", *names[half:]]
    caption = (
        f"Patches and what each head attends to: red is more, each scaled to its own maximum, "
        f"to the power of {gamma:g}."
    )
    return charts.pictures(area, caption, pictures, labels, 1 + half)
