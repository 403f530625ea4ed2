"""Task `parcellation`: whether clusters of features find areas by themselves (section 3.8)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.cluster import contingency_matrix

from cytopipe import provenance
from cytopipe.evaluation import charts
from cytopipe.evaluation.labelled import features_of
from cytopipe.evaluation.samples import Samples, read_samples, write_scores
from cytopipe.files import InputError, Output
from cytopipe.formats import tables
from cytopipe.logs import info
from cytopipe.study.config import ParcellationTask

POSITION = ["x_mm", "y_mm", "z_mm"]
# beside a purity: that of one cluster of all points, which any clustering reaches
ONE_CLUSTER = ", one cluster"

Labels = NDArray[np.str_]
Clusters = NDArray[np.int32]


def purity(labels: NDArray[np.generic], clusters: Clusters) -> float:
    """Mean over clusters of the share of a cluster's most frequent label (CytoNet section 3.8).

    Each cluster counts alike, however small. (The literature's purity weighs clusters by size.)
    """
    counts = contingency_matrix(labels, clusters)
    return float((counts.max(0) / counts.sum(0)).mean())


def matched(labels: Labels, clusters: Clusters) -> Labels:
    """The label (n,) that each sample's cluster stands for; "" for a cluster without a label.

    Labels go to clusters one to one, so that most samples agree; the paper assigns them by eye.
    """
    names, numbers = np.unique(labels), np.unique(clusters)
    at, to = linear_sum_assignment(-contingency_matrix(labels, clusters))
    name_of = dict(zip(numbers[to].tolist(), names[at].tolist(), strict=True))
    return np.array([name_of.get(cluster, "") for cluster in clusters.tolist()], str)


def touching_areas(
    areas: Labels, positions_mm: NDArray[np.floating], touching_mm: float
) -> tuple[str, str]:
    """The two areas with the most points among those that touch.

    Parameters
    ----------
    areas, positions_mm : (n,) label, "" for none; (n, 3) in the template.
    touching_mm : areas touch that have points at most so far apart.

    Raises
    ------
    ValueError
        If no two areas touch.
    """
    names, counts = np.unique(areas[areas != ""], return_counts=True)
    trees = {name: cKDTree(positions_mm[areas == name]) for name in names}
    pairs = sorted(
        ((counts[i] + counts[j], i, j) for i in range(len(names)) for j in range(i)),
        key=lambda pair: (-pair[0], pair[1:]),
    )
    for _, i, j in pairs:
        apart, _ = trees[names[i]].query(
            trees[names[j]].data, distance_upper_bound=np.nextafter(touching_mm, np.inf)
        )
        if np.isfinite(apart).any():
            return str(names[j]), str(names[i])
    raise ValueError("no two areas touch")


@dataclass(frozen=True)
class Clustering:
    """Scores (seed, metric, value), and the clusters (n,) of the first seed."""

    scores: list[tuple[int, str, float]]
    first: Clusters


def cluster(samples: Samples, clusters: int, seeds: Sequence[int]) -> Clustering:
    """K-means on raw features of both hemispheres together, once a seed.

    One start a seed: the best of several would be nearly the same each time, and the deviation over
    the seeds would say nothing.

    Returns
    -------
    Of each seed purity_area, purity_hemisphere, adjusted_rand (area; 0 by chance), and with as many
    clusters as areas `accuracy`: the share of points whose cluster stands for their area, matched
    one to one. Of the first also the purities of one cluster of all points.
    """
    labels = samples.points.area.to_numpy(str)
    hemispheres = samples.points.hemisphere.to_numpy(str)
    together = np.zeros(len(labels), np.int32)
    scores = [
        (seeds[0], f"purity_{name}{ONE_CLUSTER}", purity(truth, together))
        for name, truth in (("area", labels), ("hemisphere", hemispheres))
    ]
    found = []
    for seed in seeds:
        means = KMeans(clusters, n_init=1, random_state=seed)
        found.append(means.fit_predict(samples.values))
        scores += [
            (seed, "purity_area", purity(labels, found[-1])),
            (seed, "purity_hemisphere", purity(hemispheres, found[-1])),
            (seed, "adjusted_rand", float(adjusted_rand_score(labels, found[-1]))),
        ]
        if clusters == len(np.unique(labels)):
            agree = matched(labels, found[-1]) == labels
            scores.append((seed, "accuracy", float(agree.mean())))
    return Clustering(scores, found[0])


def read_annotated(patches: Path, features: Path, rows: Path, brain: str) -> Samples | None:
    """Annotated points of a brain with their features, each once; None if it has none.

    Parameters
    ----------
    patches : data set (PatchRow) with annotated areas; a training set repeats some of its points.
    features, rows : of the annotated points: array (.npy) and its rows (FeatureRow).

    Raises
    ------
    InputError
        If a point has no row: patches and features are of different points.
    """
    table = tables.read(tables.PatchRow, patches)
    table = table[table.brain == brain].drop_duplicates("point_id").reset_index(drop=True)
    if table.empty:
        return None
    values = features_of(table, [features], [rows])
    return Samples(table, values).where(np.asarray(np.isfinite(values).all(1)))


@provenance.recorded
def run_parcellation(
    *,
    points: Path,
    features: Path,
    rows: Path,
    annotated: Path | None,
    annotated_features: Path | None,
    annotated_rows: Path | None,
    scores: Output,
    html: Output,
    run: str,
    params: ParcellationTask,
) -> None:
    """Cluster the points of neighbouring areas; score clusters by area and by hemisphere.

    Parameters
    ----------
    points, features, rows : of the brain: PointRow, .npy array, FeatureRow. Located by the atlas
        (`split` atlas), the labels are the atlas' as well.
    annotated, annotated_features, annotated_rows : annotated points (PatchRow), their features and
        rows (`split` annotation); None without annotations.
    scores : the table to write (ScoreRow): `fold` is the seed.
    html : the page of figures to write.

    Raises
    ------
    InputError
        If an area has no such point by the atlas, or there are fewer points than clusters.
    """
    brain = params.named_brain
    samples = read_samples({brain: points}, {brain: features}, {brain: rows}, most=None, seed=0)
    probable = samples.where(samples.points.area_probability.to_numpy() >= params.probability)
    areas = params.areas or _chosen(probable, params, points)
    located = {"atlas": _inside(probable, areas)}
    if annotated and annotated_features and annotated_rows:
        by_hand = read_annotated(annotated, annotated_features, annotated_rows, brain)
        if by_hand is None:
            info(f"{annotated}: no annotated points of {brain}")
        else:
            located["annotation"] = _inside(by_hand, areas)
    results = {}
    for split, found in located.items():
        clusters = params.clusters if split == "atlas" else len(areas)
        counts = found.points.area.value_counts()
        info(f"{split}: " + ", ".join(f"{counts.get(a, 0)} points of {a}" for a in areas))
        absent = [area for area in areas if area not in counts]
        if absent and split == "annotation":
            info(f"{brain}: {absent[0]} is not annotated, so annotations are not clustered")
            continue
        if absent or len(found.points) < clusters:
            raise InputError(
                f"{points}: {len(found.points)} points of {', '.join(areas)} for {clusters} "
                "clusters, and one of each is needed; change evaluation.parcellation in "
                "config/config.yaml"
            )
        results[split] = cluster(found, clusters, params.seeds)
    listed = [(split, *score) for split, result in results.items() for score in result.scores]
    write_scores(scores, run, "parcellation", listed)
    means = _means(listed)
    for split in results:
        got = ", ".join(f"{metric} {mean:.2f}" for metric, mean in means["mean"][split].items())
        info(f"{run}: {split}: {got}")
    panels: list[tuple[charts.Panel, str]] = [_bars(means, list(results), len(params.seeds))]
    panels += [_map(split, located[split], result.first) for split, result in results.items()]
    heading = f"{run}: clusters of points of {', '.join(areas)} in {brain}"
    charts.write(heading, panels, html)


def _inside(samples: Samples, areas: Sequence[str]) -> Samples:
    return samples.where(samples.points.area.isin(areas).to_numpy())


def _chosen(probable: Samples, params: ParcellationTask, points: Path) -> Sequence[str]:
    try:
        areas = touching_areas(
            probable.points.area.to_numpy(str),
            probable.points[POSITION].to_numpy(),
            params.touching_mm,
        )
    except ValueError as error:
        raise InputError(
            f"{points}: {error} within {params.touching_mm} mm; give evaluation.parcellation.areas "
            "or a lower probability in config/config.yaml"
        ) from error
    info(f"areas: {' and '.join(areas)}, the two with the most points that touch")
    return areas


def _means(listed: list[tuple[str, int, str, float]]) -> pd.DataFrame:
    table = pd.DataFrame(listed, columns=["split", "fold", "metric", "value"])
    return table.groupby(["split", "metric"]).value.agg(["mean", "std"]).fillna(0)


def _bars(means: pd.DataFrame, splits: Sequence[str], seeds: int) -> tuple[charts.Panel, str]:
    names = {
        "purity_area": "area",
        "purity_hemisphere": "hemisphere",
        "adjusted_rand": "adjusted Rand",
        "accuracy": "accuracy",
    }
    shown = [metric for metric in names if metric in means.index.get_level_values("metric")]
    series = {}
    for split in splits:
        for suffix in ("", ONE_CLUSTER):
            found = means.loc[split].reindex([metric + suffix for metric in shown])
            series[split + suffix] = (found["mean"].to_numpy(), found["std"].to_numpy())
    return (
        charts.Bars("Purity by area and hemisphere", "score", [names[m] for m in shown], series),
        f"Mean and deviation over {seeds} seeds of k-means. A purity is the mean share of a "
        "cluster's most frequent label; 'one cluster' is what doing nothing gives. The adjusted "
        "Rand index compares clusters with areas and is 0 by chance; accuracy is the share of "
        "points whose cluster stands for their area.",
    )


def _map(split: str, samples: Samples, clusters: Clusters) -> tuple[charts.Panel, str]:
    points = samples.points
    labels = points.area.to_numpy(str)
    # left-right keeps the hemispheres apart; beside it the axis along which the areas extend most
    upward = max(("y_mm", "z_mm"), key=lambda axis: np.ptp(points[axis]))
    view, title = {
        "y_mm": ("from above", "y (mm, to anterior)"),
        "z_mm": ("from behind", "z (mm, to superior)"),
    }[upward]
    colours: dict[str, NDArray[np.str_]] = {
        "cluster": clusters.astype(str),
        "area": labels,
        "hemisphere": points.hemisphere.to_numpy(str),
    }
    if len(np.unique(clusters)) == len(np.unique(labels)):
        assigned = matched(labels, clusters)
        colours["assigned"] = np.where(
            assigned == labels, labels, np.char.add(np.char.add(labels, " as "), assigned)
        )
    return (
        charts.Scatter(
            f"By {split}",
            ("x (mm, to the right)", title),
            points[["x_mm", upward]].to_numpy(),
            colours,
            {"point": points.point_id.to_numpy(), "area": labels},
        ),
        f"Points located by {split}, and the clusters of the first seed, seen {view}.",
    )
