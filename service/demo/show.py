"""The demonstration itself: cycle after cycle, and between them time that passes.

Yields frames; how they are shown, and how long somebody looks at each, is for ``screen``. Nothing
here depends on wall-clock time, so that a seed gives the same outcome on any machine.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from executor.report import MoveOutcome
from executor.simulation.account import AccountReport
from executor.states import MoveState
from forecast.online import OnlineForecaster
from forecast.scenarios import NUM_PATHS, affordable_scenarios, make_scenarios
from service.demo.config import INTERVAL_MINUTES, DemoConfig
from service.demo.fleet import Stage
from service.demo.frame import (
    Effort,
    Expected,
    Frame,
    HostFrame,
    MoveFrame,
    Suffered,
    Summary,
    Usage,
)
from service.demo.lives import Lives
from service.demo.outlook import Outlook, expect, look_ahead
from service.pipeline import Foresight, Planned, PredictivePlanner
from solver.domain.result import MoveExplanation
from solver.domain.scenario import ScenarioSet
from solver.domain.score import host_contention
from solver.domain.units import HostId, Resource
from solver.domain.weights import Weights, to_host_s
from solver.params import SolveParams
from solver.solve import prepare

WORK_LIMIT: Final = 0.2
"""Deterministic work of a plan, not wall time: the same seed gives the same plans anywhere."""
PATIENCE_S: Final = 60.0
"""Wall seconds after which even a slow machine's plan is cut short."""

FRAMES_PER_SECOND: Final = 6.0
MOVES_SHOWN_S: Final = 3.0
"""Wall seconds in which the moves of a plan are shown, slowly enough to be followed."""
AFTERWARDS: Final = timedelta(hours=1)
"""What a single plan was for: the hour after it."""


class Show:
    """One demonstration.

    Parameters
    ----------
    stage
        Cluster, past and future load.
    online
        A forecaster trained and warmed up on the past.
    tell
        Called with a few words about what takes time next.
    """

    def __init__(
        self,
        config: DemoConfig,
        stage: Stage,
        online: OnlineForecaster,
        tell: Callable[[str], None] = lambda words: None,
    ) -> None:
        self._config = config
        self._stage = stage
        self._online = online
        self._lives = Lives(stage.start, stage.workload)
        solving = SolveParams(work_limit=WORK_LIMIT, limit_s=PATIENCE_S, seed=config.seed)
        tell("getting the solver ready; the first time on a machine its kernels are compiled")
        prepare(solving, num_hosts=config.num_hosts)
        num_scenarios = affordable_scenarios(len(stage.start.vms))
        self._planner = PredictivePlanner(
            Foresight(online, num_scenarios=num_scenarios, seed=config.seed), solving
        )
        self._cycle = 0
        self._planned: Planned | None = None
        self._paths: ScenarioSet | None = None
        self._outlook: Outlook | None = None
        self._scores: dict[HostId, float] = {}
        self._reasons: dict[str, str] = {}
        self._priorities = {str(vm.id): vm.priority for vm in stage.start.vms}
        self._planning_s: list[float] = []
        self._expected: list[Expected] = []
        self._with_moves = 0

    def run(self) -> Iterator[Frame]:
        """Yield frame after frame until the demonstration is over."""
        interval = timedelta(minutes=INTERVAL_MINUTES)
        for cycle in range(self._config.num_cycles):
            due_at = self._stage.start.observed_at + cycle * interval
            self._cycle = cycle + 1
            yield self._frame("forecasting and planning")
            self._plan()
            yield self._frame("planned", notes=self._plan_notes())
            yield from self._move(due_at + interval)
            if not self._config.once:
                yield from self._watch(due_at + interval)
        if self._config.once:
            yield from self._watch(self._stage.start.observed_at + AFTERWARDS)

    def summary(self, *, interrupted: bool = False) -> Summary:
        """Return what came of it so far."""
        return Summary(
            started_at=self._stage.start.observed_at,
            ended_at=self._lives.now,
            cycles=len(self._planning_s),
            plans_with_moves=self._with_moves,
            expected=self._expected[0] if self._expected else Expected(),
            ours=_suffered(self._lives.account()),
            control=_suffered(self._lives.control_account()),
            effort=_effort(self._lives.account()),
            planning_s=statistics.median(self._planning_s) if self._planning_s else 0.0,
            interrupted=interrupted,
        )

    # Stages of a cycle ----------------------------------------------------------------------

    def _plan(self) -> None:
        """Plan on what is known now, look ahead on fresh paths, and begin."""
        cluster = self._lives.snapshot()
        at_bin = self._stage.history.bin_at(self._lives.now) - 1
        known = self._stage.history.until(at_bin + 1)
        planned = self._planner.plan(cluster, known, at_bin=at_bin)
        assert planned.forecast is not None
        fresh = make_scenarios(
            planned.forecast,
            self._online.memory,
            num_scenarios=NUM_PATHS,
            # The solver's scenarios come from another stream: these paths it has never seen.
            rng=np.random.default_rng([self._config.seed, at_bin, 1]),
            start_at=planned.forecast.at,
            present=known.latest(at_bin),
            common_share=self._online.sums.share,
        )
        plan = planned.result.plan
        self._paths = fresh
        self._planned = planned
        self._planning_s.append(planned.seconds)
        self._expected.append(expect(cluster, fresh, plan))
        self._look_ahead()
        self._reasons = {str(e.vm_id): short_reason(e) for e in planned.result.explanations}
        self._with_moves += bool(plan.steps)
        self._lives.begin(plan)

    def _look_ahead(self) -> None:
        """Bring outlook and scores of the hosts up to where VMs are now."""
        assert self._planned is not None
        assert self._paths is not None
        cluster = self._lives.snapshot()
        self._outlook = look_ahead(cluster, self._paths)
        contention = host_contention(cluster, self._planned.scenarios, Weights(), cluster.placement)
        self._scores = {item.host_id: to_host_s(item.total) for item in contention}

    def _move(self, next_at: datetime) -> Iterator[Frame]:
        """Follow the moves; what has not begun when the next plan is due is dropped."""
        if not self._lives.moving:
            return
        assert self._planned is not None
        makespan_s = self._planned.result.plan.makespan_ms / 1000
        pace = min(self._config.speed, max(1.0, makespan_s / MOVES_SHOWN_S))
        while self._lives.moving and (self._config.once or self._lives.now < next_at):
            yield from self._pass(pace, "moving", until=None if self._config.once else next_at)
        ended = self._lives.stop_moving("the next plan is due")
        self._look_ahead()
        yield self._frame("moved", notes=_ended_notes(ended))

    def _watch(self, until: datetime) -> Iterator[Frame]:
        """Let time pass until the next plan."""
        while self._lives.now < until:
            yield from self._pass(self._config.speed, "watching", until=until)

    def _pass(self, pace: float, phase: str, until: datetime | None) -> Iterator[Frame]:
        step = timedelta(seconds=pace / FRAMES_PER_SECOND)
        to = self._lives.now + step
        ended = self._lives.advance(to if until is None else min(to, until))
        yield self._frame(phase, notes=_ended_notes(ended), hold_s=1 / FRAMES_PER_SECOND)

    # What is to be seen ---------------------------------------------------------------------

    def _frame(self, phase: str, *, notes: tuple[str, ...] = (), hold_s: float = 0.0) -> Frame:
        account = self._lives.account()
        return Frame(
            now=self._lives.now,
            cycle=self._cycle,
            num_cycles=self._config.num_cycles,
            phase=phase,
            hosts=self._hosts(),
            moves=self._moves(),
            expected=self._expected[-1] if self._expected else Expected(),
            ours=_suffered(account),
            control=_suffered(self._lives.control_account()),
            effort=_effort(account),
            planning_s=0.0 if self._planned is None else self._planned.seconds,
            engine="" if self._planned is None else self._planned.result.engine,
            notes=notes,
            hold_s=hold_s,
        )

    def _hosts(self) -> tuple[HostFrame, ...]:
        used = self._lives.utilisation()
        cluster = self._lives.snapshot()
        guests = Counter(vm.host_id for vm in cluster.vms)
        under_way = [m for m in self._outcomes() if m.state is MoveState.RUNNING]
        incoming = Counter(outcome.step.destination_id for outcome in under_way)
        outgoing = Counter(outcome.step.source_id for outcome in under_way)
        outlook = self._outlook
        frames = []
        for h, host in enumerate(cluster.hosts):
            now_cpu, now_memory = used[h, Resource.CPU], used[h, Resource.MEMORY]
            frames.append(
                HostFrame(
                    id=host.id,
                    num_vms=guests[host.id],
                    cpu=_usage(float(now_cpu), outlook, h, Resource.CPU),
                    memory=_usage(float(now_memory), outlook, h, Resource.MEMORY),
                    score_host_s=self._scores.get(host.id, 0.0),
                    overload=0.0 if outlook is None else float(outlook.overload[h]),
                    incoming=incoming[host.id],
                    outgoing=outgoing[host.id],
                )
            )
        return tuple(frames)

    def _moves(self) -> tuple[MoveFrame, ...]:
        return tuple(
            MoveFrame(
                vm_id=outcome.vm_id,
                priority=self._priorities[outcome.vm_id],
                source_id=outcome.step.source_id or "",
                destination_id=outcome.step.destination_id,
                state=outcome.state,
                fraction=1.0 if outcome.state is MoveState.DONE else outcome.fraction,
                reason=self._reasons.get(outcome.vm_id, outcome.step.reason),
            )
            for outcome in self._outcomes()
        )

    def _outcomes(self) -> tuple[MoveOutcome, ...]:
        report = self._lives.report()
        return () if report is None else report.outcomes

    def _plan_notes(self) -> tuple[str, ...]:
        assert self._planned is not None
        plan, expected = self._planned.result.plan, self._expected[-1]
        if not plan.steps:
            return (
                f"plan {self._cycle}: nothing worth moving "
                f"({self._planned.result.status.value.replace('_', ' ')}); expected shortfall "
                f"{expected.without_plan:.1f} host-s",
            )
        head = (
            f"plan {self._cycle}: {len(plan.steps)} moves; expected shortfall of the next hour "
            f"{expected.without_plan:.1f} host-s without, {expected.with_plan:.1f} with them"
        )
        moves = (
            f"  {step.vm_id} {step.source_id} → {step.destination_id}: "
            f"{self._reasons.get(step.vm_id, step.reason)}"
            for step in plan.steps
        )
        return (head, *moves)


def short_reason(explanation: MoveExplanation) -> str:
    """Return why a VM moves, in as few words as fit beside it; figures in host-seconds."""
    saved, cost = to_host_s(explanation.saved), to_host_s(explanation.cost)
    text = f"saves {saved:.1f}, costs {cost:.1f}"
    if explanation.alternative_id is None or explanation.alternative_loss is None:
        return f"{text}; no other host will do"
    loss = to_host_s(explanation.alternative_loss)
    return f"{text}; next best {explanation.alternative_id} {loss:+.1f}"


def _usage(now: float, outlook: Outlook | None, h: int, resource: Resource) -> Usage:
    if outlook is None:
        return Usage(now=now)
    return Usage(now=now, p50=float(outlook.p50[h, resource]), p95=float(outlook.p95[h, resource]))


def _suffered(account: AccountReport) -> Suffered:
    return Suffered(
        weighted_host_s=account.total_weighted_shortfall_host_s,
        plain_host_s=account.total_shortfall_host_s,
        overloaded_host_intervals=account.overloaded_host_intervals,
    )


def _effort(account: AccountReport) -> Effort:
    return Effort(
        migrations=account.migrations,
        failed_migrations=account.failed_migrations,
        gib_moved=account.gib_moved,
        downtime_s=account.downtime_s,
        violations=len(account.violations),
    )


def _ended_notes(ended: list[MoveOutcome]) -> tuple[str, ...]:
    notes = []
    for outcome in ended:
        way = f"{outcome.vm_id} {outcome.step.source_id} → {outcome.step.destination_id}"
        assert outcome.ended_at is not None
        at = f"{outcome.ended_at:%H:%M:%S}"
        if outcome.state is MoveState.DONE and outcome.started_at is not None:
            took_s = (outcome.ended_at - outcome.started_at).total_seconds()
            still_ms = outcome.downtime_ms or 0
            notes.append(
                f"  {at} {way}: done in {took_s:.0f} s, {outcome.transferred_mib:,} MiB, "
                f"{still_ms} ms of downtime"
            )
        else:
            notes.append(f"  {at} {way}: {outcome.state.value} ({outcome.reason})")
    return tuple(notes)
