"""What capacity planning is asked, and what it answers: plain data, no solver.

Two words have one meaning in the whole room:

*Overload* is judged for the fleet: the probability, over the joint scenarios, that *any* host wants
more of *any* resource than it has at *any* future step. It is at least as large as the overload of
the worst host, and grows with the fleet: a target of 1 % says "99 of 100 horizons pass without a
single host short", not "each host is short in 1 of 100". It is counted on the scenarios given: few
scenarios flatter an answer made from them, which is why answers are judged on fresh ones too.

*N+1* is judged with everybody else staying where they are: when one host is lost, its VMs are
started on the others, and nothing is moved to make room for them.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from solver.domain.cluster import VM, Host
from solver.domain.errors import InvalidInputError
from solver.domain.scenario import PROBABILITY_PPM
from solver.domain.units import NUM_RESOURCES, HostId, VmId


class CapacityStatus(enum.Enum):
    """How good an answer is known to be."""

    OPTIMAL = "optimal"
    """Proven: no better answer keeps the same limits."""
    FEASIBLE = "feasible"
    """It holds, as shown by a packing; a better one may exist, by the gap at most."""
    UNKNOWN = "unknown"
    """Nothing was found, and nothing proves that there is none."""
    INFEASIBLE = "infeasible"
    """Proven: nothing keeps the limits; the reason says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostType:
    """A kind of host that can be had.

    Parameters
    ----------
    template
        Capacity, reserve and over-commit of each; its id names the type.
    price
        Of one, in whole units of any currency; positive.
    max_count
        How many can be had; ``None`` for any number.
    """

    template: Host
    price: int
    max_count: int | None = None

    def __post_init__(self) -> None:
        if self.price < 1:
            raise InvalidInputError(
                f"host type {self.template.id!r}: expected a price of at least 1, got {self.price}",
                path="price",
            )
        if self.max_count is not None and self.max_count < 0:
            raise InvalidInputError(
                f"host type {self.template.id!r}: expected 0 or more, got {self.max_count}",
                path="max_count",
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flavour:
    """A kind of VM of which more may come.

    Parameters
    ----------
    template
        Allocation and footprint of each; where it runs does not matter.
    demand
        What each wants, jointly with the scenarios of the cluster, shape
        ``(num_scenarios, num_resources, 1 + num_steps)``, ``int64``. All of a flavour want the
        same at once, the worst case for the host that carries several.
    host_ids
        Hosts it may be on; empty for any.
    max_per_host
        How many may share a host; ``None`` for no limit.
    """

    template: VM
    demand: npt.NDArray[np.int64]
    host_ids: tuple[HostId, ...] = ()
    max_per_host: int | None = None

    def __post_init__(self) -> None:
        if self.demand.ndim != 3 or self.demand.shape[1] != NUM_RESOURCES:
            raise InvalidInputError(
                f"flavour {self.template.id!r}: expected shape (num_scenarios, {NUM_RESOURCES}, "
                f"1 + num_steps), got {self.demand.shape}",
                path="demand",
            )
        if self.max_per_host is not None and self.max_per_host < 0:
            raise InvalidInputError(
                f"flavour {self.template.id!r}: expected 0 or more, got {self.max_per_host}",
                path="max_per_host",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsNeeded:
    """Hosts that carry a set of VMs.

    Parameters
    ----------
    counts
        Number of hosts by type id; empty when there is no answer.
    price, bound
        What they cost, and what any answer costs at least.
    hosts, placement
        The packing that proves it: hosts with ids of their own, and where each VM is.
    target_ppm, margin
        What was asked for, and the factor on demand with which hosts were sized.
    overload_ppm, fresh_overload_ppm
        Fleet overload of that packing on the scenarios asked about, and on scenarios the answer
        was not made from (``None`` when none were given), both without the margin. Only the margin
        was chosen by the latter.
    survives_loss
        Whether the packing stands the loss of any one host; ``None`` when not asked.
    limits
        What the answer hangs on, or why there is none.
    """

    status: CapacityStatus
    counts: dict[str, int] = field(default_factory=dict)
    price: int = 0
    bound: int = 0
    hosts: tuple[Host, ...] = ()
    placement: dict[VmId, HostId | None] = field(default_factory=dict)
    target_ppm: int = 0
    margin: float = 1.0
    overload_ppm: int = 0
    fresh_overload_ppm: int | None = None
    survives_loss: bool | None = None
    limits: str = ""

    @property
    def gap(self) -> float:
        """Return ``(price − bound) / price``; 0 when proven optimal."""
        return (self.price - self.bound) / self.price if self.price else 0.0

    @property
    def meets_target(self) -> bool | None:
        """Whether fresh scenarios meet the target, too; ``None`` when not known."""
        if self.fresh_overload_ppm is None:
            return None
        return self.fresh_overload_ppm <= self.target_ppm


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How many more VMs of a flavour fit.

    Parameters
    ----------
    number, bound
        How many, and how many at most whatever one tries.
    by_host
        Where they would go; hosts that take none are left out.
    overload_ppm
        Fleet overload with them.
    survives_loss
        Whether the cluster with them stands the loss of any one host; ``None`` when not asked.
    limits
        What keeps the next one out.
    """

    status: CapacityStatus
    number: int
    bound: int
    by_host: dict[HostId, int] = field(default_factory=dict)
    overload_ppm: int = 0
    survives_loss: bool | None = None
    limits: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What the loss of one host does.

    Parameters
    ----------
    survived
        Whether all its VMs fit elsewhere; ``None`` when the time was too short to tell.
    placement
        Where its VMs go; those that fit nowhere are left out.
    left_out
        VMs that fit nowhere: as few as can be when ``survived`` is False.
    lacks
        What is missing; empty when nothing is.
    """

    host_id: HostId
    survived: bool | None
    placement: dict[VmId, HostId] = field(default_factory=dict)
    left_out: tuple[VmId, ...] = ()
    lacks: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survival:
    """N+1 status of a cluster, host by host in its order; only hosts that are up and hold VMs."""

    losses: tuple[Loss, ...]

    @property
    def survives(self) -> bool | None:
        """Whether every loss is survived; ``None`` when it is not known of all."""
        verdicts = {loss.survived for loss in self.losses}
        if False in verdicts:
            return False
        return None if None in verdicts else True

    @property
    def worst(self) -> Loss | None:
        """The loss that leaves most VMs out; ``None`` when none leaves any."""
        failing = [loss for loss in self.losses if loss.left_out]
        return max(failing, key=lambda loss: len(loss.left_out), default=None)


def require_target(target_ppm: int) -> None:
    """Raise ``InvalidInputError`` unless a target is a probability in parts per million."""
    if not 0 <= target_ppm <= PROBABILITY_PPM:
        raise InvalidInputError(
            f"expected 0..{PROBABILITY_PPM} parts per million, got {target_ppm}", path="target"
        )
