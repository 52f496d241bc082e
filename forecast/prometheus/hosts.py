"""Read what hosts have and use from Prometheus, as ``node_exporter`` tells it.

Capacity and load as a whole, with what runs beside VMs; no share of any VM is known here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
import numpy.typing as npt

from forecast.history import STEP_SECONDS
from forecast.prometheus.assembly import MIN_COVERED
from forecast.prometheus.client import PrometheusClient
from forecast.prometheus.coverage import usual_samples
from forecast.prometheus.presets import DEVICES
from forecast.prometheus.queries import Stretch, Table, ask, host_of
from forecast.prometheus.settings import COUNTERS, Settings
from forecast.prometheus.vms import stretch_of
from forecast.tidy_columns import stamp
from solver.domain.errors import InvalidInputError, TelemetrySourceError
from solver.domain.units import HostId

IDLE_MODES: Final = "idle|iowait|steal|guest|guest_nice"
"""Time in which a CPU did nothing, was not there, or that user time has in it already."""

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HostLoads:
    """What hosts have and use, bin by bin.

    Parameters
    ----------
    host_ids
        The hosts, in the order of the first axis of every array.
    start_at
        Start of the first bin.
    cpu_cores
        CPUs that are on, shape ``(num_hosts, num_bins)``; NaN where unknown, as in all of them.
    cpu_used
        How many of them were busy.
    memory_mib, memory_used_mib
        Memory in all, and what of it is not available to a new process.
    disk_kib_per_s, net_kib_per_s
        Both directions together, of devices that are the machine's own.
    """

    host_ids: tuple[HostId, ...]
    start_at: datetime
    step_seconds: int
    cpu_cores: Doubles
    cpu_used: Doubles
    memory_mib: Doubles
    memory_used_mib: Doubles
    disk_kib_per_s: Doubles
    net_kib_per_s: Doubles


def read_hosts(
    client: PrometheusClient,
    settings: Settings,
    *,
    from_at: datetime,
    until_at: datetime,
    step_seconds: int = STEP_SECONDS,
) -> HostLoads:
    """Return what ``node_exporter`` told of every host.

    A bin of which less than half of the usual samples are there is unknown.

    Parameters
    ----------
    from_at, until_at
        The first instant wanted and the first not wanted any more; bins that lie in between
        as a whole are read.

    Raises
    ------
    TelemetrySourceError
        If Prometheus does not answer, or has nothing to tell of that time.
    InvalidInputError
        If a host is told of by two exporters.
    """
    whole = stretch_of(from_at, until_at, step_seconds)
    queries = _queries(settings, step_seconds)
    scales = {name: measure.scale for name, measure in settings.host.items()}
    table = Table(stretch=whole, labels=(settings.host_label,))
    found = {
        name: ask(client, table, query) * scales.get(name, 1.0) for name, query in queries.items()
    }
    found = {name: table.grown(values) for name, values in found.items()}
    if not table.rows:
        raise TelemetrySourceError(
            f"Prometheus has nothing from {stamp(whole.start_s)} to {stamp(whole.end_s)} for "
            f"{queries['samples']!r}; expected samples of every host"
        )
    hosts = tuple(HostId(host_of(instance)) for (instance,) in table.rows)
    if len(set(hosts)) < len(hosts):
        twice = next(host for host in hosts if hosts.count(host) > 1)
        raise InvalidInputError(
            f"host {twice!r} is told of by two exporters; expected one: choose by select.host"
        )
    counts = np.nan_to_num(found["samples"])
    unknown = ~(counts >= np.maximum(2.0, MIN_COVERED * usual_samples(counts)))
    for values in found.values():
        values[unknown] = np.nan
    return _loads(found, hosts, whole)


def _queries(settings: Settings, step_seconds: int) -> dict[str, str]:
    """Return the query for each quantity of hosts; a settings' own query is taken as it is."""
    host, step = settings.host_label, f"[{step_seconds}s]"
    queries = {}
    for name, measure in settings.host.items():
        own = DEVICES.get(name, f'mode!~"{IDLE_MODES}"' if name == "cpu_time" else "")
        matchers = ", ".join(part for part in (settings.host_select, own) if part)
        selector = f"{measure.metric}{{{matchers}}}"
        if measure.query:
            queries[name] = measure.query.replace("$bin", step[1:-1])
        elif name in COUNTERS:
            # One exporter scraped by two jobs must not count twice; CPUs and devices do add up.
            queries[name] = (
                f"sum by ({host}) (max by ({host}, cpu, mode, device) (rate({selector}{step})))"
            )
        else:
            queries[name] = f"max by ({host}) (avg_over_time({selector}{step}))"
    cpu = settings.host.get("cpu_time")
    if cpu is None or not cpu.metric:
        raise InvalidInputError("expected a metric", path="host.cpu_time")
    matchers = ", ".join(part for part in (settings.host_select, 'mode="idle"') if part)
    of_each = f"count_over_time({cpu.metric}{{{matchers}}}{step})"
    queries["cores"] = f"count by ({host}) (max by ({host}, cpu) ({of_each}))"
    queries["samples"] = f"max by ({host}) ({of_each})"
    return queries


def _loads(found: dict[str, Doubles], hosts: tuple[HostId, ...], whole: Stretch) -> HostLoads:
    nothing = np.full_like(found["samples"], np.nan)
    mib = 1024.0 * 1024.0

    def get(name: str) -> Doubles:
        return found.get(name, nothing)

    return HostLoads(
        host_ids=hosts,
        start_at=datetime.fromtimestamp(whole.start_s, tz=UTC),
        step_seconds=whole.step_seconds,
        cpu_cores=get("cores"),
        cpu_used=get("cpu_time"),
        memory_mib=get("memory_size") / mib,
        memory_used_mib=np.maximum(0.0, get("memory_size") - get("memory_usable")) / mib,
        disk_kib_per_s=(get("disk_read") + get("disk_write")) / 1024.0,
        net_kib_per_s=(get("net_receive") + get("net_transmit")) / 1024.0,
    )
