"""Principal components and clusters of a run's features, for viewing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from cytopipe.export import Params
from cytopipe.files import InputError
from cytopipe.numerics.geometry import Floats
from cytopipe.study.results import BrainResults

_FITTED = 20_000  # points per brain, evenly spaced, that are fitted: bounds the memory
_BLOCK = 50_000  # points that are transformed at a time: bounds the memory
_STARTS = 4  # of k-means, of which the best counts; chosen, not measured


@dataclass(frozen=True)
class FeatureMaps:
    """Components and clusters of the features of several brains, fitted on all together.

    Attributes
    ----------
    components : brain to (points, components); NaN for a point without features.
    clusters : brain to (points,), numbered from 1 by falling size; 0 for a point without features.
    shares : (components,) of the variance.
    """

    components: dict[str, Floats]
    clusters: dict[str, NDArray[np.int32]]
    shares: Floats


def map_features(brains: Sequence[BrainResults], params: Params) -> FeatureMaps:
    """Principal components and k-means clusters of a run's backbone features.

    The sign of a component is chosen such that its largest absolute weight is positive.

    Raises
    ------
    InputError
        If features are missing, or there are fewer points with features than clusters.
    """
    assert params.run is not None
    arrays = {brain.name: brain.features(params.run) for brain in brains}
    known = {name: np.flatnonzero(np.isfinite(array[:, 0])) for name, array in arrays.items()}
    sample = np.concatenate(
        [arrays[name][rows[:: max(1, -(-len(rows) // _FITTED))]] for name, rows in known.items()]
    ).astype(np.float64)
    most = max(params.clusters, params.components)
    if len(sample) < most or sample.shape[1] < params.components:
        raise InputError(
            f"run {params.run}: {len(sample)} points with {sample.shape[1]} features, too few for "
            f"{params.components} components and {params.clusters} clusters; ask for fewer"
        )
    pca = PCA(params.components, svd_solver="covariance_eigh").fit(sample)
    weights = pca.components_
    largest = np.abs(weights).argmax(axis=1)
    signs = np.sign(weights[np.arange(len(weights)), largest])
    means = KMeans(params.clusters, n_init=_STARTS, random_state=params.seed).fit(sample)
    number_of = np.argsort(np.argsort(-np.bincount(means.labels_), kind="stable")) + 1
    components, clusters = {}, {}
    for name, rows in known.items():
        count = len(arrays[name])
        components[name] = np.full((count, params.components), np.nan)
        clusters[name] = np.zeros(count, np.int32)
        for first in range(0, len(rows), _BLOCK):
            block = rows[first : first + _BLOCK]
            values = arrays[name][block].astype(np.float64)
            components[name][block] = pca.transform(values) * signs
            clusters[name][block] = number_of[means.predict(values)]
    return FeatureMaps(components, clusters, np.asarray(pca.explained_variance_ratio_))
