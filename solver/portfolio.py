"""Which engine runs, on what, for how long: an anytime answer that greedy never beats.

Greedy first, in milliseconds. Then rounds, in each of which two engines work side by side from the
best placement so far: the local search in compiled kernels, and CP-SAT: first for a proof, then a
few hosts at a time (large-neighbourhood search); beyond a thousand hosts, a search part by part.
All release the interpreter's lock, so they use two cores. What they find on the way is told at
once; what a round has found is compared by its total, so no engine can make things worse than
greedy or than doing nothing.

A limit of work makes the answer depend on it and the seed alone: each engine's share is counted in
steps of its own, and engines meet only at the ends of rounds.

An engine that ends in an error has no part in what is left; the others go on, and the answer says
so. When it failed may then decide about the answer as well.
"""

from __future__ import annotations

import importlib
import logging
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, NamedTuple

from solver.bounds.relaxed import relaxed_bound
from solver.limit import Allowance
from solver.params import Engine
from solver.partition import improve_by_parts
from solver.problem import IntArray, Problem
from solver.search.annealing import improve
from solver.search.exchange import improve_by_exchange
from solver.search.facts import facts_of
from solver.search.greedy import descend
from solver.search.prune import prune
from solver.search.relief import HOTTEST, relieve
from solver.search.state import State

ROUNDS: Final = (0.4, 0.35, 0.25)
"""Share of the limit that each round has; the first one looks for a proof."""

MOST_WHOLE: Final = 1_000
"""Most hosts that CP-SAT looks at as a whole; beyond, hosts are searched part by part."""

MOST_PROVEN: Final = 400_000
"""Largest product of VMs and hosts for which a proof is tried."""

DESCENT_SHARE: Final = 0.4
"""Share of a search among all VMs that only takes what is better; the rest takes worse for a
while."""

BOUND_SHARE: Final = 0.5
"""Most of the first round in which hosts prove bounds of their own, beside the engines."""

AGAIN: Final = 0.3
"""First temperature of a search that begins where another one ended."""

NO_BOUND: Final = -(2**62)

LOCAL_SEARCH: Final = "local search"
PARTS: Final = "parts"
BOUNDS: Final = "bounds"
CPSAT: Final = "cpsat"
KNOWN: Final = "known"
"""Names of engines, and of what was found before."""

SECONDS_TO_END: Final = 0.05
"""What engines take to notice that their time is over."""

_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Answer:
    """A placement, its total, and what is known about better ones.

    Parameters
    ----------
    hosts
        Host position of every VM, shape ``(V,)``.
    bound
        Proven lower bound on the total of any allowed placement.
    engine
        Name of the engine that found it; ``none`` for doing nothing.
    failures
        A sentence for each engine that ended in an error; what is here was found by others.
    """

    hosts: IntArray
    total: int
    bound: int
    engine: str
    failures: tuple[str, ...] = ()

    @property
    def proven(self) -> bool:
        """Whether no placement is better."""
        return self.total <= self.bound


def load(engine: Engine, num_hosts: int) -> None:
    """Import what takes a second or two, CP-SAT above all, unless greedy need not wait for it.

    Small plans are ordered by CP-SAT, whichever engine made them; very large clusters seldom have
    small ones.
    """
    if engine is not Engine.GREEDY:
        importlib.import_module("solver.bounds.shedding")
    if engine is not Engine.GREEDY or num_hosts <= MOST_WHOLE:
        importlib.import_module("solver.cpsat.exact")
        importlib.import_module("solver.cpsat.neighbourhoods")


def run(
    problem: Problem,
    engine: Engine,
    allowance: Allowance,
    *,
    threshold: int,
    seed: int,
    failed: set[str] | None = None,
    known: Sequence[IntArray] = (),
    cancel: threading.Event | None = None,
    on_progress: Callable[[Answer], None] = lambda answer: None,
) -> Answer:
    """Return the best placement found within the allowance.

    Never worse than doing nothing, nor than greedy. Who starts a clock should have called
    :func:`load` before.

    Parameters
    ----------
    engine
        ``GREEDY`` stops after greedy; ``CPSAT`` leaves out the local search.
    threshold
        Contention score, in cost units, up to which greedy leaves a host alone.
    seed
        Same seed and same work limit, same answer.
    failed
        Engines that failed before, by name, and are left out; those that fail now are added.
    known
        Allowed placements found before, host positions of shape ``(V,)``: the best of them and of
        what greedy finds is where the others begin.
    cancel
        Ends the search when set; what was found until then is returned.
    on_progress
        Told of the start and of everything better, from this thread, while engines go on.
    """
    load(engine, problem.num_hosts)
    search = Search(problem, engine, allowance, seed, cancel, on_progress, failed)
    return search.run(threshold, known)


class Board:
    """The best that is known while engines work: each writes, from a thread of its own."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._lock = threading.Lock()

    @property
    def answer(self) -> Answer:
        """The best placement and the best bound, whoever found them."""
        return self._answer

    def placement(self, engine: str, hosts: IntArray, total: int) -> None:
        """Write a placement down, unless there is a better one; copied."""
        with self._lock:
            if total < self._answer.total:
                self._answer = replace(self._answer, hosts=hosts.copy(), total=total, engine=engine)

    def bound(self, bound: int) -> None:
        """Write a bound down, unless there is a better one."""
        with self._lock:
            if bound > self._answer.bound:
                self._answer = replace(self._answer, bound=bound)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Share:
    """What an engine has in a round: where to begin, limits, and when it is over."""

    base: IntArray
    number: int
    limit_s: float
    work: float
    over: threading.Event


class Found(NamedTuple):
    """What an engine has to show for a round."""

    hosts: IntArray
    bound: int = NO_BOUND


class Search:
    """One run: the best answer so far, and who may still better it.

    Its engines may be replaced to learn what each is worth.
    """

    def __init__(
        self,
        problem: Problem,
        engine: Engine,
        allowance: Allowance,
        seed: int,
        cancel: threading.Event | None,
        on_progress: Callable[[Answer], None],
        failed: set[str] | None = None,
    ) -> None:
        self._problem = problem
        self._engine = engine
        self._allowance = allowance
        self._seed = seed
        self._cancel = cancel or threading.Event()
        self._on_progress = on_progress
        facts_of(problem)  # kept, so that no later state has to make them
        begun_s = allowance.elapsed_s
        self._begin = State(problem, problem.start)
        self._taking_s = allowance.elapsed_s - begun_s
        """What it takes to look at a placement: seconds, on very large clusters."""
        self._burden = self._begin.burden.copy()
        """What each host costs at the start."""
        self._best = Answer(
            hosts=problem.start,
            total=self._begin.total,
            bound=relaxed_bound(problem),
            engine="none",
        )
        self.board = Board(self._best)
        """Where engines write what they find on the way: what is told, not what is returned."""
        self._shown: Answer | None = None
        """What of it was told last."""
        self._failed = set[str]() if failed is None else failed
        """Engines that ended in an error, here or in a search before."""

    def run(self, threshold: int, known: Sequence[IntArray] = ()) -> Answer:
        """Return the best placement found; see :func:`run`."""
        self._show()
        if self._best.proven:
            return self._best
        descend(self._begin, threshold=threshold, out_of_time=self._late)
        self._take(self._begin, "greedy")
        for hosts in known:
            self._offer(hosts, KNOWN)
        self._show()
        del self._begin  # its arrays are large
        if self._engine is Engine.GREEDY:
            return self._best
        limit_s, work = self._allowance.left_s, self._allowance.left_work
        for number, share in enumerate(ROUNDS):
            before = self._best
            if before.proven or self._over():
                break
            self._round(number, share * limit_s, share * work)
            # After two rounds that brought nothing, a third would not either.
            if number and self._best.total == before.total and self._best.bound == before.bound:
                break
        return self._best

    def _round(self, number: int, limit_s: float, work: float) -> None:
        """Let two engines work side by side from the best placement, and take what is better."""
        # What the engines find has still to be looked at when they are done.
        left_s = self._allowance.left_s - 2 * self._taking_s
        limit_s = min(limit_s, left_s) - SECONDS_TO_END
        if limit_s <= 0:
            return
        share = Share(
            base=self._best.hosts,
            number=number,
            limit_s=limit_s,
            work=work,
            over=threading.Event(),
        )
        engines = self._engines(number)
        if not engines:
            return
        with ThreadPoolExecutor(len(engines), thread_name_prefix="engine") as pool:
            running = {name: pool.submit(engine, share) for name, engine in engines.items()}
            try:
                while wait(running.values(), SECONDS_TO_END).not_done:
                    self._show()
                    if self._late():
                        share.over.set()
            finally:
                share.over.set()
        if math.isfinite(work):
            self._allowance.spend(work)
        # In a fixed order: whoever was first must not matter.
        for name, future in sorted(running.items()):
            error = future.exception()
            if error is not None:
                self._fail(name, error)
                continue
            found = future.result()
            if found.bound > self._best.bound:
                self._best = replace(self._best, bound=found.bound)
                self.board.bound(found.bound)
            self._offer(found.hosts, name)
        self._show()

    def _engines(self, number: int) -> dict[str, Callable[[Share], Found]]:
        """Return who works in a round, by name."""
        engines: dict[str, Callable[[Share], Found]] = {}
        if self._problem.num_hosts > MOST_WHOLE:
            engines[PARTS] = self.by_parts
        else:
            engines[CPSAT] = self.by_cpsat
        if self._engine is Engine.PORTFOLIO:
            engines[LOCAL_SEARCH] = self.by_local_search
        if number == 0:
            engines[BOUNDS] = self.by_bounds
        return {name: engine for name, engine in engines.items() if name not in self._failed}

    def _fail(self, name: str, error: BaseException) -> None:
        """Go on without an engine: a defect of one must not cost the operator the others' answer.

        What it has told until then counts: bounds are proven, and placements are judged like all
        that engines bring.
        """
        _LOG.error("engine %s failed", name, exc_info=error)
        self._failed.add(name)
        sentence = f"engine {name} failed: {type(error).__name__}: {error}".rstrip(": ")
        told = self.board.answer
        self._best = replace(
            self._best,
            bound=max(self._best.bound, told.bound),
            failures=(*self._best.failures, sentence),
        )
        self._offer(told.hosts, told.engine)

    def by_local_search(self, share: Share) -> Found:
        """Search in compiled kernels for what relieves hosts; at the end also among all VMs."""
        if share.number < len(ROUNDS) - 1:
            # Anew each time: two searches that begin hot end in different places.
            return self.by_relief(share, HOTTEST)
        half = replace(share, limit_s=share.limit_s / 2, work=share.work / 2)
        better = self.by_relief(half, AGAIN)
        return self.by_exchange(replace(half, base=better.hosts))

    def by_relief(self, share: Share, hottest: float) -> Found:
        """Look for the moves that relieve hosts at least cost."""
        hosts = relieve(
            self._problem,
            share.base,
            limit_s=share.limit_s,
            work_limit=share.work,
            seed=self._seed + share.number,
            hottest=hottest,
            cancel=share.over.is_set,
            on_better=partial(self.board.placement, LOCAL_SEARCH),
        )
        return Found(hosts)

    def by_exchange(self, share: Share) -> Found:
        """Among all VMs, take what is better, then what is worse for a while."""
        allowance = Allowance(share.limit_s, share.work)
        descent = Allowance(DESCENT_SHARE * share.limit_s, DESCENT_SHARE * share.work)
        state = State(self._problem, share.base)
        improve_by_exchange(
            state,
            out_of_time=lambda: share.over.is_set() or descent.over(),
            spend=descent.spend,
        )
        hosts = improve(
            self._problem,
            state.hosts,
            limit_s=max(SECONDS_TO_END, allowance.left_s),
            work_limit=(1 - DESCENT_SHARE) * share.work,
            seed=self._seed + share.number,
            cancel=share.over.is_set,
            on_better=partial(self.board.placement, LOCAL_SEARCH),
        )
        return Found(hosts)

    def by_parts(self, share: Share) -> Found:
        """Search a very large cluster part by part."""
        hosts = improve_by_parts(
            self._problem,
            share.base,
            limit_s=share.limit_s,
            work_limit=share.work,
            seed=self._seed + share.number,
            cancel=share.over.is_set,
            on_better=partial(self.board.placement, PARTS),
        )
        return Found(hosts)

    def by_cpsat(self, share: Share) -> Found:
        """First a proof, where the cluster is small enough; then neighbourhoods."""
        if share.number or self._problem.num_vms * self._problem.num_hosts > MOST_PROVEN:
            return self.by_neighbourhoods(share)
        return self.by_proof(share)

    def by_bounds(self, share: Share) -> Found:
        """Let each host prove a bound by itself, and end the round when that is the optimum."""
        from solver.bounds.shedding import shedding_bound

        bound = shedding_bound(
            self._problem,
            self._burden,
            allowance=Allowance(BOUND_SHARE * share.limit_s, BOUND_SHARE * share.work),
            cancel=share.over.is_set,
        )
        self.board.bound(bound)
        if self._best.total <= bound:
            share.over.set()
        return Found(share.base, bound)

    def by_neighbourhoods(self, share: Share) -> Found:
        """Let CP-SAT decide about some hosts at a time."""
        from solver.cpsat.neighbourhoods import improve_by_neighbourhoods

        better = improve_by_neighbourhoods(
            self._problem,
            share.base,
            limit_s=share.limit_s,
            work_limit=share.work,
            seed=self._seed + share.number,
            cancel=share.over.is_set,
            on_better=partial(self.board.placement, CPSAT),
        )
        return Found(better.hosts)

    def by_proof(self, share: Share) -> Found:
        """Let CP-SAT look for an optimum, and end the round when it is one."""
        from solver.cpsat.exact import prove

        deadline = Allowance(share.limit_s)

        def polish(hosts: IntArray, work_limit: float) -> tuple[IntArray, float]:
            allowance = Allowance(deadline.left_s, work_limit)
            state = State(self._problem, hosts)
            improve_by_exchange(
                state,
                out_of_time=lambda: share.over.is_set() or allowance.over(),
                spend=allowance.spend,
            )
            return state.hosts, allowance.spent

        def told(hosts: IntArray, total: int, bound: int) -> None:
            self.board.placement(CPSAT, hosts, total)
            self.board.bound(bound)

        proof = prove(
            self._problem,
            share.base,
            limit_s=share.limit_s,
            work_limit=share.work,
            seed=self._seed,
            polish=polish,
            cancel=share.over.is_set,
            on_better=told,
        )
        if proof.total <= proof.bound:
            share.over.set()
        return Found(proof.hosts, proof.bound)

    def _offer(self, hosts: IntArray, engine: str) -> None:
        """Take a placement if it is better, once its useless moves are taken back."""
        if not (hosts == self._best.hosts).all():
            self._take(State(self._problem, hosts), engine)

    def _take(self, state: State, engine: str) -> None:
        """Take a state if it is better, once its useless moves are taken back."""
        if (state.hosts == self._best.hosts).all():
            return
        prune(state, out_of_time=self._late)
        descend(state, out_of_time=self._late)
        if state.total < self._best.total:
            self._best = replace(self._best, hosts=state.hosts, total=state.total, engine=engine)
            self.board.placement(engine, state.hosts, state.total)

    def _show(self) -> None:
        """Tell of the best that is known, if it is new."""
        answer = self.board.answer
        if answer is not self._shown:
            self._shown = answer
            self._on_progress(answer)

    def _late(self) -> bool:
        return self._cancel.is_set() or self._allowance.late()

    def _over(self) -> bool:
        return self._cancel.is_set() or self._allowance.over()
