"""The stage: a made-up fleet with a past, hosts bought for it, and a random start.

Hosts are as large as an operator would buy them for the load of the past: the whole is large
enough on nearly any day, and single hosts get hot because VMs stand where chance has put them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from executor.simulation.generator import GeneratedWorkload, GeneratorParameters, generate
from executor.simulation.workload import BIN_SECONDS, FloatArray, Workload
from forecast.history import History
from service.demo.config import MAX_HOURS, PAST_DAYS, START_AT, DemoConfig
from service.replay.fleet import assign_priorities, make_hosts, random_start
from solver.domain.cluster import Cluster
from solver.domain.units import Resource, VmId

BUSY_TIME_LOAD: Final = 0.75
"""Share of all cores in use when the fleet is as busy as one hour in twenty."""
ALLOCATED_MEMORY: Final = 0.8
"""Share of all memory that is promised to VMs."""
BINS_PER_DAY: Final = 86_400 // BIN_SECONDS
SHOWN_BINS: Final = (MAX_HOURS + 2) * BINS_PER_DAY // 24
RESOURCES: Final = (Resource.CPU, Resource.MEMORY)
"""What the hosts limit, and so what is forecast."""


class Later:
    """A workload from a later bin on; see :class:`executor.simulation.workload.Workload`."""

    def __init__(self, workload: Workload, first_bin: int) -> None:
        self._workload = workload
        self._first_bin = first_bin

    @property
    def vm_ids(self) -> tuple[VmId, ...]:
        """The VMs, in the order of every VM axis."""
        return self._workload.vm_ids

    @property
    def start_at(self) -> datetime:
        """Start of bin 0, aware UTC."""
        return self._workload.start_at + timedelta(seconds=self._first_bin * self.bin_seconds)

    @property
    def bin_seconds(self) -> int:
        """Length of a bin."""
        return self._workload.bin_seconds

    @property
    def num_bins(self) -> int:
        """Number of bins."""
        return self._workload.num_bins - self._first_bin

    def demand_at(self, bin_idx: int) -> FloatArray:
        """Return demand in a bin, shape ``(num_vms, num_resources)``."""
        return self._workload.demand_at(self._first_bin + bin_idx)

    def life_at(self, bin_idx: int) -> npt.NDArray[np.int8]:
        """Return the life of every VM in a bin."""
        return self._workload.life_at(self._first_bin + bin_idx)

    def footprint_at(self, bin_idx: int) -> npt.NDArray[np.int64] | None:
        """Return resident memory in MiB in a bin, if it is known."""
        return self._workload.footprint_at(self._first_bin + bin_idx)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stage:
    """A demonstration, ready to begin.

    Parameters
    ----------
    start
        The cluster at the start.
    history
        Telemetry of the past and, beyond ``first_bin``, of what is still to come: readers take
        ``history.until`` the present.
    workload
        The load from the start on.
    first_bin
        The bin of the history that begins at the start.
    """

    start: Cluster
    history: History
    workload: Workload
    first_bin: int


def set_stage(config: DemoConfig) -> Stage:
    """Return the stage of a configuration; the same for the same seed."""
    first_bin = PAST_DAYS * BINS_PER_DAY
    load = generate(
        np.random.default_rng([config.seed, 0]),
        START_AT - timedelta(days=PAST_DAYS),
        GeneratorParameters(num_vms=config.num_vms, num_bins=first_bin + SHOWN_BINS),
    )
    cores, memory_gib = _host_size(load, first_bin, config.num_hosts)
    hosts = make_hosts(config.num_hosts, cores=cores, memory_gib=memory_gib)
    priorities = assign_priorities(load.vm_ids, config.seed)
    vms = tuple(replace(vm, priority=priorities[vm.id]) for vm in load.vms)
    start = Cluster(observed_at=START_AT, hosts=hosts, vms=vms)
    return Stage(
        start=start.with_placement(random_start(hosts, vms, config.seed)),
        history=_telemetry(load),
        workload=Later(load, first_bin),
        first_bin=first_bin,
    )


def _host_size(load: GeneratedWorkload, past_bins: int, num_hosts: int) -> tuple[int, int]:
    """Return cores and GiB of each host: of usual sizes, and none too small for the largest VM."""
    busy = float(np.quantile(load.readings[Resource.CPU, :, :past_bins].sum(axis=0), 0.95)) / 1000
    largest = max(vm.allocation.cpu_millicores for vm in load.vms) / 1000
    cores = max(busy / BUSY_TIME_LOAD / num_hosts, largest)
    promised = sum(vm.allocation.memory_mib for vm in load.vms) / 1024
    most = max(vm.allocation.memory_mib for vm in load.vms) / 1024
    memory = max(promised / ALLOCATED_MEMORY / num_hosts, most * 2)
    return 4 * math.ceil(cores / 4), 32 * math.ceil(memory / 32)


def _telemetry(load: GeneratedWorkload) -> History:
    """Return the load as a monitor would have recorded it."""
    shape = load.readings.shape[1:]
    return History(
        vm_ids=load.vm_ids,
        start_at=load.start_at,
        readings=load.readings.copy(),
        state=np.zeros(shape, dtype=np.uint8),
        granted_mib=np.full(shape, np.nan, dtype=np.float32),
        vcpus=np.array([vm.allocation.cpu_millicores // 1000 for vm in load.vms]),
        memory_size_mib=np.array([vm.allocation.memory_mib for vm in load.vms]),
        app_types=tuple(vm.app_type or None for vm in load.vms),
    )
