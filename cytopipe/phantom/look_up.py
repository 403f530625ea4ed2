"""What the volumes hold at each pixel: depth, area, layer and cells."""

import numpy as np
from numba import njit


@njit(cache=True)
def _trilinear(field, at) -> float:  # type: ignore[no-untyped-def]
    i, j, k = int(np.floor(at[0])), int(np.floor(at[1])), int(np.floor(at[2]))
    if i < 0 or j < 0 or k < 0:
        return 0.0
    if i + 1 >= field.shape[0] or j + 1 >= field.shape[1] or k + 1 >= field.shape[2]:
        return 0.0
    x, y, z = at[0] - i, at[1] - j, at[2] - k
    value = 0.0
    for a in range(2):
        for b in range(2):
            low = (1 - z) * field[i + a, j + b, k] + z * field[i + a, j + b, k + 1]
            value += (x if a else 1 - x) * (y if b else 1 - y) * low
    return float(value)


@njit(cache=True)
def look_up(  # type: ignore[no-untyped-def]
    gray,
    own,
    depths,
    to_voxel,
    nodes,
    pitch,
    to_atlas,
    atlas,
    islands,
    borders,
    covers,
    diameters,
    island_strengths,
):
    """Depth, area, layer, coverage and cell diameter of every pixel with gray matter."""
    rows, columns = gray.shape
    depth = np.full(gray.shape, np.nan, np.float32)
    area = np.zeros(gray.shape, np.uint8)
    layer = np.zeros(gray.shape, np.uint8)
    cover = np.zeros(gray.shape, np.float32)
    diameter = np.full(gray.shape, np.float32(10))
    right, down = to_voxel[1] - to_voxel[0], to_voxel[2] - to_voxel[0]
    point, voxel = np.zeros(3), np.zeros(3, np.int64)
    for r in range(rows):
        for c in range(columns):
            if gray[r, c] <= 0:
                continue
            if own[r, c] < 0.01:  # a bridge has no layers
                cover[r, c] = 0.2
                continue
            d = _trilinear(depths, to_voxel[0] + c * right + r * down)
            d = min(1.0, max(0.0, d))
            i, j = r // pitch, c // pitch
            y, x = (r - i * pitch) / pitch, (c - j * pitch) / pitch
            for k in range(3):
                point[k] = (1 - y) * ((1 - x) * nodes[i, j, k] + x * nodes[i, j + 1, k]) + y * (
                    (1 - x) * nodes[i + 1, j, k] + x * nodes[i + 1, j + 1, k]
                )
            label = 0
            inside = True
            for k in range(3):
                place = (
                    to_atlas[k, 0] * point[0]
                    + to_atlas[k, 1] * point[1]
                    + to_atlas[k, 2] * point[2]
                    + to_atlas[k, 3]
                )
                voxel[k] = int(np.floor(place + 0.5))
                inside = inside and 0 <= voxel[k] < atlas.shape[k]
            if inside:
                label = atlas[voxel[0], voxel[1], voxel[2]]
            at = 0
            while at < 5 and d >= borders[label, at + 1]:
                at += 1
            depth[r, c], area[r, c], layer[r, c] = d, label, at + 1
            # layers merge into one another over 4 % of the depth
            to_next = (
                min(1.0, max(0.0, 0.5 + (d - borders[label, at + 1]) / 0.04)) if at < 5 else 0.0
            )
            to_last = min(1.0, max(0.0, 0.5 - (d - borders[label, at]) / 0.04)) if at > 0 else 0.0
            stay = 1 - to_next - to_last
            mean = stay * covers[label, at]
            size = stay * diameters[label, at]
            if to_next > 0:
                mean += to_next * covers[label, at + 1]
                size += to_next * diameters[label, at + 1]
            if to_last > 0:
                mean += to_last * covers[label, at - 1]
                size += to_last * diameters[label, at - 1]
            # inside an area, upper layers gain what lower ones lose, over about 40 mm
            drift = (
                np.sin(0.11 * point[0] + 0.06 * point[1])
                + np.sin(0.09 * point[1] - 0.08 * point[2] + 1)
                + np.sin(0.10 * point[2] + 0.05 * point[0] + 2)
            )
            mean *= 1 + 0.05 * drift * (1 - 2 * d)
            size *= 1 + 0.03 * drift
            if 1 <= at <= 2:
                mean *= 1 + island_strengths[label] * min(2.0, max(-2.0, islands[r, c]))
            cover[r, c] = mean
            diameter[r, c] = size
    return depth, area, layer, cover, diameter
