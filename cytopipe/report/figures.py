"""Figures of the pages as SVG text: curves, slices, points."""

import io
import re

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cytopipe.formats.volumes import Volume
from cytopipe.numerics.geometry import Floats, Rigid
from cytopipe.report.thumbnails import (
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    YELLOW,
)

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
    "svg.fonttype": "none",  # text stays text: small, and found by the browser's search
}
# planes of a volume: fixed axis, the picture's horizontal and vertical axis, letters at its sides
PLANES = {
    "sagittal": (0, 1, 2, ("P", "A", "S", "I")),
    "coronal": (1, 0, 2, ("L", "R", "S", "I")),
    "axial": (2, 0, 1, ("L", "R", "A", "P")),
}
REPAIR_COLOURS = {"defect": VERMILLION, "fragment": BLUE, "excluded": GREEN}


def svg(figure: Figure, name: str) -> str:
    """A figure as an SVG element; `name` keeps the ids of a page's figures apart."""
    with mpl.rc_context({**STYLE, "svg.hashsalt": name}):
        text = io.StringIO()
        figure.savefig(text, format="svg", bbox_inches="tight", metadata={"Date": None})
    element = text.getvalue()
    element = element[element.index("<svg") :]
    # the height follows from the width, which the page may reduce
    return re.sub(r'(<svg [^>]*?width="[^"]*") height="[^"]*"', r"\1", element, count=1)


def _axes(rows: int, columns: int, width: float, height: float) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(np.atleast_1d(figure.subplots(rows, columns)).ravel())


def inlier_figure(pairs: pd.DataFrame, stack: pd.DataFrame) -> str:
    """Inliers of neighbouring pairs as scanned and mirrored, with each pair's status."""
    near = pairs[pairs["distance"] == 1].sort_values("moving")
    with mpl.rc_context(STYLE):
        figure, (axes,) = _axes(1, 1, 10, 3)
        for section in stack.loc[stack["mirrored"] & stack["angle_rad"].notna(), "section"]:
            axes.axvspan(section - 40, section + 40, color=PURPLE, alpha=0.25, lw=0)
        for column, colour, marker, label in (
            ("inliers_plain", BLUE, "o", "as scanned"),
            ("inliers_mirrored", ORANGE, "^", "one of the two mirrored"),
        ):
            axes.plot(
                near["moving"], near[column] + 1, color=colour, marker=marker, ms=4, lw=0.8,
                label=label,
            )  # fmt: skip
        weak = near[near["status"] != "accepted"]
        most = weak[["inliers_plain", "inliers_mirrored"]].max(axis=1) + 1
        axes.plot(
            weak["moving"], most, "x", color=VERMILLION, ms=9, mew=1.8,
            label="not accepted", ls="none",
        )  # fmt: skip
        axes.set_yscale("log")
        axes.set_xlabel("section")
        axes.set_ylabel("inliers + 1")
        axes.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
        return svg(figure, "inliers")


def drift_figure(stack: pd.DataFrame) -> str:
    """Cumulative transform of each section: its rotation, and where its centre comes to lie."""
    placed = stack[stack["angle_rad"].notna()].sort_values("section")
    centre = np.array(
        [
            Rigid(row["angle_rad"], row["x_um"], row["y_um"], "section", "stack")(
                np.array([row["width_um"], row["height_um"]]) / 2
            )
            for row in placed.to_dict("records")
        ]
    ).reshape(-1, 2)
    middle = np.median(centre, axis=0) if len(centre) else np.zeros(2)
    centre_mm = (centre - middle) / 1000
    angle = np.rad2deg(np.unwrap(placed["angle_rad"].to_numpy()))
    sure = (placed["status"] == "ok").to_numpy()
    with mpl.rc_context(STYLE):
        figure, panels = _axes(3, 1, 10, 4.6)
        for axes, values, label in zip(
            panels,
            (angle, centre_mm[:, 0], centre_mm[:, 1]),
            ("rotation (deg)", "centre x (mm)", "centre y (mm)"),
            strict=True,
        ):
            section = placed["section"].to_numpy()
            axes.plot(section, values, color=BLUE, lw=0.8, marker="o", ms=3)
            axes.plot(
                section[~sure], values[~sure], "x", color=VERMILLION, ms=8, mew=1.8,
                label="uncertain",
            )  # fmt: skip
            axes.set_ylabel(label)
        if (~sure).any():
            panels[0].legend(loc="lower left", bbox_to_anchor=(0, 1))
        panels[-1].set_xlabel("section")
        return svg(figure, "drift")


def _slice(axes: Axes, volume: Volume, plane: str, at_mm: float) -> None:
    """Draw one plane of a tissue volume, with letters at its sides."""
    fixed, across, along, sides = PLANES[plane]
    index = round((at_mm - volume.affine[fixed, 3]) / volume.affine[fixed, fixed])
    index = int(np.clip(index, 0, volume.data.shape[fixed] - 1))
    cut = np.take(volume.data, index, axis=fixed).T  # the remaining axes keep their order
    shades = np.array([[255, 255, 255], [125, 125, 125], [214, 208, 196]], np.uint8)
    spacing = volume.voxel_mm
    low = volume.affine[:3, 3] - spacing / 2
    high = low + spacing * volume.data.shape
    axes.imshow(
        shades[np.clip(cut, 0, 2).astype(int)],
        origin="lower",
        extent=(low[across], high[across], low[along], high[along]),
        interpolation="none",
    )
    room = 0.08 * (high - low)  # for the letters
    axes.set_xlim(low[across] - room[across], high[across] + room[across])
    axes.set_ylim(low[along] - room[along], high[along] + room[along])
    letter_at = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.97), (0.5, 0.03))
    for letter, (x, y) in zip(sides, letter_at, strict=True):
        axes.text(
            x, y, letter, transform=axes.transAxes, ha="center", va="center", weight="bold",
            color=BLUE,
        )  # fmt: skip
    axes.set_title(f"{plane}, {'RAS'[fixed]} = {at_mm:.0f} mm", fontsize=9)
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def middle_mm(volume: Volume) -> Floats:
    """Where to cut a brain: the middle of its tissue, a quarter of its width beside the midline."""
    indices = np.argwhere(volume.data > 0)
    if not len(indices):
        return volume.to_mm(np.array(volume.data.shape) / 2)
    low, high = volume.to_mm(indices.min(axis=0)), volume.to_mm(indices.max(axis=0))
    middle = (low + high) / 2
    middle[0] += (high[0] - low[0]) / 4
    return middle


def repairs_figure(tissue: Volume, repairs: pd.DataFrame, at_mm: Floats, name: str) -> str:
    """Three planes of the reconstruction; circles are repairs within 4 mm of a plane."""
    centres = repairs[["r_mm", "a_mm", "s_mm"]].to_numpy()
    with mpl.rc_context(STYLE):
        figure, panels = _axes(1, 3, 11, 3.4)
        for axes, (plane, (fixed, across, along, _)) in zip(panels, PLANES.items(), strict=True):
            _slice(axes, tissue, plane, float(at_mm[fixed]))
            near = np.abs(centres[:, fixed] - at_mm[fixed]) <= 4
            for kind, colour in REPAIR_COLOURS.items():
                here = near & (repairs["kind"] == kind).to_numpy()
                # as wide as the repair, but wide enough to be seen
                radius_mm = np.cbrt(repairs["volume_mm3"].to_numpy()[here] * 3 / 4 / np.pi)
                axes.scatter(
                    centres[here, across], centres[here, along], s=30 + 12 * radius_mm**2,
                    facecolors="none", edgecolors=colour, linewidths=1.4,
                )  # fmt: skip
        return svg(figure, name)


def points_figure(template: Volume, points: pd.DataFrame) -> str:
    """Points within 1.5 mm of three planes of the template, coloured by area."""
    located = points[points["x_mm"].notna()]
    places = located[["x_mm", "y_mm", "z_mm"]].to_numpy()
    codes, _ = pd.factorize(located["area"], sort=True)
    colours = np.array(PALETTE)[codes % len(PALETTE)] if len(codes) else np.empty(0, str)
    colours[(located["area"] == "").to_numpy()] = "#000000"
    at_mm = middle_mm(template)
    with mpl.rc_context(STYLE):
        figure, panels = _axes(1, 3, 11, 3.6)
        for axes, (plane, (fixed, across, along, _)) in zip(panels, PLANES.items(), strict=True):
            _slice(axes, template, plane, float(at_mm[fixed]))
            near = np.abs(places[:, fixed] - at_mm[fixed]) <= 1.5
            axes.scatter(
                places[near, across], places[near, along], s=5, c=list(colours[near]), lw=0,
                rasterized=True,
            )  # fmt: skip
        figure.set_dpi(150)
        return svg(figure, "points")


def training_figure(metrics: dict[str, pd.DataFrame]) -> str:
    """Loss of each run over the epochs."""
    with mpl.rc_context(STYLE):
        figure, (axes,) = _axes(1, 1, 8, 3)
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
    """Red, green, blue (n, 3) of a thickness: cividis from 1 to 5 mm, as in the legend."""
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
