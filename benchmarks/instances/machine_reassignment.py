"""Reads the public machine reassignment instances straight into compiled problems.

Google's problem of the ROADEF/EURO challenge 2012: processes with requirements on several
resources, grouped into services, are reassigned to machines at one instant. Each of its terms is
one that engines know, so no cluster is made up in between:

==================================  ==============================================================
load above the safety capacity      a column per resource
balance of two resources            a column whose demand is signed: ``max(0, t·A₁ − A₂)`` with what
                                    is available, ``A = C − U``, is how far ``U₂ − t·U₁`` exceeds
                                    ``C₂ − t·C₁``
capacity, transient usage           reservations, those of transient resources held at the start
conflict, spread, dependency        group rules over machines, locations, neighbourhoods
process and machine move cost       prices of moves; machines that are alike share a link class
service move cost                   disruption, a service being an application group
==================================  ==============================================================

The format guarantees that the initial assignment keeps every rule; so every limit is zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from solver.domain.errors import InvalidInputError
from solver.domain.units import HostId, VmId
from solver.problem import (
    BoolArray,
    Columns,
    Count,
    GroupRule,
    IntArray,
    MoveCosts,
    Places,
    Problem,
    frozen,
)

NOWHERE_PRICE: Final = 2**50
"""More than any reassignment can save: a process has to be on a machine."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Model:
    """What a model file says; ``M`` machines, ``P`` processes, ``R`` resources.

    Parameters
    ----------
    transient, load_price
        Of resources, shape ``(R,)``.
    neighbourhood, location
        Of machines, numbered from zero without gaps, shape ``(M,)``.
    capacity, safety_capacity
        Shape ``(M, R)``.
    machine_move
        Cost of a move between two machines, shape ``(M, M)``, zero on the diagonal.
    min_locations
        Locations that a service has to occupy.
    depends_on
        Services that each service needs in every neighbourhood where it is.
    service, requirement, process_move
        Of processes; shapes ``(P,)``, ``(P, R)`` and ``(P,)``.
    balances
        Rows of two resources, target and price, shape ``(B, 4)``.
    process_price, service_price, machine_price
        Prices of the three kinds of move cost.
    """

    transient: BoolArray
    load_price: IntArray
    neighbourhood: IntArray
    location: IntArray
    capacity: IntArray
    safety_capacity: IntArray
    machine_move: IntArray
    min_locations: tuple[int, ...]
    depends_on: tuple[tuple[int, ...], ...]
    service: IntArray
    requirement: IntArray
    process_move: IntArray
    balances: IntArray
    process_price: int
    service_price: int
    machine_price: int


def read_problem(model_path: Path, initial_path: Path) -> Problem:
    """Return the instance that a model file and an initial assignment describe.

    Raises
    ------
    InvalidInputError
        If a file is not in the format, or the two do not belong together.
    """
    model = read_model(model_path)
    initial = read_assignment(initial_path)
    num_processes, num_machines = len(model.service), len(model.location)
    if len(initial) != num_processes:
        raise InvalidInputError(
            f"{initial_path}: {len(initial)} processes, expected the model's {num_processes}"
        )
    if initial.min(initial=0) < 0 or initial.max(initial=0) >= num_machines:
        raise InvalidInputError(f"{initial_path}: machines must be in 0 to {num_machines - 1}")
    return compile_model(model, initial)


def read_model(path: Path) -> Model:
    """Return what a model file says.

    Raises
    ------
    InvalidInputError
        If the file is not in the format.
    """
    numbers = _Numbers(path)
    (num_resources,) = numbers.take(1)
    resources = numbers.take(2 * num_resources).reshape(-1, 2)
    (num_machines,) = numbers.take(1)
    width = 2 + 2 * num_resources + num_machines
    machines = numbers.take(num_machines * width).reshape(-1, width)
    (num_services,) = numbers.take(1)
    min_locations, depends_on = numbers.take_services(int(num_services))
    (num_processes,) = numbers.take(1)
    processes = numbers.take(num_processes * (2 + num_resources)).reshape(-1, 2 + num_resources)
    (num_balances,) = numbers.take(1)
    balances = numbers.take(4 * num_balances).reshape(-1, 4)
    process_price, service_price, machine_price = numbers.take(3).tolist()
    numbers.end()
    move = machines[:, 2 + 2 * num_resources :]
    if move.diagonal().any():
        raise InvalidInputError(f"{path}: moving from a machine to itself must cost 0")
    return Model(
        transient=resources[:, 0] != 0,
        load_price=resources[:, 1],
        neighbourhood=_numbered(machines[:, 0]),
        location=_numbered(machines[:, 1]),
        capacity=machines[:, 2 : 2 + num_resources],
        safety_capacity=machines[:, 2 + num_resources : 2 + 2 * num_resources],
        machine_move=move,
        min_locations=min_locations,
        depends_on=depends_on,
        service=processes[:, 0],
        requirement=processes[:, 1:-1],
        process_move=processes[:, -1],
        balances=balances,
        process_price=process_price,
        service_price=service_price,
        machine_price=machine_price,
    )


def read_assignment(path: Path) -> IntArray:
    """Return the machine of every process, shape ``(P,)``."""
    return _read_numbers(path)


def write_assignment(path: Path, machines: IntArray) -> None:
    """Write the machine of every process."""
    path.write_text(" ".join(map(str, machines.tolist())) + "\n", encoding="ascii")


def compile_model(model: Model, initial: IntArray) -> Problem:
    """Return the problem of improving on an initial assignment.

    Parameters
    ----------
    initial
        Machine of every process, shape ``(P,)``; keeps every rule.
    """
    num_processes, num_machines = len(model.service), len(model.location)
    num_resources = len(model.transient)
    rules, rules_of_service = _rules(model)
    return Problem(
        vm_ids=tuple(VmId(f"p{p}") for p in range(num_processes)),
        host_ids=tuple(HostId(f"m{m}") for m in range(num_machines)),
        start=frozen(initial.copy()),
        places=Places(
            allowed_class=_zeros(num_processes),
            allowed_rows=frozen(np.ones((1, num_machines), dtype=np.bool_)),
            price_class=_zeros(num_processes),
            price_rows=_zeros(1, num_machines),
        ),
        nowhere_prices=frozen(np.full(num_processes, NOWHERE_PRICE, dtype=np.int64)),
        future=_columns(model),
        present=Columns(
            demand=_zeros(num_processes, 0),
            threshold=_zeros(num_machines, 0),
            prices=_zeros(1, 0),
        ),
        band=_zeros(num_processes),
        resource_names=tuple(f"resource {r}" for r in range(num_resources)),
        capacity=_whole(model.capacity),
        host_class=_zeros(num_machines),
        reserved=_whole(model.requirement[None]),
        reserved_limit=_whole(model.capacity),
        held=frozen(model.transient),
        reference=_whole(np.maximum(1, model.capacity.max(axis=0, initial=0))),
        broken_ppm=_zeros(num_resources),
        repair_price=0,
        group_rules=rules,
        app_group=_whole(model.service),
        disruption_price=model.service_price,
        max_moves=None,
        max_moves_per_host=None,
        move_costs=_move_costs(model),
        rules_of_vm={
            p: rules_of_service[s]
            for p, s in enumerate(model.service.tolist())
            if rules_of_service[s]
        },
        clumps=(),
    )


def _columns(model: Model) -> Columns:
    """Return the columns of load and of balance that have a price."""
    one, other, target, price = model.balances.T
    demand = model.requirement[:, other] - target * model.requirement[:, one]
    threshold = model.capacity[:, other] - target * model.capacity[:, one]
    prices = np.concatenate([model.load_price, price])
    priced = prices > 0
    return Columns(
        demand=_whole(np.concatenate([model.requirement, demand], axis=1)[:, priced]),
        threshold=_whole(np.concatenate([model.safety_capacity, threshold], axis=1)[:, priced]),
        prices=_whole(prices[None, priced]),
    )


def _move_costs(model: Model) -> MoveCosts:
    """Return prices of moves: by process, and by pair of classes of machines."""
    link_class, between = _classes(model.machine_move)
    num_processes, num_machines = len(model.service), len(model.location)
    return MoveCosts(
        link_class=link_class,
        rate_of=_zeros(*between.shape),
        by_rate=_whole(model.process_price * model.process_move[:, None]),
        round_trips_s=frozen(np.zeros(between.shape)),
        border=frozen(between.astype(np.float64)),
        latency_price=frozen(np.full(num_processes, float(model.machine_price))),
        cpu_share=frozen(np.zeros(num_processes)),
        fill_price=frozen(np.zeros(num_processes)),
        left=frozen(np.zeros(num_processes)),
        load=_zeros(num_machines, 0),
        capacity=frozen(np.zeros((num_machines, 0))),
        demand=_zeros(num_processes, 0),
    )


def _classes(move: IntArray) -> tuple[IntArray, IntArray]:
    """Return the class of each machine, and move costs between classes.

    Machines whose rows and columns are equal are alike. Random sums stand for rows and columns, as
    sorting whole rows would take seconds for thousands of machines; should two sums agree by
    chance, the costs put together again differ, and every machine is a class of its own.
    """
    factors = np.random.default_rng(0).integers(1, 2**62, size=len(move))
    sums = np.stack([move @ factors, factors @ move], axis=1)
    _, first, classes = np.unique(sums, axis=0, return_index=True, return_inverse=True)
    classes = classes.reshape(-1)
    between = move[np.ix_(first, first)]
    if not np.array_equal(between[np.ix_(classes, classes)], move):
        return frozen(np.arange(len(move))), move
    return _whole(classes), between


def _rules(model: Model) -> tuple[tuple[GroupRule, ...], list[tuple[int, ...]]]:
    """Return all rules, and which of them each service is in."""
    num_services = len(model.min_locations)
    order = np.argsort(model.service, kind="stable")
    ends = np.searchsorted(model.service[order], np.arange(num_services + 1))
    members = [frozen(order[ends[s] : ends[s + 1]]) for s in range(num_services)]
    nobody = _zeros(0)
    machine = frozen(np.arange(len(model.location)))
    rules: list[GroupRule] = []
    rules_of_service: list[list[int]] = [[] for _ in range(num_services)]

    def add(kind: Count, s: int, other: int | None, cell_of: IntArray, bound: int) -> None:
        for named in (s,) if other is None else (s, other):
            rules_of_service[named].append(len(rules))
        rules.append(
            GroupRule(
                rule_id=f"{kind.name.lower()} {s}" + ("" if other is None else f" on {other}"),
                count=kind,
                vms=members[s],
                others=nobody if other is None else members[other],
                cell_of=cell_of,
                bound=bound,
                price=0,
                limit=0,
            )
        )

    for s in range(num_services):
        if len(members[s]) > 1:
            add(Count.CROWDING, s, None, machine, 1)
            if model.min_locations[s] > 1:
                add(Count.SPREAD, s, None, model.location, model.min_locations[s])
        if len(members[s]):
            for other in dict.fromkeys(model.depends_on[s]):
                if other != s:
                    add(Count.DEPENDENCE, s, other, model.neighbourhood, 0)
    return tuple(rules), [tuple(indices) for indices in rules_of_service]


class _Numbers:
    """The numbers of a model file, taken one block after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._numbers = _read_numbers(path)
        self._taken = 0

    def take(self, count: int) -> IntArray:
        """Return the next ``count`` numbers."""
        begin, self._taken = self._taken, self._taken + int(count)
        self._refuse_short()
        return self._numbers[begin : self._taken]

    def take_services(self, count: int) -> tuple[tuple[int, ...], tuple[tuple[int, ...], ...]]:
        """Return locations asked for and dependencies of the next ``count`` services."""
        rest = self._numbers[self._taken :].tolist()
        min_locations, depends_on = [], []
        at = 0
        for _ in range(count):
            self._taken += 2
            self._refuse_short()
            num_needed = rest[at + 1]
            self._taken += num_needed
            self._refuse_short()
            min_locations.append(rest[at])
            depends_on.append(tuple(rest[at + 2 : at + 2 + num_needed]))
            at += 2 + num_needed
        return tuple(min_locations), tuple(depends_on)

    def end(self) -> None:
        """Refuse numbers that are left."""
        if self._taken != len(self._numbers):
            raise InvalidInputError(
                f"{self._path}: {len(self._numbers)} numbers, expected {self._taken}"
            )

    def _refuse_short(self) -> None:
        if self._taken > len(self._numbers):
            raise InvalidInputError(
                f"{self._path}: ends after {len(self._numbers)} numbers, "
                f"expected at least {self._taken}"
            )


def _read_numbers(path: Path) -> IntArray:
    try:
        numbers: IntArray = np.fromstring(path.read_text("ascii"), dtype=np.int64, sep=" ")
    except ValueError as error:
        raise InvalidInputError(f"{path}: expected whole numbers only") from error
    return numbers


def _numbered(names: IntArray) -> IntArray:
    """Return numbers from zero without gaps in place of names."""
    return frozen(np.unique(names, return_inverse=True)[1].reshape(-1).astype(np.int64))


def _whole(array: IntArray) -> IntArray:
    return frozen(np.ascontiguousarray(array, dtype=np.int64))


def _zeros(*shape: int) -> IntArray:
    return frozen(np.zeros(shape, dtype=np.int64))
