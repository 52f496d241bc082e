"""What the runtime keeps of a cluster, made up so that no test has to wait for a forecast."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Final

from service.inventory.effective import look_up
from service.runtime.kept import CONTENTION, OUTLOOK, RUNTIME
from solver.domain.cluster import Host
from tests.browser.served import CLUSTER, Served

HOT: Final = 7
"""Every so manieth host is about to be short."""


def keep_outlook(served: Served, at: datetime) -> None:
    """Let a service know a forecast of every host, some of them hot."""
    with served.services.store.begin(read_only=True) as tx:
        hosts = look_up(tx, CLUSTER).cluster.hosts
    documents = {
        CONTENTION: _contention(hosts, at),
        OUTLOOK: _outlook(hosts, at),
        RUNTIME: {"objections": [], "error": "", "last_outcome": "", "last_run_at": None},
    }
    with served.services.store.begin() as tx:
        for name, document in documents.items():
            tx.blobs.put(CLUSTER, name, at, json.dumps(document).encode())


def _contention(hosts: tuple[Host, ...], at: datetime) -> dict[str, Any]:
    rows = [_contended(i, host) for i, host in enumerate(hosts)]
    total = sum(row["score_host_s"] for row in rows)
    return {"at": at.isoformat(), "forecaster": "made up", "hosts": rows, "total_host_s": total}


def _contended(i: int, host: Host) -> dict[str, Any]:
    hot = i % HOT == 1
    cpu, memory, *_ = host.usable()
    assert cpu is not None
    assert memory is not None
    return {
        "host_id": host.id,
        "score_host_s": 12.5 if hot else 0.0,
        "overload_probability": 0.8 if hot else 0.1 * (i % 5 == 0),
        "used": {"cpu_millicores": cpu * _share(i) // 100, "memory_mib": memory * 7 // 10},
    }


def _outlook(hosts: tuple[Host, ...], at: datetime) -> dict[str, Any]:
    room = {"capacity": 100, "promised": 130, "expected": 55.0, "peak": 62}
    return {
        "at": at.isoformat(),
        "hosts": {host.id: _peaks(i, host) for i, host in enumerate(hosts)},
        "headroom": {"cpu_millicores": room, "memory_mib": room | {"peak": 71}},
        "survival": {
            "survives": False,
            "num_judged": len(hosts),
            "num_fatal": 1,
            "num_unknown": 0,
            "worst": {"host_id": hosts[0].id, "num_left_out": 3, "lacks": "memory"},
        },
    }


def _peaks(i: int, host: Host) -> dict[str, dict[str, float]]:
    cpu, memory, *_ = host.usable()
    assert cpu is not None
    assert memory is not None
    ahead = 1.6 if i % HOT == 1 else 1.1
    return {
        "cpu_millicores": {
            "p50": cpu * _share(i) / 100 * ahead,
            "p95": cpu * _share(i) / 77 * ahead,
        },
        "memory_mib": {"p50": memory * 0.71, "p95": memory * 0.74},
    }


def _share(i: int) -> int:
    return 35 + 37 * i % 40
