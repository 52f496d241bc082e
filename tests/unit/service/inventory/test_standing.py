"""Rules are asked of what is there, and wait rather than stand in the way."""

from __future__ import annotations

import pytest

from service.inventory.standing import StandingRule, stand
from solver.domain.rules import (
    Affinity,
    Among,
    Ban,
    Dependency,
    PerHostLimit,
    Pin,
    PlacementRule,
    Spread,
)
from solver.domain.units import HostId, VmId
from tests.builders import make_cluster, make_host, make_vm

H1, H2, H3 = (HostId(f"h{i}") for i in (1, 2, 3))
V1, V2, V3 = (VmId(f"v{i}") for i in (1, 2, 3))


def standing(
    *rules: PlacementRule, vms: tuple[VmId, ...] = (V1, V2), hosts: tuple[HostId, ...] = (H1, H2)
) -> tuple[StandingRule, ...]:
    """Return the rules among some VMs and hosts, whose cluster can be made."""
    found = stand([(rule, "rule") for rule in rules], vms, hosts)
    make_cluster(
        [make_host(name) for name in hosts],
        [make_vm(name, host=None) for name in vms],
        rules=tuple(each.in_force for each in found if each.in_force is not None),
    )
    return found


def test_a_rule_of_what_is_there_is_in_force_as_written() -> None:
    """Nothing is missing and nothing waits."""
    rule = Pin(id="r", vm_ids=(V1,), host_ids=(H1,))
    (found,) = standing(rule)
    assert found == StandingRule(rule=rule, source="rule", in_force=rule)


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        (
            Pin(id="r", vm_ids=(V1, V3), host_ids=(H1, H3)),
            Pin(id="r", vm_ids=(V1,), host_ids=(H1,)),
        ),
        (
            Among(id="r", vm_ids=(V1, V2, V3), parts=((H1, H3), (H2,))),
            Among(id="r", vm_ids=(V1, V2), parts=((H1,), (H2,))),
        ),
        (
            PerHostLimit(id="r", vm_ids=(V1, V3), max_vms=1, host_ids=(H2, H3)),
            PerHostLimit(id="r", vm_ids=(V1,), max_vms=1, host_ids=(H2,)),
        ),
        (
            Dependency(id="r", vm_ids=(V1,), on_vm_ids=(V2, V3)),
            Dependency(id="r", vm_ids=(V1,), on_vm_ids=(V2,)),
        ),
    ],
)
def test_a_rule_is_asked_of_those_that_are_left(rule: PlacementRule, left: PlacementRule) -> None:
    """VMs and hosts that are gone are named as missing, and the rest of the rule binds."""
    (found,) = standing(rule)
    assert found.in_force == left
    assert {*found.missing_vm_ids, *found.missing_host_ids} <= {V3, H3}
    assert found.missing_vm_ids or found.missing_host_ids


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (Affinity(id="r", vm_ids=(V1, V3)), "too few of its VMs are there"),
        (Spread(id="r", vm_ids=(V2, V3), min_domains=2), "too few of its VMs are there"),
        (Dependency(id="r", vm_ids=(V1,), on_vm_ids=(V3,)), "too few of its VMs are there"),
        (Pin(id="r", vm_ids=(V1,), host_ids=(H3,)), "none of its hosts is there"),
        (Ban(id="r", vm_ids=(V1,), host_ids=(H3,)), "none of its hosts is there"),
        (Among(id="r", vm_ids=(V1,), parts=((H3,),)), "none of its hosts is there"),
        (
            PerHostLimit(id="r", vm_ids=(V1,), max_vms=0, host_ids=(H3,)),
            "none of its hosts is there",
        ),
    ],
)
def test_a_rule_that_is_left_nothing_to_ask_waits(rule: PlacementRule, reason: str) -> None:
    """Above all it must not come to mean every host or every zone."""
    (found,) = standing(rule)
    assert found.in_force is None
    assert found.waits_because == reason


def test_of_rules_that_leave_a_vm_no_host_the_last_waits() -> None:
    """Two pins without a host in common, or bans of every host, hinder nobody."""
    first = Pin(id="a", vm_ids=(V1, V2), host_ids=(H1,))
    second = Ban(id="b", vm_ids=(V2,), host_ids=(H1,))
    third = Ban(id="c", vm_ids=(V2,), host_ids=(H2,))
    one, two, three = standing(first, second, third)
    assert (one.in_force, two.in_force, three.in_force) == (first, None, third)
    assert two.waits_because == "with the rules before it, it would leave no host for VM 'v2'"


def test_soft_rules_never_wait_for_one_another() -> None:
    """A penalty can be paid, so that soft pins may contradict."""
    rules = (
        Pin(id="a", vm_ids=(V1,), host_ids=(H1,)),
        Pin(id="b", vm_ids=(V1,), host_ids=(H2,), penalty_host_s=1.0),
    )
    assert all(found.in_force is not None for found in standing(*rules))


def test_a_pin_whose_hosts_shrink_may_begin_to_wait() -> None:
    """What could be kept with three hosts leaves nothing with two."""
    rules = (
        Pin(id="a", vm_ids=(V1,), host_ids=(H1, H3)),
        Pin(id="b", vm_ids=(V1,), host_ids=(H2, H3)),
    )
    assert all(each.in_force for each in standing(*rules, hosts=(H1, H2, H3)))
    assert [bool(each.in_force) for each in standing(*rules, hosts=(H1, H2))] == [True, False]
