"""Task `retrieval`: what the nearest patches in feature space have in common (CytoNet 7.6).

The paper shows the neighbours of four patches. Here they are also counted, because in pictures
readers see what they look for. Neighbours a few millimetres away in the same section share most of
their pixels and their staining, so a second count leaves them out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.evaluation import charts
from cytopipe.evaluation.image_windows import read_windows
from cytopipe.evaluation.samples import Samples, Score, find_samples, read_samples, write_scores
from cytopipe.evaluation.similarity import unit_vectors
from cytopipe.files import Output
from cytopipe.logs import info
from cytopipe.study.config import RetrievalTask
from cytopipe.study.sections import Section

Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]
PICTURED = 8  # neighbours shown per query; chosen, not measured
PICTURE_PX = 256  # larger patches are averaged to about this edge, to keep the page small
_TRAITS = ("area", "brain", "section", "hemisphere")
_POSITION = ["x_mm", "y_mm", "z_mm"]


def most_similar(
    queries: NDArray[np.float32], blocks: Iterable[tuple[NDArray[np.float32], Mask]], count: int
) -> Rows:
    """Rows (q, count) of the points most similar to each query by cosine, in falling order.

    Parameters
    ----------
    queries : (q, d) unit vectors.
    blocks : unit vectors (m, d) of consecutive points, and which of them (q, m) are excluded for
        which query. Only one block is compared at a time.

    Returns
    -------
    -1 where a query has fewer points that are not excluded.
    """
    best = np.full((len(queries), count), -np.inf, np.float32)
    rows = np.full((len(queries), count), -1)
    start = 0
    for block, excluded in blocks:
        cosines = np.where(excluded, -np.inf, queries @ block.T)
        kept = min(count, len(block))
        at = np.argpartition(-cosines, kept - 1, axis=1)[:, :kept]
        top = np.take_along_axis(cosines, at, 1)
        best = np.concatenate([best, top], axis=1)
        rows = np.concatenate([rows, np.where(np.isfinite(top), at + start, -1)], axis=1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :count]
        best, rows = (np.take_along_axis(array, order, 1) for array in (best, rows))
        start += len(block)
    return rows


def near_query(queries: pd.DataFrame, points: pd.DataFrame, exclude_mm: float) -> Mask:
    """Which points (q, m) are a query itself, or within `exclude_mm` of it in its section."""
    same_section = np.ones((len(queries), len(points)), bool)
    for name in ("brain", "section"):
        same_section &= queries[name].to_numpy()[:, None] == points[name].to_numpy()
    squares_um2 = sum(
        (queries[name].to_numpy()[:, None] - points[name].to_numpy()) ** 2
        for name in ("x_um", "y_um")
    )
    near = same_section & (squares_um2 <= (1000 * exclude_mm) ** 2)
    return near | (queries.point_id.to_numpy()[:, None] == points.point_id.to_numpy())


def trait_shares(queries: pd.DataFrame, points: pd.DataFrame, neighbours: Rows) -> dict[str, float]:
    """Share of neighbours (q, k) that have a trait of their query, and how far away they are.

    Returns
    -------
    same_area, same_brain, same_section, same_hemisphere : means over all pairs; those of the area
        over queries that have one. A section belongs to a brain.
    distance_mm : median distance in the template, of pairs with coordinates.
    """
    exists = neighbours >= 0
    values = {}
    for trait in _TRAITS:
        of_query, of_points = (_trait(table, trait) for table in (queries, points))
        counted = exists & (of_query != "")[:, None]
        same = of_query[:, None] == of_points[neighbours]
        values[f"same_{trait}"] = float(same[counted].mean()) if counted.any() else np.nan
    gaps_mm = queries[_POSITION].to_numpy()[:, None] - points[_POSITION].to_numpy()[neighbours]
    distances_mm = np.linalg.norm(gaps_mm, axis=-1)[exists]
    known = np.isfinite(distances_mm)
    values["distance_mm"] = float(np.median(distances_mm[known])) if known.any() else np.nan
    return values


def chance_shares(queries: pd.DataFrame, points: pd.DataFrame, seed: int) -> dict[str, float]:
    """`trait_shares` of neighbours drawn at random among all points but the query.

    Shares are exact, from the counts of each trait. The distance is that of 1000 draws per query.
    """
    values = {}
    for trait in _TRAITS:
        of_query, of_points = (_trait(table, trait) for table in (queries, points))
        counts = pd.Series(of_points).value_counts()
        known = of_query[of_query != ""]
        others = (counts.reindex(known).to_numpy() - 1) / max(1, len(points) - 1)
        values[f"same_{trait}"] = float(others.mean()) if len(known) else np.nan
    drawn = np.random.default_rng(seed).integers(0, len(points), (len(queries), 1000))
    values["distance_mm"] = trait_shares(queries, points, drawn)["distance_mm"]
    return values


@provenance.recorded
def run_retrieval(
    *,
    points: Mapping[str, Path],
    backbone: Mapping[str, Path],
    projected: Mapping[str, Path],
    rows: Mapping[str, Path],
    sections: Sequence[Section],
    patch_px: int,
    spacing_um: float,
    scores: Output,
    html: Output,
    run: str,
    params: RetrievalTask,
) -> None:
    """Find the nearest points of some queries, count what they share and show some of them.

    A score's split is `backbone` or `projected`. A metric is the trait (among all points but the
    query), the trait with ` far` (also without points near the query in its section) or with
    ` chance`.

    Parameters
    ----------
    points, backbone, projected, rows : as in `run_embedding`.
    sections : rows of these brains; `image` is the pyramid that is read.
    patch_px, spacing_um : edge and pixel size of the run's patches.
    scores, html, run : as in `run_areas`.

    Raises
    ------
    InputError
        If rows and points differ, no brain has a usable point, or a patch cannot be read.
    """
    listed: list[Score] = []
    bars: list[charts.Panel] = []
    pictures: list[charts.Panel] = []
    for split, arrays in {"backbone": backbone, "projected": projected}.items():
        if not arrays:
            continue
        queries = read_samples(
            points, arrays, rows, most=params.queries_per_brain, seed=params.seed
        )
        every, near, far = _search(queries, points, arrays, rows, params)
        shares = {
            "": trait_shares(queries.points, every, near),
            " far": trait_shares(queries.points, every, far),
            " chance": chance_shares(queries.points, every, params.seed),
        }
        listed += [
            (split, 0, f"{name}{group}", value)
            for group, values in shares.items()
            for name, value in values.items()
            if np.isfinite(value)
        ]
        text = ", ".join(
            f"{name} {shares[' far'][name]:.2f} (chance {value:.2f})"
            for name, value in shares[" chance"].items()
        )
        info(f"{run}: {split}, {params.neighbours} nearest of {len(queries.points)}: {text}")
        bars.append(_bars(split, shares, params))
        chosen = _pictured(queries.points, every, far, params)
        windows = read_windows(chosen, sections, patch_px, spacing_um)
        pictures.append(_pictures(split, chosen, windows, params))
    charts.write(f"Nearest patches of {run}", bars + pictures, html)
    write_scores(scores, run, {"retrieval": listed})


def _search(
    queries: Samples,
    points: Mapping[str, Path],
    arrays: Mapping[str, Path],
    rows: Mapping[str, Path],
    params: RetrievalTask,
) -> tuple[pd.DataFrame, Rows, Rows]:
    """All points, and the neighbours (q, k) of the queries with and without near points."""
    vectors = unit_vectors(queries.values)
    every = find_samples(points, arrays, rows)
    tables: list[pd.DataFrame] = []

    def blocks(exclude_mm: float) -> Iterator[tuple[NDArray[np.float32], Mask]]:
        tables.clear()
        for block in every.blocks():
            tables.append(block.points)
            excluded = near_query(queries.points, block.points, exclude_mm)
            yield unit_vectors(block.values), excluded

    near, far = (
        most_similar(vectors, blocks(exclude_mm), params.neighbours)
        for exclude_mm in (-1.0, params.exclude_mm)
    )
    return pd.concat(tables, ignore_index=True), near, far


def _trait(points: pd.DataFrame, trait: str) -> NDArray[np.str_]:
    if trait == "section":
        return (points.brain + " " + points.section.astype(str)).to_numpy(str)
    return points[trait].to_numpy(str)


def _bars(
    split: str, shares: Mapping[str, Mapping[str, float]], params: RetrievalTask
) -> charts.Panel:
    names = {
        "": "all but the query",
        " far": f"beyond {params.exclude_mm:g} mm in its section",
        " chance": "chance",
    }
    series = {
        names[group]: ([values[f"same_{trait}"] for trait in _TRAITS], [0.0] * len(_TRAITS))
        for group, values in shares.items()
    }
    return charts.bars(
        f"Nearest by {split} features",
        "Share of the nearest points that come from the query's own area, brain, section or "
        "hemisphere, among all points but itself, without those of its section within "
        f"{params.exclude_mm:g} mm, and for points drawn at random. Good features: area high, "
        "brain and section at chance.",
        "share of neighbours",
        [f"same {trait}" for trait in _TRAITS],
        series,
    )


def _pictured(
    queries: pd.DataFrame, points: pd.DataFrame, neighbours: Rows, params: RetrievalTask
) -> pd.DataFrame:
    """Some queries, spread over the brains, each followed by its nearest neighbours."""
    labelled = np.flatnonzero((queries.area != "").to_numpy())
    candidates = labelled if len(labelled) else np.arange(len(queries))
    steps = np.linspace(0, len(candidates) - 1, min(params.shown, len(candidates)) * 2 + 1)
    parts = []
    for query in candidates[steps[1::2].round().astype(int)]:
        nearest = neighbours[query, :PICTURED]
        parts += [queries.iloc[[query]], points.iloc[nearest[nearest >= 0]]]
    return pd.concat(parts, ignore_index=True)


def _pictures(
    split: str, chosen: pd.DataFrame, windows: NDArray[np.uint8], params: RetrievalTask
) -> charts.Panel:
    labels = [
        f"{brain} {section}\n{area or 'no area'}"
        for brain, section, area in zip(chosen.brain, chosen.section, chosen.area, strict=True)
    ]
    return charts.pictures(
        f"Nearest patches, {split}",
        "Left a query, to its right the patches whose features are nearest, without those "
        f"of its section within {params.exclude_mm:g} mm; with brain, section and area.",
        [_smaller(window) for window in windows],
        labels,
        1 + min(PICTURED, params.neighbours),
    )


def _smaller(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average a square picture by a whole factor, to an edge below 2 x PICTURE_PX."""
    factor = max(1, len(picture) // PICTURE_PX)
    edge = len(picture) // factor
    cut = picture[: edge * factor, : edge * factor].reshape(edge, factor, edge, factor)
    return cut.mean((1, 3)).astype(np.uint8)
