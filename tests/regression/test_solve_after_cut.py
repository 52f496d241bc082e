"""What a solve does once its first idea cannot be carried out, or not in time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service.pipeline import Planner
from solver.domain.cluster import Cluster
from solver.domain.errors import InvalidInputError
from solver.domain.plan_score import score_plan
from solver.domain.result import SolveStatus
from solver.domain.scenario import ScenarioSet
from solver.domain.score import score_placement
from solver.domain.units import Resource
from solver.domain.weights import Weights
from solver.limit import Allowance
from solver.params import SolveParams
from solver.sequencing.order import Sequenced, sequence
from solver.solve import solve
from tests.builders import make_cluster, make_host, make_scenarios, make_vm

PARAMS = SolveParams(limit_s=20, work_limit=2)


@pytest.mark.parametrize("engine", ["cpsat", "portfolio"])
def test_a_swap_without_an_order_is_solved_again_without_it(engine: str) -> None:
    """The best placement swaps two VMs for which no host has room to park; a small move is left.

    What the cut left behind was only pruned, never solved again: greedy found the small move,
    the better engines ended with an empty plan while saying it was not taken.
    """
    cluster = make_cluster(
        [
            make_host("h1", memory_gib=62),
            make_host("h2", memory_gib=60),
            make_host("h3", memory_gib=2),
        ],
        [
            make_vm("a", "h1", memory_gib=58),
            make_vm("x", "h1", memory_gib=2, not_migratable_reason="passthrough"),
            make_vm("s", "h1", memory_gib=2),
            make_vm("b", "h2", memory_gib=58),
        ],
    )
    scenarios = make_scenarios(cluster, {"a": 8, "x": 4, "s": 1, "b": 1})
    greedy = solve(cluster, scenarios, SolveParams(engine="greedy", limit_s=20))
    result = solve(cluster, scenarios, SolveParams(engine=engine, limit_s=20, work_limit=2))
    assert [step.vm_id for step in result.plan.steps] == ["s"]
    assert result.after.total <= greedy.after.total < result.before.total


def test_what_can_be_reached_is_kept_when_there_is_no_time_to_solve_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A swap without an order, and a move elsewhere; the limit is over once that is known.

    Each cut of a large plan was decided and ordered anew, however late it was.
    """
    hosts = [
        make_host("h1", memory_gib=60),
        make_host("h2", memory_gib=60),
        make_host("h3", memory_gib=2),
        make_host("h4", memory_gib=2),
    ]
    cluster = make_cluster(
        hosts,
        [
            make_vm("a", "h1", memory_gib=58),
            make_vm("x", "h1", memory_gib=2, not_migratable_reason="passthrough"),
            make_vm("b", "h2", memory_gib=58),
            make_vm("c", "h3", memory_gib=1),
            make_vm("y", "h3", memory_gib=1, not_migratable_reason="passthrough"),
        ],
    )
    clock = [0.0]

    def slow_sequence(*arguments: Any, **options: Any) -> Sequenced:
        clock[0] += 100.0
        return sequence(*arguments, **options)

    monkeypatch.setattr("solver.solve.sequence", slow_sequence)
    monkeypatch.setattr(
        "solver.solve.Allowance",
        lambda limit_s, work_limit: Allowance(limit_s, work_limit, lambda: clock[0]),
    )
    scenarios = make_scenarios(cluster, {"a": 8, "x": 4, "b": 1, "c": 6, "y": 6})
    result = solve(cluster, scenarios, SolveParams(engine="cpsat", limit_s=20, work_limit=2))
    assert clock == [100.0]
    assert [step.vm_id for step in result.plan.steps] == ["c"]
    assert {refusal.subject for refusal in result.refusals} >= {"a", "b"}


def test_relief_that_comes_after_the_horizon_is_no_reason_to_move() -> None:
    """Two hundred GiB over ten MiB/s arrive in hours; the forecast is for one.

    Engines price a placement as if its moves took no time; nothing looked at the schedule.
    """
    slow = {"memory_gib": 600, "migration_bandwidth_mib_per_s": 10}
    cluster = make_cluster(
        [make_host("h1", **slow), make_host("h2", **slow)],
        [
            make_vm("a", "h1", memory_gib=200, priority=1),
            make_vm("b", "h1", memory_gib=200, not_migratable_reason="p", priority=10),
        ],
    )
    scenarios = make_scenarios(cluster, {"a": 9, "b": 9})
    result = solve(cluster, scenarios, PARAMS)
    without, with_plan = score_plan(cluster, scenarios, Weights(), result.plan)
    assert with_plan + result.after.migration <= without
    assert result.plan.steps == ()
    assert result.status is SolveStatus.NO_BENEFICIAL_MOVE


def _hot_twice() -> tuple[Cluster, ScenarioSet]:
    """Return a host that only a move of over an hour can cool, and one that a quick one can."""
    slow = {"memory_gib": 600, "migration_bandwidth_mib_per_s": 5}
    cluster = make_cluster(
        [make_host("h1", **slow), make_host("h2", **slow), make_host("h3"), make_host("h4")],
        [
            make_vm("big", "h1", memory_gib=20, priority=1),
            make_vm("x", "h1", memory_gib=200, not_migratable_reason="p", priority=10),
            make_vm("a", "h3", memory_gib=1),
            make_vm("y", "h3", memory_gib=1, not_migratable_reason="p"),
        ],
    )
    return cluster, make_scenarios(cluster, {"big": 9, "x": 9, "a": 5.1, "y": 5.1})


def test_a_slow_move_takes_no_quick_ones_with_it() -> None:
    """The plan of both saved nothing, since the slow move costs what it does and relieves nothing
    in time; it was thrown away as a whole, and every VM told that its relief would come too late.
    """
    cluster, scenarios = _hot_twice()
    result = solve(cluster, scenarios, PARAMS)
    assert [step.vm_id for step in result.plan.steps] == ["a"]
    reasons = {refusal.subject: refusal.sentence for refusal in result.refusals}
    assert "too late" in reasons["big"]
    assert "a" not in reasons


def test_quick_moves_are_kept_when_there_is_no_time_to_decide_them_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The search has used its time, as it mostly does; what is over by then is a tenth of it."""
    clock = [0.0]

    def slow_sequence(*args: Any, **more: Any) -> Sequenced:
        clock[0] = 19.0
        return sequence(*args, **more)

    monkeypatch.setattr("solver.solve.sequence", slow_sequence)
    monkeypatch.setattr(
        "solver.solve.Allowance",
        lambda limit_s, work_limit: Allowance(limit_s, work_limit, lambda: clock[0]),
    )
    cluster, scenarios = _hot_twice()
    result = solve(cluster, scenarios, SolveParams(limit_s=20, work_limit=2))
    assert [step.vm_id for step in result.plan.steps] == ["a"]


def test_what_cannot_be_repaired_does_not_open_the_gate_for_balancing() -> None:
    """A VM too big to start anywhere is reported every time; the others are left alone.

    The planner took any answer but "below the threshold" for acting, and from the second cycle
    on balanced down to the lower threshold.
    """
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")],
        [
            make_vm("a", "h1", memory_gib=1),
            make_vm("b", "h1", memory_gib=1),
            make_vm("big", None, memory_gib=500),
        ],
    )
    scenarios = make_scenarios(cluster, {"a": 5, "b": 5.005})
    planner = Planner(PARAMS)
    for _ in range(3):
        result, _ = planner.plan(cluster, scenarios)
        assert result.plan.steps == ()
        assert not result.balancing
        assert result.remaining


def test_costs_that_do_not_fit_64_bits_are_refused_rather_than_wrapped() -> None:
    """Absurd weights and absurd present demand gave negative scores and "below the threshold"."""
    cluster = make_cluster([make_host("h1", cores=1)], [make_vm(f"v{i}") for i in range(6)])
    heavy = Weights(contention=28_000, resources=(1e6, 10, 1, 1))
    scenarios = make_scenarios(cluster, {f"v{i}": 16 for i in range(6)})
    with pytest.raises(InvalidInputError, match="too large to be told apart in 64 bits"):
        score_placement(cluster, scenarios, heavy, cluster.placement)
    absurd = {f"v{i}": 2_147_483.0 for i in range(6)}
    present = make_scenarios(cluster, {}, present=absurd)
    with pytest.raises(InvalidInputError, match="too large to be told apart in 64 bits"):
        solve(cluster, present, SolveParams(weights=Weights(contention=1e4)))


def test_what_no_host_limits_is_not_what_makes_costs_too_large() -> None:
    """Disk and network without limits have no reference host; their demand costs nothing.

    The first guard against overflow priced them by a reference of one unit, and refused an
    ordinary cluster of 60 VMs.
    """
    cluster = make_cluster([make_host("h1"), make_host("h2")], [make_vm("a"), make_vm("b")])
    scenarios = make_scenarios(cluster, {"a": 6, "b": 6})
    busy = scenarios.demand.copy()
    busy[:, :, Resource.NET_IO] = 2_000_000_000
    result = solve(cluster, replace(scenarios, demand=busy), PARAMS)
    assert len(result.plan.steps) == 1


@pytest.mark.parametrize(
    "params",
    [{"seed": 2**31}, {"seed": -1}, {"act_threshold_host_s": float("inf")}],
)
def test_parameters_that_engines_cannot_take_are_refused(params: dict[str, float]) -> None:
    """They reached CP-SAT or a cast and ended in a traceback."""
    with pytest.raises(InvalidInputError, match=r"params\."):
        SolveParams(**params)  # type: ignore[arg-type]
