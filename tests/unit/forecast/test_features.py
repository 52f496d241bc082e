"""Features: known values in known columns, nothing of the future, no harm from gaps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from forecast.analogues import COMPARED
from forecast.features import DAY, FEATURE_NAMES, WEEK, FeatureSettings, features_at
from forecast.history import BinState, Floats, History
from forecast.scaling import scale, unit_of, unscale
from solver.domain.units import Resource
from tests.histories import make_history

SETTINGS = FeatureSettings()


@pytest.fixture(scope="module")
def ramp() -> History:
    """Nine days in which VM 0's CPU counts the bins: 0.001 of its size more in each."""
    history = make_history(num_vms=3, num_bins=9 * DAY)
    readings = history.readings.copy()
    readings[Resource.CPU, 0] = 4.0 * (np.arange(9 * DAY) % 1000)
    return replace(history, readings=readings)


def column(history: History, name: str, *, at_bin: int, horizon: int = 0) -> Floats:
    """Return one feature of all VMs, by name."""
    block = features_at(history, Resource.CPU, at_bin, settings=SETTINGS)
    return block.values[:, horizon, FEATURE_NAMES.index(name)]


@pytest.mark.parametrize(
    ("name", "horizon", "expected"),
    [
        ("lag_0", 0, 0.900),
        ("lag_5", 0, -0.005),
        ("delta_12", 0, 0.012),
        ("mean_30m", 0, -0.0025),
        ("max_24h", 0, 0.0),
        ("min_1h", 0, -0.011),
        ("horizon_minutes", 4, 60.0),
        ("yesterday", 1, -0.288 + 0.003),
        ("yesterday", 4, -0.288 + 0.012),
        ("yesterday_change", 0, 0.001),
        ("yesterday_change", 2, 0.006),
        ("hour_ago", 2, -0.012 + 0.006),
        ("error_q25_24h", 3, 0.009),
        ("error_abs_24h", 4, 0.012),
    ],
)
def test_values_on_a_ramp(ramp: History, name: str, horizon: int, expected: float) -> None:
    """On a series that counts its bins every feature can be told by hand."""
    assert column(ramp, name, at_bin=1900, horizon=horizon)[0] == pytest.approx(expected, abs=2e-4)


def test_a_gap_is_not_filled_with_what_is_yet_to_come(ramp: History) -> None:
    """At its end, filled bins count as unread; once it is over, they are readings like others.

    They lie on a line to the reading after the gap: three quarters of the next one were known.
    """
    at_bin = 1900
    state, readings = ramp.state.copy(), ramp.readings.copy()
    state[:2, at_bin - 1 : at_bin + 1] = BinState.INTERPOLATED
    filled = replace(ramp, state=state)
    state = state.copy()
    state[:2, at_bin - 1 : at_bin + 1] = BinState.MISSING
    readings[:, :2, at_bin - 1 : at_bin + 1] = np.nan
    missing = replace(ramp, state=state, readings=readings)
    for resource in (Resource.CPU, Resource.MEMORY):
        inside = [
            features_at(history, resource, at_bin, settings=SETTINGS)
            for history in (filled, missing)
        ]
        assert_array_equal(inside[0].values, inside[1].values)
        assert_array_equal(inside[0].level, inside[1].level)
        assert_array_equal(
            filled.latest(at_bin)[resource], missing.latest(at_bin)[resource], strict=True
        )
        after, whole = (
            features_at(history, resource, at_bin + 1, settings=SETTINGS)
            for history in (filled, ramp)
        )
        assert_array_equal(after.values, whole.values)


def test_an_outage_is_no_calm(ramp: History) -> None:
    """Where nobody was read an hour ago, how the fleet changed is not known; it was all of it."""
    readings = ramp.readings.copy()
    readings[:, :, 1888] = np.nan
    after = replace(ramp, readings=readings)
    assert np.isnan(column(after, "fleet_delta_1h", at_bin=1900)).all()
    assert np.isfinite(column(after, "fleet_mean", at_bin=1900)).all()
    assert np.isnan(column(after, "fleet_mean", at_bin=1888)).all()


@pytest.mark.parametrize("span", COMPARED)
def test_analogues_are_those_of_the_last_week(span: str) -> None:
    """What followed three days ago is told, each horizon's own; what did eight days ago is not."""
    rng = np.random.default_rng(5)
    readings = make_history(num_vms=2, num_bins=9 * DAY).readings.copy()
    share = 0.2 + 0.001 * rng.random(9 * DAY)
    now = 9 * DAY - 1
    # The same two hours now, three and eight days ago; afterwards demand was 0.1 and 0.9.
    for days, after in ((0, None), (3, 0.1), (8, 0.9)):
        end = now - days * DAY + 1
        share[end - 24 : end] = np.linspace(0.5, 0.7, 24)
        if after is not None:
            share[end : end + 12] = np.linspace(0.7, after, 13)[1:]
    readings[Resource.CPU, 0] = 4000 * share
    history = replace(make_history(num_vms=2, num_bins=9 * DAY), readings=readings)
    told = {
        what: [
            column(history, f"analogue_{span}_{what}", at_bin=now, horizon=h)[0] for h in range(5)
        ]
        for what in ("change", "mean_change", "max_change", "min_change", "distance")
    }
    assert_allclose(told["change"], [-0.6 * bins / 12 for bins in (1, 3, 6, 9, 12)], atol=1e-3)
    assert_allclose(told["distance"], 0.0, atol=1e-6)
    for lowest, mean, highest in zip(
        told["min_change"], told["mean_change"], told["max_change"], strict=True
    ):
        assert lowest < mean < highest < 0.15
    assert column(history, f"analogue_{span}_mean_distance", at_bin=now)[0] > 0.01


def test_last_week(ramp: History) -> None:
    """Last week's feature is the reading a week before the target, seen from the newest one."""
    at_bin = WEEK + 200
    cpu = ramp.readings[Resource.CPU] / 4000
    expected = cpu[:, at_bin + 6 - WEEK] - cpu[:, at_bin]
    assert_allclose(column(ramp, "last_week", at_bin=at_bin, horizon=2), expected, atol=1e-5)


def test_some_vms_are_as_all(ramp: History) -> None:
    """Asking for some VMs gives the same rows as asking for all."""
    everyone = features_at(ramp, Resource.MEMORY, 900, settings=SETTINGS)
    some = features_at(ramp, Resource.MEMORY, 900, settings=SETTINGS, positions=[2, 0])
    assert_array_equal(some.values, everyone.values[[2, 0]])


def test_gaps_are_nan_not_zero() -> None:
    """Unknown readings make features unknown; the newest known one stands in for an hour."""
    history = make_history(num_vms=2, num_bins=400)
    readings = history.readings.copy()
    readings[Resource.CPU, 0, 396:] = np.nan
    readings[Resource.CPU, 1, :] = np.nan
    block = features_at(replace(history, readings=readings), Resource.CPU, 399, settings=SETTINGS)
    assert block.level[0] == pytest.approx(readings[Resource.CPU, 0, 395] / 4000)
    assert np.isnan(block.level[1])
    assert block.known.tolist() == [284, 0]
    named = dict(zip(FEATURE_NAMES, block.values[1, 0], strict=True))
    assert all(np.isnan(named[name]) for name in ("mean_24h", "max_1h", "q50_6h", "yesterday"))


def test_calendar_follows_the_zone() -> None:
    """Time of day is the cluster's, summer time included."""
    history = make_history(num_vms=1, num_bins=400)
    utc = features_at(history, Resource.CPU, 143, settings=SETTINGS)
    shifted = features_at(
        history, Resource.CPU, 143 - 12, settings=FeatureSettings(time_zone="Europe/Berlin")
    )
    k = FEATURE_NAMES.index("hour_cos")
    assert_allclose(utc.values[0, :, k], shifted.values[0, :, k], atol=1e-6)


def test_app_types_are_categories() -> None:
    """Known types get their code, unknown ones and none get 0."""
    history = make_history(num_vms=3, num_bins=50, app_types=("web", None, "new"))
    settings = FeatureSettings(app_types={"db": 1, "web": 2})
    block = features_at(history, Resource.CPU, 40, settings=settings)
    assert block.values[:, 0, FEATURE_NAMES.index("app_type")].tolist() == [2, 0, 0]


def test_fellows_of_a_type_are_averaged() -> None:
    """Now, an hour ago, and how they went on yesterday; NaN for a VM without a type."""
    history = make_history(num_vms=4, num_bins=400, app_types=("web", "web", None, "db"))
    cpu = history.readings[Resource.CPU] / 4000
    block = features_at(history, Resource.CPU, 350, settings=FeatureSettings(), positions=[1, 2])

    def feature(name: str, horizon: int = 0) -> list[float]:
        return block.values[:, horizon, FEATURE_NAMES.index(name)].tolist()

    now, before = cpu[:2, 350].mean(), cpu[:2, 338].mean()
    assert feature("app_mean") == pytest.approx([now, np.nan], nan_ok=True, rel=1e-5)
    assert feature("app_delta_1h") == pytest.approx([now - before, np.nan], nan_ok=True, abs=1e-6)
    yesterday = (cpu[:2, 350 - 288 + 6] - cpu[:2, 350 - 288]).mean()
    assert feature("app_yesterday_change", 2) == pytest.approx(
        [yesterday, np.nan], nan_ok=True, abs=1e-6
    )


@pytest.mark.parametrize("resource", list(Resource))
def test_scales_invert(resource: Resource) -> None:
    """Scaling and back is the identity, and rises with the reading."""
    history = make_history(num_vms=4, num_bins=50)
    unit, readings = unit_of(history, resource), history.readings[resource]
    scaled = scale(readings, unit, resource)
    assert_allclose(unscale(scaled, unit, resource), readings, rtol=1e-4, atol=1e-3)
    assert scaled.max() < 4
