"""Very large clusters, some hundred hosts at a time: parts are searched side by side, then joined.

Each pass cuts the hosts into parts in which hot and cold ones are mixed, so that each has room;
passes differ, so that what one cannot see over its edges the next one can. What a part found is
taken over only if the whole, judged exactly, allows it and gets better by it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from typing import Final, Literal

import joblib
import numpy as np

from solver.limit import Allowance
from solver.parts import Part, cut_out
from solver.problem import IntArray, Problem
from solver.search.exchange import improve_by_exchange
from solver.search.greedy import descend
from solver.search.state import State
from solver.search.warm import warm_up

HOSTS_PER_PART: Final = 128

LEAST_GAIN_PPM: Final = 1_000
"""Share of the total that a pass has to save, to count as one that helped."""

PASSES_FORESEEN: Final = 4
"""Among which the time is shared; what one leaves over goes to those after it."""

Backend = Literal["joblib", "dask"]


def improve_by_parts(
    problem: Problem,
    hosts: IntArray,
    *,
    limit_s: float,
    work_limit: float = math.inf,
    seed: int = 0,
    cancel: Callable[[], bool] = lambda: False,
    on_better: Callable[[IntArray, int], None] = lambda hosts, total: None,
    backend: Backend = "joblib",
    hosts_per_part: int = HOSTS_PER_PART,
) -> IntArray:
    """Return a placement that is allowed if ``hosts`` is, and never worse.

    Ends by itself when two passes in a row, inside zones and across them, bring next to nothing.
    Same seed, same answer on either backend, as long as neither time nor ``cancel`` ends it.

    Parameters
    ----------
    hosts
        Where to begin; not changed.
    limit_s, work_limit
        Wall seconds, and deterministic seconds of all parts together.
    cancel
        Asked all the time (by Dask's workers: between parts); once true, the best so far is
        returned.
    on_better
        Told of the placement and its total after every pass that helped.
    backend
        ``joblib`` searches parts in threads of this process, which kernels do not keep from each
        other; ``dask`` on the workers of the ``distributed.Client`` in force.
    """
    # Threads that compile the same kernel at the same time get in each other's way.
    warm_up()
    allowance = Allowance(limit_s, work_limit)
    state = State(problem, hosts)
    rng = np.random.default_rng(seed)
    turn = stale = 0
    while stale < 2 and not allowance.over() and not cancel():
        before = state.total
        _pass(state, _split(state, rng, hosts_per_part, turn), allowance, cancel, backend)
        gain = before - state.total
        stale = 0 if gain * 1_000_000 > LEAST_GAIN_PPM * before else stale + 1
        turn += 1
        if gain > 0:
            on_better(state.hosts.copy(), state.total)
    # What is left between any two parts; a look at all hosts for each VM is dear, so but once.
    descend(state, out_of_time=lambda: allowance.late() or cancel())
    return state.hosts.copy()


def _split(
    state: State, rng: np.random.Generator, hosts_per_part: int, turn: int
) -> list[IntArray]:
    """Return disjoint sets of hosts, each with as many hot ones; in even turns by classes of links.

    Hosts from the same zone come first because moves between them are the cheapest.
    """
    problem = state.problem
    classes = problem.move_costs.link_class if turn % 2 == 0 else np.zeros(problem.num_hosts)
    order = np.argsort(classes, kind="stable")
    regions: list[IntArray] = []
    begin = 0
    for end in [*(np.flatnonzero(np.diff(classes[order])) + 1).tolist(), len(order)]:
        # Small classes share a region; whatever is left over at the end joins the last one.
        if end - begin >= hosts_per_part or not regions:
            regions.append(order[begin:end])
        elif end == len(order):
            regions[-1] = np.concatenate([regions[-1], order[begin:end]])
        else:
            continue
        begin = end
    heat = state.burden + state.overfull
    parts: list[IntArray] = []
    for region in regions:
        count = max(1, round(len(region) / hosts_per_part))
        drawn = rng.permutation(region)
        by_heat = drawn[np.argsort(-heat[drawn], kind="stable")]
        parts += [np.sort(by_heat[i::count]) for i in range(count)]
    return parts


def _pass(
    state: State,
    parts: list[IntArray],
    allowance: Allowance,
    cancel: Callable[[], bool],
    backend: Backend,
) -> None:
    """Search all parts from the same placement, and take over what makes the whole better."""
    asked = cancel if backend == "joblib" else _never
    lanes = os.cpu_count() or 1
    limit_s = allowance.left_s / (PASSES_FORESEEN * math.ceil(len(parts) / lanes))
    work_limit = allowance.left_work / (PASSES_FORESEEN * len(parts))

    def tasks() -> Iterator[object]:
        # Parts are cut out as their turn comes, so that few are in memory at a time.
        for inside in parts:
            if allowance.late() or cancel():
                return
            yield joblib.delayed(_search)(cut_out(state, inside), limit_s, work_limit, asked)

    with joblib.parallel_config("threading" if backend == "joblib" else "dask", n_jobs=lanes):
        found = joblib.Parallel()(tasks())
    for moves, work in found:
        allowance.spend(work)
        # Two parts may use up one budget, or move VMs of one group.
        if moves and state.what_if(moves) < 0:
            for v, h in moves:
                state.apply(v, h)


def _search(
    part: Part, limit_s: float, work_limit: float, cancel: Callable[[], bool]
) -> tuple[list[tuple[int, int]], float]:
    """Return the moves that make a part better, and the deterministic seconds it took."""
    allowance = Allowance(limit_s, work_limit)
    state = State(part.problem, part.hosts)
    improve_by_exchange(
        state, out_of_time=lambda: allowance.over() or cancel(), spend=allowance.spend
    )
    return part.moves(state.hosts), allowance.spent


def _never() -> bool:
    return False
