"""The closed loop: one policy runs the simulated cluster over the window of a replay.

Every interval the policy sees a snapshot and decides; the executor carries its plan out in
simulated time, checked move by move like on real hosts. What is still under way when the next
decision is due is brought to its end first; what has not begun is dropped, since the decision it
came from is old.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from executor.clock import ManualClock
from executor.drivers.simulated import SimulatedDriver
from executor.engine import Executor
from executor.journal import MemoryJournal
from executor.simulation.workload import FloatArray, Workload
from executor.states import MoveState
from service.cooldown import CooldownParams, Cooldowns
from service.pipeline import with_cooldowns
from service.replay.config import ReplayConfig
from service.replay.policies import Policy
from service.replay.report import PolicyFigures
from solver.domain.check import check_placement, check_plan
from solver.domain.cluster import Cluster
from solver.domain.migration import DEFAULT_MIGRATION, MigrationParameters
from solver.domain.plan import Plan
from solver.domain.units import FIELDS
from solver.domain.weights import Weights

Progress = Callable[[int, int], None]
"""Called with the plans made and the plans to make."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopParams:
    """Settings of the loop that are the same for all policies."""

    weights: Weights
    cooldown: CooldownParams
    physics: MigrationParameters = DEFAULT_MIGRATION
    """How migrations really behave, which no policy is told."""


def run_policy(
    policy: Policy,
    *,
    config: ReplayConfig,
    start: Cluster,
    workload: Workload,
    params: LoopParams,
    progress: Progress = lambda done, total: None,
) -> PolicyFigures:
    """Run one policy from the start to the end of the window, and return what it led to.

    Parameters
    ----------
    start
        Hosts, and every VM of the workload with the host it starts on.
    workload
        Its first bin starts at ``config.from_at``.
    """
    clock = ManualClock(config.from_at)
    driver = SimulatedDriver(start, workload, clock, weights=params.weights, physics=params.physics)
    run = _Run(driver, clock, Cooldowns(params.cooldown), config.until_at)
    interval = timedelta(minutes=config.interval_minutes)
    num_plans = -(-(config.until_at - config.from_at) // interval)
    for i in range(num_plans):
        due_at = config.from_at + i * interval
        run.decide_and_move(policy, due_at, due_at + interval, f"plan{i:05d}")
        progress(i + 1, num_plans)
    clock.advance_to(config.until_at)
    return run.figures()


class _Run:
    """One policy's run: the cluster, its clock, and what is counted beside the cluster's account.

    Parameters
    ----------
    until_at
        End of the window: nothing is simulated beyond it, so that all policies are accounted for
        the same time. Moves under way then are left there.
    """

    def __init__(
        self,
        driver: SimulatedDriver,
        clock: ManualClock,
        cooldowns: Cooldowns,
        until_at: datetime,
    ) -> None:
        self._driver = driver
        self._clock = clock
        self._cooldowns = cooldowns
        self._until_at = until_at
        self._planning_s: list[float] = []
        self._violations = 0
        self._dropped_moves = 0

    def decide_and_move(
        self, policy: Policy, due_at: datetime, next_at: datetime, plan_id: str
    ) -> None:
        """Let the policy decide when it is due, and carry out what it decides until the next."""
        if self._clock.now() >= min(next_at, self._until_at):
            return  # moves of the plan before outlasted the whole interval
        self._clock.advance_to(max(self._clock.now(), due_at))
        snapshot = self._driver.snapshot()
        decision = policy.decide(with_cooldowns(snapshot, self._cooldowns), due_at)
        self._planning_s.append(decision.seconds)
        # Judged by the checker alone: the executor refuses bad steps, which must not hide them.
        self._violations += len(check_plan(snapshot, decision.plan)) + sum(
            violation.hard and violation.key[0] != "not_running"
            for violation in check_placement(snapshot, snapshot.placement)
        )
        if decision.plan.steps:
            self._execute(decision.plan, plan_id, min(next_at, self._until_at))

    def figures(self) -> PolicyFigures:
        """Return what the run led to."""
        report = self._driver.account()
        return PolicyFigures(
            weighted_shortfall_host_s=report.total_weighted_shortfall_host_s,
            weighted_shortfall_host_s_by_resource=_by_resource(
                report.weighted_shortfall_host_s, report.unplaced_weighted_shortfall_host_s
            ),
            proportional_shortfall_host_s=report.total_proportional_shortfall_host_s,
            shortfall_host_s=report.total_shortfall_host_s,
            shortfall_host_s_by_resource=_by_resource(
                report.shortfall_host_s, report.unplaced_shortfall_host_s
            ),
            overloaded_host_intervals=report.overloaded_host_intervals,
            migrations=report.migrations,
            failed_migrations=report.failed_migrations,
            dropped_moves=self._dropped_moves,
            gib_moved=report.gib_moved,
            downtime_s=report.downtime_s,
            unplaced_vm_s=report.unplaced_vm_s,
            violations=self._violations + len(report.violations),
            plans=len(self._planning_s),
            planning_s=tuple(self._planning_s),
        )

    def _execute(self, plan: Plan, plan_id: str, next_at: datetime) -> None:
        """Carry a plan out until it is done; drop what has not begun when the next is due."""
        executor = Executor(self._driver, self._clock, MemoryJournal())
        executor.begin(plan, plan_id=plan_id)
        stopping = False
        while executor.active and self._clock.now() < self._until_at:
            if not stopping and self._clock.now() >= next_at:
                executor.abort("the next decision is due", cancel_running=False)
                stopping = True
            executor.tick()
            wake_at = executor.next_event_at
            if wake_at is None:
                break
            latest_at = self._until_at if stopping else next_at
            self._clock.advance_to(max(self._clock.now(), min(wake_at, latest_at)))
        for outcome in executor.report().outcomes:
            if outcome.state is MoveState.DONE and outcome.ended_at is not None:
                self._cooldowns.record(outcome.vm_id, outcome.ended_at)
            elif outcome.state in (MoveState.SKIPPED, MoveState.ABORTED):
                self._dropped_moves += 1


def _by_resource(per_host: FloatArray, unplaced: FloatArray) -> dict[str, float]:
    """Return totals by the name of the resource.

    Parameters
    ----------
    per_host
        Shape ``(hosts, resources)``.
    unplaced
        What VMs without a host went short of, shape ``(resources,)``.
    """
    return dict(zip(FIELDS, (per_host.sum(axis=0) + unplaced).tolist(), strict=True))
