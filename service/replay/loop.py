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
from solver.domain.cluster import Cluster
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
    driver = SimulatedDriver(start, workload, clock, weights=params.weights)
    cooldowns = Cooldowns(params.cooldown)
    interval = timedelta(minutes=config.interval_minutes)
    num_plans = -(-(config.until_at - config.from_at) // interval)
    seconds: list[float] = []
    for i in range(num_plans):
        due_at = config.from_at + i * interval
        next_at = min(due_at + interval, config.until_at)
        clock.advance_to(max(clock.now(), due_at))
        decision = policy.decide(with_cooldowns(driver.snapshot(), cooldowns), due_at)
        seconds.append(decision.seconds)
        _execute(decision.plan, f"plan{i:05d}", driver, clock, cooldowns, next_at)
        progress(i + 1, num_plans)
    clock.advance_to(max(clock.now(), config.until_at))
    return _figures(driver, tuple(seconds))


def _execute(
    plan: Plan,
    plan_id: str,
    driver: SimulatedDriver,
    clock: ManualClock,
    cooldowns: Cooldowns,
    next_at: datetime,
) -> None:
    """Carry a plan out until it is done or the next decision is due."""
    if not plan.steps:
        return
    executor = Executor(driver, clock, MemoryJournal())
    executor.begin(plan, plan_id=plan_id)
    while executor.active:
        executor.tick()
        wake_at = executor.next_event_at
        if wake_at is None:
            break
        if wake_at > next_at and clock.now() < next_at:
            clock.advance_to(next_at)
            executor.abort("the next decision is due", cancel_running=False)
        else:
            clock.advance_to(wake_at)
    for outcome in executor.report().outcomes:
        if outcome.state is MoveState.DONE and outcome.ended_at is not None:
            cooldowns.record(outcome.vm_id, outcome.ended_at)


def _figures(driver: SimulatedDriver, planning_s: tuple[float, ...]) -> PolicyFigures:
    report = driver.account()
    return PolicyFigures(
        weighted_shortfall_host_s=report.total_weighted_shortfall_host_s,
        weighted_shortfall_host_s_by_resource=_by_resource(report.weighted_shortfall_host_s),
        proportional_shortfall_host_s=float(report.proportional_shortfall_host_s.sum()),
        shortfall_host_s=report.total_shortfall_host_s,
        shortfall_host_s_by_resource=_by_resource(report.shortfall_host_s),
        overloaded_host_intervals=report.overloaded_host_intervals,
        migrations=report.migrations,
        failed_migrations=report.failed_migrations,
        gib_moved=report.gib_moved,
        downtime_s=report.downtime_s,
        unplaced_vm_s=report.unplaced_vm_s,
        violations=len(report.violations),
        plans=len(planning_s),
        planning_s=planning_s,
    )


def _by_resource(per_host: FloatArray) -> dict[str, float]:
    """Return totals by the name of the resource, of an array of shape ``(hosts, resources)``."""
    return dict(zip(FIELDS, per_host.sum(axis=0).tolist(), strict=True))
