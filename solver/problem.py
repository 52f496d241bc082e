"""The compiled problem: what engines minimise and within which limits, as integer arrays.

Every engine reads it and none writes to it. It says *what* is allowed and what each thing costs,
generic in the number of resources; where it comes from (``solver.compiler``, or the reader of a
public benchmark), how to search, and what the answer means to an operator, belong elsewhere.

Nothing here is of size VMs × hosts: VMs that may be on the same hosts share one row, and the price
of a move is put together from what VM, link and host contribute.

Repair semantics, from ``solver.domain.check``: a hard rule or capacity binds only as "not broken
beyond what it was at the start". So a VM may always stay where it is, a host may keep its excess
but never grow it, and what is broken carries a price (``repair``) that makes mending it come first.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from solver.domain.check import SEVERITY_ONE
from solver.domain.cluster import Placement
from solver.domain.units import HostId, VmId

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

Frozen = TypeVar("Frozen", bound=npt.NDArray[np.generic])

NOWHERE: Final = -1
"""Host position of a VM that runs nowhere."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Columns:
    """What is priced above a threshold, host by host.

    A column of the future is one resource at one step of one scenario, its threshold the capacity;
    or the mean demand of one resource, its threshold a knee of the imbalance term; or a balance
    between two resources (their demand in proportion, which may be negative). The last two are
    priced in the lowest band only. Columns in which every VM needs the same are one column with
    their prices added, which is exact.

    Parameters
    ----------
    demand
        Shape ``(V, C)``, ``int64``.
    threshold
        Shape ``(H, C)``; ``UNLIMITED`` where nothing is priced.
    prices
        Cost units per unit of ``max(0, demand of bands >= b - threshold)``, shape ``(B, C)``;
        non-negative.
    """

    demand: IntArray
    threshold: IntArray
    prices: IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Places:
    """Where each VM may be, and what being there costs, by classes of VMs that are alike.

    Parameters
    ----------
    allowed_class, allowed_rows
        VM ``v`` may be on host ``h`` if ``allowed_rows[allowed_class[v], h]``, or ``h`` is where
        it starts; shapes ``(V,)`` and ``(classes, H)``.
    price_class, price_rows
        Being there costs ``price_rows[price_class[v], h]`` (broken pins and bans, maintenance,
        what the host does not provide); shapes ``(V,)`` and ``(classes, H)``.
    """

    allowed_class: IntArray
    allowed_rows: BoolArray
    price_class: IntArray
    price_rows: IntArray


class Count(enum.IntEnum):
    """How broken a group rule is, by the numbers of its VMs in each cell of hosts."""

    CROWDING = 0
    """Σ over cells of ``max(0, members − bound)``: anti-affinity, limits per host."""
    SCATTER = 1
    """Members that run, without those in the fullest cell: affinity, among."""
    SPREAD = 2
    """``max(0, min(bound, members that run) − cells occupied)``."""
    OCCUPANCY = 3
    """``max(0, cells occupied − bound)``: licences."""
    DEPENDENCE = 4
    """Cells that hold members and none of the others."""
    SPLIT = 5
    """Σ over cells of ``min(members, others)``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupRule:
    """A rule about which cells of hosts a group of VMs is in, hard or soft.

    Its amount is what ``check`` counts.

    Parameters
    ----------
    vms, others
        Positions of its VMs; ``others`` is empty for rules about one group.
    cell_of
        Cell of each host (the host itself, its zone, a part of the cluster), ``-1`` for hosts that
        are in none, shape ``(H,)``. Rules about the same cells share the array.
    bound
        The number that the count compares with.
    price
        Cost units per unit of amount.
    limit
        Largest allowed amount (that of the start); ``None`` for a soft rule.
    """

    rule_id: str
    count: Count
    vms: IntArray
    others: IntArray
    cell_of: IntArray
    bound: int
    price: int
    limit: int | None

    @property
    def num_cells(self) -> int:
        """Number of cells."""
        return int(self.cell_of.max(initial=-1)) + 1

    @property
    def ties(self) -> bool:
        """Whether the rule wants all its VMs on one host."""
        return self.count is Count.SCATTER and self.num_cells == len(self.cell_of)

    def cells(self, vms: IntArray, hosts: IntArray) -> IntArray:
        """Return how many of some VMs are in each cell, shape ``(num_cells,)``."""
        where = hosts[vms]
        cells = self.cell_of[where[where != NOWHERE]]
        return np.bincount(cells[cells >= 0], minlength=self.num_cells)

    def amount(self, hosts: IntArray) -> int:
        """Return how broken the rule is when VM ``v`` is on ``hosts[v]``."""
        running = int((hosts[self.vms] != NOWHERE).sum())
        return count_amount(
            self.count,
            self.bound,
            running,
            self.cells(self.vms, hosts),
            self.cells(self.others, hosts),
        )


def count_amount(
    count: Count, bound: int, running: int, members: IntArray, others: IntArray
) -> int:
    """Return the amount of a rule from the numbers of its VMs in each cell."""
    if count is Count.CROWDING:
        return int(np.maximum(0, members - bound).sum())
    if count is Count.SCATTER:
        return running - int(members.max(initial=0))
    occupied = int((members > 0).sum())
    if count is Count.SPREAD:
        return max(0, min(bound, running) - occupied)
    if count is Count.OCCUPANCY:
        return max(0, occupied - bound)
    if count is Count.DEPENDENCE:
        return int(((members > 0) & (others == 0)).sum())
    return int(np.minimum(members, others).sum())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MoveCosts:
    """Migration costs from the start, put together from what VM, link and host contribute.

    Moving VM ``v`` from its start ``s`` to another host ``h``, with ``i, j`` the link classes of
    ``s`` and ``h``, costs::

        by_rate[v, rate_of[i, j]]
        + rint(latency_price[v] · (round_trips_s[i, j] · cpu_share[v] + border[i, j]))
        + rint(fill_price[v] · max(0, max_r (load[h, r] + demand[v, r]) / capacity[h, r] − left[v]))

    in whole cost units, to the last one what ``solver.domain.score.pair_costs`` says.

    Parameters
    ----------
    link_class
        Class of each host's links, shape ``(H,)``.
    rate_of
        Which bandwidth a pair of classes has, shape ``(L, L)``.
    by_rate
        Transfer and downtime of each VM at each bandwidth, shape ``(V, rates)``.
    round_trips_s, border
        Of pairs of classes, shape ``(L, L)``.
    latency_price, cpu_share, fill_price, left
        Of VMs, shape ``(V,)``.
    load, capacity
        Expected load at the start and capacity (infinite for no limit), shape ``(H, U)``.
    demand
        Expected demand, shape ``(V, U)``.
    """

    link_class: IntArray
    rate_of: IntArray
    by_rate: IntArray
    round_trips_s: FloatArray
    border: FloatArray
    latency_price: FloatArray
    cpu_share: FloatArray
    fill_price: FloatArray
    left: FloatArray
    load: IntArray
    capacity: FloatArray
    demand: IntArray

    def rows(self, vms: IntArray, start: IntArray) -> IntArray:
        """Return costs of VMs to every host, shape ``(len(vms), H)``.

        Parameters
        ----------
        vms, start
            Positions of VMs, and the host of each at the start; ``NOWHERE`` costs nothing.
        """
        source = self.link_class[start][:, None]
        link = source, self.link_class[None, :]
        costs: IntArray = self.by_rate[vms[:, None], self.rate_of[link]]
        latency = self.latency_price[vms][:, None] * (
            self.round_trips_s[link] * self.cpu_share[vms][:, None] + self.border[link]
        )
        costs += np.rint(latency).astype(np.int64)
        if self.load.shape[1]:
            used = (self.load[None] + self.demand[vms][:, None, :]) / self.capacity
            difference = np.maximum(0.0, used.max(axis=2) - self.left[vms][:, None])
            costs += np.rint(self.fill_price[vms][:, None] * difference).astype(np.int64)
        costs[start == NOWHERE] = 0
        running = np.flatnonzero(start != NOWHERE)
        costs[running, start[running]] = 0
        return costs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Problem:
    """What engines minimise, and within which limits.

    ``V`` VMs, ``H`` hosts, ``R`` resources that some host limits, ``C`` columns, ``B`` priority
    bands (distinct priorities present, lowest first).

    Parameters
    ----------
    start
        Host position of every VM, ``NOWHERE`` when it is to be started, shape ``(V,)``.
    places
        Where each VM may be, and what that costs.
    nowhere_prices
        Cost of each VM running nowhere, shape ``(V,)``.
    future, present
        Columns of contention and imbalance that make the objective, and those of the present
        reading, which only rank hosts.
    band
        Band of each VM, shape ``(V,)``.
    resource_names
        Of the ``R`` resources.
    capacity
        Usable capacity, shape ``(H, R)``; ``UNLIMITED`` where there is none.
    host_class, reserved
        What must be there for a VM: ``reserved[host_class[h], v]``, shape ``(classes, V, R)``.
    reserved_limit
        Largest sum of reservations allowed: the capacity, or what was reserved at the start if
        that is more; shape ``(H, R)``.
    held
        Resources that a VM keeps holding at its start when it has moved away (transient usage),
        shape ``(R,)``.
    reference, broken_ppm
        An excess ``e`` over a capacity is of severity ``broken_ppm + e · 10⁶ // reference``;
        shapes ``(R,)``.
    repair_price
        Cost units per ppm of severity.
    group_rules
        Rules about groups of VMs.
    app_group, disruption_price
        Application group of each VM (-1 for none) and the price per VM of the most-moved one.
    max_moves, max_moves_per_host
        Budgets; ``None`` for no limit.
    move_costs
        Migration costs from the start.
    rules_of_vm
        Positions in ``group_rules`` of the rules that name a VM.
    clumps
        Sets of VMs that hard affinities tie together.
    """

    vm_ids: tuple[VmId, ...]
    host_ids: tuple[HostId, ...]
    start: IntArray
    places: Places
    nowhere_prices: IntArray
    future: Columns
    present: Columns
    band: IntArray
    resource_names: tuple[str, ...]
    capacity: IntArray
    host_class: IntArray
    reserved: IntArray
    reserved_limit: IntArray
    held: BoolArray
    reference: IntArray
    broken_ppm: IntArray
    repair_price: int
    group_rules: tuple[GroupRule, ...]
    app_group: IntArray
    disruption_price: int
    max_moves: int | None
    max_moves_per_host: int | None
    move_costs: MoveCosts
    rules_of_vm: Mapping[int, tuple[int, ...]]
    clumps: tuple[tuple[int, ...], ...]

    @property
    def num_vms(self) -> int:
        """Number of VMs."""
        return len(self.vm_ids)

    @property
    def num_hosts(self) -> int:
        """Number of hosts."""
        return len(self.host_ids)

    @property
    def num_bands(self) -> int:
        """Number of distinct priorities, at least one."""
        return int(self.future.prices.shape[0])

    def allowed_hosts(self, vms: IntArray) -> BoolArray:
        """Return where VMs may be, their start always, shape ``(len(vms), H)``."""
        allowed: BoolArray = self.places.allowed_rows[self.places.allowed_class[vms]]
        running = np.flatnonzero(self.start[vms] != NOWHERE)
        allowed[running, self.start[vms[running]]] = True
        return allowed

    def place_prices(self, vms: IntArray) -> IntArray:
        """Return what VMs being on each host costs, shape ``(len(vms), H)``."""
        prices: IntArray = self.places.price_rows[self.places.price_class[vms]]
        return prices

    def may_be(self, v: int, h: int) -> bool:
        """Return whether VM ``v`` may be on host ``h``."""
        places = self.places
        return bool(h == self.start[v] or places.allowed_rows[places.allowed_class[v], h])

    def num_choices(self) -> IntArray:
        """Return on how many hosts each VM may be, its start included, shape ``(V,)``."""
        rows = self.places.allowed_rows
        choices: IntArray = rows.sum(axis=1)[self.places.allowed_class]
        running = np.flatnonzero(self.start != NOWHERE)
        outside = ~rows[self.places.allowed_class[running], self.start[running]]
        choices[running[outside]] += 1
        return choices

    def move_rows(self, vms: IntArray) -> IntArray:
        """Return migration costs of VMs to every host, shape ``(len(vms), H)``."""
        return self.move_costs.rows(vms, self.start[vms])

    def placement(self, hosts: IntArray) -> dict[VmId, HostId | None]:
        """Return host positions as a placement."""
        return {
            vm_id: None if h == NOWHERE else self.host_ids[h]
            for vm_id, h in zip(self.vm_ids, hosts.tolist(), strict=True)
        }

    def positions(self, placement: Placement) -> IntArray:
        """Return a placement as host positions, shape ``(V,)``."""
        position: dict[HostId | None, int] = {h: i for i, h in enumerate(self.host_ids)}
        position[None] = NOWHERE
        return np.array([position[placement.get(v)] for v in self.vm_ids], dtype=np.int64)

    def restricted_to(self, movable: BoolArray) -> Problem:
        """Return the same problem in which only some VMs may move.

        Parameters
        ----------
        movable
            Shape ``(V,)``; every other VM stays where it is.
        """
        places = self.places
        none = np.zeros((1, self.num_hosts), dtype=np.bool_)
        rows = np.concatenate([places.allowed_rows, none])
        classes = np.where(movable, places.allowed_class, len(rows) - 1)
        return replace(
            self,
            places=replace(places, allowed_class=frozen(classes), allowed_rows=frozen(rows)),
        )

    def capacity_repair(self, used: IntArray, host: IntArray | int) -> IntArray:
        """Return the repair cost of reservations on hosts.

        Parameters
        ----------
        used
            Reserved amounts, shape ``(..., R)``.
        host
            Host positions that broadcast to ``used.shape[:-1]``.
        """
        excess = used - self.capacity[host]
        severity = np.where(
            excess > 0,
            self.broken_ppm + np.maximum(excess, 0) * SEVERITY_ONE // self.reference,
            0,
        )
        cost: IntArray = severity.sum(axis=-1) * self.repair_price
        return cost


def frozen(array: Frozen) -> Frozen:
    """Return the array, made read-only."""
    array.flags.writeable = False
    return array
