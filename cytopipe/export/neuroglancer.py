"""Format `neuroglancer`: points as precomputed annotations, tissue as a precomputed segmentation.

It follows the specification neuroglancer_annotations_v1: an `info` file, a spatial index whose
levels are random subsets of the points, and an index by id in a single shard file. The neuroglancer
package would write one file per point and a spatial index of a single cell (docs/decisions.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytopipe.export import Params, readme
from cytopipe.export.csv import write_json
from cytopipe.files import atomic_write
from cytopipe.formats.atlas import HEMISPHERES
from cytopipe.numerics.geometry import Floats
from cytopipe.study.areas import NO_AREA, UNLIKE, Areas, areas_of
from cytopipe.study.nearest_point import at_nearest
from cytopipe.study.results import BrainResults

# points per cell of the spatial index and per minishard, and the edge of a chunk of tissue in
# voxels; chosen, not measured
_CELL, _MINISHARD, _CHUNK = 2000, 512, 64
_SEED = 0
# numpy type of each property type; the format sorts properties by size
_TYPES: dict[str, Any] = {
    "uint32": "<u4",
    "float32": "<f4",
    "uint16": "<u2",
    "uint8": "u1",
    "rgb": ("u1", (3,)),
}


@dataclass(frozen=True)
class Property:
    """A property of the annotations.

    Attributes
    ----------
    kind : a key of _TYPES.
    values : (n,), or (n, 3) if `kind` is "rgb".
    labels : names of the values 0, 1, ... of a category; empty for a number.
    """

    name: str
    kind: str
    description: str
    values: NDArray[Any]
    labels: tuple[str, ...] = ()


def write(brains: Sequence[BrainResults], folder: Path, params: Params) -> None:
    """Write the layers of each brain: points in stack and template, tissue in the stack."""
    areas = areas_of(brains)
    for brain in brains:
        properties = _properties(brain, areas)
        for space, positions_mm in (("stack", brain.stack_mm), (brain.template, brain.template_mm)):
            write_points(positions_mm, properties, folder / brain.name / f"points-{space}")
        write_tissue(brain, folder / brain.name / "tissue-stack")
    readme.write("neuroglancer", brains, folder)


def write_points(positions_mm: Floats, properties: Sequence[Property], folder: Path) -> None:
    """Write a layer of points at (n, 3) positions; NaN are left out. A point's id is its row."""
    ids = np.flatnonzero(np.isfinite(positions_mm).all(axis=1)).astype(np.uint64)
    positions = positions_mm[ids]
    properties = sorted(properties, key=lambda p: -np.dtype(_TYPES[p.kind]).base.itemsize)
    fields: list[Any] = [("position", "<f4", (3,))]
    fields += [(p.name, _TYPES[p.kind]) for p in properties]
    size = np.dtype(fields).itemsize
    if size % 4:
        fields.append(("padding", f"V{-size % 4}"))
    records = np.zeros(len(ids), np.dtype(fields))
    records["position"] = positions
    for each in properties:
        records[each.name] = each.values[ids]

    lower = np.floor(positions.min(axis=0)) if len(ids) else np.zeros(3)
    upper = np.floor(positions.max(axis=0)) + 1 if len(ids) else np.ones(3)
    spatial = _write_spatial(records, ids, lower, upper, folder)
    sharding = _write_by_id(records, ids, folder / "by_id")
    info = {
        "@type": "neuroglancer_annotations_v1",
        "dimensions": {axis: [0.001, "m"] for axis in "xyz"},
        "lower_bound": lower.tolist(),
        "upper_bound": upper.tolist(),
        "annotation_type": "POINT",
        "properties": [_described(each) for each in properties],
        "relationships": [],
        "by_id": {"key": "by_id", "sharding": sharding},
        "spatial": spatial,
    }
    write_json(info, folder / "info")


def write_tissue(brain: BrainResults, folder: Path) -> None:
    """Write the tissue labels as a segmentation; chunks without tissue have no file and read as 0.

    In the format, corners of voxels lie at multiples of the voxel's edge; in the stack's grid, the
    centres do. Voxels of half the edge length satisfy both.
    """
    tissue = brain.tissue
    edge = tissue.voxel_mm / 2
    low = tissue.to_mm(np.full(3, -0.5))
    first = np.floor(low / edge + 1e-3).astype(int)
    last = np.ceil((low + tissue.voxel_mm * tissue.data.shape) / edge - 1e-3).astype(int)
    key = "half_voxel"
    for start in np.ndindex(*(-(-(last - first) // _CHUNK))):
        begin = first + np.array(start) * _CHUNK
        end = np.minimum(begin + _CHUNK, last)
        axes = [np.arange(a, b) for a, b in zip(begin, end, strict=True)]
        index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        labels = at_nearest(tissue, (index + 0.5) * edge, 0)
        if not labels.any():
            continue
        # x varies fastest in a chunk
        content = labels.reshape(*(end - begin)).transpose(2, 1, 0).tobytes()
        name = "_".join(f"{a}-{b}" for a, b in zip(begin, end, strict=True))
        _write_bytes(content, folder / key / name)
    names = ["gray matter", "white matter"]
    label = {"id": "label", "type": "label", "values": names}
    inline = {"ids": ["1", "2"], "properties": [label]}
    properties = {"@type": "neuroglancer_segment_properties", "inline": inline}
    write_json(properties, folder / "names" / "info")
    scale = {
        "key": key,
        "size": (last - first).tolist(),
        "voxel_offset": first.tolist(),
        "resolution": [round(mm * 1e6, 3) for mm in edge.tolist()],
        "chunk_sizes": [[_CHUNK] * 3],
        "encoding": "raw",
    }
    info = {
        "@type": "neuroglancer_multiscale_volume",
        "type": "segmentation",
        "data_type": "uint8",
        "num_channels": 1,
        "segment_properties": "names",
        "scales": [scale],
    }
    write_json(info, folder / "info")


def _properties(brain: BrainResults, areas: Areas) -> list[Property]:
    table = brain.points
    keys = areas.keys_of(table["area"])
    statuses = tuple(sorted(set(table["status"]), key=lambda status: (status != "ok", status)))
    colours = np.concatenate([np.full((1, 3), 128, np.uint8), areas.colours])
    hemispheres = table["hemisphere"].map({h: n for n, h in enumerate(HEMISPHERES)})
    status = table["status"].map({s: n for n, s in enumerate(statuses)}).to_numpy(np.uint8)
    only_ok = "sample only points whose status is ok"
    numbers = {
        "depth": "0 pial to 1 white matter",
        "area_probability": "probability of the area",
        "thickness_mm": "thickness of the cortex",
        "curvature_per_mm": "positive on gyral crowns",
    }
    return [
        Property("color", "rgb", "colour of the area", colours[keys]),
        Property("area", "uint16", "atlas label", keys, (NO_AREA, *areas.names)),
        Property("section", "uint32", "section number", table["section"].to_numpy()),
        Property("hemisphere", "uint8", "side", hemispheres.to_numpy(np.uint8), HEMISPHERES),
        Property("status", "uint8", only_ok, status, statuses),
        *(
            Property(name, "float32", meaning, table[name].to_numpy(np.float32))
            for name, meaning in numbers.items()
        ),
        *_map_properties(brain, areas),
    ]


def _map_properties(brain: BrainResults, areas: Areas) -> list[Property]:
    """The area of each point on the map, if there is one."""
    table = brain.area_map
    if table is None:
        return []
    names, colours = areas.with_unlike()
    keys = areas.keys_of(table["mapped"])
    keys[(table["status"] == UNLIKE).to_numpy(bool)] = len(names)
    shown = np.concatenate([np.zeros((1, 3), np.uint8), colours])
    return [
        Property("map_color", "rgb", "colour of the area on the map", shown[keys]),
        Property("map", "uint16", "area on the map", keys, (NO_AREA, *names)),
        *(
            Property(f"map_{name}", "float32", meaning, table[name].to_numpy(np.float32))
            for name, meaning in (
                ("probability", "probability of the predicted area"),
                ("novelty", "above 1: unlike the training data"),
            )
        ),
    ]


def _described(each: Property) -> dict[str, Any]:
    described = {"id": each.name, "type": each.kind, "description": each.description}
    if not each.labels:
        return described
    return {**described, "enum_values": [*range(len(each.labels))], "enum_labels": [*each.labels]}


def _write_spatial(
    records: NDArray[Any], ids: NDArray[np.uint64], lower: Floats, upper: Floats, folder: Path
) -> list[dict[str, Any]]:
    """Write the levels, from coarse to fine; each point is on a random level."""
    order = np.random.default_rng(_SEED).permutation(len(ids))
    chance = np.random.default_rng(_SEED + 1).random(len(ids))
    grid = np.ones(3, int)
    levels: list[dict[str, Any]] = []
    while len(order) or not levels:
        chunk = (upper - lower) / grid
        cells = np.floor((records["position"][order] - lower) / chunk).astype(int)
        cells = np.clip(cells, 0, grid - 1)
        numbers = np.ravel_multi_index(tuple(cells.T), tuple(grid))
        most = int(np.bincount(numbers).max(initial=0))
        # each point that is left is drawn again on each level
        taken = chance[order] < _CELL / max(most, 1)
        key, counts = f"spatial{len(levels)}", [0]
        for number in np.unique(numbers[taken]):
            inside = order[taken & (numbers == number)]
            counts.append(len(inside))
            cell = np.unravel_index(int(number), tuple(grid))
            content = np.uint64(len(inside)).astype("<u8").tobytes() + records[inside].tobytes()
            content += ids[inside].astype("<u8").tobytes()
            _write_bytes(content, folder / key / "_".join(str(n) for n in cell))
        shape = {"grid_shape": grid.tolist(), "chunk_size": chunk.tolist()}
        levels.append({"key": key, **shape, "limit": max(counts)})
        order = order[~taken]
        chance = np.random.default_rng(_SEED + 1 + len(levels)).random(len(ids))
        grid = np.where(chunk >= chunk.max() / np.sqrt(2), 2 * grid, grid)
    return levels


def _write_by_id(records: NDArray[Any], ids: NDArray[np.uint64], folder: Path) -> dict[str, Any]:
    """Write one shard: the position of each minishard's index, then its records and its index."""
    bits = max(0, int(np.ceil(np.log2(max(1, len(ids)) / _MINISHARD))))
    size = records.dtype.itemsize
    shard_index = np.zeros((2**bits, 2), "<u8")
    body = bytearray()
    for minishard in range(2**bits):
        own = np.flatnonzero(ids % 2**bits == minishard)
        if not len(own):
            continue
        index = np.zeros((3, len(own)), "<u8")
        index[0] = np.diff(ids[own], prepend=np.uint64(0))
        # the start of the first record; for the others, the gap to the one before
        index[1, 0] = len(body)
        index[2] = size
        body += records[own].tobytes()
        shard_index[minishard] = len(body), len(body) + index.nbytes
        body += index.tobytes()
    _write_bytes(shard_index.tobytes() + bytes(body), folder / "0.shard")
    return {
        "@type": "neuroglancer_uint64_sharded_v1",
        "preshift_bits": 0,
        "hash": "identity",
        "minishard_bits": bits,
        "shard_bits": 0,
        "minishard_index_encoding": "raw",
        "data_encoding": "raw",
    }


def _write_bytes(content: bytes, path: Path) -> None:
    with atomic_write(path) as beside:
        beside.write_bytes(content)
