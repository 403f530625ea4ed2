"""Figures of the pages as SVG text."""

import io
import re

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

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
