"""Models of other libraries, to hold ours against (extra: compare).

They are told of beside the baselines and never count as one: which library grows the trees is no
matter of forecasting, and what is gained by leaving ours has to be seen first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from forecast.exponential_smoothing import ExponentialSmoothing
from forecast.extras import require_extra
from forecast.features import APP_TYPE_COLUMN
from forecast.forecaster import Forecaster
from forecast.quantile import QuantileModel, Regressor, TrainingSettings
from forecast.training_rows import TrainingRows
from solver.domain.errors import InvalidInputError
from solver.domain.units import Resource


@dataclass(slots=True, kw_only=True)
class LightGbm(QuantileModel):
    """LightGBM's quantile regressors in place of scikit-learn's, on the same rows and features.

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


def _lightgbm(resources: tuple[Resource, ...], seed: int) -> Forecaster:
    """Return LightGBM's models with our settings: it is the same kind of trees."""
    return LightGbm(resources=resources, training=TrainingSettings(seed=seed))


def _statsforecast(resources: tuple[Resource, ...], seed: int) -> Forecaster:
    """Return exponential smoothing, which draws no lots."""
    return ExponentialSmoothing(resources=resources)


COMPARED: Final[Mapping[str, Callable[[tuple[Resource, ...], int], Forecaster]]] = {
    "lightgbm": _lightgbm,
    "statsforecast": _statsforecast,
}
"""By the name of the library, what makes its models from the resources to fit and a seed."""


def require_compared(names: Sequence[str], *, path: str = "--compare") -> None:
    """Raise ``InvalidInputError`` unless all can be compared with: known, once, and installed."""
    for i, name in enumerate(names):
        if name in names[:i]:
            raise InvalidInputError(f"expected each once, got {name!r} again", path=path)
        if name not in COMPARED:
            raise InvalidInputError(
                f"expected one of {', '.join(COMPARED)}, got {name!r}", path=path
            )
        require_extra(name, extra="compare", path=path)


def compared_models(
    names: Sequence[str], resources: tuple[Resource, ...], *, seed: int
) -> tuple[Forecaster, ...]:
    """Return the named models, to be fitted.

    Raises
    ------
    InvalidInputError
        If one cannot be compared with.
    """
    require_compared(names)
    return tuple(COMPARED[name](resources, seed) for name in names)
