"""Task `parcellation`: whether k-means clusters of features agree with areas (CytoNet 3.8)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
from cytopipe.evaluation.labelled_patches import features_of
from cytopipe.evaluation.samples import Samples, StoredSamples, find_samples, write_scores
from cytopipe.files import InputError, Output
from cytopipe.formats import tables
from cytopipe.logs import info
from cytopipe.study.config import ParcellationTask

POSITION = ["x_mm", "y_mm", "z_mm"]
# suffix of the purity of a single cluster of all points, which any clustering reaches
ONE_CLUSTER = ", one cluster"

Labels = NDArray[np.str_]
Clusters = NDArray[np.int32]


def mean_purity(labels: NDArray[np.generic], clusters: Clusters) -> float:
    """Mean over clusters of the share of a cluster's most frequent label (CytoNet section 3.8).

    All clusters count alike. (Usually purity weights clusters by size, as `clusters.purity` does.)
    """
    counts = contingency_matrix(labels, clusters)
    return float((counts.max(0) / counts.sum(0)).mean())


def matched(labels: Labels, clusters: Clusters) -> Labels:
    """The label (n,) that is assigned to each sample's cluster; "" for a cluster without a label.

    Labels are assigned one to one such that most samples agree; the paper assigns them by eye.
    """
    names, numbers = np.unique(labels), np.unique(clusters)
    rows, columns = linear_sum_assignment(-contingency_matrix(labels, clusters))
    name_of = dict(zip(numbers[columns].tolist(), names[rows].tolist(), strict=True))
    return np.array([name_of.get(cluster, "") for cluster in clusters.tolist()], str)


def touching_areas(
    areas: Labels, positions_mm: NDArray[np.floating], touching_mm: float
) -> tuple[str, str]:
    """The two touching areas with the most points.

    Parameters
    ----------
    areas, positions_mm : (n,) label, "" for none; (n, 3) in the template.
    touching_mm : areas touch if they have points at most this far apart.

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
        distances_mm, _ = trees[names[i]].query(
            trees[names[j]].data, distance_upper_bound=np.nextafter(touching_mm, np.inf)
        )
        if np.isfinite(distances_mm).any():
            return str(names[j]), str(names[i])
    raise ValueError("no two areas touch")


def cluster(
    samples: Samples, clusters: int, seeds: Sequence[int]
) -> tuple[list[tuple[int, str, float]], Clusters]:
    """Cluster the raw features of both hemispheres by k-means, once per seed.

    k-means starts once per seed: the best of several starts would be nearly the same for each seed,
    so that the deviation over the seeds would be meaningless.

    Returns
    -------
    Scores (seed, metric, value): for each seed purity_area, purity_hemisphere, adjusted_rand (of
    areas; 0 by chance) and, with as many clusters as areas, `accuracy`, the share of points whose
    cluster is matched to their area; for the first seed also the purities of one cluster of all
    points. And the clusters (n,) of the first seed.
    """
    labels = samples.points.area.to_numpy(str)
    truths = {"area": labels, "hemisphere": samples.points.hemisphere.to_numpy(str)}
    together = np.zeros(len(labels), np.int32)
    scores = [
        (seeds[0], f"purity_{name}{ONE_CLUSTER}", mean_purity(truth, together))
        for name, truth in truths.items()
    ]
    results = []
    for seed in seeds:
        members = KMeans(clusters, n_init=1, random_state=seed).fit_predict(samples.values)
        results.append(members)
        scores += [
            (seed, f"purity_{name}", mean_purity(truth, members)) for name, truth in truths.items()
        ]
        scores.append((seed, "adjusted_rand", float(adjusted_rand_score(labels, members))))
        if clusters == len(np.unique(labels)):
            agree = matched(labels, members) == labels
            scores.append((seed, "accuracy", float(agree.mean())))
    return scores, results[0]


def read_annotated(patches: Path, features: Path, rows: Path, brain: str) -> Samples | None:
    """Read the annotated points of a brain, each once, with features; None if there are none.

    Parameters
    ----------
    patches : data set (PatchRow) with annotated areas; a training set repeats some of its points.
    features, rows : .npy array and rows (FeatureRow) of the annotated points.

    Raises
    ------
    InputError
        If a point has no row.
    """
    table = tables.read(tables.PatchRow, patches)
    table = table[table.brain == brain].drop_duplicates("point_id").reset_index(drop=True)
    if table.empty:
        return None
    return StoredSamples(table, features_of(table, [features], [rows])).read()


def cluster_table(
    located: Mapping[str, Samples], results: Mapping[str, tuple[Any, Clusters]]
) -> pd.DataFrame:
    """The clusters of the first seed (ClusterRow); `results` are those of `cluster` by split."""
    frames = [tables.frame_of(tables.ClusterRow, [])]
    for split, (_, members) in results.items():
        areas = located[split].points.area.to_numpy(str)
        one_to_one = len(np.unique(members)) == len(np.unique(areas))
        columns = {
            "point_id": located[split].points.point_id,
            "split": split,
            "area": areas,
            "cluster": np.argsort(np.argsort(-np.bincount(members), kind="stable"))[members] + 1,
            "matched": matched(areas, members) if one_to_one else "",
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


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
    clusters: Output,
    html: Output,
    run: str,
    params: ParcellationTask,
) -> None:
    """Cluster the points of neighbouring areas; compare clusters with areas and hemispheres.

    Parameters
    ----------
    points, features, rows : of the brain: PointRow, .npy array, FeatureRow. Points and labels of
        the split `atlas`.
    annotated, annotated_features, annotated_rows : annotated points (PatchRow), their features and
        rows, for the split `annotation`; None without annotations.
    scores : the table to write (ScoreRow): `fold` is the seed.
    clusters : written: the clusters of the first seed (ClusterRow).
    html, run : as in `run_areas`.

    Raises
    ------
    InputError
        If the atlas assigns no point to an area, or there are fewer points than clusters.
    """
    brain = params.named_brain
    every = find_samples({brain: points}, {brain: features}, {brain: rows})
    probable = every.where(every.points.area_probability.to_numpy() >= params.probability)
    areas = params.areas or _chosen(probable, params, points)
    inside = probable.where(probable.points.area.isin(areas).to_numpy())
    located = {"atlas": inside.read()}
    if annotated and annotated_features and annotated_rows:
        by_hand = read_annotated(annotated, annotated_features, annotated_rows, brain)
        if by_hand is None:
            info(f"{annotated}: no annotated points of {brain}")
        else:
            located["annotation"] = by_hand.where(by_hand.points.area.isin(areas).to_numpy())
    results = {}
    for split, samples in located.items():
        number = params.clusters if split == "atlas" else len(areas)
        counts = samples.points.area.value_counts()
        info(f"{split}: " + ", ".join(f"{counts.get(a, 0)} points of {a}" for a in areas))
        absent = [area for area in areas if area not in counts]
        if absent and split == "annotation":
            info(f"{brain}: {absent[0]} is not annotated, so annotations are not clustered")
            continue
        if absent or len(samples.points) < number:
            raise InputError(
                f"{points}: {len(samples.points)} points of {', '.join(areas)} for {number} "
                "clusters; at least one point per area and per cluster is needed; change "
                "evaluation.parcellation in config/config.yaml"
            )
        results[split] = cluster(samples, number, params.seeds)
    tables.write(tables.ClusterRow, cluster_table(located, results), clusters)
    listed = [(split, *score) for split, (scored, _) in results.items() for score in scored]
    write_scores(scores, run, {"parcellation": listed})
    table = pd.DataFrame(listed, columns=["split", "fold", "metric", "value"])
    means = table.groupby(["split", "metric"]).value.agg(["mean", "std"]).fillna(0)
    for split in results:
        text = ", ".join(f"{metric} {mean:.2f}" for metric, mean in means["mean"][split].items())
        info(f"{run}: {split}: {text}")
    panels: list[charts.Panel] = [_bars(means, list(results), len(params.seeds))]
    panels += [_map(split, located[split], first) for split, (_, first) in results.items()]
    heading = f"{run}: clusters of points of {', '.join(areas)} in {brain}"
    charts.write(heading, panels, html)


def _chosen(probable: StoredSamples, params: ParcellationTask, points: Path) -> Sequence[str]:
    try:
        areas = touching_areas(
            probable.points.area.to_numpy(str),
            probable.points[POSITION].to_numpy(),
            params.touching_mm,
        )
    except ValueError as error:
        raise InputError(
            f"{points}: {error} within {params.touching_mm} mm; set evaluation.parcellation.areas "
            "or lower the probability in config/config.yaml"
        ) from error
    info(f"areas: {' and '.join(areas)}, the two with the most points that touch")
    return areas


def _bars(means: pd.DataFrame, splits: Sequence[str], seeds: int) -> charts.Panel:
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
            rows = means.loc[split].reindex([metric + suffix for metric in shown])
            series[split + suffix] = (rows["mean"].to_numpy(), rows["std"].to_numpy())
    caption = (
        f"Mean and deviation over {seeds} seeds of k-means. A purity is the mean share of a "
        "cluster's most frequent label; 'one cluster' is what doing nothing gives. The adjusted "
        "Rand index compares clusters with areas and is 0 by chance; accuracy is the share of "
        "points whose cluster stands for their area."
    )
    labels = [names[metric] for metric in shown]
    return charts.bars("Purity by area and hemisphere", caption, "score", labels, series)


def _map(split: str, samples: Samples, clusters: Clusters) -> charts.Panel:
    points = samples.points
    labels = points.area.to_numpy(str)
    # x separates the hemispheres; the other axis is the one along which the areas extend most
    upward = max(("y_mm", "z_mm"), key=lambda axis: np.ptp(points[axis]))
    view, title = {
        "y_mm": ("from above", "y (mm, to anterior)"),
        "z_mm": ("from behind", "z (mm, to superior)"),
    }[upward]
    hemispheres = points.hemisphere.to_numpy(str)
    colours = {"cluster": clusters.astype(str), "area": labels, "hemisphere": hemispheres}
    if len(np.unique(clusters)) == len(np.unique(labels)):
        assigned = matched(labels, clusters)
        colours["assigned"] = np.where(
            assigned == labels, labels, np.char.add(np.char.add(labels, " as "), assigned)
        )
    return charts.scatter(
        f"By {split}",
        f"Points located by {split}, and the clusters of the first seed, seen {view}.",
        ("x (mm, to the right)", title),
        points[["x_mm", upward]].to_numpy(),
        colours,
        {"point": points.point_id.to_numpy(), "area": labels},
    )
