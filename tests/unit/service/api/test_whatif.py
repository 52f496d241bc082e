"""What-if over HTTP, about a cluster that the service keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from forecast.baseline import Persistence
from service.api.results import WhatIfBody
from service.api.services import Services
from service.app import App, create_app
from service.solving.desk import Desk, DeskSettings
from service.solving.pool import PoolSettings, SolverPool
from service.store.base import Store
from service.whatif.kept import FUTURES, KeptForecast, futures_to_bytes
from solver.domain.cluster import Cluster
from solver.domain.units import NUM_RESOURCES
from solver.instances import cluster_to_document
from tests.answers import problem
from tests.builders import NOW, make_cluster, make_host, make_scenarios, make_vm
from tests.histories import make_history

WHATIF = "/api/v1/clusters/c1/whatif"
NUM_BINS = 2 * 288


@pytest.fixture(scope="module")
def pool() -> Iterator[SolverPool]:
    """One worker."""
    pool = SolverPool(PoolSettings())
    pool.start()
    yield pool
    pool.close()


@pytest.fixture
def desk(pool: SolverPool, store: Store, database: Path) -> Desk:
    """Takes work on; workers may read the store."""
    settings = DeskSettings(store_url=f"sqlite:///{database}")
    return Desk(pool, store, name="test", now=lambda: NOW, settings=settings)


@pytest.fixture
def app(services: Services, desk: Desk) -> App:
    """The application, with workers."""
    return create_app(replace(services, desk=desk))


@pytest.fixture
def kept(admin: FlaskClient) -> Cluster:
    """Three hosts of 10 cores and 100 GiB, two VMs of 4 cores and 30 GiB on each."""
    vms = [make_vm(f"vm{i}", f"h{1 + i // 2}", cores=4, memory_gib=30) for i in range(6)]
    cluster = make_cluster([make_host(f"h{h}") for h in (1, 2, 3)], vms)
    assert admin.put("/api/v1/clusters/c1", json={"name": "one"}).status_code == 201
    document = cluster_to_document(cluster)
    assert admin.put("/api/v1/clusters/c1/snapshot", json=document).status_code < 300
    return cluster


def ask(client: FlaskClient, **request: Any) -> WhatIfBody:
    """Return the answer, of the form that is published."""
    answer = client.post(WHATIF, json={"options": {"limit_s": 0.5}, **request})
    assert answer.status_code == 200, answer.get_data(as_text=True)
    return WhatIfBody.model_validate_json(answer.data)


def test_a_lost_host(admin: FlaskClient, kept: Cluster) -> None:
    """Its VMs are started elsewhere; a second loss would not be survived."""
    told = ask(admin, lost_host_ids=["h1"], horizon="present")
    assert told.feasible
    assert (told.moves.starts, told.moves.migrations) == (2, 0)
    assert told.survival.survives is False
    assert told.headroom["memory_mib"].capacity == 200 * 1024


def test_any_combination(admin: FlaskClient, kept: Cluster) -> None:
    """Hosts and VMs come and go, demand grows, priorities and rules change, all at once."""
    rule = {"id": "apart", "kind": "anti_affinity", "vm_ids": ["vm2", "vm3"]}
    told = ask(
        admin,
        maintenance_host_ids=["h1"],
        added_hosts=[{"name": "h", "like_host_id": "h2"}],
        removed_vm_ids=["vm5"],
        added_vms=[{"name": "web", "count": 2, "like_vm_id": "vm0", "apart": True}],
        demand_factors=[{"factor": 1.2}],
        priorities={"vm2": 9},
        rules=[rule],
        room={"vms": {"allocation": {"cpu_millicores": 1000, "memory_mib": 1024}}},
        hosts_needed={"types": [{"like_host_id": "h1", "price": 10}]},
        scenarios=None,
        horizon="present",
    )
    assert told.feasible
    placement = told.result.placement
    assert "h1" not in placement.values()
    assert "vm5" not in placement
    assert placement["vm2"] != placement["vm3"]
    assert placement["web-1"] != placement["web-2"]
    assert told.room is not None
    assert told.hosts_needed is not None
    assert told.hosts_needed.counts["h1"] >= 3


def test_scenarios_of_the_request_are_the_horizon(admin: FlaskClient, kept: Cluster) -> None:
    """Demand may be given as with a solve."""
    from solver.instances import scenarios_to_document

    scenarios = make_scenarios(kept, {vm.id: 6.0 for vm in kept.vms})
    told = ask(
        admin,
        scenarios=scenarios_to_document(scenarios),
        added_hosts=[{"count": 3, "like_host_id": "h1"}],
    )
    assert told.before.contention_host_s > 0
    assert told.after.contention_host_s == 0


def steady(store: Store, *, peak_at_bin: int) -> None:
    """Keep two days of all VMs at one core, and one hour at four."""
    readings = np.zeros((NUM_RESOURCES, 6, NUM_BINS), np.float32)
    readings[0], readings[1] = 1000.0, 2048.0
    readings[0, :, peak_at_bin : peak_at_bin + 12] = 4000.0
    history = replace(make_history(readings), start_at=NOW - timedelta(minutes=5 * NUM_BINS))
    store.telemetry.put_history("c1", history)


def test_the_busiest_hours_of_the_past(admin: FlaskClient, kept: Cluster, store: Store) -> None:
    """The busiest hour seen is the future, whatever the last hour was like."""
    steady(store, peak_at_bin=120)
    told = ask(admin, horizon="busiest", busiest_hours=1, busiest_days=2)
    assert told.horizon.num_scenarios == 1
    assert told.headroom["cpu_millicores"].peak == 24_000


def test_the_next_hour_is_forecast_from_telemetry(
    admin: FlaskClient, kept: Cluster, store: Store
) -> None:
    """By default, demand is what telemetry up to now lets expect."""
    steady(store, peak_at_bin=120)
    told = ask(admin, options={"limit_s": 0.5, "num_scenarios": 8})
    assert told.horizon.num_scenarios == 8
    assert told.forecaster == Persistence().name
    assert told.demand_source.endswith("since none is kept of this cluster")
    assert 4_500 < told.headroom["cpu_millicores"].expected < 9_000


def test_the_next_hour_is_the_one_that_is_planned_on(
    admin: FlaskClient, kept: Cluster, store: Store
) -> None:
    """Futures that the runtime has kept come before a forecast of one's own."""
    scenarios = make_scenarios(kept, {vm.id: 6.0 for vm in kept.vms})
    forecast = KeptForecast(at=NOW, forecaster="boosted", scenarios=scenarios)
    with store.begin() as tx:
        tx.blobs.put("c1", FUTURES, NOW, futures_to_bytes(forecast))
    told = ask(admin)
    assert told.forecaster == "boosted"
    assert "that the cluster is planned on" in told.demand_source
    assert told.before.contention_host_s > 0


def test_without_telemetry_there_is_no_forecast(admin: FlaskClient, kept: Cluster) -> None:
    """It is said that there is none, rather than guessed."""
    answer = admin.post(WHATIF, json={})
    assert answer.status_code == 409
    assert problem(answer)["type"] == "urn:foreswap:problem:forecast"


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        ({"lost_host_ids": ["h9"]}, "lost_host_ids"),
        ({"added_hosts": [{}]}, "added_hosts[0]"),
        ({"added_hosts": [{"like_host_id": "h9"}]}, "added_hosts[0].like_host_id"),
        ({"added_vms": [{"like_vm_id": "v9"}]}, "added_vms[0].like_vm_id"),
        ({"added_vms": [{"like_vm_id": "vm0", "count": 5001}] * 2}, "added_vms"),
        ({"added_hosts": [{"like_host_id": "h1", "count": 10_000}] * 100}, "added_hosts"),
        ({"room": {"vms": {}}}, "room.vms"),
        (
            {"hosts_needed": {"types": [{"like_host_id": "h1"}, {"like_host_id": "h1"}]}},
            "hosts_needed.types[1]",
        ),
        (
            {"demand_factors": [{"factor": 2, "group": "a", "vm_id": "vm1"}]},
            "demand_factors[0].vm_id",
        ),
        ({"priorities": {"vm1": 11}}, "priorities.vm1"),
    ],
)
def test_a_slip_names_its_place(
    admin: FlaskClient, kept: Cluster, request_: dict[str, Any], path: str
) -> None:
    """What is wrong is refused with its path, before any work."""
    answer = admin.post(WHATIF, json=request_)
    assert answer.status_code == 422
    assert problem(answer)["errors"][0]["path"] == path


def test_an_unknown_cluster(admin: FlaskClient) -> None:
    """Nothing can be asked about a cluster that is not kept."""
    assert admin.post(WHATIF, json={}).status_code == 404
