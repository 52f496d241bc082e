"""What is kept of a cluster as a whole, made by a keeper."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.runtime.kept import FORECAST, OUTLOOK, fan_from_bytes
from service.runtime.outlook import survival_document
from solver.capacity.survival import survival
from tests.builders import make_cluster, make_host, make_vm
from tests.keeping import CLUSTER, Kept


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    """A cluster that was forecast once."""
    kept = Kept(tmp_path, schedule={"paused": True})
    kept.pass_time(hours=0.1)
    return kept


def test_an_outlook_is_kept_beside_the_forecast(kept: Kept) -> None:
    """Its peaks are the largest of the fans, its room and N+1 those of the cluster."""
    with kept.store.begin(read_only=True) as tx:
        fans, outlook = tx.blobs.get(CLUSTER, FORECAST), tx.blobs.get(CLUSTER, OUTLOOK)
    assert fans is not None
    assert outlook is not None
    told: dict[str, Any] = json.loads(outlook[1])
    fan = fan_from_bytes(fans[1], host_id="h1")
    assert fan is not None
    cpu = fan["resources"]["cpu_millicores"]
    shown = told["hosts"]["h1"]["cpu_millicores"]
    assert shown["p95"] == max(row[fan["quantiles"].index(0.95)] for row in cpu)
    assert shown["p50"] == max(row[fan["quantiles"].index(0.5)] for row in cpu)
    assert 0 < shown["p50"] < shown["p95"]
    assert told["headroom"]["memory_mib"]["capacity"] == 3 * 1024 * 1024
    assert told["survival"]["num_judged"] == 1
    assert told["survival"]["survives"] is True


def test_the_worst_loss_is_named() -> None:
    """Where a host may not be lost, it is told which, and what is short."""
    hosts = [make_host("h1", memory_gib=8), make_host("h2", memory_gib=4)]
    vms = [make_vm("v1", "h1", memory_gib=6), make_vm("v2", "h2", memory_gib=1)]
    told = survival_document(survival(make_cluster(hosts, vms)))
    assert (told["survives"], told["num_judged"], told["num_fatal"]) == (False, 2, 1)
    assert told["worst"]["host_id"] == "h1"
    assert told["worst"]["num_left_out"] == 1
    assert "memory" in told["worst"]["lacks"]
