"""From samples to verified migrations, on real hosts and without anybody's help."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from executor.clock import SystemClock
from executor.engine import Executor
from executor.journal import FileJournal
from executor.kvm.driver import KvmDriver
from executor.kvm.vm_source import open_vm_source
from executor.monitor.host import PsutilHost
from executor.monitor.rates import Differences
from executor.monitor.rollup import Rollup
from executor.monitor.sample import MinuteRecord
from executor.monitor.sampler import Sampler
from executor.monitor.timekeeper import SystemTimekeeper
from executor.monitor.wire import decode, encode
from executor.report import ExecutionReport
from executor.states import MoveState
from forecast.baseline import Persistence
from forecast.classes import classify
from forecast.online import OnlineForecaster
from service.monitored import history_of_minutes
from service.pipeline import Foresight, Planner
from solver.domain.cluster import Cluster, HostState
from solver.domain.plan import Plan
from solver.domain.rules import AntiAffinity, MoveBudget, Pin
from solver.domain.scenario import ScenarioSet
from solver.domain.units import HostId, Resource, VmId
from solver.params import SolveParams
from tests.builders import make_scenarios
from tests.integration.lab.carrying import PARAMS, make_config
from tests.integration.lab.soundness import assert_sound

if TYPE_CHECKING:
    from tests.integration.lab.hosts import Lab, LabHost

NUM_SAMPLES = 14
SAMPLE_S = 1.0
"""Real time between two samples; each stands for five minutes, so that the test is short."""

SOLVING = SolveParams(limit_s=5.0)
GRACE_S = 2.0
"""How much longer than the reported downtime a guest may be silent, beyond what others are."""


class FiveMinuteMonitor:
    """The monitor's own parts on one host; a second of real time stands for five minutes."""

    def __init__(self, host: LabHost, first_at: datetime) -> None:
        time_keeper = SystemTimekeeper()
        self._sampler = Sampler(PsutilHost(), open_vm_source(host.uri), time_keeper, vm_wait_s=30)
        self._differences = Differences(max_span_s=600)
        self._rollup = Rollup(HostId(host.name))
        self._at = first_at

    def sample(self) -> list[MinuteRecord]:
        """Take one sample and return the records it closed, as they come over the wire."""
        sample = self._differences.sample(self._sampler.read())
        self._at += timedelta(minutes=5)
        if sample is None:
            return []
        at = self._at - timedelta(minutes=2)
        closed = self._rollup.add(replace(sample, middle_at=at, end_at=at + timedelta(seconds=5)))
        return [decode(encode(record)) for record in (*closed, *self._rollup.close())]


def watch(lab: Lab) -> list[MinuteRecord]:
    """Return what monitors of all hosts deliver."""
    begin_at = datetime.now(UTC) - timedelta(minutes=5 * (NUM_SAMPLES + 1))
    monitors = [FiveMinuteMonitor(host, begin_at) for host in lab.hosts]
    records = []
    for _ in range(NUM_SAMPLES):
        for monitor in monitors:
            records += monitor.sample()
        # Samples are of what guests do meanwhile.
        time.sleep(SAMPLE_S)
    return records


def foresee(cluster: Cluster, records: list[MinuteRecord]) -> ScenarioSet:
    """Return joint futures of the cluster's VMs from what monitors delivered."""
    history = history_of_minutes(records)
    resources = (Resource.CPU, Resource.MEMORY)
    online = OnlineForecaster(
        forecaster=Persistence(),
        resources=resources,
        class_of=classify(history, until_bin=history.num_bins).by_vm(history.vm_ids),
        seed=0,
    )
    online.warm_up(history, until_bin=history.num_bins)
    foresight = Foresight(online, num_scenarios=16, seed=0)
    return foresight.of(cluster, history, at_bin=history.num_bins - 1)[1]


def carry_out(
    driver: KvmDriver, plan: Plan, folder: Path, look: Callable[[], None] = lambda: None
) -> ExecutionReport:
    """Carry out a plan to its end, looking at the lab all the while."""
    with FileJournal(folder / "journal") as journal:
        executor = Executor(driver, SystemClock(), journal, PARAMS)
        executor.begin(plan)
        deadline_s = time.monotonic() + 240
        while executor.active:
            assert time.monotonic() < deadline_s, executor.report()
            executor.tick()
            look()
            time.sleep(0.02)
        return executor.report()


def solve(cluster: Cluster, demand: ScenarioSet | None = None) -> Plan:
    """Return the plan for a cluster; without demand VMs need nothing."""
    scenarios = make_scenarios(cluster, {}) if demand is None else demand
    result, _ = Planner(SOLVING).plan(cluster, replace(scenarios, start_at=cluster.observed_at))
    assert not result.remaining, result.remaining
    return result.plan


@pytest.mark.timeout(600)
def test_a_hot_host_is_relieved_without_anybodys_help(lab: Lab, tmp_path: Path) -> None:
    """Sixteen guests on four hosts: sampled, foreseen, moved within caps, verified, ticking."""
    hot, *others = lab.hosts
    for i in range(4):
        lab.start_guest(f"busy{i}", hot, busy_percent=30, dirty_mib=8, dirty_mib_per_s=2 * (i % 2))
    for i in range(12):
        lab.start_guest(f"idle{i}", others[i % 3])
    for guest in lab.guests.values():
        guest.wait_ticking(num_ticks=2, timeout_s=200)
    config = make_config(lab)
    hosts = tuple(replace(host, cpu_millicores=600) for host in config.hosts)
    driver = KvmDriver(replace(config, hosts=hosts, budget=MoveBudget(max_parallel=2)))
    try:
        records = watch(lab)
        cluster = driver.snapshot()
        plan = solve(cluster, foresee(cluster, records))
        # On a machine that is short of processors itself other guests wait, too, and may be moved.
        assert HostId(hot.name) in {step.source_id for step in plan.steps}

        begun_s = time.monotonic()
        most_at_once = 0

        def look() -> None:
            nonlocal most_at_once
            # A guest under way has a process at both ends.
            twice = sum(len(host.qemu_processes()) for host in lab.hosts) - len(lab.guests)
            most_at_once = max(most_at_once, twice)

        report = carry_out(driver, plan, tmp_path, look)
        ended_s = time.monotonic()
    finally:
        driver.close()
    assert {outcome.state for outcome in report.outcomes} == {MoveState.DONE}, report
    assert most_at_once <= 2
    assert_sound(lab, {**lab.placement(), **placed(plan)})
    for step in plan.steps:
        assert lab.placement()[step.vm_id] == step.destination_id

    moved = {str(outcome.vm_id): outcome for outcome in report.outcomes}
    still = [guest for name, guest in lab.guests.items() if name not in moved]
    control_s = max(guest.largest_gap_s(begun_s, ended_s) for guest in still)
    for name, outcome in moved.items():
        assert outcome.downtime_ms is not None
        gap_s = lab.guests[name].largest_gap_s(begun_s, ended_s)
        assert gap_s <= control_s + outcome.downtime_ms / 1000 + GRACE_S, (name, gap_s, control_s)


@pytest.mark.timeout(300)
def test_a_host_is_emptied_and_members_stay_apart_at_every_instant(
    lab: Lab, tmp_path: Path
) -> None:
    """``a`` may only go where ``b`` is: ``b`` has to leave first, and never do they meet."""
    h1, h2, h3, h4 = lab.hosts
    lab.start_guests({"a": h1, "b": h2, "c": h1})
    config = make_config(lab)
    hosts = tuple(
        replace(host, state=HostState.MAINTENANCE) if host.id == h1.name else host
        for host in config.hosts
    )
    rules = (
        AntiAffinity(id="apart", vm_ids=(VmId("a"), VmId("b"))),
        Pin(id="a-there", vm_ids=(VmId("a"),), host_ids=(HostId(h1.name), HostId(h2.name))),
        Pin(id="c-there", vm_ids=(VmId("c"),), host_ids=(HostId(h1.name), HostId(h4.name))),
    )
    met: list[str] = []

    def look() -> None:
        for host in lab.hosts:
            there = {qemu.guest_name for qemu in host.qemu_processes()}
            if {"a", "b"} <= there:
                met.append(host.name)

    driver = KvmDriver(replace(config, hosts=hosts, rules=rules))
    try:
        report = carry_out(driver, solve(driver.snapshot()), tmp_path, look)
    finally:
        driver.close()
    assert {outcome.state for outcome in report.outcomes} == {MoveState.DONE}, report
    assert not met
    assert lab.placement()["a"] == h2.name
    assert lab.placement()["b"] in (h3.name, h4.name)
    assert lab.placement()["c"] == h4.name
    assert_sound(lab)


@pytest.mark.timeout(300)
def test_two_guests_change_places_by_way_of_a_third_host(lab: Lab, tmp_path: Path) -> None:
    """The busy one belongs on the large host, and neither fits beside the other: one is parked."""
    small, large, *spare = lab.hosts
    lab.start_guests({"busy": small, "idle": large})
    millicores = {small.name: 300, large.name: 1000, **dict.fromkeys((h.name for h in spare), 50)}
    config = make_config(lab)
    hosts = tuple(
        replace(host, cpu_millicores=millicores[host.id], memory_mib=120) for host in config.hosts
    )
    driver = KvmDriver(replace(config, hosts=hosts))
    try:
        cluster = driver.snapshot()
        plan = solve(cluster, make_scenarios(cluster, {"busy": 0.8, "idle": 0.1}))
        assert [step.parking for step in plan.steps].count(True) == 1
        report = carry_out(driver, plan, tmp_path)
    finally:
        driver.close()
    assert {outcome.state for outcome in report.outcomes} == {MoveState.DONE}, report
    assert_sound(lab, {"busy": large.name, "idle": small.name})


def placed(plan: Plan) -> dict[str, str]:
    """Return where a plan puts the guests it moves."""
    return {str(step.vm_id): str(step.destination_id) for step in plan.steps}
