"""Joint scenarios: marginals kept, dependence kept, tails kept, probabilities exact."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from forecast.error_memory import APART, ErrorMemory
from forecast.forecaster import NUM_HORIZONS, QUANTILES, QuantileForecast
from forecast.history import Floats
from forecast.reduction import _group_sums, reduce_paths, strata
from forecast.scenarios import make_scenarios, sample_paths
from solver.domain.errors import InvalidInputError
from solver.domain.scenario import ScenarioSet
from solver.domain.units import Resource, VmId
from tests.histories import START

NUM_VMS = 40


def forecast_at(hours: float, *, num_vms: int = NUM_VMS, shift: int = 0) -> QuantileForecast:
    """Return a forecast of 1000 to 1090 millicores for every VM; the tail is heavier."""
    values = np.full((4, num_vms, NUM_HORIZONS, len(QUANTILES)), np.nan, np.float32)
    values[Resource.CPU] = np.array([1000, 1010, 1025, 1050, 1075, 1090, 1095, 1150])
    return QuantileForecast(
        vm_ids=tuple(VmId(f"vm{i + shift}") for i in range(num_vms)),
        at=START + timedelta(hours=hours),
        resources=(Resource.CPU,),
        values=values,
        limits=np.full((4, num_vms), 2000, np.float32),
        present=np.ones(num_vms, bool),
        cold=np.zeros(num_vms, bool),
        recent_coverage=np.full((4, NUM_HORIZONS, len(QUANTILES)), np.nan, np.float32),
    )


APART_HOURS = APART.total_seconds() / 3600


def memory_of(common: float, *, dates: int = 300, seed: int = 0) -> ErrorMemory:
    """Return a memory in which VMs share ``common`` of their errors' variance."""
    rng = np.random.default_rng(seed)
    memory = ErrorMemory(keep=timedelta(days=30))
    for i in range(dates):
        forecast = forecast_at(i * APART_HOURS)
        shared, own = rng.standard_normal((1, 1)), rng.standard_normal((NUM_VMS, 1))
        noise = np.sqrt(common) * shared + np.sqrt(1 - common) * own
        actual = np.full((4, NUM_VMS, NUM_HORIZONS), np.nan, np.float32)
        actual[Resource.CPU] = 1050 + 30 * noise
        memory.observe(forecast, actual, rng=rng)
    return memory


def cpu_paths(memory: ErrorMemory, num_paths: int = 256) -> Floats:
    """Return CPU paths of shape (paths, vms, steps)."""
    rng = np.random.default_rng(1)
    return sample_paths(forecast_at(100), memory, num_paths=num_paths, rng=rng)[:, Resource.CPU]


def test_marginals_are_the_forecast() -> None:
    """Whatever the dependence, each VM's paths have the quantiles that were forecast."""
    paths = cpu_paths(memory_of(0.9))
    reached = np.quantile(paths, QUANTILES[:-1], axis=0)
    expected = np.array([1000, 1010, 1025, 1050, 1075, 1090, 1095])
    np.testing.assert_allclose(
        reached, np.broadcast_to(expected[:, None, None], reached.shape), atol=3
    )


def test_dependence_is_kept() -> None:
    """The sum over VMs spreads as past errors did: wide if they are shared, narrow if not."""
    wide, narrow = (cpu_paths(memory_of(common))[..., 0].sum(axis=1).std() for common in (0.9, 0.0))
    assert wide > 4 * narrow
    single = cpu_paths(memory_of(0.9))[:, 0, 0].std()
    assert wide == pytest.approx(np.sqrt(0.9) * NUM_VMS * single, rel=0.2)


def test_steps_hang_together() -> None:
    """A path that is high at 15 minutes is high at an hour, as past errors were."""
    paths = cpu_paths(memory_of(0.5))
    assert np.corrcoef(paths[:, 3, 0], paths[:, 3, 3])[0, 1] > 0.9


def test_empty_memory_is_independent() -> None:
    """Without experience VMs are taken as independent, and still have their marginals."""
    paths = cpu_paths(ErrorMemory())
    assert abs(np.corrcoef(paths[:, 0, 0], paths[:, 1, 0])[0, 1]) < 0.25
    assert np.median(paths[:, 0, 0]) == pytest.approx(1050, abs=2)


def test_new_vms_join() -> None:
    """VMs that the memory does not know get positions of their own; the others keep theirs."""
    memory = memory_of(0.9)
    rng = np.random.default_rng(2)
    paths = sample_paths(forecast_at(100, shift=20), memory, num_paths=256, rng=rng)[:, 0, :, 0]
    assert np.corrcoef(paths[:, 0], paths[:, 10])[0, 1] > 0.7
    assert abs(np.corrcoef(paths[:, 0], paths[:, 30])[0, 1]) < 0.25


def test_memory_forgets() -> None:
    """Only the last days are kept."""
    memory = ErrorMemory(keep=timedelta(hours=10))
    rng = np.random.default_rng(0)
    for hour in range(30):
        memory.observe(
            forecast_at(hour), np.full((4, NUM_VMS, NUM_HORIZONS), 1050, np.float32), rng=rng
        )
    assert len(memory) == 11


def test_memory_refuses_disorder() -> None:
    """Forecasts are observed in the order of their dates."""
    memory, rng = memory_of(0.5, dates=3), np.random.default_rng(0)
    actual = np.zeros((4, NUM_VMS, NUM_HORIZONS), np.float32)
    last = 2 * APART_HOURS
    memory.observe(forecast_at(last + 0.25), actual, rng=rng)
    for hours in (0.25, last, last + 0.2, last + 0.25):
        with pytest.raises(InvalidInputError, match="later than"):
            memory.observe(forecast_at(hours), actual, rng=rng)


def test_memory_keeps_dates_apart() -> None:
    """Of forecasts every five minutes one in seven, so that every minute of the hour is met."""
    memory, rng = ErrorMemory(), np.random.default_rng(0)
    actual = np.full((4, NUM_VMS, NUM_HORIZONS), 1050, np.float32)
    for i in range(12 * 7):
        memory.observe(forecast_at(i / 12), actual, rng=rng)
    assert len(memory) == 12


def test_positions_of_some_horizons_are_those_of_all() -> None:
    """The same dates are drawn, and each horizon has its own positions."""
    memory, wanted = memory_of(0.5), [2, 11]
    drawn = [
        memory.draw(
            forecast_at(200).vm_ids,
            forecast_at(200).at,
            resources=[Resource.CPU],
            horizons=horizons,
            num_paths=64,
            rng=np.random.default_rng(4),
        )
        for horizons in (range(NUM_HORIZONS), wanted)
    ]
    assert drawn[0].std(axis=0).min() > 0
    np.testing.assert_array_equal(drawn[0][..., wanted], drawn[1])


def scenarios(num_scenarios: int = 16, seed: int = 3, step_minutes: int = 15) -> ScenarioSet:
    """Return scenarios with 900 millicores now and a fixed use of memory."""
    present = np.full((4, NUM_VMS), 900, np.float32)
    forecast = forecast_at(100)
    return make_scenarios(
        forecast,
        memory_of(0.5),
        num_scenarios=num_scenarios,
        rng=np.random.default_rng(seed),
        start_at=forecast.at,
        present=present,
        step_minutes=step_minutes,
    )


def test_scenario_set() -> None:
    """Step 0 is the present; what was not forecast stays; four steps of 15 minutes."""
    made = scenarios()
    assert made.demand.shape == (16, NUM_VMS, 4, 5)
    assert (made.demand[..., 0] == 900).all()
    assert (made.demand[:, :, Resource.MEMORY] == 900).all()
    assert (made.step_seconds, made.num_steps) == (900, 4)
    assert sum(made.probability_ppm) == 1_000_000


def test_reduction_keeps_mean_and_tail() -> None:
    """Sixteen weighted futures have the mean and the upper tail of the many paths."""
    total = cpu_paths(memory_of(0.5)).sum(axis=1)[:, 2::3]
    made = scenarios()
    kept = made.demand[:, :, Resource.CPU, 1:].sum(axis=1)
    weight = np.array(made.probability_ppm) / 1e6
    np.testing.assert_allclose(weight @ kept, total.mean(axis=0), rtol=0.01)
    assert kept.max() > np.quantile(total, 0.97)


def test_same_seed_same_scenarios() -> None:
    """Scenarios depend on the seed alone."""
    np.testing.assert_array_equal(scenarios(seed=5).demand, scenarios(seed=5).demand)
    assert (scenarios(seed=5).demand != scenarios(seed=6).demand).any()


@pytest.mark.parametrize("num_scenarios", [1, 2, 16, 255, 256])
def test_strata_cover_all_paths(num_scenarios: int) -> None:
    """Every path belongs to one stratum, and none is empty."""
    edges = strata(256, num_scenarios)
    assert (edges[0], edges[-1]) == (0, 256)
    assert (np.diff(edges) >= 1).all()


def test_reduction_is_unbiased() -> None:
    """Over many draws the weighted mean of the kept paths is the mean of all."""
    paths = np.random.default_rng(0).gamma(2.0, 1.0, (64, 1, 20, 4)).astype(np.float32)
    means = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        chosen, ppm = reduce_paths(paths, num_scenarios=8, rng=rng, num_tries=1)
        means.append(np.average(paths[chosen].sum(axis=2)[:, 0, 0], weights=ppm))
    assert np.mean(means) == pytest.approx(float(paths.sum(axis=2)[:, 0, 0].mean()), rel=0.01)


@pytest.mark.parametrize("num_vms", [0, 1, 19, 40, 61])
def test_groups_hold_every_vm_once(num_vms: int) -> None:
    """About twenty VMs each; sums are scaled by the mean of all groups and paths."""
    paths = np.random.default_rng(0).gamma(2.0, 1.0, (8, 2, num_vms, 4)).astype(np.float32)
    paths[:, 1] = 0.0
    num_groups = max(1, num_vms // 20)
    group = np.random.default_rng(5).permutation(num_vms) % num_groups
    sums = np.array([paths[:, 0, group == g].sum(axis=1) for g in range(num_groups)])
    expected = np.moveaxis(sums / (sums.mean(axis=(0, 1)) if num_vms else 1.0), 0, 1)
    found = _group_sums(paths, np.random.default_rng(5))
    np.testing.assert_allclose(found, expected.reshape(8, -1), rtol=1e-5)


def test_zero_demand() -> None:
    """A cluster that demands nothing has scenarios, too."""
    chosen, ppm = reduce_paths(
        np.zeros((64, 4, 3, 4), np.float32), num_scenarios=4, rng=np.random.default_rng(0)
    )
    assert len(set(chosen.tolist())) == 4
    assert sum(ppm) == 1_000_000


def test_too_many_scenarios() -> None:
    """More scenarios than paths are refused."""
    with pytest.raises(InvalidInputError, match=r"1\.\.256"):
        scenarios(num_scenarios=300)


@pytest.mark.parametrize("step_minutes", [5, 10, 15, 20, 30, 60])
def test_steps_are_those_horizons(step_minutes: int) -> None:
    """Whatever the grid, its last step is an hour away."""
    made = scenarios(step_minutes=step_minutes)
    assert (made.num_steps * made.step_seconds, made.step_seconds) == (3600, 60 * step_minutes)


@pytest.mark.parametrize("step_minutes", [0, 7, 25, 40, 120])
def test_steps_must_divide_an_hour(step_minutes: int) -> None:
    """The error says which would."""
    with pytest.raises(InvalidInputError, match="5, 10, 15, 20, 30, 60 minutes, got"):
        scenarios(step_minutes=step_minutes)
