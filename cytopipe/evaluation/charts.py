"""Figures of the evaluation tasks: one page of plotly figures per task and run.

`write` puts a task's panels on an HTML page that works from disk, without a network. The reader can
hover, zoom, choose colours, and save a panel as SVG.
"""

import base64
import html as markup
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
from numpy.typing import ArrayLike, NDArray
from plotly.colors import sample_colorscale
from plotly.offline import get_plotlyjs

from cytopipe import provenance
from cytopipe.files import atomic_write

# Okabe and Ito's colours, which colour-blind readers can distinguish
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#000000")
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

    def figure(self) -> go.Figure:
        raise NotImplementedError


@dataclass(frozen=True)
class Scatter(Panel):
    """Points (n, 2) or (n, 3) with equal scales on all axes, coloured by one value at a time.

    Attributes
    ----------
    axes : title of each axis, with the unit.
    colours : name to (n,) numbers or strings; the reader chooses one.
    hover : name to (n,) values shown when hovering over a point.
    """

    axes: Sequence[str]
    points: NDArray[np.floating]
    colours: Mapping[str, ArrayLike]
    hover: Mapping[str, ArrayLike]

    def figure(self) -> go.Figure:
        in_space = self.points.shape[1] == 3
        kind = go.Scatter3d if in_space else go.Scattergl
        rows = zip(*(np.asarray(values).astype(str) for values in self.hover.values()), strict=True)
        text = ["<br>".join(f"{k}: {v}" for k, v in zip(self.hover, row)) for row in rows]
        figure = go.Figure()
        owners: list[str] = []
        for name, values in self.colours.items():
            for label, members, marker in _groups(name, np.asarray(values)):
                figure.add_trace(
                    kind(
                        **dict(zip("xyz", self.points[members].T, strict=False)),
                        mode="markers",
                        marker={"size": 2.5 if in_space else 4, **marker},
                        name=label,
                        showlegend=bool(label),
                        text=[text[i] for i in members] if text else None,
                        hoverinfo="text+name" if label else "text",
                        visible=name == next(iter(self.colours)),
                    )
                )
                owners.append(name)
        buttons = [
            {
                "label": name,
                "method": "update",
                "args": [
                    {"visible": [owner == name for owner in owners]},
                    {"legend.title.text": name},
                ],
            }
            for name in self.colours
        ]
        figure.update_layout(
            updatemenus=[{"buttons": buttons, "x": 0, "y": 1.12, "xanchor": "left"}],
            legend={"title": {"text": next(iter(self.colours))}, "itemsizing": "constant"},
        )
        if in_space:
            titles = {f"{axis}axis_title": title for axis, title in zip("xyz", self.axes)}
            camera = {"eye": {"x": 1.8, "y": 1.8, "z": 1.2}}
            return figure.update_scenes(aspectmode="data", camera=camera, **titles)
        figure.update_xaxes(title=self.axes[0], constrain="domain")
        return figure.update_yaxes(title=self.axes[1], constrain="domain", scaleanchor="x")


@dataclass(frozen=True)
class Lines(Panel):
    """Curves with error bars: name to x (n,), y (n,) and standard deviation (n,)."""

    x: str
    y: str
    series: Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike]]
    log_x: bool = False

    def figure(self) -> go.Figure:
        curves = [
            go.Scatter(x=x, y=y, name=name, mode="lines+markers", error_y={"array": spread})
            for name, (x, y, spread) in self.series.items()
        ]
        figure = go.Figure(curves)
        figure.update_xaxes(title=self.x, type="log" if self.log_x else "linear")
        return figure.update_yaxes(title=self.y)


@dataclass(frozen=True)
class Bars(Panel):
    """Groups of bars: series name to values and standard deviations, each (groups,)."""

    y: str
    groups: Sequence[str]
    series: Mapping[str, tuple[ArrayLike, ArrayLike]]

    def figure(self) -> go.Figure:
        bars = [
            go.Bar(x=list(self.groups), y=values, name=name, error_y={"array": spread})
            for name, (values, spread) in self.series.items()
        ]
        figure = go.Figure(bars)
        figure.update_xaxes(type="category")
        return figure.update_yaxes(title=self.y)


@dataclass(frozen=True)
class Boxes(Panel):
    """Distributions side by side: name to values (n,)."""

    x: str
    y: str
    series: Mapping[str, ArrayLike]

    def figure(self) -> go.Figure:
        boxes = [
            go.Box(y=values, name=name, boxpoints=False, marker_color=PALETTE[0])
            for name, values in self.series.items()
        ]
        figure = go.Figure(boxes, {"showlegend": False})
        figure.update_xaxes(title=self.x, type="category")
        return figure.update_yaxes(title=self.y)


@dataclass(frozen=True)
class Matrix(Panel):
    """A heat map of values (rows, columns); `value` names what they are."""

    rows: Sequence[str]
    columns: Sequence[str]
    values: NDArray[np.floating]
    x: str
    y: str
    value: str

    def figure(self) -> go.Figure:
        cells = go.Heatmap(
            z=self.values,
            x=list(self.columns),
            y=list(self.rows),
            colorscale="Viridis",
            colorbar={"title": {"text": self.value}},
        )
        figure = go.Figure(cells).update_xaxes(title=self.x, type="category")
        return figure.update_yaxes(title=self.y, type="category", autorange="reversed")


@dataclass(frozen=True)
class Pictures(Panel):
    """A grid of pictures, each (h, w) gray or (h, w, 3) RGB uint8, with a label.

    Attributes
    ----------
    across : pictures per row.
    """

    pictures: Sequence[NDArray[np.uint8]]
    labels: Sequence[str]
    across: int

    def figure(self) -> go.Figure:
        rows, columns = np.divmod(np.arange(len(self.pictures)), self.across)
        # pictures are 0.9 wide, on a grid of 1 x 1.3 that leaves room for the labels
        figure = go.Figure()
        for picture, column, row in zip(self.pictures, columns, rows, strict=True):
            height, width = picture.shape[:2]
            pixel = 0.9 / max(height, width)
            source = base64.b64encode(imagecodecs.png_encode(picture)).decode()
            figure.add_trace(
                go.Image(
                    source=f"data:image/png;base64,{source}",
                    x0=column - pixel * (width - 1) / 2, dx=pixel,
                    y0=1.3 * row - pixel * (height - 1) / 2, dy=pixel,
                    hoverinfo="skip",
                )
            )  # fmt: skip
        labels = [label.replace("\n", "<br>") for label in self.labels]
        figure.add_trace(
            go.Scatter(
                x=columns, y=1.3 * rows - 0.46, text=labels, mode="text",
                textposition="top center", textfont={"size": 10}, hoverinfo="skip",
            )
        )  # fmt: skip
        height_px = _PAGE_PX * 1.3 * (rows.max(initial=0) + 1) / self.across
        figure.update_layout(height=height_px, margin={"l": 0, "r": 0, "t": 30, "b": 0})
        figure.update_xaxes(visible=False, range=[-0.5, self.across - 0.5])
        return figure.update_yaxes(
            visible=False, range=[1.3 * rows.max(initial=0) + 0.5, -0.8], scaleanchor="x"
        )


def write(heading: str, panels: Sequence[Panel], html: Path) -> None:
    """Write a page of panels."""
    divisions = [
        f"<h2>{markup.escape(panel.title)}</h2><p>{markup.escape(panel.caption)}</p>"
        + _division(panel, f"panel-{number}")
        for number, panel in enumerate(panels)
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"{provenance.meta()}<title>{markup.escape(heading)}</title>"
        f"<script>{get_plotlyjs()}</script><style>"
        f"body{{font:15px/1.5 system-ui,sans-serif;max-width:{_PAGE_PX}px;margin:1rem auto;"
        "padding:0 1rem}"
        "p{max-width:52rem;color:#555}h2{margin:2rem 0 0;font-size:1.1rem}</style></head><body>"
        f"<h1>{markup.escape(heading)}</h1>{''.join(divisions)}</body></html>"
    )
    with atomic_write(html) as temporary:
        temporary.write_text(page)


def _division(panel: Panel, division: str) -> str:
    figure = panel.figure().update_layout(template=_TEMPLATE)
    return str(
        figure.to_html(
            include_plotlyjs=False,
            full_html=False,
            div_id=division,
            default_height=_PANEL_PX,
            config={"toImageButtonOptions": {"format": "svg", "filename": panel.title}},
        )
    )


def _groups(name: str, values: NDArray[Any]) -> list[tuple[str, NDArray[np.intp], dict[str, Any]]]:
    """Label, members and marker of each category; numbers form one group with a colour scale."""
    if values.dtype.kind in "fiu":
        marker = {"color": values, "colorscale": "Viridis", "colorbar": {"title": {"text": name}}}
        return [("", np.arange(len(values)), marker)]
    names, codes = np.unique(values.astype(str), return_inverse=True)
    colours: Sequence[str] = PALETTE
    if len(names) > len(PALETTE):
        # steps of the golden ratio: successive names get very different hues
        colours = sample_colorscale("HSV", [n * 0.618034 % 1 for n in range(len(names))])
    return [
        (str(label) or "none", np.flatnonzero(codes == code), {"color": colours[code]})
        for code, label in enumerate(names)
    ]
