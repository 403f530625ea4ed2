"""Features of external encoders: baselines that were trained elsewhere."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cytopipe import provenance
from cytopipe.features.arrays import write_rows
from cytopipe.features.network import embed, places_of_brain, places_of_patches
from cytopipe.files import Output
from cytopipe.learning.external_encoder import read_external
from cytopipe.study.config import NetworkFeatures
from cytopipe.study.sections import Section


@provenance.recorded
def run_external(
    *,
    points: Path,
    sections: Sequence[Section],
    card: Path,
    weights: Path,
    backbone: Output,
    rows: Output,
    threads: int,
    params: NetworkFeatures,
) -> None:
    """Compute the features of every point of a brain by an external encoder.

    Parameters
    ----------
    points, sections, backbone, rows, threads, params : as for `run`.
    card, weights : card.yaml and weights.pt of the encoder's folder.

    Raises
    ------
    InputError
        If the card or the weights cannot be used, or a patch cannot be read.
    """
    table, places, members = places_of_brain(points, sections)
    _embed(places, members, len(table), card, weights, backbone, params)
    write_rows(table.point_id, table.status, rows)


@provenance.recorded
def run_external_patches(
    *,
    patches: Sequence[Path],
    card: Path,
    weights: Path,
    backbone: Output,
    rows: Output,
    threads: int,
    params: NetworkFeatures,
) -> None:
    """Compute the features of annotated points by an external encoder.

    Parameters
    ----------
    patches : as for `run_patches`.
    card, weights, backbone, rows, threads, params : as for `run_external`.
    """
    table, places, members = places_of_patches(patches)
    _embed(places, members, len(table), card, weights, backbone, params)
    write_rows(table.point_id, pd.Series("ok", index=table.index), rows)


def _embed(
    places: pd.DataFrame,
    rows: NDArray[np.intp],
    count: int,
    card: Path,
    weights: Path,
    backbone: Path,
    params: NetworkFeatures,
) -> None:
    encoder = read_external(card, weights)
    spacing_um, arrays = encoder.card.spacing_um, {backbone: encoder.width()}
    embed(places, rows, count, encoder, spacing_um, [card, weights], arrays, params)
