"""What every policy of a replay gets alike: the trace, the hosts, the VMs and where they start."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from executor.simulation.workload import TraceWorkload
from forecast.history import BinState, History
from forecast.scenarios import affordable_scenarios
from forecast.tidy import read_history
from service.replay.config import FORESEEING, ReplayConfig
from service.replay.fleet import assign_priorities, make_hosts, random_start
from solver.domain.cluster import VM, Cluster
from solver.domain.errors import InvalidInputError
from solver.domain.units import Amounts, Resource

READ_AFTER: Final = timedelta(hours=1)
"""How far beyond the window the trace is read, for the oracle's last plans."""

BINS_PER_HOUR: Final = 12
BINS_PER_DAY: Final = 24 * BINS_PER_HOUR
_LEAST_BINS: Final = dict.fromkeys(FORESEEING, 5 * BINS_PER_DAY)
"""Bins that must precede the window: three days to warm up on and two to train on; one bin, the
present, for the others."""

DIRTY_MIB_PER_S_PER_CORE: Final = 20
"""No public trace records dirty rates: each core in use, on average, is taken to dirty this much.

Of the order measured for busy servers, whose writable working sets are small against their memory
(Clark et al., Live Migration of Virtual Machines, NSDI '05).
"""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stage:
    """One replay, ready to be run by any policy.

    Parameters
    ----------
    history
        The whole trace up to an hour after the window.
    start
        Hosts, and every VM of the window with the host it starts on.
    first_bin
        The first bin of the window in the history.
    resources
        What the hosts limit, and so what is worth forecasting.
    """

    config: ReplayConfig
    history: History
    start: Cluster
    first_bin: int
    resources: tuple[Resource, ...]

    @property
    def num_scenarios(self) -> int:
        """Joint futures that are planned on: as configured, or as many as the cluster affords."""
        return self.config.num_scenarios or affordable_scenarios(len(self.start.vms))

    def workload(self, first_bin: int) -> TraceWorkload:
        """Return the demand of the window's VMs from a bin on, to the end of what was read."""
        history = self._window_vms()
        return TraceWorkload(
            vm_ids=history.vm_ids,
            start_at=history.start_at,
            readings=history.readings,
            state=history.state,
            granted_mib=history.granted_mib,
            bin_seconds=history.step_seconds,
            first_bin=first_bin,
        )

    def _window_vms(self) -> History:
        known = {vm.id for vm in self.start.vms}
        return self.history.select(
            np.array([i for i, v in enumerate(self.history.vm_ids) if v in known])
        )


def set_stage(config: ReplayConfig) -> Stage:
    """Read the trace and put its VMs on random hosts that have room.

    Raises
    ------
    InvalidInputError
        If the trace is wrong, does not cover the window, or does not fit the hosts.
    """
    hosts = make_hosts(
        config.num_hosts,
        cores=config.host_cores,
        memory_gib=config.host_memory_gib,
        disk_io_mib_per_s=config.host_disk_mib_per_s,
        net_io_mib_per_s=config.host_net_mib_per_s,
    )
    resources = tuple(r for r in Resource if hosts[0].usable()[r] is not None)
    history = read_history(config.trace, resources=resources, until_at=config.until_at + READ_AFTER)
    _require_covered(config, history)
    first_bin, end_bin = history.bin_at(config.from_at), history.bin_at(config.until_at)
    lives = (history.state[:, first_bin:end_bin] != BinState.ABSENT).any(axis=1)
    vms = _make_vms(history, _drawn(config, np.flatnonzero(lives)), first_bin, config.seed)
    start = Cluster(observed_at=config.from_at, hosts=hosts, vms=vms).with_placement(
        random_start(hosts, vms, config.seed)
    )
    return Stage(
        config=config,
        history=history,
        start=start,
        first_bin=first_bin,
        resources=resources,
    )


def _drawn(config: ReplayConfig, living: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return which of the VMs that live in the window the cluster runs, by position."""
    if config.num_vms is None:
        return living
    if config.num_vms > len(living):
        raise InvalidInputError(
            f"expected at most {len(living)}, the VMs that live in the window, "
            f"got {config.num_vms}",
            path="--vms",
        )
    rng = np.random.default_rng([config.seed, 3])
    return np.sort(rng.choice(living, config.num_vms, replace=False))


def _make_vms(
    history: History, positions: npt.NDArray[np.intp], first_bin: int, seed: int
) -> tuple[VM, ...]:
    """Return the VMs with their size, a soft priority and a dirty rate.

    The dirty rate follows the CPU used on the day before the window; of a VM that was not there
    yet, a fifth of its vCPUs. Nothing of the window itself is told.
    """
    priorities = assign_priorities(history.vm_ids, seed)
    day_before = history.readings[Resource.CPU, :, max(0, first_bin - BINS_PER_DAY) : first_bin]
    vms = []
    for i in positions:
        readings = day_before[i][np.isfinite(day_before[i])]
        cores = float(readings.mean()) / 1000 if readings.size else 0.2 * float(history.vcpus[i])
        vms.append(
            VM(
                id=history.vm_ids[i],
                allocation=Amounts(
                    cpu_millicores=int(history.vcpus[i]) * 1000,
                    memory_mib=int(history.memory_size_mib[i]),
                ),
                dirty_mib_per_s=round(DIRTY_MIB_PER_S_PER_CORE * cores),
                priority=priorities[history.vm_ids[i]],
                app_type=history.app_types[i] or "",
            )
        )
    return tuple(vms)


def _require_covered(config: ReplayConfig, history: History) -> None:
    from_at, until_at = config.from_at, config.until_at
    if history.start_at > from_at or history.end_at < until_at:
        raise InvalidInputError(
            f"expected a window within the trace, {history.start_at.isoformat()} to "
            f"{history.end_at.isoformat()}, got {from_at.isoformat()} to {until_at.isoformat()}",
            path="--from/--until",
        )
    for policy in config.policies:
        needed = _LEAST_BINS.get(policy, 1) * timedelta(seconds=history.step_seconds)
        if from_at - history.start_at < needed:
            raise InvalidInputError(
                f"policy {policy} needs {needed} of the trace before the window, which begins "
                f"{history.start_at.isoformat()}; got {from_at.isoformat()}",
                path="--from",
            )
    for option, at in (("--from", from_at), ("--until", until_at)):
        if (at - history.start_at).total_seconds() % history.step_seconds:
            raise InvalidInputError(
                f"expected an instant on the {history.step_seconds} s grid of the trace, "
                f"got {at.isoformat()}",
                path=option,
            )
