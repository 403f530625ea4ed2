"""From tissue to gray values: cells, stain, vessels, light, dirt.

A cell body is a disc that takes `stain` from the light; between cells lies a faint neuropil. At
pixels above `cells_below_um` the number of cells in a pixel is drawn from a Poisson distribution
and the covered area from their sizes; at finer pixels every cell is drawn where it lies. Means and
variances of the two agree, so that the same generator serves every resolution.

Noise depends on (seed, brain, section, pixel) and cells on (seed, brain, section, tile): not on the
order or the size of the windows in which a section is rendered. `cell_positions` takes the same
numbers: for a pixel's count as many positions in it, of drawn cells their middles.
"""

import zlib

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cytopipe.phantom.brain import Anatomy, Brain, Template, dissect, plane_in_window
from cytopipe.phantom.cytoarchitecture import (
    NEUROPIL_GRAY,
    NEUROPIL_WHITE,
    WHITE_COVERAGE,
    WHITE_DIAMETER_UM,
)
from cytopipe.phantom.handling import Handled, Window
from cytopipe.phantom.structure import GRAIN_MM, paint_discs, stream

Image = NDArray[np.float32]

# share of the light that a filled vessel, a speck of dust, the rim of a bubble take
FILLED, DUST, RIM = 0.6, 0.7, 0.25
TILE_UM = 256.0
LARGEST_CELL_UM = 40.0


def render(
    brain: Brain,
    template: Template,
    section: Handled,
    row: int,
    column: int,
    rows: int,
    columns: int,
) -> NDArray[np.uint8]:
    """The gray values of a window of a section's scan at full resolution, (rows, columns)."""
    spacing_um = section.spacing_um
    fine = spacing_um <= brain.params.cells_below_um
    # cells whose middle lies just outside reach into the window
    halo = int(np.ceil(LARGEST_CELL_UM / spacing_um)) if fine else 0
    window = section.window(
        spacing_um, row - halo, column - halo, rows + 2 * halo, columns + 2 * halo
    )
    shape = (window.rows, window.columns)
    key = _key(brain.params.seed, brain.name, section.section)
    light = np.zeros(shape, np.float32)
    tissue = dissect(brain, template, window, section)
    if tissue.tissue.any():
        light = _absorbed(brain, section, window, tissue, key, row - halo, column - halo, fine)
    image = _scan(brain, section, light, row - halo, column - halo, key)
    return np.ascontiguousarray(image[halo : halo + rows, halo : halo + columns])


def _absorbed(
    brain: Brain,
    section: Handled,
    window: Window,
    tissue: Anatomy,
    key: int,
    row: int,
    column: int,
    fine: bool,
) -> Image:
    """Light taken by tissue and vessels, in gray values of an average stain."""
    gray = tissue.tissue - tissue.white
    draw = _draw_cells if fine else _count_cells
    cells = draw(*_population(tissue), section.spacing_um, key, row, column)
    neuropil = gray * np.float32(NEUROPIL_GRAY) + tissue.white * np.float32(NEUROPIL_WHITE)
    grain = plane_in_window(brain.grain.plane(window.z_um, GRAIN_MM), window)
    light = neuropil + cells
    light += np.float32(brain.params.texture) * np.clip(grain, -2.5, 2.5) * tissue.tissue
    discs, filled = brain.vessels.at(window.z_um)
    for chosen, content in ((~filled, 0.03), (filled, FILLED)):
        lumen = paint_discs(
            discs[chosen], window.z_um, window.matrix, window.shift, window.rows, window.columns
        )
        light += lumen * (tissue.tissue * np.float32(content) - light) * (tissue.tissue > 0)
    return light * np.float32(brain.params.stain)


def cell_positions(
    brain: Brain,
    template: Template,
    section: Handled,
    row: int,
    column: int,
    rows: int,
    columns: int,
) -> NDArray[np.float64]:
    """The cell bodies that `render` shows in the same window, (n, 2) x, y um from its first pixel.

    (0, 0) is the centre of the first pixel. Where cells are drawn these are their middles; where
    they are counted, a pixel has as many as its count (rounded, where that is normal and not
    Poisson), at places in it that are drawn at random. Cells under a vessel are left out.
    """
    spacing_um = section.spacing_um
    window = section.window(spacing_um, row, column, rows, columns)
    key = _key(brain.params.seed, brain.name, section.section)
    tissue = dissect(brain, template, window, section)
    find = _find_cells if spacing_um <= brain.params.cells_below_um else _place_cells
    found = find(*_population(tissue), spacing_um, key, row, column)[:, :2]
    discs, _ = brain.vessels.at(window.z_um)
    lumen = paint_discs(discs, window.z_um, window.matrix, window.shift, rows, columns)
    at = np.clip(np.rint(found).astype(int), 0, [columns - 1, rows - 1])
    return np.asarray(found[lumen[at[:, 1], at[:, 0]] < 0.5] * spacing_um)


def _population(tissue: Anatomy) -> tuple[Image, Image]:
    """Share of each pixel that cells should cover, and their mean diameter um."""
    gray = tissue.tissue - tissue.white
    cover = gray * tissue.cover + tissue.white * np.float32(WHITE_COVERAGE)
    white_wins = tissue.white > gray
    diameter = np.where(white_wins, np.float32(WHITE_DIAMETER_UM), tissue.diameter_um)
    return cover, diameter


def _scan(
    brain: Brain, section: Handled, light: Image, row: int, column: int, key: int
) -> NDArray[np.uint8]:
    """Stain and light of this section, dirt, the camera's noise; digitised."""
    params = brain.params
    of_brain = stream(params.seed, brain.name, 4)
    rng = stream(params.seed, brain.name, 5, section.section)
    brain_gain = 1 + params.stain_variation * of_brain.uniform(-0.5, 0.5)
    gain = brain_gain * (1 + params.stain_variation * rng.uniform(-1, 1))
    background = params.background + rng.uniform(-6, 6)
    rows, columns = light.shape
    # -1 to 1 over the scan
    y = (2 * (np.arange(rows, dtype=np.float32) + row) / section.rows - 1)[:, None]
    x = (2 * (np.arange(columns, dtype=np.float32) + column) / section.columns - 1)[None]
    slopes = (0.3 * params.stain_variation * rng.uniform(-1, 1, 4)).astype(np.float32)
    uneven = 1 + slopes[0] * x + slopes[1] * y + slopes[2] * x * y + slopes[3] * (x * x - y * y)
    lamp = rng.uniform(-0.02, 0.02, 2).astype(np.float32)
    field = np.float32(background) * (1 + lamp[0] * x + lamp[1] * y)
    image = field - np.float32(gain) * uneven * light
    if section.condition == "dirty":
        _soil(image, section, rng, row, column)
    return _digitise(image, np.float32(1.5), key, row, column)


def _soil(image: Image, section: Handled, rng: np.random.Generator, row: int, column: int) -> None:
    """Dust, a few blobs and an air bubble, in the scan's own frame."""
    size = np.array([section.columns, section.rows]) * section.spacing_um
    dust = np.concatenate(
        [
            np.insert(rng.uniform(0, 1, (90, 2)) * size, 2, rng.uniform(60, 350, 90), axis=1),
            np.insert(rng.uniform(0, 1, (5, 2)) * size, 2, rng.uniform(600, 1600, 5), axis=1),
        ]
    )
    bubble = np.append(rng.uniform(0.3, 0.7, 2) * size, rng.uniform(4000, 8000))[None]
    frame = np.eye(2) * section.spacing_um, np.array([column, row]) * section.spacing_um

    def painted(discs: NDArray[np.float64]) -> Image:
        return paint_discs(discs, 0.0, *frame, *image.shape)

    inner = bubble - [[0, 0, 350.0]]
    image *= 1 - np.float32(DUST) * painted(dust)
    image *= 1 - np.float32(RIM) * (painted(bubble) - painted(inner))
    image += np.float32(8) * painted(inner)


def _key(seed: int, brain: str, section: int) -> int:
    return zlib.crc32(f"{seed}/{brain}/{section}".encode())


@njit(cache=True, inline="always")
def _hash(a, b, c, d):  # type: ignore[no-untyped-def]
    """A uniform number in (0, 1) of four integers (splitmix64; Steele et al., OOPSLA 2014)."""
    state = np.uint64(a) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(d)
    for part in (np.uint64(b), np.uint64(c)):
        state = (state ^ part) * np.uint64(0xBF58476D1CE4E5B9)
        state ^= state >> np.uint64(27)
        state = state * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    state += np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return (float(state >> np.uint64(11)) + 0.5) / 9007199254740992.0


@njit(cache=True)
def _normal(a, b, c, d):  # type: ignore[no-untyped-def]
    """A standard normal number of four integers (Box and Muller)."""
    return np.sqrt(-2 * np.log(_hash(a, b, c, d))) * np.cos(2 * np.pi * _hash(a, b, c, d + 1))


@njit(cache=True)
def _cell_count(expected, key, row, column):  # type: ignore[no-untyped-def]
    """Number of cells in a pixel, of a Poisson distribution; above 30 a normal one, not rounded."""
    if expected > 30:
        return max(0.0, expected + np.sqrt(expected) * _normal(key, row, column, 0))
    left = _hash(key, row, column, 0)
    chance = np.exp(-expected)
    count = 0.0
    while left > chance and count < 200:
        left -= chance
        count += 1
        chance *= expected / count
    return count


@njit(cache=True)
def _count_cells(cover, diameter, spacing_um, key, row0, column0):  # type: ignore[no-untyped-def]
    """Share of each pixel under cell bodies, from the number of cells that fall on it.

    Cells overlap: n a of them, thrown at random, cover 1 - exp(-n a). A pixel's count is Poisson,
    the area of its cells normal about the mean for that count.
    """
    out = np.zeros(cover.shape, np.float32)
    pixel = spacing_um * spacing_um
    # mean and relative variance of the area of discs with diameters of 0.6 to 1.4 times the mean
    second = (1.4**3 - 0.6**3) / 2.4
    spread = (1.4**5 - 0.6**5) / 4 / second**2 - 1
    for r in range(cover.shape[0]):
        for c in range(cover.shape[1]):
            wanted = cover[r, c]
            if wanted <= 0:
                continue
            cell = np.pi / 4 * diameter[r, c] ** 2 * second
            crowd = -np.log(1 - min(wanted, 0.9))
            expected = crowd * pixel / cell
            count = _cell_count(expected, key, row0 + r, column0 + c)
            area = (
                max(0.0, count + np.sqrt(count * spread) * _normal(key, row0 + r, column0 + c, 2))
                * cell
            )
            # linear in the area: the mean over pixels stays exactly `wanted`
            out[r, c] = max(0.0, wanted + (1 - wanted) * (area / pixel - crowd))
    return out


@njit(cache=True)
def _place_cells(cover, diameter, spacing_um, key, row0, column0):  # type: ignore[no-untyped-def]
    """Column and row (n, 2) of the cells that `_count_cells` counts, anywhere in their pixels."""
    found = []
    second = (1.4**3 - 0.6**3) / 2.4
    for r in range(cover.shape[0]):
        for c in range(cover.shape[1]):
            if cover[r, c] <= 0:
                continue
            crowd = -np.log(1 - min(cover[r, c], 0.9))
            expected = crowd * spacing_um * spacing_um / (np.pi / 4 * diameter[r, c] ** 2 * second)
            for n in range(int(_cell_count(expected, key, row0 + r, column0 + c) + 0.5)):
                x = c - 0.5 + _hash(key, row0 + r, column0 + c, 2 * n + 1000)
                y = r - 0.5 + _hash(key, row0 + r, column0 + c, 2 * n + 1001)
                found.append((x, y))
    out = np.empty((len(found), 2))
    for n in range(len(found)):
        out[n, 0], out[n, 1] = found[n]
    return out


@njit(cache=True)
def _find_cells(cover, diameter, spacing_um, key, row0, column0):  # type: ignore[no-untyped-def]
    """Column, row and radius (n, 3), in pixels, of the cells whose middles lie in the window.

    Tile by tile: candidates at the highest density, thinned to the local one.
    """
    found = []
    rows, columns = cover.shape
    second = (1.4**3 - 0.6**3) / 2.4
    # no area is denser than cells of 5 um that cover half of the section
    densest = -np.log(0.5) / (np.pi / 4 * 25 * second)
    candidates = int(densest * TILE_UM * TILE_UM)
    first_row = int(np.floor(row0 * spacing_um / TILE_UM))
    last_row = int(np.floor((row0 + rows) * spacing_um / TILE_UM))
    first_column = int(np.floor(column0 * spacing_um / TILE_UM))
    last_column = int(np.floor((column0 + columns) * spacing_um / TILE_UM))
    for tr in range(first_row, last_row + 1):
        for tc in range(first_column, last_column + 1):
            for n in range(candidates):
                y = (tr + _hash(key, tr, tc, 8 * n + 1000)) * TILE_UM / spacing_um - row0
                x = (tc + _hash(key, tr, tc, 8 * n + 1001)) * TILE_UM / spacing_um - column0
                r, c = int(np.floor(y + 0.5)), int(np.floor(x + 0.5))
                if r < 0 or c < 0 or r >= rows or c >= columns or cover[r, c] <= 0:
                    continue
                mean = diameter[r, c]
                density = -np.log(1 - min(cover[r, c], 0.9)) / (np.pi / 4 * mean * mean * second)
                if _hash(key, tr, tc, 8 * n + 1002) * densest > density:
                    continue
                radius = 0.5 * mean * (0.6 + 0.8 * _hash(key, tr, tc, 8 * n + 1003)) / spacing_um
                found.append((x, y, radius))
    out = np.empty((len(found), 3))
    for n in range(len(found)):
        out[n, 0], out[n, 1], out[n, 2] = found[n]
    return out


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
                # light passes through both of two cells that overlap at their fringe
                out[i, j] = 1 - (1 - out[i, j]) * (1 - part) if part < 1 else 1.0
    return out


@njit(cache=True)
def _digitise(image, noise, key, row0, column0):  # type: ignore[no-untyped-def]
    out = np.zeros(image.shape, np.uint8)
    for r in range(image.shape[0]):
        for c in range(image.shape[1]):
            value = image[r, c] + noise * _normal(key, row0 + r, column0 + c, 4)
            out[r, c] = np.uint8(min(255.0, max(0.0, value + 0.5)))
    return out
