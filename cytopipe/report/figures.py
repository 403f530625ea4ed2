"""Figures of the pages as SVG text."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from cytopipe.formats.volumes import Volume
from cytopipe.numerics.geometry import Floats
from cytopipe.report.thumbnails import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, YELLOW

PALETTE = (BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE, YELLOW)
STYLE = {
    "font.size": 9,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text: small, and the browser can search it
}
REPAIR_COLOURS = {"defect": VERMILLION, "fragment": BLUE, "excluded": GREEN}


def svg(figure: Figure, name: str) -> str:
    """A figure as an SVG element; `name` makes its ids unique in the page."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        text = io.StringIO()
        figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    element = text.getvalue()
    element = element[element.index("<svg") :]
    # the height follows from the width, which the page may reduce
    return re.sub(r'(<svg [^>]*?width="[^"]*") height="[^"]*"', r"\1", element, count=1)


def middle_mm(volume: Volume) -> Floats:
    """Where to cut a brain: the middle of its tissue, a quarter of its width to the right."""
    indices = np.argwhere(volume.data > 0)
    if not len(indices):
        return volume.to_mm(np.array(volume.data.shape) / 2)
    low, high = volume.to_mm(indices.min(axis=0)), volume.to_mm(indices.max(axis=0))
    middle = (low + high) / 2
    middle[0] += (high[0] - low[0]) / 4
    return middle


def stack_curves(rows: Sequence[Mapping[str, Any]]) -> str:
    """Numbers of the sections along the stack, as an element that needs plotly.

    Mirrored sections are shaded, and uncertain ones are crosses.

    Parameters
    ----------
    rows : as `brain_page.section_rows` returns them.
    """
    rows = sorted(rows, key=lambda row: row["section"])

    def more(name: str) -> list[int | None]:
        return [None if row[name] is None else row[name] + 1 for row in rows]

    panels = {
        "inliers + 1": {
            "inliers + 1, both as scanned": more("inliers_plain"),
            "inliers + 1, one section mirrored": more("inliers_mirrored"),
        },
        "residual, µm": {
            "residual": [row["values"] and row["values"]["residual_um"] for row in rows]
        },
        "x of tissue, mm": {"x of the tissue centre in the stack": [row["x_mm"] for row in rows]},
        "y of tissue, mm": {"y (down)": [row["y_mm"] for row in rows]},
        "rotation, °": {"rotation of the slide": [row["angle_deg"] for row in rows]},
    }
    sections = [row["section"] for row in rows]
    marks = ["x" if row.get("mark") else "circle" for row in rows]
    figure = make_subplots(rows=len(panels), cols=1, shared_xaxes=True, vertical_spacing=0.03)
    for number, (label, lines) in enumerate(panels.items(), start=1):
        for (name, values), colour, dash in zip(lines.items(), (BLUE, ORANGE), ("solid", "dash")):
            style = {
                "line": {"width": 1, "dash": dash, "color": colour},
                "marker": {"symbol": marks},
            }
            figure.add_scatter(x=sections, y=values, name=name, **style, row=number, col=1)
        figure.update_yaxes(title=label, row=number, col=1)
    step = min(np.diff(sections), default=1)
    for section in (row["section"] for row in rows if row["mirrored"]):
        figure.add_vrect(section - step / 2, section + step / 2, fillcolor=PURPLE, opacity=0.35)
    figure.update_xaxes(unifiedhovertitle_text="section %{x}")
    # one axis: the label of a section then shows the values of all panels
    figure.update_traces(
        mode="lines+markers",
        xaxis=f"x{len(panels)}",
        hovertemplate="%{y:.4~g}",
        connectgaps=True,
    )
    states = [f"{row['status']}{', mirrored' * row['mirrored']}" for row in rows]
    figure.data[-1].update(text=states, hovertemplate="%{y:.4~g}; the section is %{text}")
    figure.update_layout(
        hovermode="x unified", hoversubplots="axis", hoverdistance=-1, showlegend=False, height=600,
        template="simple_white", margin={"l": 62, "r": 8, "t": 8, "b": 30}, yaxis_type="log",
    )  # fmt: skip
    return str(figure.to_html(include_plotlyjs=False, full_html=False, div_id="curves"))


def training_figure(metrics: dict[str, pd.DataFrame]) -> str:
    """Training loss of each run by epoch."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 3), layout="constrained")
        axes = figure.subplots()
        styles = ("-", "--", "-.", ":")
        for number, (run, table) in enumerate(metrics.items()):
            axes.plot(
                table["epoch"] + 1, table["loss"], color=PALETTE[number % len(PALETTE)], lw=1.6,
                ls=styles[number // len(PALETTE) % len(styles)], label=run,
            )  # fmt: skip
        axes.set_xlabel("epoch")
        axes.set_ylabel("training loss")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
        return svg(figure, "training")


def thickness_colours(values: NDArray[np.float64]) -> Floats:
    """(n, 3) red, green, blue of thicknesses in mm: cividis from 1 to 5 mm, as in the legend."""
    return np.asarray(mpl.colormaps["cividis"](np.clip((values - 1) / 4, 0, 1))[:, :3])


def thickness_legend() -> str:
    """The colour bar of `thickness_colours`."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3, 0.55), layout="constrained")
        axes = figure.subplots()
        axes.imshow(np.linspace(0, 1, 64)[None], cmap="cividis", aspect="auto", extent=(1, 5, 0, 1))
        axes.set_yticks([])
        axes.grid(False)
        axes.set_xlabel("thickness (mm)")
        return svg(figure, "thickness")
