"""Models of other libraries on the same rows and features, to hold ours against (extra: compare).

They are told of beside the baselines and never count as one: which library grows the trees is no
matter of forecasting, and what is gained by leaving ours has to be seen first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from forecast.extras import require_extra
from forecast.features import APP_TYPE_COLUMN
from forecast.forecaster import Forecaster
from forecast.quantile import QuantileModel, Regressor, TrainingSettings
from forecast.training_rows import TrainingRows
from solver.domain.errors import InvalidInputError
from solver.domain.units import Resource


@dataclass(slots=True, kw_only=True)
class LightGbm(QuantileModel):
    """LightGBM's quantile regressors in place of scikit-learn's.

    References
    ----------
    .. [1] Ke et al. (2017). LightGBM: a highly efficient gradient boosting decision tree. NIPS 30.
    """

    @property
    def name(self) -> str:
        """How reports call it."""
        return "lightgbm"

    @staticmethod
    def fit_one(rows: TrainingRows, quantile: float, settings: TrainingSettings) -> Regressor:
        """Return the model of one quantile, fitted with one thread."""
        from lightgbm import LGBMRegressor

        model = LGBMRegressor(
            objective="quantile",
            alpha=quantile,
            n_estimators=settings.iterations,
            learning_rate=settings.learning_rate,
            num_leaves=settings.max_leaves,
            min_child_samples=settings.min_rows_per_leaf,
            colsample_bynode=settings.feature_share,
            random_state=settings.seed,
            n_jobs=1,
            verbose=-1,
        )
        model.fit(
            rows.features,
            rows.demand - rows.level,
            categorical_feature=[APP_TYPE_COLUMN],
        )
        fitted: Regressor = model
        return fitted


COMPARED: Final[Mapping[str, type[QuantileModel]]] = {"lightgbm": LightGbm}
"""By the name of the library; each is fitted with settings of its own."""

SETTINGS: Final[Mapping[str, TrainingSettings]] = {"lightgbm": TrainingSettings()}
"""Chosen for each on the days before the test (docs/decisions/0010)."""


def compared_models(
    names: Sequence[str], resources: tuple[Resource, ...], *, seed: int, path: str = "--compare"
) -> tuple[Forecaster, ...]:
    """Return the named models, to be fitted.

    Raises
    ------
    InvalidInputError
        If a name is unknown, or its library not installed.
    """
    for name in names:
        if name not in COMPARED:
            raise InvalidInputError(
                f"expected one of {', '.join(COMPARED)}, got {name!r}", path=path
            )
        require_extra(name, extra="compare", path=path)
    return tuple(
        COMPARED[name](resources=resources, training=replace(SETTINGS[name], seed=seed))
        for name in names
    )
