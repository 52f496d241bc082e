"""What was suffered in a simulated cluster, integrated exactly over time.

Demand is constant between two changes (a bin, a move, a fault), so integrals are sums of rate
times length: no sampling error. Shortfall is expressed in host-seconds of the reference host, as
the objective is (``solver.domain.weights``), but nothing is shared with the solver's score.

Who goes short: the CPU that migrating burns is served first; then the VMs, either highest soft
priority first (``weighted``) or in proportion to what each wants (``proportional``). The unweighted
shortfall is the same in both. A VM that should run and has no host goes short of all it wants.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from solver.domain.check import Violation
from solver.domain.cluster import Cluster
from solver.domain.units import NUM_RESOURCES
from solver.domain.weights import NUM_PRIORITIES, Weights, reference_amounts

FloatArray = npt.NDArray[np.float64]

_ROUNDING = 1e-9
"""Share of a capacity by which a mean may exceed it from adding up floats, and is no overload."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AccountReport:
    """Totals since the account was opened.

    Parameters
    ----------
    elapsed_s
        Simulated time accounted for.
    shortfall_host_s
        Demand not served, per host and resource in host-seconds, shape
        ``(num_hosts, num_resources)``, unweighted.
    weighted_shortfall_host_s, proportional_shortfall_host_s
        The same times weight of the resource and of the soft priority of who goes short, under
        strict priority and under proportional sharing. Their sum is the objective's contention
        (at a weight of 1), as it came.
    unplaced_shortfall_host_s, unplaced_weighted_shortfall_host_s
        Demand of VMs that should run and have no host, per resource, shape ``(num_resources,)``,
        unweighted and weighted; none of it is served, so sharing makes no difference. A resource
        that no host limits has no reference host and counts as 0.
    overloaded_host_intervals
        Bins in which a host's mean demand exceeded its capacity of any resource, over hosts; only
        whole bins are judged.
    migrations, failed_migrations
        Completed; begun and not completed.
    gib_moved
        Sent over links, by failed migrations too.
    downtime_s
        During which VMs stood still while being migrated.
    unplaced_vm_s
        During which VMs that should run had no host, over VMs.
    arrivals_unplaced
        Times a VM came and found no room.
    violations
        Hard rules and capacities newly broken, or made worse, by moves; with the instant.
    """

    elapsed_s: float
    shortfall_host_s: FloatArray
    weighted_shortfall_host_s: FloatArray
    proportional_shortfall_host_s: FloatArray
    unplaced_shortfall_host_s: FloatArray
    unplaced_weighted_shortfall_host_s: FloatArray
    overloaded_host_intervals: int
    migrations: int
    failed_migrations: int
    gib_moved: float
    downtime_s: float
    unplaced_vm_s: float
    arrivals_unplaced: int
    violations: tuple[Violation, ...] = ()

    @property
    def total_shortfall_host_s(self) -> float:
        """Unweighted shortfall over resources, on hosts and of VMs without one."""
        return float(self.shortfall_host_s.sum() + self.unplaced_shortfall_host_s.sum())

    @property
    def total_weighted_shortfall_host_s(self) -> float:
        """Weighted shortfall under strict priority, on hosts and of VMs without one."""
        unplaced = self.unplaced_weighted_shortfall_host_s.sum()
        return float(self.weighted_shortfall_host_s.sum() + unplaced)

    @property
    def total_proportional_shortfall_host_s(self) -> float:
        """Weighted shortfall under proportional sharing, on hosts and of VMs without one."""
        unplaced = self.unplaced_weighted_shortfall_host_s.sum()
        return float(self.proportional_shortfall_host_s.sum() + unplaced)


@dataclass(slots=True, kw_only=True)
class _Counters:
    migrations: int = 0
    failed_migrations: int = 0
    mib_moved: float = 0.0
    downtime_s: float = 0.0
    unplaced_vm_s: float = 0.0
    arrivals_unplaced: int = 0
    overloaded_host_intervals: int = 0
    violations: list[Violation] = field(default_factory=list)


class Account:
    """Integrates shortfall and counts events; the simulated world writes, anyone reads.

    Parameters
    ----------
    cluster
        Hosts (capacity, reference) of the account; VMs do not matter.
    weights
        Weights of priorities and resources.
    bin_seconds
        Length of the interval over which a host's mean is compared with its capacity.
    """

    def __init__(self, cluster: Cluster, weights: Weights, bin_seconds: int) -> None:
        self._capacity = np.array(
            [[np.inf if c is None else float(c) for c in host.usable()] for host in cluster.hosts]
        )
        self._reference = np.array(reference_amounts(cluster), dtype=np.float64)
        self._limited = np.isfinite(self._capacity).any(axis=0)
        self._rho = np.array(weights.resources)
        self._omega = np.array([weights.omega(p) for p in range(1, NUM_PRIORITIES + 1)])
        # Priced from the highest band down: what band b adds to the weight of the band below.
        self._increments = np.diff(self._omega, prepend=0.0)
        self._bin_seconds = bin_seconds
        shape = (len(cluster.hosts), NUM_RESOURCES)
        self._load = np.zeros(shape)
        self._rates = np.zeros((3, *shape))
        self._totals = np.zeros((3, *shape))
        self._unplaced_rates = np.zeros((2, NUM_RESOURCES))
        self._unplaced_totals = np.zeros((2, NUM_RESOURCES))
        self._bin_load = np.zeros(shape)
        self._bin_s = 0.0
        self._elapsed_s = 0.0
        self._num_unplaced = 0
        self._counters = _Counters()

    @property
    def load(self) -> FloatArray:
        """Present demand on every host, cost of migrating included; ``(num_hosts, resources)``."""
        return self._load.copy()

    def set_load(self, by_band: FloatArray, migrating_millicores: FloatArray) -> None:
        """Tell the demand on every host from now on.

        Parameters
        ----------
        by_band
            Demand of VMs, shape ``(num_hosts, num_priorities, num_resources)``, lowest priority
            first.
        migrating_millicores
            CPU burned by migrations at each host, served before any VM; shape ``(num_hosts,)``.
        """
        left = self._capacity.copy()
        left[:, 0] = np.maximum(0.0, left[:, 0] - migrating_millicores)
        at_least = np.cumsum(by_band[:, ::-1], axis=1)[:, ::-1]
        short_by_band = np.maximum(0.0, at_least - left[:, None, :])
        wanted = at_least[:, 0]
        short = short_by_band[:, 0]
        strict = np.einsum("hbr,b->hr", short_by_band, self._increments)
        weighted_wish = np.einsum("hbr,b->hr", by_band, self._omega)
        mean_omega = np.divide(weighted_wish, wanted, out=np.zeros_like(wanted), where=wanted > 0.0)
        self._rates[0] = short / self._reference
        self._rates[1] = strict * self._rho / self._reference
        self._rates[2] = short * mean_omega * self._rho / self._reference
        self._load[:] = wanted
        self._load[:, 0] += migrating_millicores

    def set_unplaced(self, by_band: FloatArray, num_unplaced: int) -> None:
        """Tell what VMs that should run and have no host want from now on.

        Parameters
        ----------
        by_band
            Their demand, shape ``(num_priorities, num_resources)``, lowest priority first.
        num_unplaced
            How many they are.
        """
        per_unit = self._limited / self._reference
        self._unplaced_rates[0] = by_band.sum(axis=0) * per_unit
        self._unplaced_rates[1] = self._omega @ by_band * self._rho * per_unit
        self._num_unplaced = num_unplaced

    def integrate(self, seconds: float) -> None:
        """Let time pass with the load as it was told last."""
        self._totals += self._rates * seconds
        self._unplaced_totals += self._unplaced_rates * seconds
        self._bin_load += self._load * seconds
        self._bin_s += seconds
        self._elapsed_s += seconds
        self._counters.unplaced_vm_s += self._num_unplaced * seconds

    def close_bin(self) -> None:
        """Judge the bin that ends now, if it was seen whole."""
        if self._bin_s >= self._bin_seconds * (1 - _ROUNDING):
            mean = self._bin_load / self._bin_s
            over = (mean > self._capacity * (1 + _ROUNDING)).any(axis=1)
            self._counters.overloaded_host_intervals += int(over.sum())
        self._bin_load[:] = 0.0
        self._bin_s = 0.0

    def count_migration(self, *, completed: bool, sent_mib: float, downtime_s: float) -> None:
        """Count a migration that has ended."""
        if completed:
            self._counters.migrations += 1
        else:
            self._counters.failed_migrations += 1
        self._counters.mib_moved += sent_mib
        self._counters.downtime_s += downtime_s

    def count_unplaced_arrival(self) -> None:
        """Count a VM that came and found no room."""
        self._counters.arrivals_unplaced += 1

    def count_violations(self, violations: tuple[Violation, ...]) -> None:
        """Note what a move broke."""
        self._counters.violations.extend(violations)

    def report(self) -> AccountReport:
        """Return the totals until now; later changes do not touch what was returned."""
        counters = self._counters
        return AccountReport(
            elapsed_s=self._elapsed_s,
            shortfall_host_s=self._totals[0].copy(),
            weighted_shortfall_host_s=self._totals[1].copy(),
            proportional_shortfall_host_s=self._totals[2].copy(),
            unplaced_shortfall_host_s=self._unplaced_totals[0].copy(),
            unplaced_weighted_shortfall_host_s=self._unplaced_totals[1].copy(),
            overloaded_host_intervals=counters.overloaded_host_intervals,
            migrations=counters.migrations,
            failed_migrations=counters.failed_migrations,
            gib_moved=counters.mib_moved / 1024,
            downtime_s=counters.downtime_s,
            unplaced_vm_s=counters.unplaced_vm_s,
            arrivals_unplaced=counters.arrivals_unplaced,
            violations=tuple(counters.violations),
        )
