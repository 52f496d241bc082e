"""A day of readings, forecasts and migrations of one host, put straight into the store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from forecast.history import STEP_SECONDS, History
from service.inventory.rules import put_rule
from service.plans.document import with_entry
from service.runtime.kept import CONTENTION, FORECAST, QUALITY
from service.runtime.past_fans import HOURS_KEPT, to_keep
from service.runtime.window import on_grid
from service.store.base import PlanStage
from solver.domain.rules import AntiAffinity, Ban
from solver.domain.units import NUM_RESOURCES, HostId, Resource, VmId
from tests.browser.plans import NUM_STEPS, keep_plan
from tests.browser.served import ADMIN, CLUSTER, Served, present
from tests.fans import make_fans

HOST: Final = "host-003"
VM: Final = "vm-00003"
NUM_BINS: Final = 30 * 12
_GUESTS: Final = tuple(f"vm-{i:05d}" for i in range(3, 300, 6))
"""The VMs of the host in the cluster of the tests."""


def add_past(
    served: Served, guests: Sequence[str] = _GUESTS, num_there: int = len(_GUESTS)
) -> None:
    """Let VMs and a host have a past: 30 hours of readings, a fan an hour, a plan done.

    Parameters
    ----------
    num_there
        VMs on the host, which is thought to need as much as they do.
    """
    end_at = on_grid(present())
    start_at = end_at - timedelta(seconds=NUM_BINS * STEP_SECONDS)
    hours = np.arange(NUM_BINS) / 12
    # A calm day's course around 0.8 cores, with noise that has a seed.
    course = 800 + 300 * np.sin(2 * np.pi * hours / 24)
    noise = np.random.default_rng(1).normal(1.0, 0.06, (len(guests), NUM_BINS))
    readings = np.full((NUM_RESOURCES, len(guests), NUM_BINS), np.nan, dtype=np.float32)
    readings[Resource.CPU] = course * noise
    readings[Resource.MEMORY] = 600 * noise
    served.services.store.telemetry.put_history(CLUSTER, _history(guests, readings, start_at))
    for hours_ago in range(HOURS_KEPT):
        at = end_at - timedelta(hours=hours_ago)
        level = float(course[NUM_BINS - 1 - 12 * hours_ago])
        fans = make_fans(
            at, dict.fromkeys(guests, level), {HOST: level * num_there}, memory_mib=600.0
        )
        _forecast(served, at, fans, latest=hours_ago == 0)
    _run_a_plan(served, end_at - timedelta(hours=5))
    _put_rules(served)


def _history(guests: Sequence[str], readings: np.ndarray, start_at: datetime) -> History:
    shape = readings.shape[1:]
    return History(
        vm_ids=tuple(VmId(vm_id) for vm_id in guests),
        start_at=start_at,
        readings=readings,
        state=np.zeros(shape, dtype=np.uint8),
        granted_mib=np.full(shape, np.nan, dtype=np.float32),
        vcpus=np.full(len(guests), 2, dtype=np.int64),
        memory_size_mib=np.full(len(guests), 1024, dtype=np.int64),
        app_types=(None,) * len(guests),
    )


def _forecast(served: Served, at: datetime, fans: bytes, *, latest: bool) -> None:
    blobs = to_keep(served.services.store, CLUSTER, at, fans)
    if latest:
        blobs |= {FORECAST: fans, CONTENTION: _contention(at), QUALITY: _quality()}
    with served.services.store.begin() as tx:
        for name, data in blobs.items():
            tx.blobs.put(CLUSTER, name, at, data)


def _contention(at: datetime) -> bytes:
    row = {
        "host_id": HOST,
        "current_host_s": 0.0,
        "predicted_host_s": 12.5,
        "score_host_s": 12.5,
        "overload_probability": 0.08,
        "used": {"cpu_millicores": 41_000, "memory_mib": 30_000},
    }
    told = {"at": at.isoformat(), "forecaster": "boosted trees", "hosts": [row]}
    return json.dumps(told).encode()


def _quality() -> bytes:
    coverage = {"cpu_millicores": {"0.95": 0.943}, "memory_mib": {"0.95": 0.961}}
    return json.dumps({"coverage": coverage, "pinball": {"cpu_millicores": 0.31}}).encode()


def _put_rules(served: Served) -> None:
    """Let the VM stay away from another one, and off a host."""
    vm_id = VmId(VM)
    apart = AntiAffinity(id="web-apart", vm_ids=(vm_id, VmId("vm-00004")))
    off = Ban(id="old-hosts", vm_ids=(vm_id,), host_ids=(HostId("host-000"),))
    with served.services.store.begin() as tx:
        for rule in (apart, off):
            put_rule(tx, ADMIN, CLUSTER, rule, proposal=None, expected_revision=None, now=present())


def _run_a_plan(served: Served, at: datetime) -> None:
    """Keep a plan that is done: its last move left the host, one failed."""
    kept = keep_plan(served, at)
    steps = [
        {
            "state": "done" if i else "failed",
            "reason": "" if i else "the destination had no room",
            "started_at": (at + timedelta(seconds=4 * i)).isoformat(),
            "ended_at": (at + timedelta(seconds=4 * i + 3)).isoformat(),
            "fraction": 1.0,
            "transferred_mib": 1500,
            "downtime_ms": 80 + i,
        }
        for i in range(NUM_STEPS)
    ]
    done = with_entry(kept, PlanStage.DONE, progress={"state": "done", "steps": steps})
    with served.services.store.begin() as tx:
        tx.plans.put(done, expected_revision=kept.revision)
