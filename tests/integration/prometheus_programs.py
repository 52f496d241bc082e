"""The real Prometheus and exporters, on free ports of this machine, gone when the test is over."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import urllib3

from tests.machine import without

PROGRAMS = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-node-exporter": "prometheus-node-exporter",
    "prometheus-libvirt-exporter": "prometheus-libvirt-exporter",
    "setpriv": "util-linux",
}
"""Debian's package for each program."""
READY_TIMEOUT_S = 60.0


def require_programs() -> None:
    """Skip the test where a program is missing; with CI=true fail it."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if not missing:
        return
    packages = " ".join(sorted({PROGRAMS[name] for name in missing}))
    without(f"{', '.join(missing)} not found: run make lab, or install {packages}")


def wait_until(done: Callable[[], bool], what: str, *, timeout_s: float = READY_TIMEOUT_S) -> None:
    """Wait for a condition, and fail with what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {timeout_s:g} s in vain: {what}")
        time.sleep(0.1)


def get(url: str, fields: Mapping[str, str] | None = None) -> bytes | None:
    """Return what an address answers, ``None`` if it does not or not with 200."""
    try:
        response = urllib3.request(
            "GET", url, fields=dict(fields or {}), retries=False, timeout=10.0
        )
    except urllib3.exceptions.HTTPError:
        return None
    return response.data if response.status == 200 else None


def free_port() -> int:
    """Return a port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def program(log: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that ends with the block, or with the tests however these end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def exporter(folder: Path, name: str, *options: str) -> Iterator[str]:
    """Run an exporter and yield its address, such as 127.0.0.1:9177, once it tells something."""
    address = f"127.0.0.1:{free_port()}"
    log = folder / f"{name}-{address.rpartition(':')[2]}.log"
    with program(log, name, f"--web.listen-address={address}", *options):
        wait_until(lambda: get(f"http://{address}/metrics") is not None, f"{name} tells something")
        yield address


class RealPrometheus:
    """A Prometheus with a data folder of its own."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url

    def value(self, query: str, at: float | None = None) -> float | None:
        """Return the value of a query with one series, ``None`` if there is none."""
        fields = {"query": query} | ({} if at is None else {"time": str(at)})
        body = get(f"{self.url}/api/v1/query", fields)
        result = json.loads(body)["data"]["result"] if body else []
        return float(result[0]["value"][1]) if result else None


@contextlib.contextmanager
def prometheus(
    folder: Path,
    *,
    targets: Mapping[str, Sequence[tuple[str, str]]] | None = None,
    retention: str = "15d",
) -> Iterator[RealPrometheus]:
    """Run a Prometheus that scrapes every second.

    Parameters
    ----------
    targets
        By job, addresses and the value of the label ``host`` to give each.
    """
    jobs = [
        {
            "job_name": job,
            "static_configs": [
                {"targets": [to], "labels": {"host": host}} for to, host in addresses
            ],
        }
        for job, addresses in (targets or {}).items()
    ]
    config = folder / "prometheus.yml"
    # JSON is YAML.
    config.write_text(
        json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}), encoding="utf-8"
    )
    address = f"127.0.0.1:{free_port()}"
    with program(
        folder / "prometheus.log",
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--storage.tsdb.retention.time={retention}",
        f"--web.listen-address={address}",
    ):
        url = f"http://{address}"
        wait_until(lambda: get(f"{url}/-/ready") is not None, "Prometheus is ready")
        yield RealPrometheus(folder, url)


def backfill(folder: Path, openmetrics: Path) -> None:
    """Put the samples of an OpenMetrics file into the data folder of a Prometheus to be started.

    The file is read once for each block, so there must be few.
    """
    data = folder / "data"
    data.mkdir(exist_ok=True)
    subprocess.run(
        [
            "promtool",
            "tsdb",
            "create-blocks-from",
            "--max-block-duration=672h",
            "openmetrics",
            openmetrics,
            data,
        ],
        check=True,
        capture_output=True,
    )
