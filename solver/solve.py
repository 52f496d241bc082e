"""The only entry: cluster, scenarios and parameters in, a result with a safe plan out.

Composes what other rooms do: compile, gate, search, sequence, judge, explain. It always answers;
an over-full cluster, broken rules or a limit that ends the search early show in the result.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import numpy as np
import numpy.typing as npt

from solver.bounds.relaxed import relaxed_bound
from solver.compiler.compile import compile_problem
from solver.contention import hot_hosts
from solver.domain.check import Violation, check_placement
from solver.domain.cluster import Cluster, Placement
from solver.domain.plan import Plan
from solver.domain.plan_score import score_plan
from solver.domain.result import Result, SolveStatus
from solver.domain.scenario import ScenarioSet
from solver.domain.score import (
    HostContention,
    Score,
    host_contention,
    score_placement,
)
from solver.domain.units import VmId
from solver.domain.weights import to_units
from solver.explain.moves import explain_moves, savings
from solver.explain.refusals import explain_refusals
from solver.limit import Allowance
from solver.params import Engine, SolveParams
from solver.portfolio import Answer, load, run
from solver.problem import Problem
from solver.search.prune import prune
from solver.search.state import State
from solver.search.warm import warm_up
from solver.sequencing.order import sequence
from solver.validate import find_contradictions
from solver.worst_futures import Weighing, solve_worst

IntArray = npt.NDArray[np.int64]

HELD_BACK: Final = 0.1
"""Share of the wall limit kept for ordering and explaining, or more if compiling took longer."""

PASSING: Final = frozenset({"capacity", "vm_count", "maintenance"})
"""Kinds of violations that no rule is about: there is always a placement without them, some day."""

LONGEST_ASKING_S: Final = 0.5
LATE_SHARE: Final = 0.05
"""Time, also as a share of the wall limit, to ask whether rules that stay broken can be kept."""

TOO_LATE: Final = "its relief would come too late"
BY_WAY_OF_ANOTHER: Final = "getting there by way of another host costs more than it saves"
"""Why VMs stay whose moves are in order."""

LAST_WORDS_S: Final = 0.1
"""Seconds for which an answer is still explained after its time is over or it was cancelled; half a
second after the limit it has to be there."""


def solve(
    cluster: Cluster,
    scenarios: ScenarioSet,
    params: SolveParams | None = None,
    *,
    cancel: threading.Event | None = None,
    on_progress: Callable[[Answer], None] = lambda answer: None,
) -> Result:
    """Return what to move, in which order and why; an empty plan when nothing is worth it.

    The answer never breaks a hard rule or capacity that held, nor makes a broken one worse; it is
    never worse than doing nothing, nor (with the portfolio) than greedy. While no host that some VM
    may leave is above the threshold only what is broken is repaired.

    Where only the worst futures count (``weights.tail_share`` below 1), it is solved several times
    (:mod:`solver.worst_futures`). It is then not compared with greedy in the futures that are worst
    for greedy's answer, and progress is told after each solve.

    Parameters
    ----------
    scenarios
        Demand of at least the cluster's VMs.
    params
        Limits, weights and thresholds; defaults when left out.
    cancel
        Ends the search when set, from any thread; the plan is for what was found until then, and
        comes within half a second on clusters of up to about a hundred hosts.
    on_progress
        Told of everything better that the search finds, with its bound and engine.

    Raises
    ------
    InvalidInputError
        If a VM has no demand, or costs exceed what can be told apart.
    """
    params = params or SolveParams()
    prepare(params, num_hosts=len(cluster.hosts))
    if params.weights.tail_share == 1.0 or scenarios.num_scenarios == 1:
        return _Solve(cluster, scenarios, params, cancel, on_progress).result()

    def solve_weighing(share: SolveParams, weighing: Weighing) -> Result:
        return _Solve(cluster, scenarios, share, cancel, lambda answer: None, weighing).result()

    return solve_worst(
        cluster, scenarios, params, solve_weighing, cancel=cancel, on_progress=on_progress
    )


def prepare(params: SolveParams, *, num_hosts: int) -> None:
    """Compile and load what a solve needs, so that its time is spent on solving.

    Done by every solve before its clock starts; beforehand by whoever measures, or says what it
    is waiting for. The first time on a machine it takes up to a minute, later a second or two.
    """
    warm_up()
    load(Engine(params.engine), num_hosts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """A placement, and what the judges say of it."""

    placement: Placement
    score: Score
    violations: tuple[Violation, ...]
    contention: tuple[HostContention, ...]

    @property
    def broken(self) -> tuple[Violation, ...]:
        """What is broken that must not be."""
        return tuple(violation for violation in self.violations if violation.hard)


class _Solve:
    """One solve: what its stages share."""

    def __init__(
        self,
        cluster: Cluster,
        scenarios: ScenarioSet,
        params: SolveParams,
        cancel: threading.Event | None,
        on_progress: Callable[[Answer], None],
        weighing: Weighing | None = None,
    ) -> None:
        self.cancel, self._on_progress = cancel, on_progress
        self._told: Answer | None = None
        self._weighing = weighing = weighing or Weighing()
        self._failed = weighing.failed
        self._failures: list[str] = []
        self._bound: int | None = None
        self.allowance = Allowance(params.limit_s, params.work_limit)
        self._judged: _Judged | None = None
        self.cluster = cluster
        self.params = params
        self.scenarios = scenarios.for_vms(tuple(vm.id for vm in cluster.vms))
        self.problem = compile_problem(
            cluster,
            self.scenarios,
            params.weights,
            params.migration,
            counted_ppm=self._weighing.counted_ppm,
        )
        self._known = tuple(self.problem.positions(placement) for placement in weighing.known)
        self.before = self._judge(cluster.placement)
        # What comes after the search does much the same work as what came before it.
        self._begun_s = self.allowance.elapsed_s
        self.allowance.hold_back(max(HELD_BACK * params.limit_s, self._begun_s))

    def result(self) -> Result:
        balancing = self._opened()
        if self._weighing.staying or not (balancing or self.before.broken):
            hot = hot_hosts(self.before.contention, self.params.threshold_host_s)
            return self._package(
                Plan(made_at=self.cluster.observed_at),
                None,
                status=SolveStatus.NO_BENEFICIAL_MOVE if hot else SolveStatus.BELOW_THRESHOLD,
                balancing=balancing,
                cut_off={},
            )
        answer = self._search() if balancing else self._repair()
        plan, cut_off = self._sequence(answer.hosts, search_again=balancing)
        return self._package(plan, answer, status=None, balancing=balancing, cut_off=cut_off)

    def _opened(self) -> bool:
        """Whether contention opens the gate; on average, too, where only the worst futures count.

        A host may be the only one that is short in futures that are not the cluster's worst.
        """
        threshold_host_s = self.params.threshold_host_s
        if self._weighing.balancing is not None:
            return self._weighing.balancing
        if self._heated(self.before, threshold_host_s):
            return True
        if self._weighing.counted_ppm is None:
            return False
        contention = host_contention(
            self.cluster,
            self.scenarios,
            self.params.weights,
            self.before.placement,
            counted_ppm=self.scenarios.probability_ppm,
        )
        return self._heated(replace(self.before, contention=contention), threshold_host_s)

    def _heated(self, judged: _Judged, threshold_host_s: float) -> bool:
        """Whether a host is contended that something could be done about.

        One whose VMs all have to stay, as on a host that is not reachable, would keep the gate open
        for ever, and have the lower threshold in force for all others.
        """
        may_leave = self.problem.num_choices() > 1
        helped = {
            judged.placement[vm.id]
            for vm, may in zip(self.cluster.vms, may_leave, strict=True)
            if may
        }
        return any(host_id in helped for host_id in hot_hosts(judged.contention, threshold_host_s))

    def _search(self, restricted: Problem | None = None) -> Answer:
        """Return what the portfolio finds, with some VMs left where they are if so restricted."""
        params = self.params
        # A bound on what some VMs can reach says nothing of what all can.
        bound = None if restricted is None else self._proven()
        answer = run(
            restricted or self.problem,
            Engine(params.engine),
            self.allowance,
            threshold=to_units(params.stop_threshold_host_s),
            seed=params.seed,
            failed=self._failed,
            known=() if restricted is not None else self._known,
            cancel=self.cancel,
            on_progress=partial(self._tell, bound=bound),
        )
        self._failures += answer.failures
        if bound is not None:
            return replace(answer, bound=bound)
        self._bound = answer.bound
        return answer

    def _proven(self) -> int:
        """Return the bound that a search among all VMs has proven, before any a simple one."""
        if self._bound is None:
            self._bound = relaxed_bound(self.problem)
        return self._bound

    def _tell(self, answer: Answer, *, bound: int | None) -> None:
        """Tell of progress, unless another search has come further.

        Parameters
        ----------
        bound
            To be told in place of the answer's, ``None`` for that.
        """
        answer = answer if bound is None else replace(answer, bound=bound)
        told = self._told
        if told is not None:
            best = told if told.total <= answer.total else answer
            answer = replace(best, bound=max(told.bound, answer.bound))
            if (answer.total, answer.bound) == (told.total, told.bound):
                return
        self._told = answer
        self._on_progress(answer)

    def _repair(self) -> Answer:
        """Return an answer that mends what is broken and leaves alone what is not contended.

        Only VMs that take part in a violation move, unless that leaves more broken than moving
        all of them would, or makes a host contended.
        """
        concerned = {vm_id for violation in self.before.broken for vm_id in violation.vm_ids}
        movable = np.array([vm.id in concerned for vm in self.cluster.vms], dtype=np.bool_)
        narrow = self._search(self.problem.restricted_to(movable))
        judged = self._judge(self.problem.placement(narrow.hosts))
        repair = judged.score.repair
        heated = self._heated(judged, self.params.act_threshold_host_s)
        if self._over() or (not repair and not heated):
            return narrow
        wide = self._search()
        mended = self._judge(self.problem.placement(wide.hosts)).score.repair
        if wide.total < narrow.total and (mended < repair or heated):
            return wide
        return replace(narrow, bound=wide.bound)

    def _sequence(self, hosts: IntArray, *, search_again: bool) -> tuple[Plan, dict[VmId, str]]:
        """Return a safe plan, and the VMs for which there was no safe way, with the reason.

        What the cut leaves behind is pruned, or solved again without the VMs cut off where that
        is better, and sequenced again, until a plan reaches all of it. A plan that saves nothing,
        because moves in it take too long, is cut of those.
        """
        cut_off: dict[VmId, str] = {}
        problem = self.problem
        while True:
            placement = problem.placement(hosts)
            move_costs = self._judge(placement).score.move_costs
            sequenced = sequence(
                self.cluster,
                placement,
                urgency=savings(problem, hosts, move_costs),
                parameters=self.params.migration,
                move_costs=move_costs,
                patience_s=self._patience_s(),
            )
            late = {} if sequenced.cut_off else self._too_late(sequenced.plan)
            if not sequenced.cut_off and not late:
                return sequenced.plan, cut_off
            cut_off.update(sequenced.reasons_cut)
            cut_off.update(late)
            self._told = None  # it cannot be reached
            movable = np.array([vm.id not in cut_off for vm in self.cluster.vms], dtype=np.bool_)
            if late:
                # Others may have counted on the room of those that stay: sequencing would tell.
                reached = np.where(movable, hosts, self.problem.start)
            else:
                after = sequenced.plan.placement_after(self.cluster.placement)
                reached = problem.positions(after)
            if self._over():
                # No time to decide the rest anew: what can be reached, if it is worth it.
                saves = State(problem, reached).total < self.before.score.total
                worth_it = saves and not late and not self._too_late(sequenced.plan)
                return sequenced.plan if worth_it else replace(sequenced.plan, steps=()), cut_off
            problem = self.problem.restricted_to(movable)
            pruned = State(problem, reached)
            prune(pruned, out_of_time=self._over)
            choices = [(self.before.score.total, problem.start), (pruned.total, pruned.hosts)]
            if search_again:
                answer = self._search(problem)
                choices.append((answer.total, answer.hosts))
            _, hosts = min(choices, key=lambda choice: choice[0])

    def _patience_s(self) -> float:
        """Return how long a plan's times may be bettered, so that it can still be explained."""
        if self._cancelled():
            return 0.0
        if self.allowance.deterministic:
            return math.inf
        return self.params.limit_s - self.allowance.elapsed_s - self._begun_s

    def _over(self) -> bool:
        """Whether the whole of the time is used up, or nobody waits for more."""
        return self._cancelled() or self.allowance.elapsed_s >= self.params.limit_s

    def _cancelled(self) -> bool:
        return self.cancel is not None and self.cancel.is_set()

    def _last_words(self) -> Callable[[], bool]:
        """Return what tells when explaining has to end; it always has a moment from now."""
        moment_s = self.allowance.elapsed_s + LAST_WORDS_S
        limit_s = max(moment_s, self.params.limit_s)
        return lambda: self.allowance.elapsed_s >= (moment_s if self._cancelled() else limit_s)

    def _too_late(self, plan: Plan) -> dict[VmId, str]:
        """Return who is to stay, and why, if a plan saves nothing once relief counts as it comes.

        Engines price a placement as if its moves took no time and parking cost nothing. That is
        near enough while a plan is over within a step; one that is not, or that parks VMs, is
        scored again along its schedule, the way back of a parked VM charged like the way there.
        Those that arrive last stay first, half of them at a time: others may well be in time.
        """
        step_ms = self.scenarios.step_seconds * 1000
        parked = {step.vm_id for step in plan.steps if step.parking}
        ends_ms = {step.vm_id: step.end_ms for step in plan.steps}
        late = [vm_id for vm_id in ends_ms if ends_ms[vm_id] > step_ms or vm_id in parked]
        if not late:
            return {}
        _, contention = score_plan(
            self.cluster,
            self.scenarios,
            self.params.weights,
            plan,
            counted_ppm=self._weighing.counted_ppm,
        )
        after = self._judge(plan.placement_after(self.cluster.placement)).score
        ways_back = sum(cost.total for vm_id, cost in after.move_costs.items() if vm_id in parked)
        if after.total - after.contention + contention + ways_back < self.before.score.total:
            return {}
        late.sort(key=lambda vm_id: (-ends_ms[vm_id], vm_id))
        return {
            vm_id: BY_WAY_OF_ANOTHER if vm_id in parked else TOO_LATE
            for vm_id in late[: -(-len(late) // 2)]
        }

    def _package(
        self,
        plan: Plan,
        answer: Answer | None,
        *,
        status: SolveStatus | None,
        balancing: bool,
        cut_off: dict[VmId, str],
    ) -> Result:
        placement = plan.placement_after(self.cluster.placement)
        hosts = self.problem.positions(placement)
        judged = self._judge(placement)
        after = judged.score
        out_of_time = self._last_words()
        bound = None if answer is None else answer.bound
        explanations = explain_moves(
            self.cluster,
            self.problem,
            hosts,
            after.move_costs,
            self.before.broken,
            out_of_time=out_of_time,
        )
        refusals = explain_refusals(
            self.cluster,
            self.problem,
            hosts,
            contention=judged.contention,
            violations=judged.violations,
            hot_host_s=self.params.threshold_host_s,
            cut_off=cut_off,
            contradictions=self._contradictions(judged.broken),
            out_of_time=out_of_time,
        )
        return Result(
            status=status or _status(plan, after, bound),
            plan=plan.with_reasons({item.vm_id: item.sentence for item in explanations}),
            placement=placement,
            before=self.before.score,
            after=after,
            bound=bound,
            engine="none" if answer is None else answer.engine,
            runtime_s=self.allowance.elapsed_s,
            contention_before=self.before.contention,
            contention_after=judged.contention,
            balancing=balancing,
            explanations=explanations,
            refusals=refusals,
            remaining=judged.broken,
            failures=tuple(self._failures),
        )

    def _contradictions(self, remaining: tuple[Violation, ...]) -> dict[tuple[str, ...], str]:
        """Return, by key, why no placement at all keeps rules that are still broken."""
        if all(v.key[0] in PASSING for v in remaining):
            return {}
        limit_s = min(LONGEST_ASKING_S, LATE_SHARE * self.params.limit_s)
        if self._over():
            limit_s = min(LAST_WORDS_S / 2, limit_s)
        found = find_contradictions(self.cluster, group_limit_s=limit_s, limit_s=limit_s)
        return {
            violation.key: contradiction.message
            for violation in remaining
            for contradiction in found.contradictions
            if contradiction.concerns(violation)
        }

    def _judge(self, placement: Placement) -> _Judged:
        """Return what the judges say of a placement; kept for the last one asked about."""
        if self._judged is None or self._judged.placement != placement:
            cluster, scenarios, params = self.cluster, self.scenarios, self.params
            violations = check_placement(cluster, placement)
            self._judged = _Judged(
                placement=placement,
                score=score_placement(
                    cluster,
                    scenarios,
                    params.weights,
                    placement,
                    params.migration,
                    violations=violations,
                    counted_ppm=self._weighing.counted_ppm,
                ),
                violations=violations,
                contention=host_contention(
                    cluster,
                    scenarios,
                    params.weights,
                    placement,
                    counted_ppm=self._weighing.counted_ppm,
                ),
            )
        return self._judged


def _status(plan: Plan, after: Score, bound: int | None) -> SolveStatus:
    if not plan.steps:
        return SolveStatus.NO_BENEFICIAL_MOVE
    if bound is not None and after.total <= bound:
        return SolveStatus.OPTIMAL
    return SolveStatus.FEASIBLE
