"""GIfTI files of labels with colours."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from cytopipe.files import atomic_write
from cytopipe.formats.surfaces import STRUCTURE


def write_labels(
    keys: NDArray[np.integer[Any]],
    names: Mapping[int, str],
    colours: NDArray[np.uint8],
    title: str,
    path: Path,
    hemisphere: str,
) -> None:
    """Write a `.label.gii`.

    Parameters
    ----------
    keys : (vertices,) key of each; 0 has no name and no colour ("???", as Workbench has it).
    names : key to name, of all keys above 0.
    colours : (len(names), 3) red, green, blue, in their order.
    """
    table = nib.gifti.GiftiLabelTable()
    rgba = {0: (0.0, 0.0, 0.0, 0.0)} | {
        key: (*(colour / 255).tolist(), 1.0) for key, colour in zip(names, colours, strict=True)
    }
    for key, name in {0: "???", **names}.items():
        label = nib.gifti.GiftiLabel(key, *rgba[key])
        label.label = name
        table.labels.append(label)
    array = nib.gifti.GiftiDataArray(
        np.asarray(keys, np.int32),
        intent="NIFTI_INTENT_LABEL",
        datatype="NIFTI_TYPE_INT32",
        meta=nib.gifti.GiftiMetaData({"Name": title}),
    )
    structure = nib.gifti.GiftiMetaData({"AnatomicalStructurePrimary": STRUCTURE[hemisphere]})
    image = nib.gifti.GiftiImage(darrays=[array], labeltable=table, meta=structure)
    with atomic_write(path) as beside:
        beside.write_bytes(image.to_bytes())
