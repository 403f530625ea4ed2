"""Task `embedding`: how features group by brain and area (CytoNet 1.2, 7.2; ISBI 2021).

Returns maps of the feature space, indices of how it groups, and the similarity of areas within and
between brains. All methods use unit vectors, because the training loss and the paper's similarity
matrices also compare features by direction.
"""

import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors

from cytopipe import provenance
from cytopipe.evaluation import charts
from cytopipe.evaluation.clusters import calinski_harabasz, composition, purity, ward
from cytopipe.evaluation.samples import (
    Samples,
    Score,
    find_samples,
    read_samples,
    write_scores,
)
from cytopipe.evaluation.similarity import (
    area_similarity,
    correlation,
    in_order,
    unit_vectors,
    within_and_between,
)
from cytopipe.files import InputError, Output
from cytopipe.formats.atlas import read_lobes
from cytopipe.logs import info
from cytopipe.numerics.geometry import Floats
from cytopipe.study.config import EmbeddingTask

_LABELS = ("brain", "area", "hemisphere")


def umap_of(
    values: NDArray[np.float32],
    dimensions: Sequence[int],
    neighbours: int,
    min_distance: float,
    seed: int,
) -> list[NDArray[np.float32]]:
    """UMAP of features (n, d) into each number of dimensions, from exact neighbours.

    It starts from the first principal components. The library's default, a spectral start, fails if
    the graph of neighbours is disconnected, as it is between brains.
    """
    with warnings.catch_warnings():
        # about a variant that needs tensorflow
        warnings.simplefilter("ignore", ImportWarning)
        import umap

    count = min(neighbours, len(values) - 1)
    distances, at = NearestNeighbors(n_neighbors=count).fit(values).kneighbors(values)
    embeddings = []
    for number in dimensions:
        reducer = umap.UMAP(
            n_components=number, n_neighbors=count, min_dist=min_distance, init="pca",
            random_state=seed, n_jobs=1, precomputed_knn=(at, distances),
        )  # fmt: skip
        with warnings.catch_warnings():
            # that without a search index no points can be added
            warnings.filterwarnings("ignore", "precomputed_knn", UserWarning)
            embeddings.append(np.asarray(reducer.fit_transform(values), np.float32))
    return embeddings


def tsne_of(values: NDArray[np.float32], perplexity: float, seed: int) -> NDArray[np.float32]:
    """t-SNE of features (n, d) in two dimensions, from the first principal components."""
    perplexity = min(perplexity, (len(values) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
    return np.asarray(tsne.fit_transform(values), np.float32)


def index_scores(
    space: str, points: NDArray[np.floating], table: pd.DataFrame, roles: Mapping[str, str]
) -> list[tuple[int, str, float]]:
    """Calinski-Harabasz index of points (n, d) by brain, area and hemisphere.

    Over all points, and by area and hemisphere within each brain, whose number is then the fold.
    """
    labels = {name: table[name].to_numpy(str) for name in _LABELS}
    scores = [
        (0, f"chi_{name} {space}", calinski_harabasz(points, labels[name])) for name in labels
    ]
    for number, brain in enumerate(roles):
        mine = labels["brain"] == brain
        group = "of unseen" if roles[brain] == "unseen" else "of a brain"
        scores += [
            (number, f"chi_{name} {space} {group}", calinski_harabasz(points[mine], of[mine]))
            for name, of in labels.items()
            if name != "brain"
        ]
    return scores


def similarity_scores(
    matrices: Mapping[str, Floats], roles: Mapping[str, str]
) -> list[tuple[int, str, float]]:
    """Similarity within and between areas of each brain, and correlation of each pair of brains.

    The fold is the number of the brain or pair. Those with an unseen brain have their own metrics.
    """
    scores = []
    for number, (brain, matrix) in enumerate(matrices.items()):
        group = " unseen" if roles[brain] == "unseen" else ""
        within, between = within_and_between(matrix)
        scores.append((number, f"similarity_within{group}", within))
        scores.append((number, f"similarity_between{group}", between))
    for number, (one, other) in enumerate(combinations(matrices, 2)):
        group = " unseen" if "unseen" in (roles[one], roles[other]) else ""
        value = correlation(matrices[one], matrices[other])
        scores.append((number, f"similarity_correlation{group}", value))
    return scores


@provenance.recorded
def run_embedding(
    *,
    points: Mapping[str, Path],
    backbone: Mapping[str, Path],
    projected: Mapping[str, Path],
    rows: Mapping[str, Path],
    areas: Sequence[Path],
    roles: Mapping[str, str],
    scores: Output,
    html: Output,
    run: str,
    params: EmbeddingTask,
) -> None:
    """Embed, cluster and compare the features of one run.

    The split of a score is `backbone` or `projected`. Indices are computed on the 2D UMAP (section
    7.2 discusses those of UMAP plots) and on the features themselves. Similarity uses all usable
    points, everything else a sample.

    Parameters
    ----------
    points, rows : brain to its points (PointRow) and the table of its features' rows (FeatureRow).
    backbone, projected : brain to its .npy array; `projected` is empty for features without a head.
    areas : the atlas' table, whose lobes order the areas; empty without an atlas.
    roles : brain to role; pairs with an unseen brain are scored separately.
    scores, html, run : as in `run_areas`.

    Raises
    ------
    InputError
        If rows and points differ, or no brain has a usable point.
    """
    roles = {brain: roles[brain] for brain in points}
    lobes = read_lobes(areas[0]) if areas else {}
    finite: list[Score] = []
    panels: list[charts.Panel] = []
    for split, arrays in {"backbone": backbone, "projected": projected}.items():
        if not arrays:
            continue
        sample = read_samples(points, arrays, rows, most=params.most_per_brain, seed=params.seed)
        drawn, measured = _embedded(split, sample, roles, params)
        info(f"{run}: {split} features of {len(sample.points)} points embedded")
        matrices, names = _matrices(sample, points, arrays, rows, lobes)
        measured += similarity_scores(matrices, roles)
        finite += [(split, *score) for score in measured if np.isfinite(score[-1])]
        panels += drawn + _similarity_panels(split, matrices, names, roles)
    frame = pd.DataFrame(finite, columns=["split", "fold", "metric", "value"])
    for split in frame.split.unique():
        values = frame.value[(frame.split == split) & (frame.metric == "similarity_correlation")]
        info(f"{run}: {split}, brains agree by r {values.mean():.3f} ± {values.std(ddof=0):.3f}")
    charts.write(f"Feature space of {run}", panels, html)
    write_scores(scores, run, {"embedding": finite})


def _embedded(
    split: str, sample: Samples, roles: Mapping[str, str], params: EmbeddingTask
) -> tuple[list[charts.Panel], list[tuple[int, str, float]]]:
    """Panels and scores of the sampled points."""
    values, table = unit_vectors(sample.values), sample.points
    if len(table) < 4:
        raise InputError(f"embedding: {len(table)} usable points are too few to embed")
    flat, deep = umap_of(values, (2, 3), params.neighbours, params.min_distance, params.seed)
    scores = index_scores("umap", flat, table, roles)
    scores += index_scores("features", values, table, roles)
    fewer = min(params.cluster_points, len(table))
    chosen = np.sort(np.random.default_rng(params.seed).choice(len(table), fewer, replace=False))
    members = ward(values[chosen], params.clusters)
    shuffled = np.random.default_rng(params.seed).permutation(fewer)
    labels = {name: table[name].to_numpy(str) for name in _LABELS}
    of_chosen = {name: labels[name][chosen] for name in ("area", "brain")}
    for name, of_points in of_chosen.items():
        scores.append((0, f"ward_purity_{name}", purity(members, of_points)))
        scores.append((0, f"ward_purity_{name} chance", purity(members, of_points[shuffled])))
    heights = {
        "y in mm (to anterior)": table.y_mm.to_numpy(),
        "z in mm (to superior)": table.z_mm.to_numpy(),
    }
    # the name of a point starts with its brain
    hover = {"point": table.point_id.to_numpy(str)} | {n: labels[n] for n in ("area", "hemisphere")}
    clusters = np.array([f"{number + 1:2d}" for number in members])
    names = sorted(set(of_chosen["area"]))
    shares = composition(members, of_chosen["area"], names)
    return [
        charts.scatter(
            f"UMAP of {split} features",
            "A dot is a point of the cortex; dots lie close together where the directions of their "
            "features are similar. Colours that form islands are what the features tell apart.",
            ("UMAP 1", "UMAP 2"),
            flat,
            labels | heights,
            hover,
        ),
        charts.scatter(
            f"UMAP in 3D, {split}",
            "The same points with a third dimension; drag with the mouse to rotate.",
            ("UMAP 1", "UMAP 2", "UMAP 3"),
            deep,
            {"hemisphere": labels["hemisphere"], **heights},
            hover,
        ),
        charts.scatter(
            f"t-SNE, {split}",
            f"{fewer} of the points, and the clusters that Ward's method makes of their features.",
            ("t-SNE 1", "t-SNE 2"),
            tsne_of(values[chosen], params.perplexity, params.seed),
            {"Ward cluster": clusters, **of_chosen},
            {name: of_points[chosen] for name, of_points in hover.items()},
        ),
        charts.matrix(
            f"Areas in Ward clusters, {split}",
            "Share of each area among a cluster's points; a row is a cluster with its number of "
            "points and most frequent areas.",
            [_described(n, shares[n], names, members) for n in range(len(shares))],
            [name or "none" for name in names],
            shares,
            x="area",
            y="cluster",
            value="share",
        ),
    ], scores


def _described(number: int, shares: Floats, names: Sequence[str], members: NDArray[np.intp]) -> str:
    """Name of a cluster: its number, size and most frequent areas, as in ISBI Table 2."""
    most = np.argsort(-shares, kind="stable")[:3]
    areas = ", ".join(f"{names[n] or 'none'} {shares[n]:.0%}" for n in most if shares[n] > 0)
    return f"{number + 1} ({np.sum(members == number)}): {areas}"


def _matrices(
    sample: Samples,
    points: Mapping[str, Path],
    arrays: Mapping[str, Path],
    rows: Mapping[str, Path],
    lobes: Mapping[str, str],
) -> tuple[dict[str, Floats], list[str]]:
    """Similarity matrix of each sampled brain; and its areas, by hemisphere, lobe and name."""
    areas = in_order(set(_with_side(sample.points)) - {""}, lobes)
    matrices = {}
    for brain in sample.points.brain.unique():
        every = find_samples({brain: points[brain]}, arrays, rows)
        blocks = ((block.values, _with_side(block.points)) for block in every.blocks())
        matrices[brain] = area_similarity(blocks, areas)
    return matrices, areas


def _with_side(points: pd.DataFrame) -> NDArray[np.str_]:
    """Hemisphere and area of points; empty outside the atlas."""
    return (points.hemisphere + " " + points.area).where(points.area != "", "").to_numpy(str)


def _similarity_panels(
    split: str, matrices: Mapping[str, Floats], areas: Sequence[str], roles: Mapping[str, str]
) -> list[charts.Panel]:
    """The mean matrix of the pretrained brains, that of each unseen one, and their correlations."""
    pretrained = [matrices[brain] for brain in matrices if roles[brain] != "unseen"]
    shown = {}
    if pretrained:
        mean = np.ma.masked_invalid(np.stack(pretrained)).mean(0).filled(np.nan)
        shown["mean of pretrained brains"] = mean
    shown |= {f"unseen {b}": matrix for b, matrix in matrices.items() if roles[b] == "unseen"}
    caption = (
        "Mean cosine of the features of all pairs of points of two areas within a brain; "
        "blocks are areas that look alike. Areas are ordered by hemisphere, lobe (if the atlas' "
        "table has a column lobe) and name."
    )
    panels: list[charts.Panel] = []
    for name, matrix in shown.items():
        title = f"Similarity, {split}, {name}"
        panels.append(charts.matrix(title, caption, areas, areas, matrix, "area", "area", "cosine"))
    names = [f"{brain} ({roles[brain]})" for brain in matrices]
    between = np.array([[correlation(a, b) for b in matrices.values()] for a in matrices.values()])
    np.fill_diagonal(between, np.nan)
    caption = "Pearson's r of the similarity matrices of two brains, over pairs of different areas."
    title = f"Agreement of brains, {split}"
    r = "Pearson's r"
    return [*panels, charts.matrix(title, caption, names, names, between, "brain", "brain", r)]
