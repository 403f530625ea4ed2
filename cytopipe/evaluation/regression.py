"""Linear regressions from features: what can be read off them, and off which components."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold
from sklearn.preprocessing import StandardScaler

FEATURES, PROFILES = "features", "profiles"
RAW = "raw"

Floats = NDArray[np.floating]
Doubles = NDArray[np.float64]


@dataclass(frozen=True)
class Source:
    """Inputs (n, d) of regressions and their targets (n,) by name; NaN where one is unknown.

    Attributes
    ----------
    split : FEATURES, taken as they are, or PROFILES, z-scored, as in the paper.
    """

    split: str
    values: Floats
    targets: Mapping[str, Floats]

    @property
    def standardise(self) -> bool:
        """Whether each dimension is shifted and scaled to mean 0 and deviation 1."""
        return self.split == PROFILES


@dataclass(frozen=True)
class Design:
    """How regressions are scored.

    Attributes
    ----------
    folds, seed : of the shuffled samples.
    components : numbers of principal components to regress on, beside the raw features.
    pca : what components (and the scaling before them) are fitted on. `per_fold`: the training
        samples of a fold. `all`: all samples at once, as in the paper: a leak, because components
        then know the test samples. It vanishes where samples are many more than dimensions, but
        in 100 samples of 400 dimensions an R2 of 0.78 can look like 0.92.
    """

    folds: int
    seed: int
    components: Sequence[int]
    pca: Literal["per_fold", "all"]


def name_of(components: int) -> str:
    """How scores call an input."""
    return f"{components} component" + ("s" if components > 1 else "")


def r2_scores(
    values: Floats, targets: Mapping[str, Floats], design: Design, *, standardise: bool
) -> list[tuple[int, str, str, float]]:
    """R2 on the held-out samples of each fold, target and input (CytoNet section 3.7).

    Parameters
    ----------
    values : (n, d) finite.
    targets : name to (n,); samples where a target is NaN are left out of its regressions.
    standardise : shift and scale each dimension to mean 0 and deviation 1 before the components
        are taken.

    Returns
    -------
    (fold, target, input, R2); inputs are `raw` and e.g. `16 components`. Left out are inputs with
    no more training samples than coefficients, whose regression is not determined, numbers of
    components that do not exist, and folds with fewer than two test samples of the target.
    """
    inputs = values.astype(np.float64)
    found = []
    splits = KFold(design.folds, shuffle=True, random_state=design.seed).split(inputs)
    for fold, (training, testing) in enumerate(splits):
        fitted_on = inputs[training] if design.pca == "per_fold" else inputs
        views = dict(_views(inputs, fitted_on, design.components, standardise))
        for names, finite in _alike(targets):
            train, test = training[finite[training]], testing[finite[testing]]
            if len(test) < 2:
                continue
            wanted = np.stack([targets[name] for name in names], axis=1)
            for view, seen in views.items():
                if len(train) <= seen.shape[1] + 1:
                    continue
                regression = LinearRegression().fit(seen[train], wanted[train])
                predicted = regression.predict(seen[test])
                scores = r2_score(wanted[test], predicted, multioutput="raw_values")
                found += [(fold, name, view, float(r2)) for name, r2 in zip(names, scores)]
    return found


def attribution(
    values: Floats, targets: Mapping[str, Floats], components: int, *, standardise: bool
) -> Doubles:
    """How much each of the first components tells about each target (CytoNet Figure 4 B).

    Absolute coefficients of a regression on all samples, times the component's standard deviation
    over the target's. Components are uncorrelated, so this is their absolute correlation with the
    target where no target is NaN.

    Returns
    -------
    (targets, components); NaN for a target that is constant or has no more samples than
    coefficients.
    """
    projected = _components(values.astype(np.float64), standardise, components)
    found = np.full((len(targets), projected.shape[1]), np.nan)
    for row, target in enumerate(targets.values()):
        finite = np.isfinite(target)
        seen, wanted = projected[finite], target[finite]
        if len(wanted) > seen.shape[1] + 1 and wanted.std() > 0:
            slopes = LinearRegression().fit(seen, wanted).coef_
            found[row] = np.abs(slopes) * seen.std(0) / wanted.std()
    return found


def explained_variance(values: Floats, *, standardise: bool) -> Doubles:
    """Share of the variance in the first 1, 2, ... components, up to 1 (CytoNet Figure 4 C)."""
    inputs = values.astype(np.float64)
    scaled = StandardScaler().fit_transform(inputs) if standardise else inputs
    return np.asarray(np.cumsum(_pca(min(scaled.shape)).fit(scaled).explained_variance_ratio_))


def _pca(components: int) -> PCA:
    # the solver that sklearn would choose by itself may be a randomised one
    return PCA(components, svd_solver="covariance_eigh")


def _components(inputs: Doubles, standardise: bool, components: int) -> Doubles:
    scaled = StandardScaler().fit_transform(inputs) if standardise else inputs
    return np.asarray(_pca(min(components, *scaled.shape)).fit_transform(scaled))


def _views(
    inputs: Doubles, fitted_on: Doubles, components: Sequence[int], standardise: bool
) -> Iterator[tuple[str, Doubles]]:
    """Name and samples (n, k) of each input."""
    yield RAW, inputs
    possible = [count for count in components if count <= min(fitted_on.shape)]
    if possible:
        scaler = StandardScaler(with_mean=standardise, with_std=standardise).fit(fitted_on)
        pca = _pca(max(possible)).fit(scaler.transform(fitted_on))
        projected = pca.transform(scaler.transform(inputs))
        for count in possible:
            yield name_of(count), projected[:, :count]


def _alike(targets: Mapping[str, Floats]) -> Iterator[tuple[list[str], NDArray[np.bool_]]]:
    """Targets that are known of the same samples, and those samples: one regression for all."""
    groups: dict[bytes, list[str]] = {}
    for name, target in targets.items():
        groups.setdefault(np.isfinite(target).tobytes(), []).append(name)
    for names in groups.values():
        yield names, np.isfinite(targets[names[0]])
