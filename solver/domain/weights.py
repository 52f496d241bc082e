"""The weights of the objective, all in one currency, and the scaling to whole numbers.

The currency is the *host-second of shortfall*: an overload of 10 % of a reference host for 300 s
is 30 host-seconds. A reference host is the cluster's mean host, so that pushing the same shortfall
onto a bigger host saves nothing. Inside the solver every cost is a whole number of
nano-host-seconds; this module is the one place where real weights become those integers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from solver.domain.cluster import MAX_PRIORITY, MIN_PRIORITY, Cluster
from solver.domain.errors import InvalidInputError
from solver.domain.scenario import PROBABILITY_PPM, ScenarioSet
from solver.domain.units import NUM_RESOURCES, Amounts

UNITS_PER_HOST_S: Final = 10**9
"""Whole cost units in one host-second."""

MAX_COST: Final = 2**62
"""Largest total that engines may meet; a problem whose worst case exceeds it is refused."""

TYPICAL_HOST: Final = Amounts(
    cpu_millicores=32_000,
    memory_mib=262_144,
    disk_io_kib_per_s=1_048_576,
    net_io_kib_per_s=1_220_703,
)
"""Stands for the hosts of a cluster that does not say how large they are: 32 cores, 256 GiB,
1 GiB/s of disk, 10 Gbit/s."""

LEAST_TAIL_SHARE: Final = 0.05
"""Thirteen of 256 scenarios, which are the most that are drawn."""

NUM_PRIORITIES: Final = MAX_PRIORITY - MIN_PRIORITY + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights of the objective; 1 is the physical price wherever a term has one.

    Raises
    ------
    InvalidInputError
        If a weight is negative, not finite, or above a million.
    """

    contention: float = 1.0
    """Price of a host-second of priority-weighted shortfall."""

    imbalance: float = 1e-5
    """Price of a host-second of expected use above the knees (70, 80, 90 % of a host).

    So small that it breaks ties and rounds off peaks: on its own it never pays for a move.
    """

    stranded: float = 0.0
    """Price of a host-second of free CPU that no free memory goes with, or the reverse.

    Off, because it is a wish for VMs yet to come and no contention: nobody suffers from it now.
    And as nearly every host strands something, it gives every single move a gain or a loss of its
    own. Where new VMs are let in all the time, start at 1e-3: a tenth of a host made usable for an
    hour is then worth 0.36 host-seconds, about one move. It never opens the gate before solving.
    """

    utilisation: float = 1.0
    """Host-seconds charged for leaving the destination fuller than the source by one whole host."""

    transfer: float = 3.0
    """Price of a host-second of CPU burned at both ends while memory is on the wire.

    Three times what is burned: large guests also hold links and memory at both ends, and a plan
    that prefers small ones comes out as well in the end (docs/decisions/0013).
    """

    downtime: float = 1.0
    """Price of a host-second of demand not served while the VM stands still."""

    latency: float = 1.0
    """Price of round trips added to the downtime, and of each zone border crossed."""

    disruption: float = 0.1
    """Host-seconds charged per VM moved of the most-moved application group."""

    zone_border_host_s: float = 0.1
    """Host-seconds charged, times ``latency``, for each zone border that a move crosses."""

    resources: tuple[float, float, float, float] = (1.0, 10.0, 1.0, 1.0)
    """What a shortfall means per resource, in the order of ``Resource``.

    Memory shortage is swapping or death, not slowness: 10 against CPU's 1.
    """

    priority_steps_per_doubling: float = 2.0
    """Priority p weighs 2 ** ((p - 5) / this): with 2, priority 7 weighs twice priority 5."""

    repair_host_s: float = 86_400.0
    """Price of one whole unit of a broken hard rule or capacity: a host short for a day.

    So large that repair always comes before comfort, and finite so that what cannot be repaired
    does not hide the rest of the objective.
    """

    knees: tuple[float, ...] = field(default=(0.7, 0.8, 0.9))
    """Fractions of usable capacity above which use counts as imbalance, each adding slope."""

    tail_share: float = 1.0
    """Share of the futures, the worst ones, over which contention is averaged: 1 for all of them,
    0.2 for the worst fifth (conditional value at risk; ``solver.domain.tail``).

    Worst for the whole cluster, and for each placement anew. The mean of a handful of scenarios is
    mostly chance: of sixteen a third should count.
    """

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            for number in value if isinstance(value, tuple) else (value,):
                if not (math.isfinite(number) and 0.0 <= number <= 1e6):
                    raise InvalidInputError(
                        f"expected 0..1e6, got {number}", path=f"weights.{item.name}"
                    )
        if len(self.resources) != NUM_RESOURCES:
            raise InvalidInputError(
                f"expected {NUM_RESOURCES} weights, got {len(self.resources)}",
                path="weights.resources",
            )
        if not LEAST_TAIL_SHARE <= self.tail_share <= 1.0:
            raise InvalidInputError(
                f"expected {LEAST_TAIL_SHARE}..1, got {self.tail_share}", path="weights.tail_share"
            )
        if self.priority_steps_per_doubling < 0.1:
            raise InvalidInputError(
                f"expected at least 0.1, got {self.priority_steps_per_doubling}",
                path="weights.priority_steps_per_doubling",
            )

    def omega(self, priority: int) -> float:
        """Weight of a soft priority; 1 for priority 5."""
        return float(2.0 ** ((priority - 5) / self.priority_steps_per_doubling))


def to_units(host_s: float) -> int:
    """Return a cost in host-seconds as whole cost units, rounded to nearest."""
    return round(host_s * UNITS_PER_HOST_S)


def to_host_s(units: int) -> float:
    """Return whole cost units as host-seconds."""
    return units / UNITS_PER_HOST_S


def reference_amounts(cluster: Cluster) -> tuple[int, ...]:
    """Return the capacity of the reference host per resource: the mean usable host.

    Hosts where a resource is unlimited do not count; where none is limited, or all are empty, the
    reference is that of ``TYPICAL_HOST``. Such a resource is never short, but what moves take of
    it is still priced as part of a host.
    """
    columns = zip(*(host.usable() for host in cluster.hosts), strict=True)
    means = []
    for column, typical in zip(columns, TYPICAL_HOST.as_tuple(), strict=True):
        limited = [value for value in column if value is not None]
        means.append((round(sum(limited) / len(limited)) if limited else 0) or typical)
    return tuple(means)


def shortfall_prices(
    cluster: Cluster,
    scenarios: ScenarioSet,
    weights: Weights,
    counted_ppm: Sequence[int] | None = None,
) -> npt.NDArray[np.int64]:
    """Return what one unit of shortfall costs.

    Parameters
    ----------
    counted_ppm
        By which scenarios count, where not by their own probabilities (``solver.domain.tail``).

    Returns
    -------
    numpy.ndarray
        Shape ``(num_scenarios, num_resources, 1 + num_steps, num_priorities)``, ``int64``, in cost
        units. The last axis holds *increments* ``ω(p) − ω(p−1)`` (for the lowest priority ``ω``
        itself), to be multiplied by ``max(0, demand of priorities >= p − capacity)``: serving the
        highest priority first makes the shortfall of a host exactly that sum. Step 0 is priced as
        one step long; objectives use steps 1 and later (step 0 when there are no others).

    Raises
    ------
    InvalidInputError
        If all demand going short at once would cost more than ``MAX_COST``: totals must fit 64
        bits whatever the placement.
    """
    omega = np.array([weights.omega(MIN_PRIORITY + i) for i in range(NUM_PRIORITIES)])
    increments = np.diff(omega, prepend=0.0)
    usable = [host.usable() for host in cluster.hosts]
    limited = [any(row[r] is not None for row in usable) for r in range(NUM_RESOURCES)]
    # What no host limits is never short, and has no reference to be priced by.
    per_unit = np.array(
        [
            rho / reference if is_limited else 0.0
            for rho, reference, is_limited in zip(
                weights.resources, reference_amounts(cluster), limited, strict=True
            )
        ]
    )
    counted = scenarios.probability_ppm if counted_ppm is None else counted_ppm
    probability = np.array(counted) / PROBABILITY_PPM
    price = (
        weights.contention
        * UNITS_PER_HOST_S
        * scenarios.step_seconds
        * np.einsum("k,r,p->krp", probability, per_unit, increments)
    )
    # In floats and before any cast: an overflow must be seen, not wrap around. Which of the worst
    # futures count differs from placement to placement: none counts more than this.
    if weights.tail_share < 1.0:
        most = np.array(scenarios.probability_ppm) / PROBABILITY_PPM / weights.tail_share
        limit = weights.contention * UNITS_PER_HOST_S * scenarios.step_seconds
        dearest = limit * np.einsum("k,r,p->kr", most, per_unit, increments)
    else:
        dearest = price.sum(axis=2)
    wanted = scenarios.demand.sum(axis=1, dtype=np.float64).sum(axis=2)
    # What no host limits never goes short, however much of it is wanted.
    columns = zip(*(host.usable() for host in cluster.hosts), strict=True)
    wanted[:, [all(value is None for value in column) for column in columns]] = 0.0
    worst = float((dearest * wanted).sum()) if wanted.size else 0.0
    if worst > MAX_COST:
        raise InvalidInputError(
            f"demand and weights are too large to be told apart in 64 bits: all demand going short "
            f"would cost {worst:.3g}, at most {MAX_COST:.3g} fit; expected smaller weights, or "
            "demand in the right units",
            path="weights",
        )
    whole = np.rint(price).astype(np.int64)
    return np.repeat(whole[:, :, None, :], 1 + scenarios.num_steps, axis=2)


def objective_steps(scenarios: ScenarioSet) -> slice:
    """Return the steps a placement is judged on.

    Moves take effect after the present, so these are the future steps; the present stands for
    the future when nothing else is known.
    """
    return slice(1, None) if scenarios.num_steps else slice(0, 1)
