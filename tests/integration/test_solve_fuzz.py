"""Requests to solve and what-ifs, right and broken, reach real workers and never fail there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from service.api.services import Services
from service.app import App, create_app
from service.security import tokens
from service.security.principal import Principal, Role
from service.solving.desk import Desk, DeskSettings
from service.solving.pool import PoolSettings, SolverPool
from service.solving.request import SolveLimits
from service.store.sql import open_store
from solver.instances import cluster_to_document, scenarios_to_document
from tests.api_fuzz import fuzz_bodies
from tests.builders import NOW
from tests.inventories import fill
from tests.mutations import broken
from tests.strategies import problems

MAKER = Principal(name="test", role=Role.ADMIN)
OPTIONS = {"limit_s": 0.05, "engine": "greedy", "num_scenarios": 4}
KNOWN = {"cluster_id": ["c1"]}

QUANTILES = {
    "at": NOW.isoformat(),
    "horizon_minutes": [15, 60],
    "levels": [0.1, 0.9],
    "demand": {f"v{i}": {"cpu_millicores": [[100.0, 900.0]] * 2} for i in range(1, 5)},
}
HISTORY = {
    "start_at": "2026-03-02T11:00:00Z",
    "demand": {f"v{i}": {"cpu_millicores": [500.0] * 12} for i in range(1, 5)},
}


@pytest.fixture
def solving(tmp_path: Path) -> Iterator[tuple[App, dict[str, str]]]:
    """An application with a worker, in which nothing takes long, and an operator's token."""
    url = f"sqlite:///{tmp_path / 'foreswap.db'}"
    store: Any = open_store(url)
    fill(store)
    pool = SolverPool(PoolSettings())
    limits = SolveLimits(max_limit_s=0.2)
    desk = Desk(
        pool,
        store,
        name="test",
        now=lambda: NOW,
        settings=DeskSettings(limits=limits, store_url=url),
    )
    wanted = tokens.NewToken(name="fuzz", role=Role.OPERATOR)
    with store.begin() as tx:
        _, secret = tokens.create(tx, MAKER, wanted, NOW)
    pool.start()
    yield (
        create_app(Services(store=store, now=lambda: NOW, desk=desk)),
        {"operator": f"Bearer {secret}"},
    )
    pool.close()
    store.close()


@st.composite
def solves(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a right request about a cluster as broken as real ones."""
    cluster, scenarios = draw(problems(max_hosts=3, max_vms=6))
    request = {"cluster": cluster_to_document(cluster), "options": OPTIONS}
    if draw(st.booleans()):
        request["scenarios"] = scenarios_to_document(scenarios)
    return request


@st.composite
def whatifs(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a right question about the cluster that is kept."""
    like = {"count": 2, "like_host_id": "h1"}
    parts: dict[str, Any] = {
        "lost_host_ids": ["h1"],
        "maintenance_host_ids": ["h2"],
        "added_hosts": [like],
        "removed_vm_ids": ["v4"],
        "added_vms": [{"count": 2, "like_vm_id": "v1", "apart": True}],
        "demand_factors": [{"factor": 1.5, "group": "shop"}],
        "priorities": {"v2": 9},
        "rules": [{"id": "r", "kind": "anti_affinity", "vm_ids": ["v1", "v2"]}],
        "room": {"vms": {"allocation": {"cpu_millicores": 1000, "memory_mib": 1024}}},
        "hosts_needed": {"types": [{"like_host_id": "h3", "price": 3}]},
    }
    chosen = draw(st.sets(st.sampled_from(sorted(parts)), max_size=4))
    forms: list[dict[str, Any]] = [
        {"horizon": "present"},
        {"quantiles": QUANTILES},
        {"history": HISTORY},
        {},
    ]
    demand = draw(st.sampled_from(forms))
    return {"options": OPTIONS, **demand, **{name: parts[name] for name in chosen}}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("examples", [12, pytest.param(1000, marks=pytest.mark.slow)])
def test_whatever_is_asked_is_answered(solving: tuple[App, dict[str, str]], examples: int) -> None:
    """Right requests are solved; broken ones are refused, or solved where they still make sense."""
    right = {"solve.run": solves(), "whatif.ask": whatifs()}
    wrong = {name: bodies.flatmap(broken) for name, bodies in right.items()}
    for bodies, usual in ((right, 200), (wrong, 422)):
        asked = fuzz_bodies(*solving, KNOWN, bodies, examples=examples)
        assert not asked.wrong, "\n\n".join(f"{n}: {told}" for n, told in asked.wrong.items())
        for counted in asked.statuses.values():
            assert counted[usual] > 0, counted
            assert set(counted) <= {200, 202, 400, 404, 409, 422}, counted
