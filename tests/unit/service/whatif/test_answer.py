"""What-if: what would be, what it would take, and what would be in the way."""

from __future__ import annotations

from typing import Any

import pytest

from service.whatif.answer import WhatIf, answer
from service.whatif.change import change
from service.whatif.question import (
    AddedHosts,
    AddedVms,
    DemandFactor,
    HostsQuestion,
    Question,
    RoomQuestion,
)
from solver.capacity.question import HostType
from solver.domain.cluster import Cluster
from solver.domain.errors import InvalidInputError
from solver.domain.plan import StepKind
from solver.domain.rules import AntiAffinity, Ban, Pin
from solver.domain.scenario import ScenarioSet
from solver.domain.units import HostId, VmId
from solver.params import SolveParams
from tests.builders import make_cluster, make_host, make_scenarios, make_vm

QUICK = SolveParams(limit_s=1.0, work_limit=0.2)


def three_hosts(**more: Any) -> Cluster:
    """Return three hosts of 10 cores and 100 GiB with two VMs of 4 cores and 30 GiB each."""
    vms = [make_vm(f"v{i}", f"h{1 + i // 2}", cores=4, memory_gib=30, **more) for i in range(6)]
    return make_cluster([make_host(f"h{h}") for h in (1, 2, 3)], vms)


def demand(cluster: Cluster, cores: float = 2.0) -> ScenarioSet:
    """Return the same demand of CPU for all VMs."""
    return make_scenarios(cluster, {vm.id: cores for vm in cluster.vms})


def ask(question: Question, *, cluster: Cluster | None = None, cores: float = 2.0) -> WhatIf:
    """Ask about the three hosts."""
    cluster = cluster or three_hosts()
    return answer(cluster, question, demand(cluster, cores), QUICK)


def test_nothing_asked_is_nothing_changed() -> None:
    """The same cluster, the same demand, no moves."""
    cluster = three_hosts()
    found = ask(Question(), cluster=cluster)
    assert found.changed.cluster == cluster
    assert found.feasible
    assert found.result.plan.steps == ()
    assert found.before == found.unmoved == found.after


def test_vms_of_a_lost_host_are_started_elsewhere() -> None:
    """No migration can bring them: their host is gone, so is all that ran on it."""
    found = ask(Question(lost_host_ids=(HostId("h1"),)))
    assert found.feasible
    assert {step.kind for step in found.result.plan.steps} == {StepKind.START}
    assert {step.vm_id for step in found.result.plan.steps} == {"v0", "v1"}
    assert found.unmoved.shortfall["cpu_millicores"] == pytest.approx(4000)
    assert found.after.shortfall["cpu_millicores"] == 0


@pytest.mark.parametrize(
    "question",
    [
        Question(maintenance_host_ids=(HostId("h1"),)),
        Question(removed_host_ids=(HostId("h1"),)),
    ],
)
def test_vms_of_an_emptied_host_migrate(question: Question) -> None:
    """Maintenance and orderly removal move VMs while they run."""
    found = ask(question)
    assert found.feasible
    assert {step.kind for step in found.result.plan.steps} == {StepKind.MIGRATE}
    assert all(host_id != "h1" for host_id in found.result.placement.values())


def test_too_many_losses_are_said_to_be_so() -> None:
    """Two hosts of three cannot be lost: memory for the last VM lacks, and the answer names it."""
    found = ask(Question(lost_host_ids=(HostId("h1"), HostId("h2"))))
    assert not found.feasible
    assert any("memory" in sentence for sentence in found.blocked_by)


def test_what_is_broken_already_does_not_block() -> None:
    """A rule that is broken as things are is not held against the change."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")],
        [make_vm("v1", "h1"), make_vm("v2", "h2", not_migratable_reason="passthrough")],
        rules=(Ban(id="r", vm_ids=(VmId("v2"),), host_ids=(HostId("h2"),)),),
    )
    assert ask(Question(), cluster=cluster).feasible


def test_rules_of_a_lost_host_go_on_meaning_something() -> None:
    """A VM pinned to the lost host cannot run, and the rule is what is in the way."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")],
        [make_vm("v1", "h1")],
        rules=(Pin(id="only-h1", vm_ids=(VmId("v1"),), host_ids=(HostId("h1"),)),),
    )
    found = ask(Question(lost_host_ids=(HostId("h1"),)), cluster=cluster)
    assert not found.feasible
    assert any("v1" in sentence for sentence in found.blocked_by)


def test_added_hosts_take_what_is_hot() -> None:
    """With as many hosts again, the contention of before is relieved."""
    question = Question(added_hosts=(AddedHosts(template=make_host("new"), count=3),))
    found = ask(question, cores=6.0)
    assert found.before.contention_host_s > 0
    assert found.after.contention_host_s == 0
    assert [host.id for host in found.changed.cluster.hosts[3:]] == ["new-1", "new-2", "new-3"]


def test_added_vms_are_started_apart() -> None:
    """They take the demand of the VM they are like, and hosts of their own."""
    added = AddedVms(
        template=make_vm("web", None, cores=2, memory_gib=8),
        count=3,
        like_vm_id=VmId("v0"),
        apart=True,
    )
    found = ask(Question(added_vms=(added,)))
    assert found.feasible
    places = [found.result.placement[VmId(f"web-{n}")] for n in (1, 2, 3)]
    assert len(set(places)) == 3
    assert isinstance(found.changed.cluster.rules[0], AntiAffinity)


def test_names_of_what_is_added_are_free_ones() -> None:
    """An id that stands already is not given again."""
    cluster = make_cluster([make_host("h-1")], [])
    question = Question(added_hosts=(AddedHosts(template=make_host("h"), count=2),))
    changed = change(cluster, demand(cluster), question).cluster
    assert [host.id for host in changed.hosts] == ["h-1", "h-2", "h-3"]


def test_demand_grows_where_it_was_asked_to() -> None:
    """Factors of all, of a group and of one VM multiply; the others stay as they are."""
    cluster = make_cluster(
        [make_host("h1")],
        [make_vm("v1", group="web"), make_vm("v2", group="web"), make_vm("v3")],
    )
    factors = (
        DemandFactor(factor=2.0),
        DemandFactor(factor=1.5, group="web"),
        DemandFactor(factor=0.5, vm_id="v2"),
    )
    changed = change(cluster, demand(cluster, 1.0), Question(demand_factors=factors))
    assert changed.scenarios.demand[0, :, 0, 1].tolist() == [3000, 1500, 2000]


def test_removed_vms_leave_their_rules() -> None:
    """A rule about a VM that is gone is about the others, or about nothing."""
    cluster = three_hosts()
    pair = AntiAffinity(id="pair", vm_ids=(VmId("v0"), VmId("v2")))
    trio = AntiAffinity(id="trio", vm_ids=(VmId("v0"), VmId("v2"), VmId("v4")))
    cluster = make_cluster(cluster.hosts, cluster.vms, rules=(pair, trio))
    changed = change(cluster, demand(cluster), Question(removed_vm_ids=(VmId("v0"),))).cluster
    assert [rule.vm_ids for rule in changed.rules] == [("v2", "v4")]


def test_rules_and_priorities_change() -> None:
    """A rule takes the place of the one of its id; priorities are those asked for."""
    cluster = three_hosts()
    old = AntiAffinity(id="r", vm_ids=(VmId("v0"), VmId("v1")))
    new = Ban(id="r", vm_ids=(VmId("v0"),), host_ids=(HostId("h1"),))
    cluster = make_cluster(cluster.hosts, cluster.vms, rules=(old,))
    question = Question(rules=(new,), priorities={VmId("v3"): 9})
    changed = change(cluster, demand(cluster), question).cluster
    assert changed.rules == (new,)
    assert changed.vms[3].priority == 9


def test_headroom_and_survival_are_of_what_would_be() -> None:
    """After the loss of a host, what is left is less, and one loss more is not survived."""
    as_is, lost = ask(Question()), ask(Question(lost_host_ids=(HostId("h1"),)))
    memory = "memory_mib"
    assert as_is.headroom[memory].capacity == 300 * 1024
    assert lost.headroom[memory].capacity == 200 * 1024
    assert lost.headroom[memory].promised == 180 * 1024
    assert as_is.survival.survives
    assert lost.survival.survives is False


def test_room_and_hosts_needed_are_answered_on_demand() -> None:
    """How many more fit, and how many hosts of a type all of it would need."""
    more = AddedVms(template=make_vm("m", None, cores=1, memory_gib=20), count=1, like_vm_id=None)
    question = Question(
        room=RoomQuestion(vms=more),
        hosts_needed=HostsQuestion(types=(HostType(template=make_host("h"), price=1),)),
    )
    found = ask(question)
    assert found.room is not None
    assert found.room.number == 6  # 40 GiB are left on each of three hosts.
    assert found.needed is not None
    assert found.needed.counts == {"h": 2}  # Three VMs of 30 GiB fit on a host.
    assert "rule" not in found.needed.limits


def test_hosts_needed_tell_that_rules_are_not_looked_at() -> None:
    """Two VMs kept apart are said to need one host; nothing told that this was not looked at."""
    question = Question(
        hosts_needed=HostsQuestion(types=(HostType(template=make_host("h"), price=1),)),
        rules=(AntiAffinity(id="apart", vm_ids=(VmId("v0"), VmId("v1"))),),
        removed_vm_ids=tuple(VmId(f"v{i}") for i in range(2, 6)),
    )
    found = ask(question)
    assert found.needed is not None
    assert found.needed.counts == {"h": 1}
    assert found.needed.limits.endswith("the cluster's rules (1) are not looked at")


@pytest.mark.parametrize(
    ("question", "path"),
    [
        (Question(lost_host_ids=(HostId("h9"),)), "lost_host_ids"),
        (Question(maintenance_host_ids=(HostId("h9"),)), "maintenance_host_ids"),
        (Question(removed_host_ids=(HostId("h9"),)), "removed_host_ids"),
        (Question(removed_vm_ids=(VmId("v9"),)), "removed_vm_ids"),
        (Question(priorities={VmId("v9"): 5}), "priorities"),
        (Question(removed_rule_ids=("r9",)), "removed_rule_ids"),
        (
            Question(demand_factors=(DemandFactor(factor=2.0, group="none"),)),
            "demand_factors[0].group",
        ),
        (
            Question(
                added_vms=(AddedVms(template=make_vm("x", None), count=1, like_vm_id=VmId("v9")),)
            ),
            "added_vms[0].like_vm_id",
        ),
        (
            Question(lost_host_ids=(HostId("h1"),), removed_host_ids=(HostId("h1"),)),
            "lost_host_ids",
        ),
    ],
)
def test_what_is_not_there_is_refused(question: Question, path: str) -> None:
    """Each slip names the field of the question."""
    cluster = three_hosts()
    with pytest.raises(InvalidInputError) as caught:
        change(cluster, demand(cluster), question)
    assert caught.value.path == path
