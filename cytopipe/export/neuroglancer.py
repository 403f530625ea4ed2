"""Format `neuroglancer`: points as precomputed annotations, tissue as a precomputed segmentation.

Follows the specification neuroglancer_annotations_v1: an `info` file, a spatial index whose levels
are random subsets of the points, and an index by id in a single shard file. The writer of the
neuroglancer package makes one file per point and a spatial index of a single cell; see
docs/decisions.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytopipe.export import Params, readme
from cytopipe.export.areas import NO_AREA, Areas, areas_of
from cytopipe.export.csv import write_json
from cytopipe.export.nearest_point import at_nearest
from cytopipe.files import atomic_write
from cytopipe.formats.atlas import HEMISPHERES
from cytopipe.numerics.geometry import Floats
from cytopipe.study.results import BrainResults

# how many points a cell of the spatial index should hold, and how many a minishard
_CELL, _MINISHARD = 2000, 512
_CHUNK = 64
_SEED = 0
# numpy type of each property type; the format sorts properties by their size
_TYPES: dict[str, Any] = {
    "uint32": "<u4",
    "float32": "<f4",
    "uint16": "<u2",
    "uint8": "u1",
    "rgb": ("u1", (3,)),
}


@dataclass(frozen=True)
class Property:
    """A value of each annotation.

    Attributes
    ----------
    name, kind, description : kind is a key of _TYPES.
    values : (n,), or (n, 3) where `kind` is "rgb".
    labels : names of the values 0, 1, ... where the values are categories.
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
        for space, places_mm in (("stack", brain.stack_mm), (brain.template, brain.template_mm)):
            write_points(places_mm, properties, folder / brain.name / f"points-{space}")
        write_tissue(brain, folder / brain.name / "tissue-stack")
    readme.write("neuroglancer", brains, folder)


def write_points(places_mm: Floats, properties: Sequence[Property], folder: Path) -> None:
    """Write an annotation layer; the id of a point is its row.

    Parameters
    ----------
    places_mm : (n, 3); points whose place is NaN are left out.
    """
    ids = np.flatnonzero(np.isfinite(places_mm).all(axis=1)).astype(np.uint64)
    places = places_mm[ids]
    properties = sorted(properties, key=lambda p: -np.dtype(_TYPES[p.kind]).base.itemsize)
    fields: list[Any] = [("place", "<f4", (3,))]
    fields += [(p.name, _TYPES[p.kind]) for p in properties]
    size = np.dtype(fields).itemsize
    if size % 4:
        fields.append(("padding", f"V{-size % 4}"))
    records = np.zeros(len(ids), np.dtype(fields))
    records["place"] = places
    for each in properties:
        records[each.name] = each.values[ids]

    lower = np.floor(places.min(axis=0)) if len(ids) else np.zeros(3)
    upper = np.floor(places.max(axis=0)) + 1 if len(ids) else np.ones(3)
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

    The format puts the corners of voxels at whole multiples of the voxel's edge, where the stack's
    grid has their centres. Voxels of half the edge satisfy both.
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
    names = {
        "@type": "neuroglancer_segment_properties",
        "inline": {
            "ids": ["1", "2"],
            "properties": [
                {"id": "label", "type": "label", "values": ["gray matter", "white matter"]}
            ],
        },
    }
    write_json(names, folder / "names" / "info")
    info = {
        "@type": "neuroglancer_multiscale_volume",
        "type": "segmentation",
        "data_type": "uint8",
        "num_channels": 1,
        "segment_properties": "names",
        "scales": [
            {
                "key": key,
                "size": (last - first).tolist(),
                "voxel_offset": first.tolist(),
                "resolution": [round(mm * 1e6, 3) for mm in edge.tolist()],
                "chunk_sizes": [[_CHUNK] * 3],
                "encoding": "raw",
            }
        ],
    }
    write_json(info, folder / "info")


def _properties(brain: BrainResults, areas: Areas) -> list[Property]:
    table = brain.points
    keys = areas.keys_of(table["area"].to_numpy(object))
    statuses = tuple(sorted(set(table["status"]), key=lambda status: (status != "ok", status)))
    colours = np.concatenate([np.full((1, 3), 128, np.uint8), areas.colours])
    hemispheres = table["hemisphere"].map({h: n for n, h in enumerate(HEMISPHERES)})
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
        Property(
            "status",
            "uint8",
            "sample only points whose status is ok",
            table["status"].map({s: n for n, s in enumerate(statuses)}).to_numpy(np.uint8),
            statuses,
        ),
        *(
            Property(name, "float32", meaning, table[name].to_numpy(np.float32))
            for name, meaning in numbers.items()
        ),
    ]


def _described(each: Property) -> dict[str, Any]:
    described: dict[str, Any] = {
        "id": each.name,
        "type": each.kind,
        "description": each.description,
    }
    if each.labels:
        described |= {"enum_values": [*range(len(each.labels))], "enum_labels": [*each.labels]}
    return described


def _write_spatial(
    records: NDArray[Any], ids: NDArray[np.uint64], lower: Floats, upper: Floats, folder: Path
) -> list[dict[str, Any]]:
    """Write the levels, coarse to fine; chance decides on which level a point is."""
    order = np.random.default_rng(_SEED).permutation(len(ids))
    chance = np.random.default_rng(_SEED + 1).random(len(ids))
    grid = np.ones(3, int)
    levels: list[dict[str, Any]] = []
    while len(order) or not levels:
        chunk = (upper - lower) / grid
        cells = np.floor((records["place"][order] - lower) / chunk).astype(int)
        cells = np.clip(cells, 0, grid - 1)
        numbers = np.ravel_multi_index(tuple(cells.T), tuple(grid))
        most = int(np.bincount(numbers).max(initial=0))
        # drawn per level and point: the points that are left are drawn again
        taken = chance[order] < _CELL / max(most, 1)
        key, counts = f"spatial{len(levels)}", [0]
        for number in np.unique(numbers[taken]):
            inside = order[taken & (numbers == number)]
            counts.append(len(inside))
            cell = np.unravel_index(int(number), tuple(grid))
            content = np.uint64(len(inside)).astype("<u8").tobytes() + records[inside].tobytes()
            content += ids[inside].astype("<u8").tobytes()
            _write_bytes(content, folder / key / "_".join(str(n) for n in cell))
        levels.append(
            {
                "key": key,
                "grid_shape": grid.tolist(),
                "chunk_size": chunk.tolist(),
                "limit": max(counts),
            }
        )
        order = order[~taken]
        chance = np.random.default_rng(_SEED + 1 + len(levels)).random(len(ids))
        grid = np.where(chunk >= chunk.max() / np.sqrt(2), 2 * grid, grid)
    return levels


def _write_by_id(records: NDArray[Any], ids: NDArray[np.uint64], folder: Path) -> dict[str, Any]:
    """Write one shard: the place of each minishard's index, then its records and its index."""
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
        # the start of the first record; of the others, the gap after the one before
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
