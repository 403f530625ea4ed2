"""Segmentations in the form in which 3D Slicer saves them, written by hand for the tests.

https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_segmentation(
    path: Path,
    layers: Sequence[NDArray[np.uint8]],
    affine_ras: NDArray[np.float64],
    segments: Sequence[tuple[str, int, int]],
) -> Path:
    """A .seg.nrrd: arrays (i, j, k) on one grid, and of each segment name, layer and value."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine_ras
    vectors = [
        "(" + ",".join(f"{value:.17g}" for value in lps[:3, axis]) + ")" for axis in range(4)
    ]
    several = len(layers) > 1
    sizes = [len(layers)] * several + list(layers[0].shape)
    header = [
        "NRRD0004",
        "type: unsigned char",
        f"dimension: {len(sizes)}",
        "space: left-posterior-superior",
        "sizes: " + " ".join(map(str, sizes)),
        "space directions: " + " ".join(["none"] * several + vectors[:3]),
        "kinds: " + " ".join(["list"] * several + ["domain"] * 3),
        "encoding: raw",
        "space origin: " + vectors[3],
    ]
    for number, (name, layer, value) in enumerate(segments):
        header += [
            f"Segment{number}_Color:=0.5 0.6 0.5",
            f"Segment{number}_ID:=Segment_{number + 1}",
            f"Segment{number}_LabelValue:={value}",
            f"Segment{number}_Layer:={layer}",
            f"Segment{number}_Name:={name}",
        ]
    header.append("Segmentation_ReferenceImageExtentOffset:=12 7 3")
    data = np.stack(layers) if several else layers[0]
    # the first axis varies fastest
    content = data.ravel(order="F").tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\n".join(header) + "\n\n").encode() + content)
    return path
