"""Reads of 50 clients while telemetry of 10,000 VMs comes in every minute, and memory over time.

Protocol: a service of its own with its store in a temporary folder and a cluster of 100 hosts with
100 VMs each. Every host delivers its minute once a minute, spread over it. Every 30 seconds another
process writes what a driver saw, some VMs moved and some dirtier, as the process that leads does;
monitors have a process of their own, too. Clients read clusters, hosts, VMs, jobs and single VMs in
turn, each with a pause between the answer and its next request. What all processes of the service
hold is looked at every few seconds; by how much that grew is told from the medians of the second
and the last fifth of the time.

    python -m benchmarks.service_soak [--seconds 600] [--clients 50] [--pause 1.0] [--json OUT]
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
import urllib3

from benchmarks.ingest import made_up_minutes
from benchmarks.serving import CLUSTER, Serving, serving
from executor.monitor import wire
from executor.monitor.delivery import ENVELOPE_SCHEMA
from service.inventory.clusters import keep_snapshot
from service.replay.report import machine
from service.store.sql import open_store
from solver.domain.cluster import VM, Cluster, Host
from solver.domain.units import Amounts, HostId, Limits, VmId
from solver.instances import cluster_to_document

LOOK_S: Final = 5.0
MINUTE_S: Final = 60.0
SEEN_EVERY_S: Final = 30.0
CHANGED_SHARE: Final = 0.02
"""Of the VMs, between two looks of a driver."""


def cluster(num_hosts: int, vms_per_host: int) -> Cluster:
    """Return hosts and VMs of the names that their telemetry has."""
    capacity = Limits(cpu_millicores=64_000, memory_mib=524_288)
    hosts = tuple(Host(id=HostId(f"host-{h:03}"), capacity=capacity) for h in range(num_hosts))
    vms = tuple(
        VM(
            id=VmId(f"vm-{v:06}"),
            host_id=hosts[v // vms_per_host].id,
            allocation=Amounts(cpu_millicores=4_000, memory_mib=4_096),
        )
        for v in range(num_hosts * vms_per_host)
    )
    return Cluster(observed_at=datetime.now(UTC), hosts=hosts, vms=vms)


def set_up(service: Serving, num_hosts: int, vms_per_host: int) -> None:
    """Make the cluster known and put its snapshot."""
    document = cluster_to_document(cluster(num_hosts, vms_per_host))
    headers = {**service.headers, "Content-Type": "application/json"}
    root = f"{service.url}/api/v1/clusters/{CLUSTER}"
    for url, body in ((root, {"name": "Bench"}), (f"{root}/snapshot", document)):
        answer = urllib3.request("PUT", url, body=json.dumps(body), headers=headers, timeout=60.0)
        if answer.status >= 300:
            raise RuntimeError(f"PUT {url}: {answer.status} {answer.data[:500]!r}")


class Ingest:
    """Delivers a minute of every host each minute, until it is stopped."""

    def __init__(self, service: Serving, num_hosts: int, vms_per_host: int) -> None:
        rng = np.random.default_rng(0)
        self._service = service
        self._hosts = [made_up_minutes(host, vms_per_host, rng) for host in range(num_hosts)]
        self._http = urllib3.PoolManager(maxsize=4)
        self.statuses: Counter[str] = Counter()

    def run(self, over: Callable[[float], bool]) -> None:
        """Deliver until it is over, which is asked while it waits so many seconds."""
        begin_s = time.monotonic()
        for number in itertools.count():
            due_s = begin_s + number * MINUTE_S / len(self._hosts)
            if over(max(0.0, due_s - time.monotonic())):
                return
            self._deliver(number % len(self._hosts), 1 + number // len(self._hosts))

    def _deliver(self, host: int, seq: int) -> None:
        variants = self._hosts[host]
        minute_at = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=1)
        record = replace(variants[seq % len(variants)], minute_at=minute_at)
        batch = {
            "schema": ENVELOPE_SCHEMA,
            "host": record.host_id,
            "stream": "bench",
            "records": [{"seq": seq, "minute": json.loads(wire.encode(record))}],
        }
        answer = self._http.request(
            "POST",
            f"{self._service.url}/api/v1/ingest/{CLUSTER}",
            body=json.dumps(batch),
            headers={**self._service.agent_headers, "Content-Type": "application/json"},
            retries=False,
        )
        self.statuses[str(answer.status)] += 1


def deliver(service: Serving, num_hosts: int, vms_per_host: int, told: Connection) -> None:
    """Deliver until anything is told, and answer with how often what was answered."""
    ingest = Ingest(service, num_hosts, vms_per_host)
    ingest.run(told.poll)
    told.send(dict(ingest.statuses))


@contextmanager
def delivered(service: Serving, num_hosts: int, vms_per_host: int) -> Iterator[dict[str, int]]:
    """Let monitors deliver within the block, from a process of its own; after it, say how it went.

    Making a record takes as long as several reads: the clients would wait for it, and not for the
    service.
    """
    spawn = multiprocessing.get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(
        target=deliver, args=(service, num_hosts, vms_per_host, there), daemon=True
    )
    process.start()
    statuses: dict[str, int] = {}
    try:
        yield statuses
    finally:
        here.send(None)
        statuses.update(here.recv())
        process.join()


def look_at_hosts(url: str, num_hosts: int, vms_per_host: int) -> None:
    """Write again and again what a driver saw, until the process is ended."""
    rng = np.random.default_rng(1)
    store = open_store(url)
    seen = cluster(num_hosts, vms_per_host)
    while True:
        time.sleep(SEEN_EVERY_S)
        chosen = set(rng.choice(len(seen.vms), round(CHANGED_SHARE * len(seen.vms))).tolist())
        host_ids = [seen.hosts[h].id for h in rng.integers(num_hosts, size=len(seen.vms))]
        vms = tuple(
            replace(vm, host_id=host_ids[v], dirty_mib_per_s=v % 100) if v in chosen else vm
            for v, vm in enumerate(seen.vms)
        )
        seen = replace(seen, observed_at=datetime.now(UTC), vms=vms)
        with store.begin() as tx:
            keep_snapshot(tx, CLUSTER, seen, now=seen.observed_at)


@contextmanager
def looked_at(url: str, num_hosts: int, vms_per_host: int) -> Iterator[None]:
    """Let a driver look at the hosts within the block, from a process of its own."""
    process = multiprocessing.get_context("spawn").Process(
        target=look_at_hosts, args=(url, num_hosts, vms_per_host), daemon=True
    )
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def reader(service: Serving, paths: list[str], pause_s: float) -> Callable[[Any], list[Any]]:
    """Return what one client does: read in turn until it is over."""

    def run(job: tuple[int, threading.Event]) -> list[tuple[float, int]]:
        first, over = job
        http = urllib3.PoolManager()
        answered: list[tuple[float, int]] = []
        over.wait(pause_s * (first % 50) / 50)
        for path in itertools.islice(itertools.cycle(paths), first, None):
            if over.wait(pause_s):
                return answered
            begin_s = time.perf_counter()
            answer = http.request(
                "GET", f"{service.url}/api/v1{path}", headers=service.headers, retries=False
            )
            answered.append((time.perf_counter() - begin_s, answer.status))
        return answered

    return run


def held_mib(process_id: int) -> float:
    """Return what a process and all below it hold, in MiB."""
    parent = psutil.Process(process_id)
    held = 0
    for process in (parent, *parent.children(recursive=True)):
        try:
            held += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return held / 2**20


def measured(
    service: Serving, *, hosts: int, vms: int, clients: int, pause_s: float, seconds: float
) -> dict[str, Any]:
    """Run it all for so long, and return figures."""
    set_up(service, hosts, vms)
    paths = [
        "/clusters",
        f"/clusters/{CLUSTER}/hosts?limit=100",
        f"/clusters/{CLUSTER}/vms?limit=100",
        f"/clusters/{CLUSTER}/vms/vm-000042",
        "/jobs",
    ]
    over, memory = threading.Event(), []
    with (
        delivered(service, hosts, vms) as statuses,
        looked_at(service.store_url, hosts, vms),
        ThreadPoolExecutor(clients) as pool,
    ):
        run = reader(service, paths, pause_s)
        running = [pool.submit(run, (first, over)) for first in range(clients)]
        ends_s = time.monotonic() + seconds
        while time.monotonic() < ends_s:
            time.sleep(min(LOOK_S, max(0.0, ends_s - time.monotonic())))
            memory.append(round(held_mib(service.process_id), 1))
        over.set()
        answered = [item for one in running for item in one.result()]
    return {"reads": figures(answered), "ingest": statuses} | held(memory)


def held(memory: list[float]) -> dict[str, Any]:
    """Return what was held, and by how much it grew once everything had been read once."""
    fifth = max(1, len(memory) // 5)
    second = memory[fifth : 2 * fifth] or memory
    early, late = float(np.median(second)), float(np.median(memory[-fifth:]))
    return {"held_mib": memory, "grown_mib": round(late - early, 1)}


def figures(answered: list[tuple[float, int]]) -> dict[str, Any]:
    """Return quantiles of what was answered well, and how often what was."""
    good = [seconds for seconds, status in answered if status == 200]
    p50, p95, p99 = np.quantile(good, [0.5, 0.95, 0.99]).tolist() if good else [None] * 3
    return {
        "requests": len(answered),
        "statuses": dict(Counter(str(status) for _, status in answered)),
        "p50_s": p50,
        "p95_s": p95,
        "p99_s": p99,
    }


def main() -> None:
    """Measure, show and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--pause", type=float, default=1.0, help="seconds between requests")
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--vms", type=int, default=100, help="on each host")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as service:
        found = measured(
            service,
            hosts=arguments.hosts,
            vms=arguments.vms,
            clients=arguments.clients,
            pause_s=arguments.pause,
            seconds=arguments.seconds,
        )
    text = json.dumps({"machine": machine(), **found}, indent=2)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
