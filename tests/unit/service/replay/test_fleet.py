"""Hosts, priorities and the random start of a replay."""

from collections import Counter

import pytest

from service.replay.fleet import assign_priorities, make_hosts, random_start
from solver.domain.check import check_placement
from solver.domain.errors import InvalidInputError
from solver.domain.units import VmId
from tests.builders import make_cluster, make_vm


def test_the_start_breaks_no_capacity_and_depends_on_the_seed_alone() -> None:
    """Tight packing (94 % of memory) still finds a start, the same for the same seed."""
    hosts = make_hosts(4, cores=8, memory_gib=64)
    vms = [make_vm(f"v{i}", None, memory_gib=15) for i in range(16)]
    start = random_start(hosts, vms, seed=3)
    assert check_placement(make_cluster(hosts, vms), start) == ()
    assert start == random_start(hosts, list(reversed(vms)), seed=3)
    assert start != random_start(hosts, vms, seed=4)


def test_vms_that_fit_nowhere_are_named() -> None:
    """The message names the VM, what it needs and what there is."""
    hosts = make_hosts(2, cores=8, memory_gib=64)
    with pytest.raises(InvalidInputError, match=r"VM 'big' reserves 102400 MiB .* 2 of 65536 MiB"):
        random_start(hosts, [make_vm("big", None, memory_gib=100)], seed=0)


def test_priorities_follow_their_shares() -> None:
    """Half the VMs keep the default; marked-up and marked-down VMs balance."""
    priorities = assign_priorities([VmId(f"v{i}") for i in range(4000)], seed=0)
    counts = Counter(priorities.values())
    assert counts[5] == pytest.approx(2000, abs=120)
    assert counts[9] == pytest.approx(counts[2], abs=120)


def test_a_cluster_without_hosts_is_refused() -> None:
    """Sizes are checked before anything is built."""
    with pytest.raises(InvalidInputError, match="hosts: expected at least 1, got 0"):
        make_hosts(0, cores=8, memory_gib=64)
