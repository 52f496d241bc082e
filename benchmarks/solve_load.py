"""How long `POST /solve` takes under an open load: requests come when they come, answered or not.

Protocol: a service of its own with one worker and its store in a temporary folder. Small requests
(10 hosts, 100 VMs, 16 scenarios, limit 100 ms) arrive at a fixed rate; each is timed from when it
was due, so that one that waits for others counts its waiting. Then larger ones (50 hosts, 1,000
VMs, 16 scenarios, limit 1 s), one at a time.

    python -m benchmarks.solve_load [--seconds 60] [--rate 4] [--json OUT]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import urllib3

from benchmarks.instances.synthetic import synthetic
from benchmarks.serving import Serving, serving
from service.replay.report import machine
from solver.instances import cluster_to_document, scenarios_to_document

NUM_SCENARIOS: Final = 16
VARIANTS: Final = 20
"""Different clusters that requests are made of, so that no answer is remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One request: seconds from when it was due, and its status."""

    seconds: float
    status: int


def body(num_hosts: int, num_vms: int, limit_s: float, seed: int) -> bytes:
    """Return a request about a contended cluster."""
    made = synthetic(num_hosts=num_hosts, num_vms=num_vms, fill=0.75, seed=seed)
    request = {
        "cluster": cluster_to_document(made.cluster),
        "scenarios": scenarios_to_document(made.futures(NUM_SCENARIOS)),
        "options": {"limit_s": limit_s},
    }
    return json.dumps(request).encode()


def open_load(service: Serving, bodies: list[bytes], *, rate: float, number: int) -> list[Answered]:
    """Send requests at a fixed rate, whether or not those before were answered."""
    http = urllib3.PoolManager(maxsize=64)
    start_s = time.perf_counter() + 1.0

    def ask(i: int) -> Answered:
        due_s = start_s + i / rate
        time.sleep(max(0.0, due_s - time.perf_counter()))
        status = post(http, service, bodies[i % len(bodies)])
        return Answered(seconds=time.perf_counter() - due_s, status=status)

    with ThreadPoolExecutor(64) as pool:
        return list(pool.map(ask, range(number)))


def one_at_a_time(service: Serving, bodies: list[bytes]) -> list[Answered]:
    """Send each request once the one before was answered."""
    http = urllib3.PoolManager()
    answered = []
    for one in bodies:
        begin_s = time.perf_counter()
        status = post(http, service, one)
        answered.append(Answered(seconds=time.perf_counter() - begin_s, status=status))
    return answered


def post(http: urllib3.PoolManager, service: Serving, one: bytes) -> int:
    """Ask for one solve and return the status."""
    headers = {**service.headers, "Content-Type": "application/json"}
    answer = http.request(
        "POST", f"{service.url}/api/v1/solve", body=one, headers=headers, retries=False
    )
    return int(answer.status)


def figures(answered: list[Answered]) -> dict[str, Any]:
    """Return quantiles of those that were solved, and how many were not."""
    solved = [item.seconds for item in answered if item.status == 200]
    p50, p95, p99 = np.quantile(solved, [0.5, 0.95, 0.99]).tolist() if solved else [None] * 3
    return {
        "requests": len(answered),
        "statuses": dict(Counter(str(item.status) for item in answered)),
        "p50_s": p50,
        "p95_s": p95,
        "p99_s": p99,
        "max_s": max(solved, default=None),
    }


def main() -> None:
    """Measure, show and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=4.0)
    parser.add_argument("--large", type=int, default=10, help="number of larger requests")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    small = [body(10, 100, 0.1, seed) for seed in range(VARIANTS)]
    large = [body(50, 1_000, 1.0, seed) for seed in range(arguments.large)]
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as service:
        one_at_a_time(service, small[:4])
        number = round(arguments.seconds * arguments.rate)
        found = {
            "machine": machine(),
            "rate_per_s": arguments.rate,
            "small": figures(open_load(service, small, rate=arguments.rate, number=number)),
            "large": figures(one_at_a_time(service, large)),
        }
    text = json.dumps(found, indent=2)
    print(text)
    if arguments.json is not None:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
