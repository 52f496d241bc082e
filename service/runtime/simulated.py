"""A made-up cluster that lives by its own clock, and is the same after a restart.

Hosts, VMs and load follow from the seed, and load from the time alone, so that whoever leads next
goes on with the same cluster: where VMs stand is in the last snapshot, and what has moved since in
the journal.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from executor.clock import Clock
from executor.drivers.simulated import SimulatedDriver
from executor.records import MoveChanged, PlanBegun, Record
from executor.simulation.generator import GeneratedWorkload, GeneratorParameters, generate
from executor.simulation.workload import BIN_SECONDS, FloatArray, Life
from executor.states import MoveState
from forecast.history import STEP_SECONDS, History
from service.present import ClusterClock
from service.replay.fleet import assign_priorities, make_hosts, random_start
from solver.domain.cluster import VM, Cluster
from solver.domain.errors import InvalidInputError
from solver.domain.units import HostId, Resource, VmId

EPOCH: Final = datetime(2000, 1, 3, tzinfo=UTC)
"""A Monday: the made-up weeks begin here, and come again every four weeks."""
WEEK_BINS: Final = 7 * 86_400 // BIN_SECONDS
ROUND_BINS: Final = 4 * WEEK_BINS
BIN: Final = timedelta(seconds=BIN_SECONDS)

POPULATION: Final = 200
"""VMs whose load is made up; others are like one of them."""
NUM_HOSTS: Final = 8
NUM_VMS: Final = 80
"""Size of a cluster of which nobody said how large it is."""

BUSY_TIME_LOAD: Final = 0.75
"""Share of all cores in use when the fleet is as busy as one hour in twenty."""
ALLOCATED_MEMORY: Final = 0.8
"""Share of all memory that is promised to VMs."""


class FastClock:
    """A clock that runs at another speed than the one behind it.

    Parameters
    ----------
    behind
        Real time, or a test's.
    """

    def __init__(self, behind: Clock, clock: ClusterClock) -> None:
        self._behind = behind
        self._clock = clock

    def now(self) -> datetime:
        """Return the present instant."""
        return self._clock.own(self._behind.now())

    def sleep_until(self, instant: datetime) -> None:
        """Return once ``now()`` is at or after ``instant``."""
        self._behind.sleep_until(self._clock.real(instant))


class Load:
    """What VMs want at any time, from a seed.

    A VM that was not made up with the load, as one of a cluster that somebody put, wants as much
    for its size as one that was.
    """

    def __init__(self, seed: int) -> None:
        self._made_up: GeneratedWorkload = generate(
            np.random.default_rng([seed, 0]),
            EPOCH,
            GeneratorParameters(num_vms=POPULATION, num_bins=ROUND_BINS),
        )
        self._row = {vm.id: v for v, vm in enumerate(self._made_up.vms)}

    @property
    def vms(self) -> tuple[VM, ...]:
        """The made-up VMs, without hosts."""
        return self._made_up.vms

    def of(self, vms: Iterable[VM], start_at: datetime, num_bins: int) -> npt.NDArray[np.float32]:
        """Return demand in bins, shape ``(num_resources, num_vms, num_bins)``."""
        rows, scale = self._like(tuple(vms))
        bins = ((start_at - EPOCH) // BIN + np.arange(num_bins)) % ROUND_BINS
        readings = self._made_up.readings[:, rows[:, None], bins[None, :]]
        return np.asarray(readings * scale[:, :, None], dtype=np.float32)

    def busy_millicores(self, num_vms: int) -> float:
        """Return what the first want together when they are as busy as one hour in twenty."""
        total = self._made_up.readings[Resource.CPU, :num_vms].sum(axis=0)
        return float(np.quantile(total, 0.95))

    def _like(self, vms: tuple[VM, ...]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
        """Return the made-up VM that each is like, and how much larger each is."""
        made_up = self._made_up.vms
        rows = [self._row.get(vm.id, zlib.crc32(vm.id.encode()) % len(made_up)) for vm in vms]
        cpu, memory = (
            [
                getattr(vm.allocation, name) / max(1, getattr(made_up[row].allocation, name))
                for vm, row in zip(vms, rows, strict=True)
            ]
            for name in ("cpu_millicores", "memory_mib")
        )
        scale = np.array([cpu, memory, cpu, cpu], dtype=np.float32)
        return np.array(rows, dtype=np.intp), scale


class Wants:
    """The load of some VMs as a workload without end; see ``executor.simulation.workload``."""

    def __init__(self, load: Load, vms: tuple[VM, ...], start_at: datetime) -> None:
        self._load = load
        self._vms = vms
        self._start_at = start_at

    @cached_property
    def vm_ids(self) -> tuple[VmId, ...]:
        """The VMs, in the order of every VM axis."""
        return tuple(vm.id for vm in self._vms)

    @property
    def start_at(self) -> datetime:
        """Start of bin 0."""
        return self._start_at

    @property
    def bin_seconds(self) -> int:
        """Length of a bin."""
        return BIN_SECONDS

    @property
    def num_bins(self) -> int:
        """Number of bins: of a round, after which it begins anew."""
        return ROUND_BINS

    def demand_at(self, bin_idx: int) -> FloatArray:
        """Return demand in a bin, shape ``(num_vms, num_resources)``."""
        demand = self._load.of(self._vms, self._start_at + bin_idx * BIN, 1)
        return np.asarray(demand[:, :, 0].T, dtype=np.float64)

    def life_at(self, bin_idx: int) -> npt.NDArray[np.int8]:
        """Return the life of every VM: all run."""
        return np.full(len(self._vms), Life.RUNNING, dtype=np.int8)

    def footprint_at(self, bin_idx: int) -> npt.NDArray[np.int64] | None:
        """Return nothing: what is resident is what the VMs say."""
        return None


class SimulatedCluster:
    """The cluster: its driver, and the telemetry that monitors would deliver.

    Parameters
    ----------
    before
        As it was seen last; ``None`` makes it up.
    journal
        What was carried out, of which the last snapshot may not know yet.
    clock
        The cluster's own time.
    """

    def __init__(
        self,
        *,
        seed: int,
        before: Cluster | None,
        journal: Iterable[Record],
        clock: Clock,
    ) -> None:
        self._load = Load(seed)
        now = clock.now()
        cluster = made_up(now, seed=seed) if before is None else _since(before, journal)
        self._vms = cluster.vms
        wants = Wants(self._load, cluster.vms, _on_grid(now))
        self.driver = SimulatedDriver(cluster, wants, clock)

    def telemetry(self, start_at: datetime, end_at: datetime) -> History:
        """Return the bins of a span of time, both ends on the grid."""
        num_bins = (end_at - start_at) // BIN
        readings = self._load.of(self._vms, start_at, num_bins)
        shape = (len(self._vms), num_bins)
        return History(
            vm_ids=tuple(vm.id for vm in self._vms),
            start_at=start_at,
            readings=readings,
            state=np.zeros(shape, dtype=np.uint8),
            granted_mib=np.full(shape, np.nan, dtype=np.float32),
            vcpus=np.array([vm.allocation.cpu_millicores // 1000 for vm in self._vms]),
            memory_size_mib=np.array([vm.allocation.memory_mib for vm in self._vms]),
            app_types=tuple(vm.app_type or None for vm in self._vms),
            step_seconds=STEP_SECONDS,
        )


def _on_grid(at: datetime) -> datetime:
    return EPOCH + (at - EPOCH) // BIN * BIN


def made_up(
    now: datetime, *, seed: int, num_hosts: int = NUM_HOSTS, num_vms: int = NUM_VMS
) -> Cluster:
    """Return hosts bought for the load of some VMs, and these where chance has put them.

    Raises
    ------
    InvalidInputError
        If more VMs are wanted than are made up.
    """
    if not 1 <= num_vms <= POPULATION:
        raise InvalidInputError(f"expected 1..{POPULATION}, got {num_vms}", path="num_vms")
    load = Load(seed)
    chosen = load.vms[:num_vms]
    cores = _cores(load, chosen, num_hosts)
    hosts = make_hosts(num_hosts, cores=cores, memory_gib=_memory_gib(chosen, num_hosts))
    priorities = assign_priorities(tuple(vm.id for vm in chosen), seed)
    vms = tuple(replace(vm, priority=priorities[vm.id]) for vm in chosen)
    cluster = Cluster(observed_at=now, hosts=hosts, vms=vms)
    return cluster.with_placement(random_start(hosts, vms, seed))


def _cores(load: Load, vms: tuple[VM, ...], num_hosts: int) -> int:
    largest = max(vm.allocation.cpu_millicores for vm in vms) / 1000
    bought = load.busy_millicores(len(vms)) / 1000 / BUSY_TIME_LOAD / num_hosts
    return 4 * math.ceil(max(bought, largest) / 4)


def _memory_gib(vms: tuple[VM, ...], num_hosts: int) -> int:
    sizes = [vm.allocation.memory_mib / 1024 for vm in vms]
    bought = sum(sizes) / ALLOCATED_MEMORY / num_hosts
    return 32 * math.ceil(max(bought, 2 * max(sizes)) / 32)


def _since(before: Cluster, journal: Iterable[Record]) -> Cluster:
    """Return the cluster with what arrived after it was seen."""
    plans = {}
    placement: dict[VmId, HostId | None] = dict(before.placement)
    for record in journal:
        if isinstance(record, PlanBegun):
            plans[record.plan_id] = record.plan
        elif isinstance(record, MoveChanged) and record.state is MoveState.DONE:
            step = plans[record.plan_id].steps[record.step_idx]
            if record.at >= before.observed_at and step.vm_id in placement:
                placement[step.vm_id] = step.destination_id
    return before.with_placement(placement)
