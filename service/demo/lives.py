"""Time passing in two clusters at once: the one that is looked after, and its twin that is not.

Both start alike and get the same load. Moves happen in the first only, so that the difference is
what the moves were worth.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
import numpy.typing as npt

from executor.clock import ManualClock
from executor.drivers.simulated import SimulatedDriver
from executor.engine import Executor
from executor.journal import MemoryJournal
from executor.report import ExecutionReport, MoveOutcome
from executor.simulation.account import AccountReport
from executor.simulation.workload import FloatArray, Workload
from executor.states import MoveState
from service.cooldown import Cooldowns
from service.pipeline import with_cooldowns
from solver.domain.cluster import Cluster
from solver.domain.plan import Plan
from solver.domain.score import capacity_array


class Lives:
    """The cluster and its twin.

    Parameters
    ----------
    start
        Both clusters at the start.
    workload
        Load of both; its first bin starts with them.
    """

    def __init__(self, start: Cluster, workload: Workload) -> None:
        self._clock = ManualClock(start.observed_at)
        self._driver = SimulatedDriver(start, workload, self._clock)
        self._twin_clock = ManualClock(start.observed_at)
        self._twin = SimulatedDriver(start, workload, self._twin_clock)
        self._capacity = capacity_array(start).astype(np.float64)
        self._cooldowns = Cooldowns()
        self._executor: Executor | None = None
        self._num_plans = 0
        self._ended: set[int] = set()

    @property
    def now(self) -> datetime:
        """The present instant of both."""
        return self._clock.now()

    @property
    def moving(self) -> bool:
        """Whether a plan is being carried out."""
        return self._executor is not None and self._executor.active

    def snapshot(self) -> Cluster:
        """Return the cluster as it is now, cool-downs included."""
        return with_cooldowns(self._driver.snapshot(), self._cooldowns)

    def begin(self, plan: Plan) -> None:
        """Start carrying out a plan."""
        self._executor = Executor(self._driver, self._clock, MemoryJournal())
        self._executor.begin(plan, plan_id=f"demo{self._num_plans:04d}")
        self._num_plans += 1
        self._ended = set()
        self._executor.tick()

    def advance(self, until: datetime) -> list[MoveOutcome]:
        """Let time pass; return the moves that ended meanwhile."""
        executor = self._executor
        while executor is not None and executor.active:
            wake_at = executor.next_event_at
            if wake_at is None or wake_at > until:
                break
            self._clock.advance_to(wake_at)
            executor.tick()
        self._clock.advance_to(until)
        self._twin_clock.advance_to(until)
        return self._newly_ended()

    def stop_moving(self, reason: str) -> list[MoveOutcome]:
        """Begin no further move and bring home what is under way; time passes until then."""
        if self._executor is None or not self._executor.active:
            return []
        self._executor.abort(reason, cancel_running=False)
        ended: list[MoveOutcome] = []
        while self.moving:
            self._executor.tick()
            wake_at = self._executor.next_event_at
            ended += self.advance(self.now if wake_at is None else max(wake_at, self.now))
        return ended

    def report(self) -> ExecutionReport | None:
        """Return where the present plan stands; ``None`` before the first."""
        return None if self._executor is None else self._executor.report()

    def utilisation(self) -> npt.NDArray[np.float64]:
        """Return present demand over usable capacity, shape ``(num_hosts, num_resources)``."""
        load: FloatArray = self._driver.host_load()
        fraction: npt.NDArray[np.float64] = load / self._capacity
        return fraction

    def account(self) -> AccountReport:
        """Return what the VMs of the cluster suffered so far."""
        return self._driver.account()

    def control_account(self) -> AccountReport:
        """Return what they suffered in the twin."""
        return self._twin.account()

    def _newly_ended(self) -> list[MoveOutcome]:
        report = self.report()
        if report is None:
            return []
        ended = [
            (i, outcome)
            for i, outcome in enumerate(report.outcomes)
            if outcome.ended_at is not None and i not in self._ended
        ]
        for i, outcome in ended:
            self._ended.add(i)
            if outcome.state is MoveState.DONE and outcome.ended_at is not None:
                self._cooldowns.record(outcome.vm_id, outcome.ended_at)
        return [outcome for _, outcome in ended]
