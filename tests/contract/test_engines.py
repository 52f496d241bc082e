"""What every engine decides alike, and the one thing that single moves cannot do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from solver.domain.check import check_plan
from solver.domain.cluster import Cluster, HostState, Link, Network
from solver.domain.result import Result, SolveStatus
from solver.domain.rules import Affinity, AntiAffinity, Ban, MoveBudget, Pin
from solver.domain.scenario import ScenarioSet
from solver.domain.units import HostId, VmId
from solver.domain.weights import Weights
from solver.params import SolveParams
from solver.solve import solve
from tests.builders import NOW, make_cluster, make_host, make_scenarios, make_vm

ENGINES = ["greedy", "cpsat", "portfolio"]
H1, H2, H3 = (HostId(f"h{i}") for i in (1, 2, 3))
V1, V2 = VmId("v1"), VmId("v2")


def answer(cluster: Cluster, scenarios: ScenarioSet, engine: str, **more: Any) -> Result:
    """Return the result of a solve that work, not the clock, ends."""
    params = SolveParams(engine=engine, limit_s=60.0, work_limit=5.0, **more)
    result = solve(cluster, scenarios, params)
    assert check_plan(cluster, result.plan) == ()
    return result


def moved(cluster: Cluster, result: Result) -> dict[VmId, HostId | None]:
    """Return the new host of every VM that has one."""
    return {vm: host for vm, host in result.placement.items() if host != cluster.placement[vm]}


def hot_host(*, network: Network | None = None, v1_priority: int = 5) -> Cluster:
    """Return ``h1`` with more than it can serve, of which only ``v1`` can move, to h2 or h3."""
    return make_cluster(
        [make_host("h1"), make_host("h2"), make_host("h3")],
        [
            make_vm("v1", "h1", dirty_mib_per_s=20, priority=v1_priority),
            make_vm("stuck", "h1", cores=12, not_migratable_reason="passthrough"),
        ],
        network=network or Network(),
    )


HOT = {"v1": 8.0, "stuck": 4.0}
NO_TERMS: dict[str, Any] = {
    "utilisation": 0.0,
    "transfer": 0.0,
    "downtime": 0.0,
    "latency": 0.0,
    "imbalance": 0.0,
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("term", ["utilisation", "transfer", "downtime", "latency"])
def test_each_migration_weight_alone_can_change_the_destination(engine: str, term: str) -> None:
    """h2 is near but slow and fuller, h3 is fast and emptier but across a border."""
    near_slow, far_fast = Link(bandwidth_mib_per_s=20), Link(distance=1)
    cluster = hot_host(network=Network(hosts={(H1, H2): near_slow, (H1, H3): far_fast}))
    cluster = replace(cluster, vms=(*cluster.vms, make_vm("other", "h2", cores=4)))
    scenarios = make_scenarios(cluster, HOT | {"other": 1.0})
    rival = {"latency": 1.0} if term != "latency" else {"utilisation": 1.0}
    without = answer(cluster, scenarios, engine, weights=Weights(**(NO_TERMS | rival)))
    heavy = answer(
        cluster, scenarios, engine, weights=Weights(**(NO_TERMS | rival | {term: 100.0}))
    )
    near, far = (H2, H3) if term != "latency" else (H3, H2)
    assert moved(cluster, without) == {V1: near}
    assert moved(cluster, heavy) == {V1: far}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("low", ["v1", "v2"])
def test_of_two_equal_candidates_the_lower_priority_moves(engine: str, low: str) -> None:
    """Either would relieve the host as well; the cheaper one to disturb is disturbed."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")],
        [make_vm(name, "h1", priority=3 if name == low else 7) for name in ("v1", "v2")],
    )
    result = answer(cluster, make_scenarios(cluster, {"v1": 6.0, "v2": 6.0}), engine)
    assert moved(cluster, result) == {VmId(low): H2}


@pytest.mark.parametrize("engine", ENGINES)
def test_two_full_hosts_that_only_a_swap_relieves(engine: str) -> None:
    """Single moves find no room or no gain; the joint engines exchange two VMs, one parked."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2"), make_host("h3", memory_gib=110)],
        [
            make_vm("v1", "h1", memory_gib=50, not_migratable_reason="passthrough"),
            make_vm("v2", "h1", memory_gib=50),
            make_vm("v3", "h2", memory_gib=50),
            make_vm("v4", "h2", memory_gib=50, not_migratable_reason="passthrough"),
            make_vm("v5", "h3", memory_gib=50, not_migratable_reason="passthrough"),
        ],
    )
    demand = {"v1": 8.0, "v2": 4.0, "v3": 1.0, "v4": 2.0, "v5": 10.0}
    result = answer(cluster, make_scenarios(cluster, demand), engine)
    if engine == "greedy":
        assert result.status is SolveStatus.NO_BENEFICIAL_MOVE
        assert result.plan.steps == ()
    else:
        assert moved(cluster, result) == {V2: H2, VmId("v3"): H1}
        assert result.status is SolveStatus.OPTIMAL
        assert any(step.parking for step in result.plan.steps)
        assert result.after.contention == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_below_the_threshold_nothing_moves(engine: str) -> None:
    """The gate, with hysteresis: what would not start a balancing lets one go on."""
    cluster = hot_host()
    scenarios = make_scenarios(cluster, HOT)
    score = answer(cluster, scenarios, engine).contention_before[0].total / 1e9
    gate = {"act_threshold_host_s": score + 1, "stop_threshold_host_s": score - 1}
    quiet = answer(cluster, scenarios, engine, **gate)
    assert quiet.status is SolveStatus.BELOW_THRESHOLD
    assert (quiet.plan.steps, quiet.engine) == ((), "none")
    assert moved(cluster, answer(cluster, scenarios, engine, **gate, was_acting=True))
    gate["act_threshold_host_s"] = score - 1
    assert moved(cluster, answer(cluster, scenarios, engine, **gate))


@pytest.mark.parametrize("engine", ENGINES)
def test_a_host_in_maintenance_is_emptied_below_the_threshold(engine: str) -> None:
    """Idle VMs leave it, those that belong together with each other; nothing else moves."""
    cluster = make_cluster(
        [make_host("h1", state=HostState.MAINTENANCE), make_host("h2"), make_host("h3")],
        [make_vm(f"v{i}", "h1") for i in range(1, 5)] + [make_vm("other", "h2")],
        rules=(Affinity(id="pair", vm_ids=(V1, V2)),),
    )
    result = answer(cluster, make_scenarios(cluster, {}), engine)
    assert set(moved(cluster, result)) == {VmId(f"v{i}") for i in range(1, 5)}
    assert H1 not in result.placement.values()
    assert result.placement[V1] == result.placement[V2]
    assert result.remaining == ()
    assert result.after.repair == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_repair_below_the_threshold_leaves_the_rest_alone(engine: str) -> None:
    """A VM away from its pin goes home; a mildly hot host is not what is being solved."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2"), make_host("h3")],
        [make_vm("v1", "h2"), make_vm("a", "h1"), make_vm("b", "h1")],
        rules=(Pin(id="home", vm_ids=(V1,), host_ids=(H3,)),),
    )
    scenarios = make_scenarios(cluster, {"a": 5.0, "b": 5.02})
    result = answer(cluster, scenarios, engine, act_threshold_host_s=100.0)
    assert result.contention_before[0].total > 0
    assert moved(cluster, result) == {V1: H3}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_cool_down_holds_but_for_repair(engine: str) -> None:
    """A VM moved lately stays on a hot host, and leaves a host that is to be emptied."""
    cluster = hot_host()
    scenarios = make_scenarios(cluster, HOT)
    cooling = replace(cluster.vms[0], not_before_at=NOW + timedelta(minutes=5))
    cluster = replace(cluster, vms=(cooling, cluster.vms[1]))
    result = answer(cluster, scenarios, engine)
    assert result.status is SolveStatus.NO_BENEFICIAL_MOVE
    assert any("cools down" in refusal.sentence for refusal in result.refusals)
    emptied = replace(cluster.hosts[0], state=HostState.MAINTENANCE)
    cluster = replace(cluster, hosts=(emptied, *cluster.hosts[1:]))
    assert V1 in moved(cluster, answer(cluster, scenarios, engine))


@pytest.mark.parametrize("engine", ENGINES)
def test_budgets_bind_and_the_most_worthwhile_moves_are_made(engine: str) -> None:
    """One move allowed: the VM whose move saves more makes it."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2"), make_host("h3")],
        [make_vm("big", "h1"), make_vm("small", "h1"), make_vm("rest", "h1")],
        budget=MoveBudget(max_moves=1),
    )
    demand = {"big": 8.0, "small": 6.0, "rest": 8.0}
    result = answer(cluster, make_scenarios(cluster, demand), engine)
    assert len(moved(cluster, result)) == 1
    assert VmId("small") not in moved(cluster, result)


@pytest.mark.parametrize("engine", ENGINES)
def test_hard_rules_keep_a_vm_from_the_better_host(engine: str) -> None:
    """A ban and an anti-affinity each rule out the emptier destination."""
    cluster = hot_host()
    cluster = replace(cluster, vms=(*cluster.vms, make_vm("other", "h2", cores=4)))
    scenarios = make_scenarios(cluster, HOT | {"other": 1.0})
    assert moved(cluster, answer(cluster, scenarios, engine)) == {V1: H3}
    banned = replace(cluster, rules=(Ban(id="not3", vm_ids=(V1,), host_ids=(H3,)),))
    assert moved(banned, answer(banned, scenarios, engine)) == {V1: H2}
    apart = replace(
        cluster,
        rules=(AntiAffinity(id="apart", vm_ids=(V1, VmId("third"))),),
        vms=(*cluster.vms, make_vm("third", "h3")),
    )
    scenarios = make_scenarios(apart, HOT | {"other": 1.0})
    assert moved(apart, answer(apart, scenarios, engine)) == {V1: H2}


@pytest.mark.parametrize("engine", ENGINES)
def test_vms_that_run_nowhere_are_started_where_they_fit(engine: str) -> None:
    """Each is started or refused with the resource that is lacking."""
    cluster = make_cluster(
        [make_host("h1", memory_gib=10), make_host("h2", memory_gib=10)],
        [make_vm("v1", None, memory_gib=8), make_vm("v2", None, memory_gib=16)],
    )
    result = answer(cluster, make_scenarios(cluster, {}), engine)
    assert result.placement[V1] in (H1, H2)
    assert result.placement[V2] is None
    (refusal,) = result.refusals
    assert refusal.subject == "not_running:v2"
    assert "memory_mib" in refusal.sentence


@pytest.mark.parametrize("engine", ENGINES)
def test_an_over_full_host_sheds_load_and_never_takes_more(engine: str) -> None:
    """What was promised beyond capacity is repaired before any comfort."""
    cluster = make_cluster(
        [make_host("h1", memory_gib=10), make_host("h2", memory_gib=10)],
        [make_vm(f"v{i}", "h1", memory_gib=4) for i in range(4)]
        + [make_vm("hot", "h2", cores=20, memory_gib=2)],
    )
    result = answer(cluster, make_scenarios(cluster, {"hot": 20.0}), engine)
    assert result.remaining == ()
    assert result.placement[VmId("hot")] == H2
    assert len(moved(cluster, result)) == 2


@pytest.mark.parametrize("engine", ENGINES)
def test_an_unreachable_host_is_frozen(engine: str) -> None:
    """Its VMs stay, nothing goes there, and its load still counts."""
    cluster = hot_host()
    frozen = replace(cluster.hosts[2], state=HostState.UNREACHABLE)
    cluster = replace(
        cluster,
        hosts=(*cluster.hosts[:2], frozen),
        vms=(*cluster.vms, make_vm("other", "h2", cores=4), make_vm("lost", "h3")),
    )
    scenarios = make_scenarios(cluster, HOT | {"other": 1.0, "lost": 30.0})
    result = answer(cluster, scenarios, engine)
    assert moved(cluster, result) == {V1: H2}
    assert result.contention_after[2].total > 0
    assert any("unreachable" in refusal.sentence for refusal in result.refusals)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_cluster_without_vms_is_answered(engine: str) -> None:
    """Nothing to solve is an answer too."""
    cluster = make_cluster([make_host("h1")], [])
    result = answer(cluster, make_scenarios(cluster, {}), engine)
    assert result.status is SolveStatus.BELOW_THRESHOLD
    assert result.placement == {}


def test_many_columns_and_priorities_agree_with_brute_force_totals() -> None:
    """A proven answer is at most what the other engines found, to the last unit."""
    rng = np.random.default_rng(3)
    cluster = make_cluster(
        [make_host(f"h{i}") for i in range(3)],
        [make_vm(f"v{i}", f"h{i % 2}", priority=int(rng.integers(1, 11))) for i in range(8)],
    )
    demand = {f"v{i}": rng.integers(1, 6, (3, 4)).astype(float).tolist() for i in range(8)}
    scenarios = make_scenarios(cluster, demand)
    greedy, cpsat, portfolio = (answer(cluster, scenarios, engine) for engine in ENGINES)
    assert cpsat.status is portfolio.status is SolveStatus.OPTIMAL
    assert cpsat.after.total == portfolio.after.total <= greedy.after.total
    assert cpsat.gap == 0.0
