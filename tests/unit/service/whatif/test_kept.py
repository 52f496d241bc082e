"""Futures that were kept, and when they tell what is to come."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from service.whatif.futures import FRESH_FOR, why_unfit
from service.whatif.kept import (
    LEAST_KEPT,
    KeptForecast,
    futures_from_bytes,
    futures_to_bytes,
    thinned,
    worth_keeping,
)
from solver.domain.scenario import ScenarioSet
from solver.domain.units import NUM_RESOURCES
from tests.builders import NOW, make_cluster, make_host, make_vm

CLUSTER = make_cluster([make_host("h1")], [make_vm("v1", "h1"), make_vm("v2", "h1")])


def futures(*probability_ppm: int) -> ScenarioSet:
    """Return futures of both VMs, each of another demand."""
    shape = (len(probability_ppm), 2, NUM_RESOURCES, 5)
    demand = np.random.default_rng(1).integers(0, 2**31 - 1, shape)
    return ScenarioSet(
        vm_ids=tuple(vm.id for vm in CLUSTER.vms),
        start_at=NOW,
        step_seconds=900,
        probability_ppm=probability_ppm,
        demand=demand,
    )


def kept(scenarios: ScenarioSet) -> KeptForecast:
    """Return the futures as forecast now."""
    return KeptForecast(at=NOW, forecaster="boosted", scenarios=scenarios)


def test_futures_read_back_as_they_were_kept() -> None:
    """Nothing is rounded, up to the largest amounts there are."""
    scenarios = futures(300_000, 700_000)
    found = futures_from_bytes(futures_to_bytes(kept(scenarios)))
    assert (found.at, found.forecaster) == (NOW, "boosted")
    assert found.scenarios.probability_ppm == scenarios.probability_ppm
    assert found.scenarios.vm_ids == scenarios.vm_ids
    assert np.array_equal(found.scenarios.demand, scenarios.demand)


def test_fewer_futures_keep_their_weight() -> None:
    """A likely one stands for several draws, and over many seeds each for its probability."""
    scenarios = futures(700_000, 200_000, 100_000)
    totals = dict.fromkeys(map(bytes, scenarios.demand), 0)
    for seed in range(300):
        fewer = thinned(scenarios, 2, seed=seed)
        assert sum(fewer.probability_ppm) == 1_000_000
        assert fewer.num_scenarios <= 2
        for ppm, demand in zip(fewer.probability_ppm, fewer.demand, strict=True):
            totals[bytes(demand)] += ppm
    shares = [total / 300e6 for total in totals.values()]
    assert np.allclose(shares, [0.7, 0.2, 0.1], atol=0.05)
    assert thinned(scenarios, 3, seed=0) is scenarios


def test_of_large_clusters_not_all_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred megabytes with every forecast would hold up all that reads and writes."""
    scenarios = futures(*[10_000] * 100)
    assert worth_keeping(scenarios, seed=0) is scenarios
    monkeypatch.setattr("service.whatif.kept.MOST_KEPT", 80)
    assert worth_keeping(scenarios, seed=0).num_scenarios == 40
    monkeypatch.setattr("service.whatif.kept.MOST_KEPT", 2)
    assert worth_keeping(scenarios, seed=0).num_scenarios == LEAST_KEPT


def test_a_forecast_tells_for_a_while_and_of_vms_it_knows() -> None:
    """Otherwise it is said why it does not."""
    forecast = kept(futures(1_000_000))
    assert why_unfit(forecast, CLUSTER, NOW + FRESH_FOR) == ""
    late = why_unfit(forecast, CLUSTER, NOW + FRESH_FOR + timedelta(seconds=1))
    assert late.endswith("older than 15 minutes")
    more = replace(CLUSTER, vms=(*CLUSTER.vms, make_vm("v3", "h1")))
    assert "does not know VM 'v3'" in why_unfit(forecast, more, NOW)
    assert why_unfit(None, CLUSTER, NOW) == "none is kept of this cluster"
