"""Draw docs/img/overview.png, the picture of the README, from the results of the demo.

    python docs/overview.py demo docs/img/overview.png

The report page is photographed with Chromium, which has to be on the PATH.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import nibabel
import numpy as np
import pandas as pd
import tifffile
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgba
from nilearn import plotting

matplotlib.use("Agg")
BRAIN, SECTION, HEMISPHERE = "B01", 5180, "L"
SPACING_UM = 128  # of the demo's scans
# name, axis across it, axes to the right and up, place in mm
CUTS = (("coronal", 1, 0, 2, -20.0), ("axial", 2, 0, 1, 20.0))


def main(study: Path, picture: Path) -> None:
    """Draw the four parts and write the picture."""
    results = study / "results"
    points = pd.read_parquet(results / f"coordinates/{BRAIN}/points.parquet")
    usable = points[points.status == "ok"]
    image = study / f"images/{BRAIN}/{BRAIN}_{SECTION:05d}.ome.tif"
    figure = plt.figure(figsize=(13, 10), facecolor="white")
    grid = figure.add_gridspec(
        2, 2, hspace=0.1, wspace=0.04, left=0.01, right=0.99, top=0.96, bottom=0.02
    )
    titles = (
        "1  Points along the midline of the cortex, in one section",
        "2  The surface half-way through the cortex, coloured by curvature",
        "3  The points in the template, coloured by atlas area",
        "4  A page for quality control",
    )
    for place, title in zip(grid, titles, strict=True):
        frame = figure.add_subplot(place, frame_on=False, xticks=[], yticks=[])
        frame.set_title(title, fontsize=13, loc="left")
    draw_section(figure.add_subplot(grid[0, 0]), image, usable[usable.section == SECTION])
    draw_surface(figure.add_subplot(grid[0, 1], projection="3d"), results / f"midsurface/{BRAIN}")
    slices = [figure.add_subplot(part) for part in grid[1, 0].subgridspec(1, 2, wspace=0.05)]
    draw_template(slices, study / "template/tissue.nii.gz", usable)
    draw_page(figure.add_subplot(grid[1, 1]), results / f"report/{BRAIN}.html")
    figure.savefig(picture, dpi=110)


def draw_section(axes: Axes, image: Path, points: pd.DataFrame) -> None:
    """A section with its midline points, on it."""
    pixels = tifffile.imread(image, level=0)
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=255)
    x_px, y_px = points.x_um / SPACING_UM, points.y_um / SPACING_UM
    axes.scatter(x_px, y_px, s=9, c="#e8590c", linewidths=0)
    rows, columns = np.nonzero(pixels < 200)
    axes.set_xlim(columns.min() - 40, columns.max() + 40)
    axes.set_ylim(rows.max() + 70, rows.min() - 40)
    left, bottom = axes.get_xlim()[0] + 20, axes.get_ylim()[0] - 25
    axes.plot([left, left + 20_000 / SPACING_UM], [bottom, bottom], color="black", linewidth=3)
    axes.text(left, bottom - 10, "20 mm", fontsize=11)
    axes.text(0.01, 0.5, "L", transform=axes.transAxes, fontsize=12)
    axes.text(0.97, 0.5, "R", transform=axes.transAxes, fontsize=12)
    axes.axis("off")


def draw_surface(axes: Axes, folder: Path) -> None:
    """The mid-surface of one hemisphere from the side, coloured by curvature."""
    surface = nibabel.load(folder / f"hemi-{HEMISPHERE}_mid.surf.gii")
    curvature = nibabel.load(folder / f"hemi-{HEMISPHERE}_curvature.shape.gii").darrays[0].data
    plotting.plot_surf(
        [array.data for array in surface.darrays],
        curvature,
        hemi="left",
        view="lateral",
        cmap="gray",
        vmin=-0.22,
        vmax=0.22,
        colorbar=False,
        axes=axes,
    )
    axes.set_box_aspect(None, zoom=1.5)


def draw_template(slices: list[Axes], tissue: Path, points: pd.DataFrame) -> None:
    """A coronal and an axial slice of the template with the points near them."""
    template = nibabel.load(tissue)
    labels, origin = np.asarray(template.dataobj), template.affine[:3, 3]
    voxel_mm = template.affine[0, 0]
    ends = origin + voxel_mm * (np.array(labels.shape) - 1)
    points_mm = points[["x_mm", "y_mm", "z_mm"]].to_numpy()
    areas = pd.factorize(points.area, sort=True)[0]
    colours = plt.get_cmap("tab20")(areas)
    colours[points.area == ""] = to_rgba("0.4")  # outside the atlas
    shades = ListedColormap(["white", "0.65", "0.88"])  # background, gray matter, white matter
    for axes, (name, axis, across, up, cut_mm) in zip(slices, CUTS, strict=True):
        plane = np.take(labels, round((cut_mm - origin[axis]) / voxel_mm), axis=axis).T
        extent = (origin[across], ends[across], origin[up], ends[up])
        axes.imshow(plane, cmap=shades, vmin=0, vmax=2, origin="lower", extent=extent)
        near = np.abs(points_mm[:, axis] - cut_mm) < 1.5
        x_mm, y_mm = points_mm[near][:, [across, up]].T
        axes.scatter(x_mm, y_mm, s=7, c=colours[near], linewidths=0)
        axes.set_xlim(-75, 75)
        axes.set_xlabel(f"{name} slice, {'RAS'[axis]} = {cut_mm:g} mm")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        for side, letter in ((0.0, "L"), (0.95, "R")):
            axes.text(side, 0.5, letter, transform=axes.transAxes, fontsize=12)


def draw_page(axes: Axes, page: Path) -> None:
    """A photograph of a brain's report page."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "page.png"
        subprocess.run(
            ["chromium", "--headless=new", "--no-sandbox", "--hide-scrollbars"]
            + ["--window-size=1300,1000", f"--screenshot={shot}", page.resolve().as_uri()],
            check=True,
            capture_output=True,
        )
        axes.imshow(plt.imread(shot))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_color("0.7")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
