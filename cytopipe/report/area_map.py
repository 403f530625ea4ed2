"""The map of areas on the page of a brain, beside the areas of the atlas.

The page is made before networks are trained, so that a person can correct sections early. The map
comes last: it is a script beside the page, `{brain}-map.js`, which the page loads if it exists.
"""

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.files import InputError, Output, atomic_write, reading
from cytopipe.formats import tables, truth_table
from cytopipe.formats.surfaces import Surface
from cytopipe.numerics.geometry import Floats
from cytopipe.report import bundle, renderings, surface_views, thumbnails
from cytopipe.study.areas import UNLIKE, Areas, areas_of, distinct_colours, foreign_alarm
from cytopipe.study.nearest_point import nearest_points
from cytopipe.study.results import BrainResults

_VIEWS = (
    *surface_views.MIDSURFACE_VIEWS,
    ("both", "from above", "both, from above"),
    ("both", "from below", "both, from below"),
)
# vertices without a point near
_NO_AREA_COLOUR = (245, 245, 245)


def layers_of(
    brain: BrainResults, areas: Areas, run: str
) -> tuple[dict[str, tuple[str, NDArray[np.int32]]], tuple[str, ...], NDArray[np.uint8]]:
    """What is shown: layers, names and colours.

    Returns
    -------
    Name of each layer to its title and the key (points,) of each point; names and colours of the
    keys from 1: the areas, points that are unlike the training data, and clusters.
    """
    table = brain.area_map
    assert table is not None
    foreign = (table["status"] == UNLIKE).to_numpy(bool)

    def mapped(column: str) -> NDArray[np.int32]:
        keys = areas.keys_of(table[column])
        keys[foreign] = len(areas.names) + 1
        return keys

    layers = {
        "atlas": ("atlas, by position", areas.keys_of(brain.points["area"])),
        "map": ("map, by the network", mapped("mapped")),
    }
    if (table["mapped"] != table["predicted"]).any():
        layers["map"] = ("map, smoothed along the cortex", mapped("mapped"))
        layers["prediction"] = ("map before smoothing", mapped("predicted"))
    names, colours = areas.with_unlike()
    clusters = brain.parcellation(run) if "parcellation" in brain.files else None
    if clusters is not None:
        layers["clusters"] = (
            "k-means clusters of neighbouring areas",
            np.where(clusters > 0, len(names) + clusters, 0).astype(np.int32),
        )
        count = int(clusters.max())
        names = (*names, *(f"cluster {number}" for number in range(1, count + 1)))
        # colours that no area has
        colours = np.concatenate([colours, distinct_colours(len(areas.names) + count)[-count:]])
    return layers, names, colours


def read_viewer_surfaces(script: Path) -> dict[str, Surface]:
    """The surfaces that the viewer of a page shows, from the script that `bundle` has written.

    Raises
    ------
    InputError
        If the script is missing or damaged.
    """
    with reading(script, "script of the page", "run snakemake --forcerun report_brain"):
        text = script.read_text("utf-8")
        content = json.loads(text[text.index(",") + 1 : text.rindex(")")])
        return {
            hemisphere: Surface(
                _unpacked(of["vertices"]).reshape(-1, 3) / 100,
                _unpacked(of["faces"]).reshape(-1, 3),
            )
            for hemisphere, of in content.items()
        }


def pictures(
    surfaces: Mapping[str, Surface], keys: Mapping[str, NDArray[np.int32]], colours: Floats
) -> list[dict[str, Any]]:
    """The six views of one layer.

    Parameters
    ----------
    keys : hemisphere to (vertices,) keys.
    colours : (keys, 3) 0 to 1.
    """
    both = surface_views.together(surfaces)
    extent = max(float(np.ptp(s.vertices, axis=0).max()) for s in surfaces.values())
    pixel_mm = extent / (1.5 * surface_views.SURFACE_WIDTH_PX)
    shown = []
    for side, view, name in _VIEWS:
        if side != "both" and side not in surfaces:
            continue
        surface = both if side == "both" else surfaces[side]
        of_view = np.concatenate([keys[h] for h in surfaces]) if side == "both" else keys[side]
        picture = renderings.render(
            surface,
            of_view.astype(np.float64),
            lambda values: colours[values.astype(np.int64)],
            view,
            pixel_mm,
            labels=True,
        )
        shown.append(
            {
                "name": name,
                "letters": renderings.letters(view),
                "picture": thumbnails.jpeg_uri(picture, 92),
                "width": round(picture.shape[1] / 1.5),
            }
        )
    return shown


def legend(
    layers: Mapping[str, tuple[str, NDArray[np.int32]]],
    names: Sequence[str],
    colours: NDArray[np.uint8],
    usable: NDArray[np.bool_],
) -> list[dict[str, Any]]:
    """Colour, name and share of the usable points of each key, in each layer."""
    total = max(int(usable.sum()), 1)
    counts = {
        layer: np.bincount(keys[usable], minlength=len(names) + 1)
        for layer, (_, keys) in layers.items()
    }
    return [
        {
            "name": name,
            "colour": "#{:02x}{:02x}{:02x}".format(*rgb),
            "shares": [f"{of[number] / total:.1%}" if of[number] else "" for of in counts.values()],
        }
        for number, (name, rgb) in enumerate(zip(names, colours.tolist(), strict=True), start=1)
        if any(of[number] for of in counts.values())
    ]


def numbers(
    brain: BrainResults, false_alarms: float, pieces: Mapping[str, float]
) -> tuple[list[tuple[str, str]], str]:
    """Numbers at the top of the map, value and meaning; and an alarm, "" if there is none."""
    table = brain.area_map
    assert table is not None
    known = (table["predicted"] != "").to_numpy(bool)
    if not known.any():
        return [("0", "points with a predicted area")], foreign_alarm(table, false_alarms)
    foreign = float((table["status"] == UNLIKE)[known].mean())
    labelled = known & (brain.points["area"] != "").to_numpy(bool)
    same = (table["mapped"] == brain.points["area"])[labelled].mean()
    listed = [
        (f"{int(known.sum()):,}", "points with a predicted area"),
        (f"{foreign:.1%}", f"unlike the training data ({false_alarms:.1%} expected)"),
        (f"{table['probability'].median():.2f}", "median probability of the prediction"),
        (f"{same:.0%}" if labelled.any() else "none", "points whose area is that of the atlas"),
        (
            f"{np.mean(brain.points['area'][known] == ''):.1%}",
            "have no area in the atlas (medial wall, gaps of the atlas), but one on the map",
        ),
        *(
            (f"{pieces[key]:.1f}", f"patches per area, {words} (1 is plausible)")
            for key, words in (
                ("prediction patches_per_area", "before smoothing"),
                ("map patches_per_area", "on the map"),
            )
            if key in pieces
        ),
    ]
    return listed, foreign_alarm(table, false_alarms)


@provenance.recorded
def run_map(
    *,
    brain: str,
    page: Path,
    points: Path,
    stack: Path,
    area_map: Path,
    area_names: Path | None,
    scores: Path,
    clusters: Path | None,
    truth: Path | None,
    script: Output,
    run: str,
    role: str,
    smoothing_mm: float,
    false_alarms: float,
) -> None:
    """Write the script with which the page of a brain shows its map.

    Parameters
    ----------
    page : the page; the folder of the same name beside it holds the surfaces of its viewer.
    points, stack, area_map : PointRow, StackRow and MapRow.
    area_names : table of the atlas, whose order decides the colours; None without an atlas.
    scores : ScoreRow of all maps.
    clusters : ClusterRow of the task `parcellation`, or None.
    truth : the truth table of a phantom, or None.
    script : written.
    run, role : the run that makes the map, and the role of the brain.
    smoothing_mm, false_alarms : of the config's section `mapping`.

    Raises
    ------
    InputError
        If the map belongs to other points, or the page's surfaces cannot be read.
    """
    files: dict[str, Any] = {"points": points, "stack": stack, "area_map": area_map}
    if area_names is not None:
        files["areas"] = area_names
    if clusters is not None:
        files["parcellation"] = clusters
    results = BrainResults(brain, [], files)
    if results.area_map is None:
        raise InputError(f"{area_map}: not found; run snakemake --until mapping_scores")
    areas = areas_of([results])
    surfaces = read_viewer_surfaces(page.with_suffix("") / "surface.js")
    layers, names, colours = layers_of(results, areas, run)
    keys: dict[str, dict[str, NDArray[np.int32]]] = {layer: {} for layer in layers}
    for hemisphere, surface in surfaces.items():
        nearest = nearest_points(results, surface, hemisphere, None)
        for layer, (_, of_points) in layers.items():
            keys[layer][hemisphere] = nearest.keys(of_points)
    palette = np.concatenate([np.array([_NO_AREA_COLOUR], np.uint8), colours])
    scored = tables.read(tables.ScoreRow, scores)
    own = scored[scored["split"] == brain]
    of_brain = dict(zip(own["metric"], own["value"], strict=True))
    listed, alarm = numbers(results, false_alarms, of_brain)
    values = {
        "names": ["no area", *names],
        "colours": palette.tolist(),
        "surfaces": {
            hemisphere: {
                layer: bundle.packed(keys[layer][hemisphere].astype(np.uint16)) for layer in layers
            }
            for hemisphere in surfaces
        },
        "layers": {layer: title for layer, (title, _) in layers.items()},
        "pictures": [
            {"title": title, "views": pictures(surfaces, keys[layer], palette / 255)}
            for layer, (title, _) in layers.items()
        ],
        "legend": legend(layers, names, colours, results.usable),
        "numbers": listed,
        "alarm": alarm,
        "about": about(run, role, smoothing_mm, scored, truth, brain),
    }
    with atomic_write(script) as beside:
        bundle.write_script(beside, "map", values)
        with open(beside, "a", encoding="utf-8") as text:
            text.write(f"// {provenance.line()}\n" if provenance.line() else "")


def about(
    run: str, role: str, smoothing_mm: float, scores: pd.DataFrame, truth: Path | None, brain: str
) -> list[str]:
    """Sentences on how the map was made and how good such maps are."""
    own = {
        "seen": "Sections of this brain are among those that it was trained on.",
        "transfer": "It has seen no label of this brain; the network has seen its images.",
        "unseen": "Neither the probe nor the network has seen anything of this brain.",
    }[role]
    smoothing = (
        f"smoothed along the cortex over {smoothing_mm:g} mm" if smoothing_mm else "not smoothed"
    )
    sentences = [
        f"A linear probe on the features of the run {run} names the areas. {own} "
        f"The map is {smoothing}."
    ]
    values = scores[scores["split"] == role].set_index("metric")["value"].to_dict()
    if "map accuracy" in values:
        sentences.append(
            f"Of labelled test points of {role} brains, {values['map accuracy']:.1%} have their "
            f"area on the map (macro-F1 {values['map macro_f1']:.2f}); before smoothing "
            f"{values['prediction accuracy']:.1%} (macro-F1 {values['prediction macro_f1']:.2f})."
        )
    if truth is not None:
        rows = {row.metric: row.value for row in truth_table.read(truth) if row.brain == brain}
        share = rows.get(f"map, points with their true area, {role}")
        if share is not None:
            f1 = rows[f"map, macro-F1, {role}"]
            before = rows[f"map, macro-F1 before smoothing, {role}"]
            sentences.append(
                f"Compared with the truth of this phantom, {share:.1%} of the points have their "
                f"area (macro-F1 {f1:.2f}; before smoothing {before:.2f})."
            )
    return sentences


def _unpacked(packed: Mapping[str, Any]) -> NDArray[Any]:
    """The inverse of `bundle.packed`."""
    content = gzip.decompress(base64.b64decode(packed["gzip"]))
    dtype = np.dtype(packed["dtype"]).newbyteorder("<")
    shape: Sequence[int] = packed["shape"]
    return np.frombuffer(content, dtype).reshape(shape)
