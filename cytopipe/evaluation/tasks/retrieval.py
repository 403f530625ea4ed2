"""Task `retrieval`: what the nearest patches in feature space have in common (CytoNet 7.6).

The paper shows such neighbours for four patches; here they are counted as well, because pictures
show what a reader looks for. Neighbours a few millimetres away in the same section share most of
their pixels and all of their staining: they are counted apart.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.evaluation import charts
from cytopipe.evaluation.image_windows import read_windows
from cytopipe.evaluation.samples import Samples, read_samples, write_scores
from cytopipe.evaluation.similarity import unit
from cytopipe.files import Output
from cytopipe.logs import info
from cytopipe.study.config import RetrievalTask
from cytopipe.study.sections import Section

Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]
BLOCK = 8192  # points whose products with all queries are held at a time
PICTURED = 8  # neighbours shown of a query
PICTURE_PX = 256  # larger patches are averaged down to about this edge
_TRAITS = ("area", "brain", "section", "hemisphere")
_PLACE = ["x_mm", "y_mm", "z_mm"]


def nearest(
    queries: NDArray[np.float32], blocks: Iterable[tuple[NDArray[np.float32], Mask]], count: int
) -> Rows:
    """Rows (q, count) of the most similar points by cosine, the most similar first.

    Parameters
    ----------
    queries : (q, d) unit vectors.
    blocks : unit vectors (m, d) of consecutive points, and (q, m) which of them must not be found
        by which query. Only one block's products are held at a time.

    -1 where a query has fewer points that it may find.
    """
    best = np.full((len(queries), count), -np.inf, np.float32)
    rows = np.full((len(queries), count), -1)
    start = 0
    for block, forbidden in blocks:
        cosines = np.where(forbidden, -np.inf, queries @ block.T)
        kept = min(count, len(block))
        at = np.argpartition(-cosines, kept - 1, axis=1)[:, :kept]
        found = np.take_along_axis(cosines, at, 1)
        best = np.concatenate([best, found], axis=1)
        rows = np.concatenate([rows, np.where(np.isfinite(found), at + start, -1)], axis=1)
        order = np.argsort(-best, axis=1, kind="stable")[:, :count]
        best, rows = (np.take_along_axis(array, order, 1) for array in (best, rows))
        start += len(block)
    return rows


def too_near(queries: pd.DataFrame, points: pd.DataFrame, exclude_mm: float) -> Mask:
    """Which points (q, m) lie in a query's section within `exclude_mm`; itself in any case."""
    same = np.ones((len(queries), len(points)), bool)
    for name in ("brain", "section"):
        same &= queries[name].to_numpy()[:, None] == points[name].to_numpy()
    squares = sum(
        (queries[name].to_numpy()[:, None] - points[name].to_numpy()) ** 2
        for name in ("x_um", "y_um")
    )
    near = same & (squares <= (1000 * exclude_mm) ** 2)
    return near | (queries.point_id.to_numpy()[:, None] == points.point_id.to_numpy())


def shares(queries: pd.DataFrame, points: pd.DataFrame, found: Rows) -> dict[str, float]:
    """Share of found points (q, k) that have a trait of their query, and how far away they are.

    Returns
    -------
    same_area, same_brain, same_section, same_hemisphere : means over all pairs; those of the area
        over queries that have one. A section belongs to a brain.
    distance_mm : median distance in the template, of pairs with coordinates.
    """
    there = found >= 0
    values = {}
    for trait in _TRAITS:
        of_query, of_points = (_trait(table, trait) for table in (queries, points))
        counted = there & (of_query != "")[:, None]
        same = of_query[:, None] == of_points[found]
        values[f"same_{trait}"] = float(same[counted].mean()) if counted.any() else np.nan
    gaps = queries[_PLACE].to_numpy()[:, None] - points[_PLACE].to_numpy()[found]
    distances = np.linalg.norm(gaps, axis=-1)[there]
    known = np.isfinite(distances)
    values["distance_mm"] = float(np.median(distances[known])) if known.any() else np.nan
    return values


def chance(queries: pd.DataFrame, points: pd.DataFrame, seed: int) -> dict[str, float]:
    """The same of points that are drawn at random among all but the query.

    Shares are exact, from the counts of each trait; the distance is that of a thousand draws each.
    """
    values = {}
    for trait in _TRAITS:
        of_query, of_points = (_trait(table, trait) for table in (queries, points))
        counts = pd.Series(of_points).value_counts()
        asked = of_query[of_query != ""]
        others = (counts.reindex(asked).to_numpy() - 1) / max(1, len(points) - 1)
        values[f"same_{trait}"] = float(others.mean()) if len(asked) else np.nan
    drawn = np.random.default_rng(seed).integers(0, len(points), (len(queries), 1000))
    values["distance_mm"] = shares(queries, points, drawn)["distance_mm"]
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
    """Look up the nearest points of some queries, count what they share and show some of them.

    A score's split is `backbone` or `projected`; a metric is the trait alone (all points but the
    query), with ` far` (without the near ones of its section) or with ` chance`.

    Parameters
    ----------
    points, rows : brain to its points (PointRow) and the table of its features' rows.
    backbone, projected : brain to its .npy array; `projected` is empty for features without a head.
    sections : of these brains; `image` is the pyramid that is read.
    patch_px, spacing_um : of the patches that the run's features are of.
    scores, html : the table (ScoreRow) and the page of figures to write.
    run : the run whose features these are.

    Raises
    ------
    InputError
        If rows and points differ, no brain has a usable point, or a patch cannot be read.
    """
    found = []
    bars: list[tuple[charts.Panel, str]] = []
    pictures: list[tuple[charts.Panel, str]] = []
    for split, arrays in {"backbone": backbone, "projected": projected}.items():
        if not arrays:
            continue
        queries = read_samples(
            points, arrays, rows, most=params.queries_per_brain, seed=params.seed
        )
        every, near, far = _search(queries, points, arrays, rows, params)
        counted = {
            "": shares(queries.points, every, near),
            " far": shares(queries.points, every, far),
            " chance": chance(queries.points, every, params.seed),
        }
        found += [
            (split, 0, f"{name}{group}", value)
            for group, values in counted.items()
            for name, value in values.items()
            if np.isfinite(value)
        ]
        said = ", ".join(
            f"{name} {counted[' far'][name]:.2f} (chance {value:.2f})"
            for name, value in counted[" chance"].items()
        )
        info(f"{run}: {split}, {params.neighbours} nearest of {len(queries.points)}: {said}")
        bars.append((_bars(split, counted, params), _CAPTION.format(params.exclude_mm)))
        shown = _pictures(split, queries.points, every, far, sections, patch_px, spacing_um, params)
        pictures.append(
            (
                shown,
                "Left a query, to its right the patches whose features are nearest, without those "
                f"of its section within {params.exclude_mm:g} mm; with brain, section and area.",
            )
        )
    charts.write(f"Nearest patches of {run}", bars + pictures, html)
    write_scores(scores, run, "retrieval", found)


_CAPTION = (
    "Share of the nearest points that come from the query's own area, brain, section or "
    "hemisphere, among all points but itself, without those of its section within {:g} mm, and "
    "for points drawn at random. Good features: area high, brain and section at chance."
)


def _search(
    queries: Samples,
    points: Mapping[str, Path],
    arrays: Mapping[str, Path],
    rows: Mapping[str, Path],
    params: RetrievalTask,
) -> tuple[pd.DataFrame, Rows, Rows]:
    """All points, and the neighbours (q, k) of the queries with and without the near ones."""
    asked = unit(queries.values)
    tables: list[pd.DataFrame] = []

    def blocks(exclude_mm: float) -> Iterator[tuple[NDArray[np.float32], Mask]]:
        tables.clear()
        for brain in queries.points.brain.unique():
            # one brain at a time: the features of all need not fit into memory
            mine = read_samples({brain: points[brain]}, arrays, rows, most=None, seed=0)
            tables.append(mine.points)
            for start in range(0, len(mine.points), BLOCK):
                part = slice(start, start + BLOCK)
                near = too_near(queries.points, mine.points.iloc[part], exclude_mm)
                yield unit(mine.values[part]), near

    near, far = (
        nearest(asked, blocks(exclude_mm), params.neighbours)
        for exclude_mm in (-1.0, params.exclude_mm)
    )
    return pd.concat(tables, ignore_index=True), near, far


def _trait(points: pd.DataFrame, trait: str) -> NDArray[np.str_]:
    if trait == "section":
        return (points.brain + " " + points.section.astype(str)).to_numpy(str)
    return points[trait].to_numpy(str)


def _bars(
    split: str, counted: Mapping[str, Mapping[str, float]], params: RetrievalTask
) -> charts.Bars:
    names = {
        "": "all but the query",
        " far": f"beyond {params.exclude_mm:g} mm in its section",
        " chance": "chance",
    }
    series = {
        names[group]: ([values[f"same_{trait}"] for trait in _TRAITS], [0.0] * len(_TRAITS))
        for group, values in counted.items()
    }
    title = f"Nearest by {split} features"
    return charts.Bars(title, "share of neighbours", [f"same {t}" for t in _TRAITS], series)


def _pictures(
    split: str,
    queries: pd.DataFrame,
    points: pd.DataFrame,
    found: Rows,
    sections: Sequence[Section],
    patch_px: int,
    spacing_um: float,
    params: RetrievalTask,
) -> charts.Pictures:
    """Some queries, spread over the brains, a row each with their nearest neighbours."""
    labelled = np.flatnonzero((queries.area != "").to_numpy())
    candidates = labelled if len(labelled) else np.arange(len(queries))
    steps = np.linspace(0, len(candidates) - 1, min(params.shown, len(candidates)) * 2 + 1)
    parts = []
    for query in candidates[steps[1::2].round().astype(int)]:
        neighbours = found[query, :PICTURED]
        parts += [queries.iloc[[query]], points.iloc[neighbours[neighbours >= 0]]]
    chosen = pd.concat(parts, ignore_index=True)
    windows = read_windows(chosen, sections, patch_px, spacing_um)
    captions = [
        f"{brain} {section}\n{area or 'no area'}"
        for brain, section, area in zip(chosen.brain, chosen.section, chosen.area, strict=True)
    ]
    across = 1 + min(PICTURED, params.neighbours)
    pictures = [_smaller(window) for window in windows]
    return charts.Pictures(f"Nearest patches, {split}", pictures, captions, across)


def _smaller(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A square picture averaged down by a whole number, to at most 2 x PICTURE_PX."""
    factor = max(1, len(picture) // PICTURE_PX)
    edge = len(picture) // factor
    cut = picture[: edge * factor, : edge * factor].reshape(edge, factor, edge, factor)
    return cut.mean((1, 3)).astype(np.uint8)
