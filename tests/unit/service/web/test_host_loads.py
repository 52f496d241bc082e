"""Loads of hosts as the overview shows them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.inventory.clusters import put_cluster, put_snapshot
from service.inventory.policies import ClusterSettings
from service.runtime.kept import CONTENTION, OUTLOOK
from service.security.principal import Principal, Role
from service.store.base import Store
from service.store.sql import open_store
from service.web.host_loads import ClusterLoad, cluster_load, promised_percent, survival_told, told
from solver.domain.cluster import HostState
from solver.domain.units import Resource
from tests.builders import NOW, make_cluster, make_host, make_vm

ADMIN = Principal(name="ada", role=Role.ADMIN)
CONTENDED = {
    "at": NOW.isoformat(),
    "forecaster": "persistence",
    "total_host_s": 3.5,
    "hosts": [
        {
            "host_id": "h1",
            "score_host_s": 3.5,
            "overload_probability": 0.25,
            "used": {"cpu_millicores": 5_000, "memory_mib": 51_200},
        }
    ],
}
AHEAD = {
    "hosts": {"h1": {"cpu_millicores": {"p50": 6_000.0, "p95": 11_000.0}}},
    "headroom": {},
    "survival": {"survives": True},
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store with two hosts in zones, one of them closed, and three VMs."""
    opened: Any = open_store(f"sqlite:///{tmp_path / 'store.db'}")
    hosts = [
        make_host("h1", zone="b"),
        make_host("h0", zone="a", state=HostState.MAINTENANCE),
    ]
    vms = [make_vm(f"v{i}", "h1", cores=5, memory_gib=25) for i in range(3)]
    with opened.begin() as tx:
        settings = ClusterSettings(name="one")
        put_cluster(tx, ADMIN, "c1", settings, expected_revision=0, now=NOW)
        put_snapshot(tx, ADMIN, "c1", make_cluster(hosts, vms), now=NOW)
    yield opened
    opened.close()


def loaded(store: Store) -> ClusterLoad:
    """Return what the page would show now."""
    with store.begin(read_only=True) as tx:
        return cluster_load(tx, "c1")


def test_without_a_forecast_what_is_promised_is_known(store: Store) -> None:
    """Meters say so, and nothing is made up of what lies ahead."""
    load = loaded(store)
    assert list(load.zones) == ["a", "b"]
    [host] = load.zones["b"]
    cpu, memory = host.meters
    assert (cpu.promised, cpu.most_promised, cpu.now, cpu.p95) == (150, None, None, None)
    assert (memory.promised, memory.most_promised) == (75, 100)
    assert host.score_host_s is None
    assert load.forecast_at is None
    assert "not forecast yet" in told(cpu, "h1")
    assert promised_percent(load, Resource.CPU) == 150
    assert promised_percent(load, Resource.DISK_IO) is None


def test_a_forecast_gives_load_now_and_ahead(store: Store) -> None:
    """In percent of what VMs may use; a host that is new since has none."""
    with store.begin() as tx:
        tx.blobs.put("c1", CONTENTION, NOW, json.dumps(CONTENDED).encode())
        tx.blobs.put("c1", OUTLOOK, NOW, json.dumps(AHEAD).encode())
    load = loaded(store)
    [host], [new] = load.zones["b"], load.zones["a"]
    cpu, memory = host.meters
    assert (cpu.now, cpu.p50, cpu.p95) == (50, 60, 110)
    assert (memory.now, memory.p50) == (50, None)
    assert (host.score_host_s, host.overload_probability) == (3.5, 0.25)
    assert new.score_host_s is None
    assert new.meters[0].now is None
    assert told(cpu, "h1").startswith("CPU of h1: 50 % now; next hour 60 % (p50), 110 % (p95)")


def test_losing_a_host_in_words() -> None:
    """What is bad is told with the worst host; what is not known is not told as good."""
    worst = {"host_id": "h1", "num_left_out": 2, "lacks": "memory"}
    bad = {"survives": False, "num_judged": 5, "num_fatal": 2, "num_unknown": 0, "worst": worst}
    assert survival_told(bad) == ("not for 2 of 5 hosts, h1 the worst", True)
    open_ones = {"survives": None, "num_judged": 5, "num_fatal": 0, "num_unknown": 1, "worst": None}
    assert survival_told(open_ones) == ("not known of 1 host", False)
    assert survival_told({"survives": True}) == ("any one host may be lost", False)
    assert survival_told(None) == ("not judged yet", False)
