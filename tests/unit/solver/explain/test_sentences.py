"""Sentences carry the figures, and name what blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from solver.compiler.compile import compile_problem
from solver.domain.check import check_placement
from solver.domain.cluster import VM, Cluster, HostState
from solver.domain.result import Hindrance, Refusal, Result, Unmet
from solver.domain.rules import (
    Affinity,
    Among,
    AntiAffinity,
    Ban,
    Dependency,
    LicenceLimit,
    MoveBudget,
    PerHostLimit,
    Pin,
    PlacementRule,
    Split,
    Spread,
)
from solver.domain.units import HostId, VmId
from solver.domain.weights import Weights, to_host_s
from solver.explain.moves import explain_moves
from solver.explain.refusals import explain_refusals
from solver.instances import result_to_document
from solver.params import SolveParams
from solver.solve import solve
from tests.builders import NOW, make_cluster, make_host, make_scenarios, make_vm

V1, V2, W1 = VmId("v1"), VmId("v2"), VmId("w1")
H1, H2, H3 = HostId("h1"), HostId("h2"), HostId("h3")
BOTH = (V1, V2)
STUCK: dict[str, Any] = {"not_migratable_reason": "passthrough"}


def solved(cluster: Cluster, demand: dict[str, float]) -> Result:
    """Return the result within plenty of work, and of time on a busy machine."""
    params = SolveParams(work_limit=5.0, limit_s=60.0)
    return solve(cluster, make_scenarios(cluster, demand), params)


def refused(
    cluster: Cluster, out_of_time: Callable[[], bool] = lambda: False
) -> tuple[Refusal, ...]:
    """Return why everything that is broken stays so, when nothing is moved at all."""
    problem = compile_problem(cluster, make_scenarios(cluster, {}), Weights())
    return explain_refusals(
        cluster,
        problem,
        problem.start,
        contention=(),
        violations=check_placement(cluster, cluster.placement),
        hot_host_s=5.0,
        cut_off={},
        contradictions={},
        out_of_time=out_of_time,
    )


def test_a_move_is_told_with_its_figures_and_its_runner_up() -> None:
    """Relief, saving, cost by terms, and the next best destination with why it lost."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2"), make_host("h3")],
        [make_vm("v1", "h1", priority=3), make_vm("v2", "h1"), make_vm("v3", "h3")],
    )
    result = solved(cluster, {"v1": 6.0, "v2": 6.0, "v3": 2.0})
    (move,) = result.explanations
    assert (move.vm_id, move.source_id, move.destination_id) == ("v1", "h1", "h2")
    assert (move.alternative_id, move.repairs) == ("h3", "")
    assert move.alternative_loss is not None
    assert move.alternative_load is not None
    assert move.alternative_move is not None
    assert move.alternative_loss == move.alternative_load + move.alternative_move > 0
    assert move.saved > move.cost > 0
    assert move.relieved > 0
    for part in (
        "VM 'v1' (priority 3) moves from 'h1' to 'h2'",
        f"relieves 'h1' of {to_host_s(move.relieved):.3g} host-s",
        f"saves {to_host_s(move.saved):.3g} host-s",
        f"costs {to_host_s(move.cost):.3g} host-s",
        "transfer",
        f"'h3', the next best, would be {to_host_s(move.alternative_loss):.3g} host-s worse (",
        f"the move {to_host_s(move.alternative_move):+.3g}",
    ):
        assert part in move.sentence
    (step,) = result.plan.steps
    assert step.reason == move.sentence
    assert step.cost.total == move.cost


def test_repair_and_start_are_told_as_such() -> None:
    """What is broken is named; a start has no source."""
    cluster = make_cluster(
        [make_host("h1", state=HostState.MAINTENANCE), make_host("h2")],
        [make_vm("v1", "h1"), make_vm("v2", None)],
    )
    by_vm = {move.vm_id: move for move in solved(cluster, {}).explanations}
    assert by_vm[V1].repairs == "host 'h1' is in maintenance and holds 1 VMs"
    assert "repairs: host 'h1' is in maintenance and holds 1 VMs" in by_vm[V1].sentence
    assert "no other destination is allowed" in by_vm[V1].sentence
    assert "VM 'v2' (priority 5) is started on 'h2'" in by_vm[V2].sentence


HOT = "VM 'v1' finds no place on the only host where it would help: "


@pytest.mark.parametrize(
    ("more", "rules", "memory_gib", "hindrance", "expected"),
    [
        (STUCK, (), 100, Hindrance.NOT_MIGRATABLE, "VM 'v1' cannot be migrated (passthrough)"),
        (
            {"not_before_at": NOW + timedelta(hours=1)},
            (),
            100,
            Hindrance.COOLING_DOWN,
            "VM 'v1' cools down after an earlier move",
        ),
        ({}, (Pin(id="p", vm_ids=(V1,), host_ids=(H1,)),), 100, Hindrance.RULE, "rule 'p' closes"),
        ({}, (Ban(id="b", vm_ids=(V1,), host_ids=(H2,)),), 100, Hindrance.RULE, "rule 'b' closes"),
        ({}, (), 5, Hindrance.ROOM, HOT + "memory_mib lacking on it"),
        (
            {},
            (AntiAffinity(id="a", vm_ids=(V1, W1)),),
            100,
            Hindrance.RULE,
            HOT + "rule 'a' closes it",
        ),
        (
            {"requires": ("cpu:x",)},
            (),
            100,
            Hindrance.COMPATIBILITY,
            HOT + "cpu:x not provided by it",
        ),
        ({}, (), 100, None, "the best single move left, VM 'v1' to 'h2', would cost"),
    ],
)
def test_a_host_left_hot_says_what_blocks(
    more: dict,
    rules: tuple,
    memory_gib: float,
    hindrance: Hindrance | None,
    expected: str,
) -> None:
    """One refusal per hot host, with the reason of its VMs as data and in words."""
    cluster = make_cluster(
        [make_host("h1", provides=("cpu:x",)), make_host("h2", memory_gib=memory_gib)],
        [make_vm("v1", "h1", **more), make_vm("w1", "h2", memory_gib=2)],
        rules=rules,
    )
    result = solved(cluster, {"v1": 12.0, "w1": 9.0})
    (refusal,) = result.refusals
    assert (refusal.unmet, refusal.subject) == (Unmet.HOT_HOST, "h1")
    assert "host 'h1' stays contended (900 host-s, overload probability 100 %): " in (
        refusal.sentence
    )
    assert expected in refusal.sentence
    if hindrance is None:
        assert refusal.best is not None
        assert refusal.best.cost > 0 > refusal.best.saved
        assert f"make the rest {to_host_s(-refusal.best.saved):.3g} host-s worse" in (
            refusal.sentence
        )
    else:
        (obstacle,) = refusal.obstacles
        assert (obstacle.hindrance, obstacle.vm_ids) == (hindrance, (V1,))
        assert (obstacle.num_hosts, obstacle.of_hosts) == (1, 1)


def test_a_budget_used_up_is_what_blocks() -> None:
    """One move is made, and the host it does not relieve says that no other may be."""
    cluster = make_cluster(
        [make_host(f"h{i}") for i in range(1, 5)],
        [make_vm(f"v{i}", f"h{1 + i // 2}", cores=8) for i in range(4)],
        budget=MoveBudget(max_moves=1),
    )
    result = solved(cluster, {f"v{i}": 8.0 for i in range(4)})
    assert len(result.plan.steps) == 1
    (refusal,) = result.refusals
    assert {obstacle.hindrance for obstacle in refusal.obstacles} == {Hindrance.BUDGET}
    assert "the budget of moves closes all" in refusal.sentence


def test_many_blocked_vms_are_counted_after_three() -> None:
    """The sentence stays one that can be read; the data names all of them."""
    vms = [make_vm(f"v{i}", "h1", not_migratable_reason="local disk") for i in range(6)]
    cluster = make_cluster([make_host("h1"), make_host("h2")], vms)
    (refusal,) = solved(cluster, {vm.id: 3.0 for vm in vms}).refusals
    assert "VMs 'v0', 'v1', 'v2' and 3 more cannot be migrated (local disk)" in refusal.sentence
    (obstacle,) = refusal.obstacles
    assert len(obstacle.vm_ids) == 6


def test_an_over_full_frozen_host_says_so() -> None:
    """It stays broken, as nothing can leave it."""
    cluster = make_cluster(
        [make_host("h1", memory_gib=6, state=HostState.UNREACHABLE), make_host("h2")],
        [make_vm("v1"), make_vm("v2")],
    )
    (refusal,) = solved(cluster, {}).refusals
    assert (refusal.unmet, refusal.subject) == (Unmet.BROKEN, "capacity:h1:memory_mib")
    assert refusal.sentence == (
        "host 'h1': 8192 memory_mib reserved, at most 6144 fit; "
        "VMs 'v1', 'v2' cannot be moved: host 'h1' is unreachable"
    )


def three_hosts(vms: Sequence[VM], rule: PlacementRule | None = None, **more: Any) -> Cluster:
    """Return h1 and h2 in zone a, and a small h3 in zone b where no VM of 4 GiB fits."""
    hosts = [
        make_host("h1", zone="a", **more),
        make_host("h2", zone="a"),
        make_host("h3", zone="b", memory_gib=1),
    ]
    return make_cluster(hosts, vms, rules=() if rule is None else (rule,))


LACKING = "on the only host where it would help: memory_mib lacking on it"
CATALOGUE: list[tuple[PlacementRule, list[VM], str]] = [
    (
        Pin(id="r", vm_ids=(V1,), host_ids=(H3,)),
        [make_vm("v1", "h1")],
        f"VM 'v1' is on ['h1'], expected only on ['h3']; VM 'v1' finds no place {LACKING}",
    ),
    (
        Ban(id="r", vm_ids=(V1,), host_ids=(H1, H2)),
        [make_vm("v1", "h1")],
        f"VM 'v1' is on ['h1'], expected not on ['h1', 'h2']; VM 'v1' finds no place {LACKING}",
    ),
    (
        Affinity(id="r", vm_ids=BOTH),
        [make_vm("v1", "h1", **STUCK), make_vm("v2", "h2", **STUCK)],
        "1 of its 2 VMs are away from the others; VMs 'v1', 'v2' cannot be migrated (passthrough)",
    ),
    (
        AntiAffinity(id="r", vm_ids=(V1, V2, W1)),
        [make_vm("v1", "h1"), make_vm("v2", "h1"), make_vm("w1", "h2")],
        "VMs share hosts: {'h1': ['v1', 'v2']}; VMs 'v1', 'v2' find no place on the only host "
        "where they would help: memory_mib lacking on it",
    ),
    (
        Among(id="r", vm_ids=(V1,), parts=((H3,),)),
        [make_vm("v1", "h1")],
        "1 of its VMs are away from the others, expected all in one of its parts; "
        f"VM 'v1' finds no place {LACKING}",
    ),
    (
        Spread(id="r", vm_ids=BOTH, min_domains=2),
        [make_vm("v1", "h1"), make_vm("v2", "h2")],
        "its VMs are in 1 zones, expected 2; VMs 'v1', 'v2' find no place on the only host where "
        "they would help: memory_mib lacking on it",
    ),
    (
        Dependency(id="r", vm_ids=(V1,), on_vm_ids=(W1,)),
        [make_vm("v1", "h1"), make_vm("w1", "h3", memory_gib=0.5, **STUCK)],
        "zones ['a'] hold its VMs and none of those they depend on; VM 'v1' finds no place "
        f"{LACKING}; VM 'w1' cannot be migrated (passthrough)",
    ),
    (
        Split(id="r", vm_ids=(V1,), other_vm_ids=(W1,)),
        [make_vm("v1", "h1", **STUCK), make_vm("w1", "h1", memory_gib=200)],
        "both sides share hosts: {'h1': ['v1', 'w1']}; VM 'v1' cannot be migrated (passthrough); "
        "VM 'w1' finds no place on the 2 hosts where it would help: memory_mib lacking on all",
    ),
    (
        PerHostLimit(id="r", vm_ids=BOTH, max_vms=0, host_ids=(H1, H2)),
        [make_vm("v1", "h1"), make_vm("v2", "h2")],
        "hosts hold {'h1': 1, 'h2': 1} of its VMs, at most 0 each are allowed; VMs 'v1', 'v2' find "
        "no place on the only host where they would help: memory_mib lacking on it",
    ),
    (
        LicenceLimit(id="r", vm_ids=BOTH, max_hosts=1),
        [make_vm("v1", "h1", **STUCK), make_vm("v2", "h2", memory_gib=99), make_vm("w1", "h1")],
        "its VMs are on 2 hosts, at most 1 are allowed; VM 'v1' cannot be migrated (passthrough); "
        "VM 'v2' finds no place on the only host where it would help: memory_mib lacking on it",
    ),
]


@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize(
    ("rule", "vms", "expected"), CATALOGUE, ids=lambda x: getattr(x, "kind", "")
)
def test_every_kind_of_rule_left_unmet_says_what_blocks(
    rule: PlacementRule, vms: list[VM], expected: str, soft: bool
) -> None:
    """What is broken, and who could mend it but for what; hard rules and wishes alike."""
    if soft:
        rule = replace(rule, penalty_host_s=2.0)
    refusals = refused(three_hosts(vms, rule))
    told = [refusal for refusal in refusals if refusal.subject.startswith(f"{rule.kind}:r")]
    assert len(told) == 1
    assert told[0].unmet is (Unmet.WISH if soft else Unmet.BROKEN)
    assert told[0].sentence.removeprefix(f"rule 'r' ({rule.kind}): ") == expected


@pytest.mark.parametrize(
    ("vms", "more", "subject", "expected"),
    [
        (
            [make_vm("v1", "h1", requires=("cpu:x", "net:y"))],
            {"provides": ("cpu:x",)},
            "compatibility:v1",
            "VM 'v1' requires net:y, which host 'h1' does not provide; no single move of a VM "
            "would help",
        ),
        (
            [make_vm("v1", "h1", **STUCK), make_vm("v2", "h1", memory_gib=200)],
            {"max_vms": 1, "memory_gib": 400},
            "vm_count:h1",
            "host 'h1' holds 2 VMs, at most 1 allowed; VM 'v1' cannot be migrated (passthrough); "
            "VM 'v2' finds no place on the 2 hosts where it would help: memory_mib lacking on all",
        ),
        (
            [make_vm("v1", "h1", memory_gib=99), make_vm("w1", "h2")],
            {"state": HostState.MAINTENANCE},
            "maintenance:h1",
            "host 'h1' is in maintenance and holds 1 VMs; VM 'v1' finds no place on the 2 hosts "
            "where it would help: memory_mib lacking on all",
        ),
        (
            [make_vm("v1", None, memory_gib=150)],
            {"state": HostState.UNREACHABLE},
            "not_running:v1",
            "VM 'v1' runs nowhere; VM 'v1' finds no place on the 3 hosts where it would help: "
            "memory_mib lacking on 2, 1 is unreachable",
        ),
    ],
)
def test_facts_of_hosts_and_vms_left_broken_say_what_blocks(
    vms: list[VM], more: dict, subject: str, expected: str
) -> None:
    """Requirements, numbers of VMs, maintenance, VMs that run nowhere."""
    hosts = [make_host("h1", **more), make_host("h2"), make_host("h3", memory_gib=1)]
    (refusal,) = refused(make_cluster(hosts, vms))
    assert (refusal.subject, refusal.sentence) == (subject, expected)


def test_a_wish_that_costs_more_than_it_is_worth_is_told_by_figures() -> None:
    """The move that would meet it is named with its cost and what it would save."""
    wish = AntiAffinity(id="apart", vm_ids=BOTH, penalty_host_s=0.001)
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")], [make_vm("v1"), make_vm("v2")], rules=(wish,)
    )
    result = solved(cluster, {"v1": 1.0, "v2": 1.0})
    (refusal,) = result.refusals
    assert refusal.unmet is Unmet.WISH
    assert refusal.best is not None
    assert refusal.best.cost > refusal.best.saved
    assert (
        f"the best single move left, VM 'v1' to 'h2', would cost "
        f"{to_host_s(refusal.best.cost):.3g} host-s and save "
    ) in refusal.sentence


def test_rules_that_no_placement_keeps_are_quoted() -> None:
    """What stays broken because rules contradict each other says which do."""
    rules = (
        Affinity(id="pair", vm_ids=BOTH),
        AntiAffinity(id="apart", vm_ids=BOTH),
    )
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")], [make_vm("v1"), make_vm("v2")], rules=rules
    )
    (refusal,) = solved(cluster, {}).refusals
    assert refusal.contradiction == "no placement keeps hard rules 'pair' and 'apart' together"
    assert refusal.sentence == (
        "rule 'apart' (anti_affinity): VMs share hosts: {'h1': ['v1', 'v2']}; "
        f"{refusal.contradiction}"
    )


def test_a_vm_that_no_host_suits_is_told_why() -> None:
    """A requirement that nobody meets is a fact, not a lack of room."""
    cluster = make_cluster([make_host("h1")], [make_vm("v1", None, requires=("cpu:x",))])
    (refusal,) = solved(cluster, {}).refusals
    assert refusal.subject == "not_running:v1"
    assert refusal.sentence == (
        "VM 'v1' runs nowhere; no placement is possible, given that VM 'v1' requires cpu:x"
    )


def test_what_is_too_much_to_look_into_is_told_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worst host is looked into; the sentence of another says that it was not."""
    monkeypatch.setattr("solver.explain.places.MOST_LOOKED_AT", 1)
    vms = [make_vm("v1", "h1", **STUCK), make_vm("v2", "h2", **STUCK)]
    cluster = make_cluster([make_host("h1"), make_host("h2")], vms)
    first, second = solved(cluster, {"v1": 13.0, "v2": 12.0}).refusals
    assert (first.subject, second.subject) == ("h1", "h2")
    assert "cannot be migrated" in first.sentence
    assert second.sentence.endswith("what blocks it was not looked into, as too much is wrong")


@pytest.mark.parametrize(
    ("questions", "end"),
    [
        (0, "; what blocks it was not looked into, as time was over"),
        (1, "; what blocks it was not looked into, as time was over"),
        (2, "where they would help: ROOM; other VMs were not looked at, as time was over"),
        (3, "VMs 'v1', 'v2' find no place on the only host where they would help: ROOM"),
    ],
)
def test_where_time_ended_the_looking_is_told(questions: int, end: str) -> None:
    """Before it began, before the first VM, between two VMs, and not at all."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2", memory_gib=10)],
        [make_vm("v1", "h1", memory_gib=60), make_vm("v2", "h1", memory_gib=60)],
    )
    left = iter([False] * questions)
    (refusal,) = refused(cluster, lambda: questions < 3 and next(left, True))
    end = end.replace("ROOM", "memory_mib lacking on it")
    if questions == 2:
        end = end.replace("they", "it")
    assert refusal.sentence.endswith(end)
    assert sum(len(obstacle.vm_ids) for obstacle in refusal.obstacles) == max(0, questions - 1)


def test_without_time_moves_are_told_without_their_runners_up() -> None:
    """What a move saves and costs is known by then; the next best place is not looked for."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2"), make_host("h3")], [make_vm("v1"), make_vm("v2")]
    )
    scenarios = make_scenarios(cluster, {"v1": 6.0, "v2": 6.0})
    problem = compile_problem(cluster, scenarios, Weights())
    moved = problem.start.copy()
    moved[0] = 1
    (told,) = explain_moves(cluster, problem, moved, {}, ())
    (short,) = explain_moves(cluster, problem, moved, {}, (), out_of_time=lambda: True)
    assert told.alternative_id == "h3"
    assert short.alternative_id is None
    assert (short.saved, short.relieved) == (told.saved, told.relieved)
    assert "the next best" in told.sentence
    assert short.sentence.endswith("costs nothing")


def test_reasons_are_part_of_the_document() -> None:
    """Enumerations become words, costs whole units."""
    vms = [make_vm("v1", "h1", **STUCK)]
    cluster = make_cluster([make_host("h1"), make_host("h2")], vms)
    document = result_to_document(solved(cluster, {"v1": 12.0}))
    (refusal,) = document["refusals"]
    assert refusal["unmet"] == "hot_host"
    (obstacle,) = refusal["obstacles"]
    assert (obstacle["hindrance"], obstacle["name"]) == ("not_migratable", "passthrough")


def test_runners_up_of_very_large_answers_are_left_out_and_not_made_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The move that saves most keeps its own; the others are told without."""
    monkeypatch.setattr("solver.explain.moves.MOST_LOOKS", 1)
    cluster = make_cluster(
        [make_host(f"h{i}") for i in range(1, 6)],
        [make_vm("v1", "h1"), make_vm("v2", "h1"), make_vm("v3", "h2"), make_vm("v4", "h2")],
    )
    moves = solved(cluster, {"v1": 9.0, "v2": 9.0, "v3": 6.0, "v4": 6.0}).explanations
    first, second = sorted(moves, key=lambda move: -move.saved)
    assert first.alternative_id is not None
    assert (second.alternative_id, second.alternative_loss) == (None, None)
    assert "no other destination" not in second.sentence
