"""Linear regressions on features and on their principal components."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

from cytopipe.numerics.geometry import Floats
from cytopipe.study.config import StructureTask

FEATURES, PROFILES = "features", "profiles"
RAW = "raw"

Values = NDArray[np.floating]


@dataclass(frozen=True)
class Source:
    """Inputs (n, d) of regressions and their targets (n,) by name, NaN where unknown.

    Attributes
    ----------
    split : FEATURES, or PROFILES, which are z-scored as in the paper.
    """

    split: str
    values: Values
    targets: Mapping[str, Values]

    @property
    def standardise(self) -> bool:
        """Whether each dimension is z-scored before the components are computed."""
        return self.split == PROFILES


def name_of(components: int) -> str:
    """The name of an input in the scores."""
    return f"{components} component" + ("s" if components > 1 else "")


def r2_scores(source: Source, params: StructureTask) -> list[tuple[str, int, str, str, float]]:
    """R2 on the held-out samples of each fold, target and input (CytoNet section 3.7).

    Principal components, and the scaling before them, are fitted on the training samples of a fold.
    If `params.pca` is `all`, they are fitted on all samples, as in the paper. This leaks the test
    samples: with many more samples than dimensions it does no harm, but with 100 samples of 400
    dimensions an R2 of 0.78 can look like 0.92.

    Returns
    -------
    (split, fold, target, input, R2); inputs are `raw` and e.g. `16 components`. Left out are inputs
    with no more training samples than coefficients (the regression would be underdetermined), more
    components than exist, and folds with fewer than two test samples of the target.
    """
    inputs = source.values.astype(np.float64)
    scores = []
    splits = KFold(params.folds, shuffle=True, random_state=params.seed).split(inputs)
    for fold, (training, testing) in enumerate(splits):
        fitted_on = inputs[training] if params.pca == "per_fold" else inputs
        projections = dict(_projections(inputs, fitted_on, params.components, source.standardise))
        for names, finite in _with_same_samples(source.targets):
            train, test = training[finite[training]], testing[finite[testing]]
            if len(test) < 2:
                continue
            truth = np.stack([source.targets[name] for name in names], axis=1)
            for projection, x in projections.items():
                if len(train) <= x.shape[1] + 1:
                    continue
                predicted = LinearRegression().fit(x[train], truth[train]).predict(x[test])
                r2 = r2_score(truth[test], predicted, multioutput="raw_values").tolist()
                scores += [(source.split, fold, n, projection, v) for n, v in zip(names, r2)]
    return scores


def attribution(source: Source, components: int) -> Floats:
    """Part of each of the first components in each target (CytoNet Figure 4 B).

    The absolute coefficient in a regression on all samples, times the component's standard
    deviation over the target's. As components are uncorrelated, this is the absolute correlation of
    component and target if no target is NaN.

    Returns
    -------
    (targets, components); NaN for a target that is constant or has no more samples than
    coefficients.
    """
    scaled = _scaled(source)
    projected = _pca(min(components, *scaled.shape)).fit_transform(scaled)
    parts = np.full((len(source.targets), projected.shape[1]), np.nan)
    for row, target in enumerate(source.targets.values()):
        finite = np.isfinite(target)
        x, y = projected[finite], target[finite]
        if len(y) > x.shape[1] + 1 and y.std() > 0:
            parts[row] = np.abs(LinearRegression().fit(x, y).coef_) * x.std(0) / y.std()
    return parts


def explained_variance(source: Source) -> Floats:
    """Share of the variance in the first 1, 2, ... components, up to 1 (CytoNet Figure 4 C)."""
    scaled = _scaled(source)
    return np.asarray(np.cumsum(_pca(min(scaled.shape)).fit(scaled).explained_variance_ratio_))


def _pca(components: int) -> PCA:
    # by default sklearn may choose a randomised solver
    return PCA(components, svd_solver="covariance_eigh")


def _scaled(source: Source) -> Floats:
    inputs = source.values.astype(np.float64)
    return StandardScaler().fit_transform(inputs) if source.standardise else inputs


def _projections(
    inputs: Floats, fitted_on: Floats, components: Sequence[int], standardise: bool
) -> Iterator[tuple[str, Floats]]:
    """Name and samples (n, k) of each input."""
    yield RAW, inputs
    possible = [count for count in components if count <= min(fitted_on.shape)]
    if possible:
        scaler = StandardScaler(with_mean=standardise, with_std=standardise).fit(fitted_on)
        pca = _pca(max(possible)).fit(scaler.transform(fitted_on))
        projected = pca.transform(scaler.transform(inputs))
        for count in possible:
            yield name_of(count), projected[:, :count]


def _with_same_samples(
    targets: Mapping[str, Values],
) -> Iterator[tuple[list[str], NDArray[np.bool_]]]:
    """Targets that are known of the same samples, which one regression serves; and the samples."""
    groups: dict[bytes, list[str]] = {}
    for name, target in targets.items():
        groups.setdefault(np.isfinite(target).tobytes(), []).append(name)
    for names in groups.values():
        yield names, np.isfinite(targets[names[0]])
