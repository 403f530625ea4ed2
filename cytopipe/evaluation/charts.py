"""Figures of the tasks, each drawn twice: to be explored in a browser, and as a picture for a page.

A task describes what it shows as panels; `write` makes one HTML page of them that needs nothing
from elsewhere (hover, zoom, colour by) and one PNG.
"""

import base64
import html as markup
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import plotly.graph_objects as go
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from plotly.offline import get_plotlyjs

from cytopipe import provenance
from cytopipe.files import whole

# Okabe and Ito's colours, which colour-blind people can tell apart; more values than colours are
# told apart by a cyclic map, whose neighbours look alike: hovering names them
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#000000")
_STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}
_PANEL_INCHES = (5.2, 4.0)


@dataclass(frozen=True)
class Scatter:
    """Points (n, 2) or (n, 3), coloured by each of several values in turn.

    Attributes
    ----------
    colours : name to (n,) numbers or strings; the page lets a reader choose among them.
    hover : name to (n,) values shown at a point.
    """

    title: str
    points: NDArray[np.floating]
    colours: Mapping[str, ArrayLike]
    hover: Mapping[str, ArrayLike]

    def parts(self) -> list["_Part"]:
        return [_Part(f"{self.title}: {name}", self, name) for name in self.colours]

    def explorable(self) -> go.Figure:
        deep = self.points.shape[1] == 3
        axes = dict(zip("xyz", self.points.T, strict=False))
        kind = go.Scatter3d if deep else go.Scattergl
        rows = zip(*(np.asarray(values).astype(str) for values in self.hover.values()), strict=True)
        text = ["<br>".join(f"{k}: {v}" for k, v in zip(self.hover, row)) for row in rows]
        figure = go.Figure()
        owners: list[str] = []
        for name, values in self.colours.items():
            for label, chosen, marker in _groups(np.asarray(values)):
                figure.add_trace(
                    kind(
                        **{axis: at[chosen] for axis, at in axes.items()},
                        mode="markers",
                        marker={"size": 2.5 if deep else 4, **marker},
                        name=label,
                        showlegend=bool(label),
                        text=[text[i] for i in chosen] if text else None,
                        hoverinfo="text+name" if label else "text",
                        visible=name == next(iter(self.colours)),
                    )
                )
                owners.append(name)
        buttons = [
            {
                "label": name,
                "method": "update",
                "args": [{"visible": [owner == name for owner in owners]}],
            }
            for name in self.colours
        ]
        figure.update_layout(
            updatemenus=[{"buttons": buttons, "x": 0, "y": 1.12, "xanchor": "left"}]
        )
        return figure

    def draw(self, axes: Axes, colour: str) -> None:
        values = np.asarray(self.colours[colour])
        groups = _groups(values)
        for label, chosen, marker in groups:
            at = self.points[chosen].T
            if marker["color"] is None or isinstance(marker["color"], str):
                axes.scatter(*at, s=3, lw=0, color=marker["color"], label=label)
            else:
                dots = axes.scatter(*at, s=3, lw=0, c=marker["color"], cmap="viridis")
                axes.figure.colorbar(dots, ax=axes, shrink=0.8)
        if 1 < len(groups) <= 12:
            axes.legend(markerscale=3, fontsize=7, loc="best")
        axes.set(xticks=[], yticks=[])


@dataclass(frozen=True)
class Lines:
    """Curves with a band: name to x (n,), y (n,) and spread (n,)."""

    title: str
    x: str
    y: str
    series: Mapping[str, tuple[ArrayLike, ArrayLike, ArrayLike]]
    log_x: bool = False

    def parts(self) -> list["_Part"]:
        return [_Part(self.title, self, "")]

    def explorable(self) -> go.Figure:
        figure = go.Figure()
        for number, (name, (x, y, spread)) in enumerate(self.series.items()):
            figure.add_trace(
                go.Scatter(
                    x=x,
                    y=y,
                    name=name,
                    mode="lines+markers",
                    line={"color": PALETTE[number % len(PALETTE)]},
                    error_y={"array": spread},
                )
            )
        figure.update_layout(xaxis_title=self.x, yaxis_title=self.y)
        if self.log_x:
            figure.update_xaxes(type="log")
        return figure

    def draw(self, axes: Axes, _: str) -> None:
        for number, (name, (x, y, spread)) in enumerate(self.series.items()):
            axes.errorbar(
                np.asarray(x), np.asarray(y), np.asarray(spread), marker="o", ms=3, lw=1.2,
                label=name, color=PALETTE[number % len(PALETTE)],
            )  # fmt: skip
        axes.set(xlabel=self.x, ylabel=self.y, xscale="log" if self.log_x else "linear")
        if len(self.series) > 1:
            axes.legend(fontsize=7)


@dataclass(frozen=True)
class Bars:
    """Groups of bars: name of a series to the values and spreads (groups,)."""

    title: str
    y: str
    groups: Sequence[str]
    series: Mapping[str, tuple[ArrayLike, ArrayLike]]

    def parts(self) -> list["_Part"]:
        return [_Part(self.title, self, "")]

    def explorable(self) -> go.Figure:
        figure = go.Figure()
        for number, (name, (values, spread)) in enumerate(self.series.items()):
            figure.add_trace(
                go.Bar(
                    x=list(self.groups),
                    y=values,
                    name=name,
                    error_y={"array": spread},
                    marker_color=PALETTE[number % len(PALETTE)],
                )
            )
        figure.update_layout(yaxis_title=self.y, barmode="group")
        return figure

    def draw(self, axes: Axes, _: str) -> None:
        width = 0.8 / max(1, len(self.series))
        at = np.arange(len(self.groups))
        for number, (name, (values, spread)) in enumerate(self.series.items()):
            left = at + (number - (len(self.series) - 1) / 2) * width
            axes.bar(
                left, np.asarray(values), width, yerr=np.asarray(spread), label=name,
                color=PALETTE[number % len(PALETTE)],
            )  # fmt: skip
        tilt = 60 if sum(map(len, self.groups)) > 50 else 0
        axes.set_xticks(at, self.groups, rotation=tilt, ha="right" if tilt else "center")
        axes.set_ylabel(self.y)
        if len(self.series) > 1:
            bottom, top = axes.get_ylim()
            axes.set_ylim(bottom, top + 0.15 * (top - bottom))  # the legend's place
            axes.legend(fontsize=7, ncols=3, loc="upper left")


@dataclass(frozen=True)
class Boxes:
    """Distributions side by side: name to values (any number)."""

    title: str
    x: str
    y: str
    series: Mapping[str, ArrayLike]

    def parts(self) -> list["_Part"]:
        return [_Part(self.title, self, "")]

    def explorable(self) -> go.Figure:
        figure = go.Figure()
        for name, values in self.series.items():
            figure.add_trace(go.Box(y=values, name=name, boxpoints=False, marker_color=PALETTE[0]))
        figure.update_layout(xaxis_title=self.x, yaxis_title=self.y, showlegend=False)
        return figure

    def draw(self, axes: Axes, _: str) -> None:
        filled = {
            name: np.asarray(values)
            for name, values in self.series.items()
            if len(np.asarray(values))
        }
        if filled:
            axes.boxplot(list(filled.values()), tick_labels=list(filled), showfliers=False)
        axes.set(xlabel=self.x, ylabel=self.y)


@dataclass(frozen=True)
class Matrix:
    """A table of numbers as colours; values (rows, columns)."""

    title: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: NDArray[np.floating]

    def parts(self) -> list["_Part"]:
        return [_Part(self.title, self, "")]

    def explorable(self) -> go.Figure:
        figure = go.Figure(
            go.Heatmap(z=self.values, x=list(self.columns), y=list(self.rows), colorscale="Viridis")
        )
        figure.update_yaxes(autorange="reversed")
        return figure

    def draw(self, axes: Axes, _: str) -> None:
        picture = axes.imshow(self.values, aspect="auto", cmap="viridis")
        axes.figure.colorbar(picture, ax=axes, shrink=0.8)
        if len(self.columns) <= 40:
            axes.set_xticks(
                range(len(self.columns)), self.columns, rotation=60, ha="right", fontsize=6
            )
        if len(self.rows) <= 40:
            axes.set_yticks(range(len(self.rows)), self.rows, fontsize=6)


@dataclass(frozen=True)
class Pictures:
    """A grid of pictures, each (h, w) gray or (h, w, 3) RGB uint8, with a caption."""

    title: str
    pictures: Sequence[NDArray[np.uint8]]
    captions: Sequence[str]
    across: int

    def parts(self) -> list["_Part"]:
        return [_Part(self.title, self, "")]

    def figure(self) -> Figure:
        down = -(-len(self.pictures) // self.across)
        with mpl.rc_context(_STYLE):
            figure = Figure(figsize=(1.35 * self.across, 1.55 * down), layout="constrained")
            grid = np.atleast_1d(figure.subplots(down, self.across)).ravel()
            for place in grid:
                place.axis("off")
            for place, picture, caption in zip(grid, self.pictures, self.captions):
                place.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
                place.set_title(caption, fontsize=7)
        return figure

    def explorable(self) -> go.Figure:
        with io.BytesIO() as content:
            self.figure().savefig(content, format="png", dpi=200, metadata={"Software": None})
            source = base64.b64encode(content.getvalue()).decode()
        figure = go.Figure(go.Image(source=f"data:image/png;base64,{source}"))
        return figure.update_xaxes(visible=False).update_yaxes(visible=False)

    def draw(self, axes: Axes, _: str) -> None:
        axes.imshow(_pixels(self.figure(), dpi=200))
        axes.axis("off")


Panel = Scatter | Lines | Bars | Boxes | Matrix | Pictures


@dataclass(frozen=True)
class _Part:
    """What one axes of the PNG shows: a panel, and for a scatter by which value it is coloured."""

    title: str
    panel: Panel
    colour: str


def write(heading: str, panels: Sequence[tuple[Panel, str]], html: Path, png: Path) -> None:
    """Write the page and the picture of some panels, each with a caption of a sentence or two."""
    rows = _rows([part for panel, _ in panels for part in panel.parts()])
    across = max([1, *map(len, rows)])
    width = _PANEL_INCHES[0] * max(2, across)
    heights = [_height(row, width) for row in rows]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, sum(heights) or 1), layout="constrained")
        places = figure.add_gridspec(max(1, len(rows)), across, height_ratios=heights or None)
        for down, row in enumerate(rows):
            for number, part in enumerate(row):
                deep = isinstance(part.panel, Scatter) and part.panel.points.shape[1] == 3
                # pictures have captions to be read: they take the whole width
                wide = isinstance(part.panel, Pictures)
                axes = figure.add_subplot(
                    places[down, :] if wide else places[down, number],
                    projection="3d" if deep else "rectilinear",
                )
                part.panel.draw(axes, part.colour)
                axes.set_title(part.title)
        with whole(png) as beside:
            figure.savefig(beside, dpi=110, metadata={"Software": None, **provenance.entry()})
    divisions = [
        f"<h2>{markup.escape(panel.title)}</h2><p>{markup.escape(caption)}</p>"
        + _laid_out(panel.explorable()).to_html(
            include_plotlyjs=False, full_html=False, div_id=f"panel-{number}"
        )
        for number, (panel, caption) in enumerate(panels)
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"{provenance.meta()}<title>{markup.escape(heading)}</title>"
        f"<script>{get_plotlyjs()}</script><style>"
        "body{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:1rem auto;padding:0 1rem}"
        "p{max-width:52rem;color:#555}h2{margin:2rem 0 0;font-size:1.1rem}</style></head><body>"
        f"<h1>{markup.escape(heading)}</h1>{''.join(divisions)}</body></html>"
    )
    with whole(html) as beside:
        beside.write_text(page)


def _rows(parts: Sequence[_Part]) -> list[list[_Part]]:
    """Up to three panels a row, pictures alone in theirs."""
    rows: list[list[_Part]] = []
    for part in parts:
        alone = isinstance(part.panel, Pictures)
        full = not rows or len(rows[-1]) == 3 or isinstance(rows[-1][0].panel, Pictures)
        if alone or full:
            rows.append([part])
        else:
            rows[-1].append(part)
    return rows


def _height(row: Sequence[_Part], width: float) -> float:
    """Inches of a row of so many inches."""
    panel = row[0].panel
    if not isinstance(panel, Pictures):
        return _PANEL_INCHES[1]
    picture_width, picture_height = panel.figure().get_size_inches()
    return float(width * picture_height / picture_width) + 0.3


def _laid_out(figure: go.Figure) -> go.Figure:
    return figure.update_layout(
        template="simple_white", height=520, margin={"l": 60, "r": 20, "t": 60, "b": 60}
    )


def _groups(values: NDArray[Any]) -> list[tuple[str, NDArray[np.intp], dict[str, Any]]]:
    """Label, members and marker of each category; numbers are one group with a colour scale."""
    if values.dtype.kind in "fiu":
        marker = {"color": values, "colorscale": "Viridis", "showscale": True}
        return [("", np.arange(len(values)), marker)]
    names, codes = np.unique(values.astype(str), return_inverse=True)
    if len(names) <= len(PALETTE):
        colours = list(PALETTE)
    else:
        wheel = mpl.colormaps["hsv"]
        # steps of the golden ratio: names that follow one another differ most
        colours = [
            mpl.colors.to_hex(wheel((number * 0.618034) % 1)) for number in range(len(names))
        ]
    return [
        (str(name) or "none", np.flatnonzero(codes == code), {"color": colours[code]})
        for code, name in enumerate(names)
    ]


def _pixels(figure: Figure, dpi: int) -> NDArray[np.uint8]:
    with io.BytesIO() as content:
        figure.savefig(content, format="rgba", dpi=dpi)
        values = np.frombuffer(content.getvalue(), np.uint8)
    width, height = (round(size * dpi) for size in figure.get_size_inches())
    return values.reshape(height, width, 4)[..., :3].copy()
