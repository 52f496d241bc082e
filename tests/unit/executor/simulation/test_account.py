"""Shortfall, integrated and priced, against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from executor.simulation.account import Account
from solver.domain.score import score_placement
from solver.domain.units import NUM_RESOURCES, Resource, VmId
from solver.domain.weights import NUM_PRIORITIES, UNITS_PER_HOST_S, Weights
from tests.builders import make_cluster, make_host, make_scenarios, make_vm
from tests.executor_builders import make_workload, simulate

HOSTS = [make_host("h1", cores=10), make_host("h2", cores=30)]


def load(*entries: tuple[int, int, Resource, float]) -> np.ndarray:
    """Return demand by (host, priority, resource)."""
    by_band = np.zeros((len(HOSTS), NUM_PRIORITIES, NUM_RESOURCES))
    for host, priority, resource, amount in entries:
        by_band[host, priority - 1, resource] += amount
    return by_band


def account(weights: Weights | None = None) -> Account:
    """Return an account of a host of 10 and one of 30 cores: the reference host has 20."""
    return Account(make_cluster(HOSTS, []), weights or Weights(), 300)


def test_shortfall_is_what_is_not_served_over_the_reference() -> None:
    """12 of 10 cores for 100 s on a reference of 20 cores: 10 host-seconds."""
    book = account()
    book.set_load(load((0, 5, Resource.CPU, 12_000)), np.zeros(2))
    book.integrate(100)
    report = book.report()
    assert report.total_shortfall_host_s == pytest.approx(10)
    assert report.total_weighted_shortfall_host_s == pytest.approx(10)
    assert report.total_proportional_shortfall_host_s == pytest.approx(10)
    assert report.shortfall_host_s[1].sum() == 0


def test_strict_priority_makes_the_lowest_go_short() -> None:
    """8 cores of priority 9 and 4 of priority 1 on 10: priority 1 lacks 2 cores, at weight 1/4."""
    book = account()
    book.set_load(load((0, 9, Resource.CPU, 8_000), (0, 1, Resource.CPU, 4_000)), np.zeros(2))
    book.integrate(20)
    report = book.report()
    assert report.total_shortfall_host_s == pytest.approx(2)
    assert report.total_weighted_shortfall_host_s == pytest.approx(2 * 0.25)
    # In proportion: two thirds of the 2 lacking cores at weight 4, one third at 1/4.
    assert report.total_proportional_shortfall_host_s == pytest.approx(2 * (8 / 3 + 1 / 12))


def test_migrating_is_served_before_any_vm() -> None:
    """A core burned by a migration is a core that a full host's VMs lack."""
    book = account()
    book.set_load(load((0, 5, Resource.CPU, 10_000)), np.array([1_000.0, 0.0]))
    book.integrate(20)
    assert book.report().total_shortfall_host_s == pytest.approx(1)
    assert book.load[0, 0] == 11_000


def test_memory_weighs_as_the_weights_say() -> None:
    """Unweighted counts as it is, weighted times ten."""
    book = account()
    too_much = 110 * 1024
    book.set_load(load((0, 5, Resource.MEMORY, too_much)), np.zeros(2))
    book.integrate(10)
    report = book.report()
    assert report.total_shortfall_host_s == pytest.approx(1)
    assert report.total_weighted_shortfall_host_s == pytest.approx(10)


def test_unlimited_resources_never_fall_short() -> None:
    """Disk and network have no limit here."""
    book = account()
    book.set_load(load((0, 5, Resource.DISK_IO, 1e9)), np.zeros(2))
    book.integrate(10)
    book.close_bin()
    assert book.report().total_shortfall_host_s == 0
    assert book.report().overloaded_host_intervals == 0


def test_a_bin_is_overloaded_by_its_mean() -> None:
    """Half a bin at 14 and half at 7 cores of 10 is overloaded; at 12 and 7 it is not."""
    book = account()
    for peak in (14_000, 12_000):
        for amount in (peak, 7_000):
            book.set_load(load((0, 5, Resource.CPU, amount)), np.zeros(2))
            book.integrate(150)
        book.close_bin()
    assert book.report().overloaded_host_intervals == 1


def test_a_bin_seen_in_part_is_not_judged() -> None:
    """The account may be opened in the middle of a bin."""
    book = account()
    book.set_load(load((0, 5, Resource.CPU, 20_000)), np.zeros(2))
    book.integrate(100)
    book.close_bin()
    assert book.report().overloaded_host_intervals == 0


def test_a_report_does_not_change_afterwards() -> None:
    """What was read is the reader's."""
    book = account()
    book.set_load(load((0, 5, Resource.CPU, 20_000)), np.zeros(2))
    before = book.report()
    book.integrate(100)
    assert before.total_shortfall_host_s == 0


def test_the_account_is_the_objective_as_it_came() -> None:
    """An hour of a cluster costs what the scorer says of the same hour foreseen."""
    rng = np.random.default_rng(3)
    vms = [make_vm(f"v{i}", f"h{1 + i % 2}", priority=1 + i) for i in range(10)]
    cluster = make_cluster(HOSTS, vms)
    cores = {str(vm.id): [float(x) for x in rng.uniform(0, 8, 12)] for vm in vms}
    scenarios = make_scenarios(
        cluster, {v: [c] for v, c in cores.items()}, step_seconds=300, num_steps=12
    )
    driver, clock = simulate(cluster, make_workload(vms, cores=cores))
    clock.advance(3600)
    score = score_placement(cluster, scenarios, Weights(), cluster.placement)
    suffered = driver.account().total_weighted_shortfall_host_s
    assert suffered > 1
    assert suffered == pytest.approx(score.contention / UNITS_PER_HOST_S, rel=1e-3)
    assert VmId("v0") in cluster.placement


def test_who_has_no_host_goes_short_of_everything() -> None:
    """By resource and priority; what no host limits has no price."""
    book = account()
    nowhere = load((0, 9, Resource.CPU, 4_000), (0, 1, Resource.CPU, 8_000))[0]
    nowhere += load((0, 5, Resource.MEMORY, 50 * 1024), (0, 5, Resource.DISK_IO, 1e9))[0]
    book.set_unplaced(nowhere, 3)
    book.integrate(10)
    report = book.report()
    assert report.unplaced_shortfall_host_s == pytest.approx([6, 5, 0, 0])
    assert report.unplaced_weighted_shortfall_host_s == pytest.approx([2 * 4 + 4 / 4, 50, 0, 0])
    assert report.unplaced_vm_s == pytest.approx(30)
    assert report.shortfall_host_s.sum() == 0
    assert report.total_proportional_shortfall_host_s == pytest.approx(59)
