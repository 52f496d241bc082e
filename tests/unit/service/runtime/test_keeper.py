"""A whole life of a cluster under a keeper: hours pass in seconds."""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path

import pytest

from forecast.classes import CLASSES
from forecast.forecaster import HORIZON_MINUTES
from service.errors import WrongStateError
from service.inventory.clusters import put_cluster
from service.inventory.maintenance import set_maintenance
from service.inventory.policies import ClusterSettings, DriverSettings, Maintenance
from service.plans import wishes
from service.plans.document import plan_of
from service.runtime.drivers import last_snapshot
from service.runtime.kept import FORECAST, fan_from_bytes
from service.runtime.past_fans import LEVELS, past_fans
from service.store.base import Kind, PlanStage
from service.whatif.kept import FUTURES, futures_from_bytes
from solver.domain.units import HostId
from tests.keeping import CLUSTER, OPERATOR, SEED, START, Kept, crowded
from tests.plans import crowded_host, make_kept

QUIET = {"interval_minutes": 600}
"""One plan at the start, and no other within a test."""
BY_HAND = {**QUIET, "automation": "approve"}
"""The same, and it waits to be approved."""


def _made(kept: Kept) -> str:
    """Let time pass until a plan is proposed, and return its id."""
    kept.pass_time(lambda: bool(kept.plans(PlanStage.PROPOSED)), hours=0.5)
    return kept.plans(PlanStage.PROPOSED)[0].id


def _on(kept: Kept, host: str) -> int:
    cluster = last_snapshot(kept.store, CLUSTER)
    assert cluster is not None
    return sum(vm.host_id == host for vm in cluster.vms)


def test_recommends_and_touches_nothing(tmp_path: Path) -> None:
    """By default a plan is proposed, saying what it saves, and no VM is moved."""
    kept = Kept(tmp_path, schedule=QUIET)
    plan = kept.plan(_made(kept))
    kept.pass_time(hours=0.3)
    assert kept.plan(plan.id).stage is PlanStage.PROPOSED
    assert plan.document["expected"]["saved_host_s"] > 0
    assert plan.document["automation"] == "recommend"
    loads = {item["host_id"]: item for item in plan.document["loads"]}
    assert loads["h1"]["before"]["cpu"]["p95"] > loads["h1"]["after"]["cpu"]["p95"]
    assert _on(kept, "h1") == 8
    with kept.store.begin(read_only=True) as tx:
        futures = tx.blobs.get(CLUSTER, FUTURES)
    assert futures is not None
    assert futures_from_bytes(futures[1]).scenarios.num_scenarios >= 16
    with pytest.raises(WrongStateError, match="only recommends"):
        kept.wish(wishes.approve, plan.id)
    with pytest.raises(WrongStateError, match="only recommends"):
        kept.wish(wishes.approve_step, plan.id, 0)


def test_plan_is_not_begun_once_the_cluster_only_recommends(tmp_path: Path) -> None:
    """A plan that was approved and waits is superseded when automation is taken back."""
    kept = Kept(tmp_path, schedule=BY_HAND)
    name = _made(kept)
    kept.wish(wishes.approve, name)
    kept.set_schedule(QUIET)
    kept.pass_time(hours=0.05)
    assert kept.plan(name).stage is PlanStage.SUPERSEDED
    assert "only recommends" in kept.plan(name).document["decision"]["reason"]


def test_drain_waits_for_approval(tmp_path: Path) -> None:
    """Where plans wait to be approved, one that empties a host waits too, and is then run."""
    kept = Kept(tmp_path, schedule={**BY_HAND, "paused": True})
    _want_maintenance(kept, Maintenance())
    drain = _made(kept)
    kept.pass_time(hours=0.1)
    assert kept.plan(drain).trigger == "drain"
    assert kept.plan(drain).stage is PlanStage.PROPOSED
    assert _on(kept, "h1") == 8
    kept.wish(wishes.approve, drain)
    kept.set_schedule(BY_HAND)
    kept.pass_time(lambda: not _on(kept, "h1"), hours=1)
    assert not _on(kept, "h1")


def test_proposed_approved_executed_and_looked_back_on(tmp_path: Path) -> None:
    """An approved plan is carried out, and later judged by the demand that was then observed."""
    kept = Kept(tmp_path, schedule=BY_HAND)
    name = _made(kept)
    kept.wish(wishes.approve, name)
    kept.pass_time(lambda: kept.plan(name).stage is PlanStage.DONE, hours=0.5)
    plan = kept.plan(name)
    assert plan.stage is PlanStage.DONE
    assert {step["state"] for step in plan.document["progress"]["steps"]} == {"done"}
    assert _on(kept, "h1") < 8
    kept.pass_time(hours=1.2)
    observed = kept.plan(name).document["observed"]
    assert set(observed) == {"5m", "1h"}
    assert observed["1h"]["with_host_s"] < observed["1h"]["without_host_s"]
    saved = observed["1h"]["saved_by_steps"]
    assert len(saved) == len(plan.document["progress"]["steps"])
    assert max(saved) > 0
    with kept.store.begin(read_only=True) as tx:
        actions = [(entry.action, entry.actor) for entry in tx.audit.page(limit=20)][::-1]
    assert ("plans.approve", "olga") in actions
    assert actions.index(("plans.approve", "olga")) < actions.index(("plans.done", "foreswap"))
    _expect_fans_of_each_hour(kept)


def _expect_fans_of_each_hour(kept: Kept) -> None:
    """Of the past a fan an hour is there, of VMs and hosts; the latest tells each VM's class."""
    vm_id = crowded().vms[0].id
    with kept.store.begin(read_only=True) as tx:
        of_vm = past_fans(tx, CLUSTER, kept.clock.now(), vm_id=vm_id)
        of_host = past_fans(tx, CLUSTER, kept.clock.now(), host_id="h1")
        latest = tx.blobs.get(CLUSTER, FORECAST)
    assert [fan.at.hour for fan in of_vm] == [8, 9]
    assert [fan.at for fan in of_host] == [fan.at for fan in of_vm]
    assert of_vm[-1].values["cpu_millicores"].shape == (len(HORIZON_MINUTES), len(LEVELS))
    assert latest is not None
    fan = fan_from_bytes(latest[1], vm_id=vm_id)
    assert fan is not None
    assert fan["usage_class"] in CLASSES


def test_automatic_needs_nobody(tmp_path: Path) -> None:
    """In automatic mode plans are made and carried out without being asked."""
    kept = Kept(tmp_path, schedule={**QUIET, "automation": "automatic"})
    kept.pass_time(lambda: bool(kept.plans(PlanStage.DONE)), hours=1)
    plan = kept.plans(PlanStage.DONE)[0]
    assert plan.document["decision"]["by"] == "foreswap"
    assert _on(kept, "h1") < 8


def test_moved_vms_cool_down_and_moves_are_remembered(tmp_path: Path) -> None:
    """After a restart the next keeper still knows what was moved lately."""
    kept = Kept(tmp_path, schedule={**QUIET, "automation": "automatic"})
    kept.pass_time(lambda: bool(kept.plans(PlanStage.DONE)), hours=1)
    moved = len(kept.plans(PlanStage.DONE)[0].document["progress"]["steps"])
    kept.new_keeper()
    memory = kept.keeper.memory
    assert len(memory.moved_at) == moved
    assert len(memory.cooldowns.to_document()) == moved
    assert len(memory.measured) == moved


def test_nothing_is_begun_in_a_blackout(tmp_path: Path) -> None:
    """An approved plan waits for the end of the blackout; automatic planning waits as well."""
    blackout = {"blackouts": [{"start": "08:00", "end": "09:00"}]}
    kept = Kept(tmp_path, schedule={**QUIET, **blackout, "automation": "automatic"})
    kept.pass_time(hours=0.5)
    assert not kept.plans()
    assert kept.status()["blackout_until"] == "2026-03-03T09:00:00+00:00"
    wanted = kept.wish(wishes.request_plan)
    kept.pass_time(lambda: kept.plan(wanted.id).stage is PlanStage.APPROVED, hours=0.1)
    kept.pass_time(hours=0.2)
    assert kept.plan(wanted.id).stage is PlanStage.APPROVED
    kept.pass_time(lambda: kept.plan(wanted.id).stage is PlanStage.DONE, hours=0.6)
    began = min(s["started_at"] for s in kept.plan(wanted.id).document["progress"]["steps"])
    assert began >= "2026-03-03T09:00"


def test_poor_telemetry_holds_back_and_says_why(tmp_path: Path) -> None:
    """Stale telemetry: no plan by schedule, the reason is shown; one asked for says it too."""
    kept = Kept(tmp_path, schedule={**QUIET, "automation": "automatic"})
    kept.keeper.stop_feeding()
    kept.pass_time(hours=0.1)
    assert not kept.plans()
    assert "no telemetry" in kept.status()["last_outcome"]
    wanted = kept.wish(wishes.request_plan)
    kept.pass_time(lambda: kept.plan(wanted.id).stage is not PlanStage.WANTED, hours=0.1)
    plan = kept.plan(wanted.id)
    assert plan.stage is not PlanStage.APPROVED
    assert "no telemetry" in plan.document["objections"][0]


def test_paused_schedule_plans_only_when_asked(tmp_path: Path) -> None:
    """The pause switch stops what goes on by itself, not an operator."""
    kept = Kept(tmp_path, schedule={"paused": True, "automation": "automatic"})
    kept.pass_time(hours=0.3)
    assert not kept.plans()
    wanted = kept.wish(wishes.request_plan)
    kept.pass_time(lambda: kept.plan(wanted.id).stage is not PlanStage.WANTED, hours=0.1)
    assert kept.plan(wanted.id).stage is PlanStage.PROPOSED


def test_newer_plan_supersedes_the_proposed_one(tmp_path: Path) -> None:
    """Of the plans that wait for approval only the newest is left."""
    kept = Kept(tmp_path, schedule={"interval_minutes": 15, "automation": "approve"})
    first = _made(kept)
    kept.pass_time(lambda: kept.plan(first).stage is PlanStage.SUPERSEDED, hours=0.5)
    assert "newer plan" in kept.plan(first).document["decision"]["reason"]
    with pytest.raises(WrongStateError, match="superseded"):
        kept.wish(wishes.approve, first)


def test_host_is_emptied_stays_empty_and_returns(tmp_path: Path) -> None:
    """Maintenance is planned for at once; back from it, the host is planned with at once."""
    kept = Kept(tmp_path, schedule={**QUIET, "automation": "automatic"})
    kept.pass_time(lambda: bool(kept.plans(PlanStage.DONE)), hours=1)
    assert _on(kept, "h1")
    _want_maintenance(kept, Maintenance())
    kept.pass_time(lambda: not _on(kept, "h1"), hours=1)
    assert not _on(kept, "h1")
    assert kept.plans()[0].trigger == "drain"
    kept.pass_time(hours=0.5)
    assert not _on(kept, "h1")
    _want_maintenance(kept, None)
    kept.pass_time(hours=0.1)
    assert kept.status()["last_trigger"] == "return"


def test_approved_plan_is_checked_against_the_present(tmp_path: Path) -> None:
    """A plan whose destination was closed meanwhile is not begun."""
    kept = Kept(tmp_path, schedule=BY_HAND)
    name = _made(kept)
    steps = kept.plan(name).document["result"]["plan"]["steps"]
    _want_maintenance(kept, Maintenance(), steps[0]["destination_id"])
    kept.wish(wishes.approve, name)
    kept.pass_time(lambda: kept.plan(name).stage is not PlanStage.APPROVED, hours=0.1)
    assert kept.plan(name).stage is PlanStage.SUPERSEDED
    assert "maintenance" in kept.plan(name).document["decision"]["reason"]


def test_steps_are_approved_and_left_out_one_by_one(tmp_path: Path) -> None:
    """Of a plan that goes step by step only what is approved is moved."""
    kept = Kept(tmp_path, schedule=BY_HAND)
    name = _made(kept)
    num_steps = len(kept.plan(name).document["result"]["plan"]["steps"])
    assert num_steps >= 2
    kept.wish(wishes.approve_step, name, 0)
    for position in range(1, num_steps):
        kept.wish(wishes.skip_step, name, position)
    kept.pass_time(lambda: kept.plan(name).stage is PlanStage.DONE, hours=0.5)
    states = [step["state"] for step in kept.plan(name).document["progress"]["steps"]]
    assert states == ["done"] + ["aborted"] * (num_steps - 1)
    assert _on(kept, "h1") == 7


def test_paused_resumed_and_aborted(tmp_path: Path) -> None:
    """A running plan is held, goes on, and ends when it is told to."""
    kept = Kept(tmp_path, schedule=BY_HAND)
    name = _made(kept)
    kept.wish(wishes.approve, name)
    kept.pass_time(lambda: kept.plan(name).stage is PlanStage.RUNNING, hours=0.1)
    kept.wish(wishes.pause, name)
    kept.pass_time(hours=0.02, step_s=2)
    assert kept.plan(name).document["progress"]["state"] == "paused"
    kept.wish(wishes.resume, name)
    kept.pass_time(hours=0.001, step_s=1)
    kept.wish(wishes.abort, name, reason="enough")
    kept.pass_time(lambda: kept.plan(name).stage is PlanStage.ENDED, hours=0.5, step_s=2)
    plan = kept.plan(name)
    assert plan.stage is PlanStage.ENDED
    assert "aborted by olga: enough" in plan.document["progress"]["reason"]


def test_a_fast_cluster_tells_by_its_own_clock(tmp_path: Path) -> None:
    """Ten times as fast as life: plans tell by its clock, the audit log in real time, and the
    clock does not jump back when the cluster is slowed down."""
    fast = DriverSettings(kind="simulated", seed=SEED, speed=10.0)
    kept = Kept(tmp_path, schedule=BY_HAND, driver=fast)
    name = _made(kept)
    kept.wish(wishes.approve, name)
    kept.pass_time(lambda: kept.plan(name).stage is PlanStage.DONE, hours=0.3, step_s=5)
    plan = kept.plan(name)
    assert plan.stage is PlanStage.DONE
    kept.pass_time(hours=0.1, step_s=60)
    assert kept.keeper.now - START == 10 * (kept.clock.now() - START)
    decided_at, ended_at = (
        datetime.fromisoformat(at)
        for at in (
            plan.document["decision"]["at"],
            plan.document["progress"]["steps"][-1]["ended_at"],
        )
    )
    assert plan.made_at <= decided_at <= ended_at <= kept.keeper.now
    with kept.store.begin(read_only=True) as tx:
        entries = tx.audit.page(limit=100)
    assert all(START <= entry.at <= kept.clock.now() for entry in entries)

    before = kept.keeper.now
    slow = ClusterSettings(name="one", driver=DriverSettings(kind="simulated", seed=SEED))
    with kept.store.begin() as tx:
        put_cluster(tx, OPERATOR, CLUSTER, slow, expected_revision=None, now=kept.clock.now())
    assert kept.new_keeper().now == before


def test_limits_bound_the_moves(tmp_path: Path) -> None:
    """No more moves than the window leaves, in one plan or in several."""
    limits = {"limits": {"moves_per_window": 1, "window_minutes": 600}}
    kept = Kept(tmp_path, schedule={"interval_minutes": 15, "automation": "automatic", **limits})
    kept.pass_time(hours=0.8)
    moved = [p for p in kept.plans(PlanStage.DONE) if "progress" in p.document]
    assert sum(len(p.document["progress"]["steps"]) for p in moved) == 1


def test_plan_below_the_least_benefit_is_not_proposed(tmp_path: Path) -> None:
    """A plan that saves too little is held back, and it is said by how much."""
    kept = Kept(tmp_path, schedule={**QUIET, "limits": {"min_benefit_host_s": 1e8}})
    kept.pass_time(hours=0.1)
    assert not kept.plans()
    assert "at least 1e+08 wanted" in kept.status()["last_outcome"]


def test_posted_snapshots_are_only_recommended_for(tmp_path: Path) -> None:
    """Without a driver plans are made of what was posted, and never begun."""
    kept = Kept(
        tmp_path,
        schedule={**QUIET, "automation": "automatic"},
        driver=DriverSettings(kind="none"),
    )
    wanted = kept.wish(wishes.request_plan)
    kept.pass_time(lambda: kept.plan(wanted.id).stage is not PlanStage.WANTED, hours=0.1)
    assert kept.plan(wanted.id).stage in (PlanStage.PROPOSED, PlanStage.DONE)


def test_plan_ends_when_its_cluster_loses_the_driver(tmp_path: Path) -> None:
    """A plan that was running when the driver was taken away ends, and says why."""
    kept = Kept(tmp_path, schedule={"paused": True}, driver=DriverSettings(kind="none"))
    with kept.store.begin() as tx:
        plan = make_kept(crowded_host(), cluster_id=CLUSTER, stage=PlanStage.RUNNING)
        tx.plans.put(plan, expected_revision=0)
    kept.keeper.tick()
    ended = kept.plan(plan.id)
    assert ended.stage is PlanStage.ENDED
    assert "no driver" in ended.document["progress"]["reason"]


def test_plan_under_way_is_dropped_when_it_is_to_end(tmp_path: Path) -> None:
    """What was asked for is still wanted, and the next keeper makes it."""
    kept = Kept(tmp_path, schedule=BY_HAND)
    stop = threading.Event()
    kept.new_keeper(stop)
    wanted = kept.wish(wishes.request_plan)
    stop.set()
    kept.keeper.tick()
    assert kept.plan(wanted.id).stage is PlanStage.WANTED
    kept.new_keeper().tick()
    assert kept.plan(wanted.id).stage is PlanStage.PROPOSED


def test_restart_in_the_middle_goes_on(tmp_path: Path) -> None:
    """A keeper that takes over finds the plan where it was, and no VM is moved twice."""
    kept = Kept(tmp_path, schedule=BY_HAND)
    name = _made(kept)
    kept.wish(wishes.approve, name)
    kept.pass_time(lambda: _num_done(kept, name) == 1, hours=0.5, step_s=1)
    assert kept.plan(name).stage is PlanStage.RUNNING
    # An hour after it the forecaster learns from what was read during a move: it is told at once.
    assert len(kept.keeper.seer.moves) == 1
    kept.new_keeper()
    kept.pass_time(lambda: kept.plan(name).stage is not PlanStage.RUNNING, hours=0.5)
    moved = [vm_id for vm_id, _, _ in kept.keeper.seer.moves]
    assert sorted(moved) == sorted(step.vm_id for step in plan_of(kept.plan(name)).steps)
    plan = kept.plan(name)
    assert plan.stage is PlanStage.DONE, plan.document["progress"]
    moves = len(plan.document["progress"]["steps"])
    assert _on(kept, "h1") == 8 - moves


def _num_done(kept: Kept, name: str) -> int:
    progress = kept.plan(name).document.get("progress") or {"steps": []}
    return sum(step["state"] == "done" for step in progress["steps"])


def _want_maintenance(kept: Kept, wanted: Maintenance | None, host: str = "h1") -> None:
    with kept.store.begin() as tx:
        stands = tx.items.find(Kind.HOST_POLICY, CLUSTER, [host]).get(host)
        set_maintenance(
            tx,
            OPERATOR,
            CLUSTER,
            HostId(host),
            wanted,
            expected_revision=0 if stands is None else stands.revision,
            now=kept.clock.now(),
        )
