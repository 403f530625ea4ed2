"""From tissue to gray values: cells, stain, vessels, light, dirt.

A cell body is a disc that absorbs `stain`, and the neuropil between cells absorbs less. Above a
pixel size of `cells_below_um`, the number of cells in a pixel is drawn from a Poisson distribution,
and the covered area from their sizes. At finer pixels every cell is drawn at its position. Both
have the same means and variances.

Noise depends on (seed, brain, section, pixel) and cells on (seed, brain, section, tile), not on the
order or size of the windows in which a section is rendered.
"""

import zlib
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cytopipe.numerics.geometry import Floats
from cytopipe.phantom.brain import (
    Anatomy,
    Brain,
    Template,
    dissect,
    dissect_layers,
    plane_in_window,
)
from cytopipe.phantom.cytoarchitecture import (
    MEAN_COVERAGE,
    NEUROPIL_GRAY,
    NEUROPIL_WHITE,
    WHITE_COVERAGE,
    WHITE_DIAMETER_UM,
)
from cytopipe.phantom.handling import ScannedSection
from cytopipe.phantom.keys import normal, uniform
from cytopipe.phantom.membrane import arachnoid
from cytopipe.phantom.slide import add_borders, add_marks, digitise, scan_window, soil, vignette
from cytopipe.phantom.structure import GRAIN_MM, paint_discs, stream
from cytopipe.phantom.window import Window

Image = NDArray[np.float32]

# share of the light that an open and a filled vessel absorb. Chosen, not measured
OPEN, FILLED = 0.03, 0.6
_BATCH = 6  # neighbouring sections that are stained together; chosen
TILE_UM = 256.0  # cells are drawn tile by tile
LARGEST_CELL_UM = 40.0
# mean squared diameter of cells, relative to the mean diameter, whose diameters are uniform between
# 0.6 and 1.4 of the mean; and the relative variance of their areas
MEAN_SQUARE = (1.4**3 - 0.6**3) / 2.4
AREA_VARIANCE = (1.4**5 - 0.6**5) / 4 / MEAN_SQUARE**2 - 1


def render(
    brain: Brain,
    template: Template,
    section: ScannedSection,
    row: int,
    column: int,
    rows: int,
    columns: int,
) -> NDArray[Any]:
    """Gray values (rows, columns) of a window of a scan at full resolution.

    They are uint8, or uint16 if the scanner has more than 8 bits.
    """
    spacing_um = section.spacing_um
    fine = spacing_um <= brain.params.cells_below_um
    # cells just outside extend into the window
    halo = int(np.ceil(LARGEST_CELL_UM / spacing_um)) if fine else 0
    window = section.window(
        spacing_um, row - halo, column - halo, rows + 2 * halo, columns + 2 * halo
    )
    key = _key(brain, section)
    light = np.zeros((window.rows, window.columns), np.float32)
    # through two layers of folded tissue passes the product of what passes through each
    for origin, tissue in dissect_layers(brain, template, window, section):
        if tissue.tissue.any():
            cells = (_draw_cells if fine else _count_cells)(
                *_population(tissue), spacing_um, key, row - halo, column - halo
            )
            absorbed = _absorbed(brain, origin, tissue, cells)
            light += absorbed * (1 - light / np.float32(brain.params.background))
    image = _scan(brain, section, light, row - halo, column - halo, key)
    return np.ascontiguousarray(image[halo : halo + rows, halo : halo + columns])


def _absorbed(brain: Brain, window: Window, tissue: Anatomy, cells: Image) -> Image:
    """Light absorbed by tissue and vessels, in gray values of an average stain."""
    staining = brain.params.staining
    gray = tissue.tissue - tissue.white
    in_white = NEUROPIL_WHITE
    if staining.white_contrast is not None:
        of_gray = NEUROPIL_GRAY + MEAN_COVERAGE
        in_white = (1 - staining.white_contrast) * of_gray - WHITE_COVERAGE
    neuropil = gray * np.float32(NEUROPIL_GRAY) + tissue.white * np.float32(in_white)
    if staining.pale_layer:
        # pixels at the rim of the brain belong to no layer, as more than half of them is slide
        outer = (tissue.layer == 1) | ((tissue.labels == 0) & (tissue.white == 0))
        neuropil -= np.float32(staining.pale_layer * NEUROPIL_GRAY) * gray * outer
    grain = plane_in_window(brain.grain.plane(window.z_um, GRAIN_MM), window)
    light = neuropil + cells
    light += np.float32(brain.params.texture) * np.clip(grain, -2.5, 2.5) * tissue.tissue
    discs, filled = brain.vessels.at(window.z_um)
    for chosen, content in ((~filled, OPEN), (filled, FILLED)):
        lumen = paint_discs(discs[chosen], window)
        light += lumen * (tissue.tissue * np.float32(content) - light) * (tissue.tissue > 0)
    if len(brain.knife_marks.lines):
        light *= brain.knife_marks.left(window)
    if staining.arachnoid:
        membrane = arachnoid(brain, window) * np.clip(0.7 + 0.5 * grain, 0, 1.5)
        light += np.float32(staining.arachnoid) * membrane * (1 - tissue.tissue) * tissue.intact
    return light * np.float32(brain.params.stain)


def cell_positions(
    brain: Brain,
    template: Template,
    section: ScannedSection,
    row: int,
    column: int,
    rows: int,
    columns: int,
) -> Floats:
    """Centres (n, 2) of the cells that `render` shows in the same window.

    They are x, y in um from the centre of the first pixel. Cells that are only counted lie at
    random places in their pixel. Cells under a vessel are left out.
    """
    spacing_um = section.spacing_um
    window = section.window(spacing_um, row, column, rows, columns)
    key = _key(brain, section)
    tissue = dissect(brain, template, window, section)
    place = _find_cells if spacing_um <= brain.params.cells_below_um else _place_cells
    cells = place(*_population(tissue), spacing_um, key, row, column)[:, :2]
    lumen = paint_discs(brain.vessels.at(window.z_um)[0], window)
    pixels = np.clip(np.rint(cells).astype(int), 0, [columns - 1, rows - 1])
    return np.asarray(cells[lumen[pixels[:, 1], pixels[:, 0]] < 0.5] * spacing_um)


def _population(tissue: Anatomy) -> tuple[Image, Image]:
    """Expected share of each pixel under cells, and their mean diameter in um."""
    gray = tissue.tissue - tissue.white
    cover = gray * tissue.cover + tissue.white * np.float32(WHITE_COVERAGE)
    white_wins = tissue.white > gray
    diameter = np.where(white_wins, np.float32(WHITE_DIAMETER_UM), tissue.diameter_um)
    return cover, diameter


def _scan(
    brain: Brain, section: ScannedSection, light: Image, row: int, column: int, key: int
) -> NDArray[Any]:
    """Apply the stain, illumination and dirt of a section and the noise of the camera."""
    params = brain.params
    of_brain = stream(params.seed, brain.name, 4)
    rng = stream(params.seed, brain.name, 5, section.section)
    brain_gain = 1 + params.stain_variation * of_brain.uniform(-0.5, 0.5)
    gain = brain_gain * (1 + params.stain_variation * rng.uniform(-1, 1))
    gain *= _batch_gain(brain, section)
    background = params.background + rng.uniform(-6, 6)
    window = scan_window(section.spacing_um, row, column, light.shape)
    size_um = np.array([section.columns, section.rows]) * section.spacing_um
    rows, columns = light.shape
    # -1 to 1 over the scan
    y = (2 * (np.arange(rows, dtype=np.float32) + row) / section.rows - 1)[:, None]
    x = (2 * (np.arange(columns, dtype=np.float32) + column) / section.columns - 1)[None]
    slopes = (0.3 * params.stain_variation * rng.uniform(-1, 1, 4)).astype(np.float32)
    uneven = 1 + slopes[0] * x + slopes[1] * y + slopes[2] * x * y + slopes[3] * (x * x - y * y)
    lamp = rng.uniform(-0.02, 0.02, 2).astype(np.float32)
    field = np.float32(background) * (1 + lamp[0] * x + lamp[1] * y)
    if params.staining.gradient:
        towards = stream(params.seed, brain.name, 22, section.section).uniform(0, 2 * np.pi)
        across = np.float32(np.cos(towards)) * x + np.float32(np.sin(towards)) * y
        uneven *= 1 + np.float32(params.staining.gradient / 2) * across
    if params.slide.vignetting:
        field = field * vignette(size_um, window, params.slide.vignetting)
        # the tissue absorbs a share of the light that there is
        light = light * field / np.float32(background)
    image = field - np.float32(gain) * uneven * light
    if section.condition == "dirty":
        soil(image, size_um, rng, window)
    add_marks(image, section.marks, window)
    most = 2**params.slide.bits - 1
    digital = digitise(image, np.float32(1.5), most / 255, float(most), key, row, column)
    add_borders(digital, section.marks, size_um, window, most / 255)
    return digital if params.slide.bits > 8 else digital.astype(np.uint8)


def _batch_gain(brain: Brain, section: ScannedSection) -> float:
    """How much more than average the batch of a section is stained."""
    params = brain.params
    if params.staining.batches == 0:
        return 1.0
    batch = section.section // (_BATCH * params.section_step)
    change = stream(params.seed, brain.name, 23, batch).uniform(-1, 1)
    return float(1 + params.staining.batches * change)


def _key(brain: Brain, section: ScannedSection) -> int:
    return zlib.crc32(f"{brain.params.seed}/{brain.name}/{section.section}".encode())


@njit(cache=True)
def _cell_count(expected, key, row, column):  # type: ignore[no-untyped-def]
    """Number of cells in a pixel, drawn from a Poisson distribution, or from a normal above 30."""
    if expected > 30:
        return max(0.0, expected + np.sqrt(expected) * normal(key, row, column, 0))
    left = uniform(key, row, column, 0)
    chance = np.exp(-expected)
    count = 0.0
    while left > chance and count < 200:
        left -= chance
        count += 1
        chance *= expected / count
    return count


@njit(cache=True)
def _count_cells(cover, diameter, spacing_um, key, row0, column0):  # type: ignore[no-untyped-def]
    """Share of each pixel under cell bodies, from the number of cells in it.

    Cells overlap: n of area a, at random places, cover 1 - exp(-n a). The count of a pixel is
    Poisson, and the area of its cells normal about the mean for that count.
    """
    out = np.zeros(cover.shape, np.float32)
    pixel = spacing_um * spacing_um
    for r in range(cover.shape[0]):
        for c in range(cover.shape[1]):
            wanted = cover[r, c]
            if wanted <= 0:
                continue
            cell = np.pi / 4 * diameter[r, c] ** 2 * MEAN_SQUARE
            crowd = -np.log(1 - min(wanted, 0.9))
            expected = crowd * pixel / cell
            count = _cell_count(expected, key, row0 + r, column0 + c)
            spread = np.sqrt(count * AREA_VARIANCE)
            area = max(0.0, count + spread * normal(key, row0 + r, column0 + c, 2)) * cell
            # linear in the area: the mean over pixels stays exactly `wanted`
            out[r, c] = max(0.0, wanted + (1 - wanted) * (area / pixel - crowd))
    return out


@njit(cache=True)
def _place_cells(cover, diameter, spacing_um, key, row0, column0):  # type: ignore[no-untyped-def]
    """Column and row (n, 2) of the cells of `_count_cells`, at random places in their pixels."""
    cells = []
    for r in range(cover.shape[0]):
        for c in range(cover.shape[1]):
            if cover[r, c] <= 0:
                continue
            crowd = -np.log(1 - min(cover[r, c], 0.9))
            cell = np.pi / 4 * diameter[r, c] ** 2 * MEAN_SQUARE
            expected = crowd * spacing_um * spacing_um / cell
            for n in range(int(_cell_count(expected, key, row0 + r, column0 + c) + 0.5)):
                x = c - 0.5 + uniform(key, row0 + r, column0 + c, 2 * n + 1000)
                y = r - 0.5 + uniform(key, row0 + r, column0 + c, 2 * n + 1001)
                cells.append((x, y, 0.0))
    return _array(cells)


@njit(cache=True)
def _array(cells):  # type: ignore[no-untyped-def]
    out = np.empty((len(cells), 3))
    for n in range(len(cells)):
        out[n, 0], out[n, 1], out[n, 2] = cells[n]
    return out


@njit(cache=True)
def _find_cells(cover, diameter, spacing_um, key, row0, column0):  # type: ignore[no-untyped-def]
    """Column, row and radius (n, 3), in pixels, of the cells centred in the window.

    Each tile gets candidates at the highest density, which are thinned to the local density.
    """
    cells = []
    rows, columns = cover.shape
    # no area is denser than cells of 5 um that cover half of the section
    densest = -np.log(0.5) / (np.pi / 4 * 25 * MEAN_SQUARE)
    candidates = int(densest * TILE_UM * TILE_UM)
    first_row = int(np.floor(row0 * spacing_um / TILE_UM))
    last_row = int(np.floor((row0 + rows) * spacing_um / TILE_UM))
    first_column = int(np.floor(column0 * spacing_um / TILE_UM))
    last_column = int(np.floor((column0 + columns) * spacing_um / TILE_UM))
    for tr in range(first_row, last_row + 1):
        for tc in range(first_column, last_column + 1):
            for n in range(candidates):
                y = (tr + uniform(key, tr, tc, 8 * n + 1000)) * TILE_UM / spacing_um - row0
                x = (tc + uniform(key, tr, tc, 8 * n + 1001)) * TILE_UM / spacing_um - column0
                r, c = int(np.floor(y + 0.5)), int(np.floor(x + 0.5))
                if r < 0 or c < 0 or r >= rows or c >= columns or cover[r, c] <= 0:
                    continue
                mean = diameter[r, c]
                cell = np.pi / 4 * mean * mean * MEAN_SQUARE
                density = -np.log(1 - min(cover[r, c], 0.9)) / cell
                if uniform(key, tr, tc, 8 * n + 1002) * densest > density:
                    continue
                radius = 0.5 * mean * (0.6 + 0.8 * uniform(key, tr, tc, 8 * n + 1003)) / spacing_um
                cells.append((x, y, radius))
    return _array(cells)


@njit(cache=True)
def _draw_cells(cover, diameter, spacing_um, key, row0, column0):  # type: ignore[no-untyped-def]
    """Share of each pixel under the discs of the cells."""
    out = np.zeros(cover.shape, np.float32)
    rows, columns = cover.shape
    cells = _find_cells(cover, diameter, spacing_um, key, row0, column0)
    for n in range(cells.shape[0]):
        x, y, radius = cells[n]
        r, c = int(np.floor(y + 0.5)), int(np.floor(x + 0.5))
        for i in range(max(0, int(r - radius) - 1), min(rows, int(r + radius) + 3)):
            for j in range(max(0, int(c - radius) - 1), min(columns, int(c + radius) + 3)):
                distance = np.sqrt((i - y) ** 2 + (j - x) ** 2)
                part = min(1.0, max(0.0, 0.5 + radius - distance))
                # light passes through both of two cells that overlap at their edges
                out[i, j] = 1 - (1 - out[i, j]) * (1 - part) if part < 1 else 1.0
    return out
