"""Drift: found when forecasts become worse, not when days become hard."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from forecast.accuracy import Accuracy, RetrainingRules, retraining_reason
from forecast.forecaster import NUM_HORIZONS, NUM_QUANTILES, QUANTILES, QuantileForecast
from forecast.history import Floats
from solver.domain.errors import InvalidInputError
from solver.domain.units import NUM_RESOURCES, Resource, VmId

START = datetime(2026, 3, 2, tzinfo=UTC)
NUM_VMS = 30
Z = np.array([-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645, 2.326])
"""Normal scores of ``QUANTILES``."""
NOTHING = np.full((NUM_RESOURCES, NUM_HORIZONS, NUM_QUANTILES), np.nan, np.float32)
UNKNOWN = np.full(NUM_RESOURCES, np.nan, np.float32)


def forecast_at(hours: float, spread: float) -> QuantileForecast:
    """Return CPU forecasts around 1,000 millicores."""
    values = np.full((NUM_RESOURCES, NUM_VMS, NUM_HORIZONS, NUM_QUANTILES), np.nan, np.float32)
    values[Resource.CPU] = 1000 + spread * Z
    return QuantileForecast(
        vm_ids=tuple(VmId(f"v{i}") for i in range(NUM_VMS)),
        at=START + timedelta(hours=hours),
        resources=(Resource.CPU,),
        values=values,
        limits=np.full((NUM_RESOURCES, NUM_VMS), 4000, np.float32),
        present=np.ones(NUM_VMS, bool),
        cold=np.zeros(NUM_VMS, bool),
        recent_coverage=NOTHING.copy(),
    )


def observed(*, spread_then: float, shift: float = 0.0, bands: float = 1.0) -> float:
    """Return the ratio after four usual days and two of another kind."""
    rng = np.random.default_rng(0)
    accuracy = Accuracy()
    level = np.full((NUM_RESOURCES, NUM_VMS), 1000, np.float32)
    for i in range(6 * 24):
        later = i >= 4 * 24
        spread, moved = (spread_then, shift) if later else (100.0, 0.0)
        actual: Floats = np.full((NUM_RESOURCES, NUM_VMS, NUM_HORIZONS), np.nan, np.float32)
        actual[Resource.CPU] = 1000 + moved + spread * rng.standard_normal((NUM_VMS, NUM_HORIZONS))
        forecast = forecast_at(i, spread * bands if later else 100.0)
        accuracy.observe(forecast, level, actual, hours_since_last=1.0)
    ratios = accuracy.ratios()
    assert np.isnan(ratios[Resource.MEMORY])
    return float(ratios[Resource.CPU])


def test_the_same_every_day_is_one() -> None:
    """Nothing changes, nothing drifts."""
    assert observed(spread_then=100.0) == pytest.approx(1.0, abs=0.05)


def test_hard_days_are_no_drift() -> None:
    """Demand moves three times as far, and forecasts say so."""
    assert observed(spread_then=300.0) == pytest.approx(1.0, abs=0.05)


def test_bands_of_another_width_are_drift() -> None:
    """Bands a fifth as wide as they should be lose most in the tails."""
    assert observed(spread_then=300.0, bands=0.2) > 1.3


def test_gaps_and_time_that_stands_still() -> None:
    """Readings that are missing leave it as it was; no time is an error."""
    accuracy = Accuracy()
    level = np.full((NUM_RESOURCES, NUM_VMS), np.nan, np.float32)
    missing = np.full((NUM_RESOURCES, NUM_VMS, NUM_HORIZONS), np.nan, np.float32)
    accuracy.observe(forecast_at(0, 100.0), level, missing, hours_since_last=1.0)
    assert np.isnan(accuracy.ratios()).all()
    with pytest.raises(InvalidInputError, match="positive time"):
        accuracy.observe(forecast_at(1, 100.0), level, missing, hours_since_last=0.0)


def reason(
    *, age_days: float = 1.0, ratio: float | None = None, tail: float | None = None
) -> str | None:
    """Return why to retrain, one thing being unusual."""
    ratios, coverage = UNKNOWN.copy(), NOTHING.copy()
    if ratio is not None:
        ratios[Resource.MEMORY] = ratio
    if tail is not None:
        coverage[Resource.CPU, :, QUANTILES.index(0.95)] = tail
    return retraining_reason(
        RetrainingRules(),
        trained_until=START,
        now=START + timedelta(days=age_days),
        ratios=ratios,
        recent_coverage=coverage,
    )


def test_reasons_to_train_anew() -> None:
    """Age, loss and coverage, each alone; none of them, no reason."""
    assert reason() is None
    assert reason(ratio=1.2, tail=0.93) is None
    assert "8.0 days old" in (reason(age_days=8.0) or "")
    assert "1.40 times" in (reason(ratio=1.4) or "")
    assert "88.0 %" in (reason(tail=0.88) or "")
    assert "99.9 %" in (reason(tail=0.999) or "")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"most_age": timedelta(0)}, "most_age"), ({"worst_ratio": 1.0}, "worst_ratio")],
)
def test_rules_are_checked(wrong: dict[str, object], named: str) -> None:
    """The error names the setting."""
    with pytest.raises(InvalidInputError, match=named):
        RetrainingRules(**wrong)  # type: ignore[arg-type]
