"""Figures of the evaluation tasks: one page of plotly figures per task and run.

`write` puts a task's panels on an HTML page that works from disk, without a network. The reader can
hover, zoom, choose colours, and save a panel as SVG.
"""

import base64
import html as markup
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
from numpy.typing import ArrayLike, NDArray
from plotly.offline import get_plotlyjs

from cytopipe import provenance
from cytopipe.evaluation.dots import (
    PALETTE,
    PICTURE_PX,
    Colours,
    drawn_evenly,
    limits,
    picture,
    png,
)
from cytopipe.files import atomic_write

# points with coordinates and text on the page. The page of `embedding` has a megabyte per thousand;
# it stays under 10 MB, of which plotly takes 4.8
INTERACTIVE = 1000
_PAGE_PX, _PANEL_PX = 1200, 520  # chosen, not measured: a page fits a laptop's screen
_TEMPLATE = pio.templates.merge_templates(
    "simple_white",
    go.layout.Template(
        layout={"colorway": PALETTE, "margin": {"l": 60, "r": 20, "t": 60, "b": 60}}
    ),
)


@dataclass(frozen=True)
class Panel:
    """A figure with its title and a caption of a sentence or two."""

    title: str
    caption: str
    figure: go.Figure


def scatter(
    title: str,
    caption: str,
    axes: Sequence[str],
    points: NDArray[np.floating],
    colours: Mapping[str, ArrayLike],
    hover: Mapping[str, ArrayLike],
) -> Panel:
    """Points (n, 2) or (n, 3) with equal scales on all axes, coloured by one value at a time.

    Of more than `INTERACTIVE` points, this many are drawn evenly from the first colouring; in two
    dimensions, a picture below them shows all. The caption says so: a page stays small.

    Parameters
    ----------
    axes : title of each axis, with the unit.
    colours : name to (n,) numbers or strings; the reader chooses one.
    hover : name to (n,) values shown when hovering over a point.
    """
    in_space = points.shape[1] == 3
    kind = go.Scatter3d if in_space else go.Scattergl
    colourings = {name: Colours.of(values) for name, values in colours.items()}
    first = next(iter(colours))
    drawn = drawn_evenly(colourings[first].codes, INTERACTIVE)
    some = len(drawn) < len(points)
    rows = zip(*(np.asarray(values)[drawn].astype(str) for values in hover.values()), strict=True)
    text = [", ".join(f"{k}: {v}" for k, v in zip(hover, row)) for row in rows]
    figure = go.Figure()
    owners: list[str] = []
    for name, values in colours.items():
        for label, members, marker in _groups(name, np.asarray(values), colourings[name], drawn):
            figure.add_trace(
                kind(
                    **dict(zip("xyz", points[drawn[members]].T, strict=False)),
                    mode="markers",
                    marker={"size": 2.5 if in_space else 4, **marker},
                    name=label,
                    showlegend=bool(label),
                    text=[text[i] for i in members] if text else None,
                    hoverinfo="text+name" if label else "text",
                    visible=name == first,
                )
            )
            owners.append(name)
        if some and not in_space:
            image = _picture(points, colourings[name])
            figure.add_layout_image(image, visible=name == first)
    buttons = []
    for name in colours:
        visible = {"visible": [owner == name for owner in owners]}
        layout: dict[str, Any] = {"legend.title.text": name}
        for number, other in enumerate(colours):
            if figure.layout.images:
                layout[f"images[{number}].visible"] = other == name
        buttons.append({"label": name, "method": "update", "args": [visible, layout]})
    figure.update_layout(
        updatemenus=[{"buttons": buttons, "x": 0, "y": 1.12, "xanchor": "left"}],
        legend={"title": {"text": first}, "itemsizing": "constant"},
    )
    if in_space:
        titles = {f"{axis}axis_title": name for axis, name in zip("xyz", axes)}
        camera = {"eye": {"x": 1.8, "y": 1.8, "z": 1.2}}
        figure.update_scenes(aspectmode="data", camera=camera, **titles)
    else:
        figure.update_xaxes(title=axes[0], constrain="domain")
        figure.update_yaxes(title=axes[1], constrain="domain", scaleanchor="x")
    if some:
        shown, every = f"{len(drawn):,}", f"{len(points):,} points"
        caption += (
            f" Shown are {shown} of {every}, drawn evenly by {first}."
            if in_space
            else f" Small dots are all {every}; the {shown} large ones, drawn evenly by {first}, "
            "say which point they are when the mouse is on them."
        )
    return Panel(title, caption, figure)


def lines(
    title: str,
    caption: str,
    x: str,
    y: str,
    series: Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike]],
    log_x: bool = False,
) -> Panel:
    """Curves with error bars: name to x, values and standard deviations, each (n,)."""
    curves = [
        go.Scatter(x=at, y=values, name=name, mode="lines+markers", error_y={"array": spread})
        for name, (at, values, spread) in series.items()
    ]
    figure = go.Figure(curves).update_xaxes(title=x, type="log" if log_x else "linear")
    return Panel(title, caption, figure.update_yaxes(title=y))


def bars(
    title: str,
    caption: str,
    y: str,
    groups: Sequence[str],
    series: Mapping[str, tuple[ArrayLike, ArrayLike]],
) -> Panel:
    """Groups of bars: series name to values and standard deviations, each (groups,)."""
    traces = [
        go.Bar(x=list(groups), y=values, name=name, error_y={"array": spread})
        for name, (values, spread) in series.items()
    ]
    figure = go.Figure(traces).update_xaxes(type="category")
    return Panel(title, caption, figure.update_yaxes(title=y))


def boxes(title: str, caption: str, x: str, y: str, series: Mapping[str, ArrayLike]) -> Panel:
    """Distributions side by side: name to values (n,)."""
    traces = [
        go.Box(y=values, name=name, boxpoints=False, marker_color=PALETTE[0])
        for name, values in series.items()
    ]
    figure = go.Figure(traces, {"showlegend": False}).update_xaxes(title=x, type="category")
    return Panel(title, caption, figure.update_yaxes(title=y))


def matrix(
    title: str,
    caption: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: NDArray[np.floating],
    x: str,
    y: str,
    value: str,
) -> Panel:
    """A heat map of values (rows, columns); `value` names what they are."""
    colorbar = {"title": {"text": value}}
    cells = go.Heatmap(
        z=np.asarray(values, np.float32),
        x=list(columns),
        y=list(rows),
        colorscale="Viridis",
        colorbar=colorbar,
    )
    figure = go.Figure(cells).update_xaxes(title=x, type="category")
    figure.update_yaxes(title=y, type="category", autorange="reversed")
    return Panel(title, caption, figure)


def pictures(
    title: str,
    caption: str,
    images: Sequence[NDArray[np.uint8]],
    labels: Sequence[str],
    across: int,
) -> Panel:
    """A grid of images, each (h, w) gray or (h, w, 3) RGB, with labels; `across` per row."""
    rows, columns = np.divmod(np.arange(len(images)), across)
    # images are 0.9 wide, on a grid of 1 x 1.3 that leaves room for the labels
    figure = go.Figure()
    for image, column, row in zip(images, columns, rows, strict=True):
        height, width = image.shape[:2]
        pixel = 0.9 / max(height, width)
        figure.add_trace(
            go.Image(
                source=_source(imagecodecs.png_encode(image)),
                x0=column - pixel * (width - 1) / 2, dx=pixel,
                y0=1.3 * row - pixel * (height - 1) / 2, dy=pixel,
                hoverinfo="skip",
            )
        )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=columns, y=1.3 * rows - 0.46, text=[label.replace("\n", "<br>") for label in labels],
            mode="text", textposition="top center", textfont={"size": 10}, hoverinfo="skip",
        )
    )  # fmt: skip
    last = rows.max(initial=0)
    height_px = _PAGE_PX * 1.3 * (last + 1) / across
    figure.update_layout(height=height_px, margin={"l": 0, "r": 0, "t": 30, "b": 0})
    figure.update_xaxes(visible=False, range=[-0.5, across - 0.5])
    figure.update_yaxes(visible=False, range=[1.3 * last + 0.5, -0.8], scaleanchor="x")
    return Panel(title, caption, figure)


def write(heading: str, panels: Sequence[Panel], html: Path) -> None:
    """Write a page of panels."""
    divisions = []
    for number, panel in enumerate(panels):
        title, caption = markup.escape(panel.title), markup.escape(panel.caption)
        figure = panel.figure.update_layout(template=_TEMPLATE).to_html(
            include_plotlyjs=False,
            full_html=False,
            div_id=f"panel-{number}",
            default_height=_PANEL_PX,
            config={"toImageButtonOptions": {"format": "svg", "filename": panel.title}},
        )
        divisions.append(f"<h2>{title}</h2><p>{caption}</p>{figure}")
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"{provenance.meta()}<title>{markup.escape(heading)}</title>"
        f"<script>{get_plotlyjs()}</script><style>"
        f"body{{font:15px/1.5 system-ui,sans-serif;max-width:{_PAGE_PX}px;margin:1rem auto;"
        "padding:0 1rem}"
        "p{max-width:52rem;color:#555}h2{margin:2rem 0 0;font-size:1.1rem}</style></head><body>"
        f"<h1>{markup.escape(heading)}</h1>{''.join(divisions)}</body></html>"
    )
    with atomic_write(html) as beside:
        beside.write_text(page)


def _picture(points: NDArray[np.floating], colours: Colours) -> go.layout.Image:
    """A picture of all points, below the others of a figure."""
    known = np.isfinite(points).all(1)
    points, colours = points[known], replace(colours, codes=colours.codes[known])
    image = picture(points, colours)
    pixel = (points.max(0) - points.min(0)).max() / PICTURE_PX
    return go.layout.Image(
        source=_source(png(image)), xref="x", yref="y", layer="below", sizing="stretch",
        x=points[:, 0].min(), sizex=image.width * pixel,
        y=points[:, 1].min(), sizey=image.height * pixel, yanchor="bottom",
    )  # fmt: skip


def _source(image: bytes) -> str:
    """A PNG file as the source of an element of a page."""
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"


def _groups(
    name: str, values: NDArray[Any], colours: Colours, drawn: NDArray[np.intp]
) -> list[tuple[str, NDArray[np.intp], dict[str, Any]]]:
    """Label, members and marker of each category; numbers form one group with a colour scale.

    Members are places in `drawn`, the rows that are shown.
    """
    if not colours.names:
        marker = {
            "color": values[drawn], "colorscale": "Viridis", "colorbar": {"title": {"text": name}},
        }  # fmt: skip
        marker["cmin"], marker["cmax"] = limits(values)
        return [("", np.arange(len(drawn)), marker)]
    codes = colours.codes[drawn]
    return [
        (label or "none", np.flatnonzero(codes == code), {"color": colours.palette[code]})
        for code, label in enumerate(colours.names)
    ]
