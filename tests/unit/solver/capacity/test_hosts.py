"""Hosts needed: bounded from below, proved by a packing, against every choice on small cases."""

from __future__ import annotations

import io
import itertools
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest

from solver.capacity.hosts import hosts_needed
from solver.capacity.question import CapacityStatus, HostsNeeded, HostType
from solver.capacity.survival import survival
from solver.domain.check import check_placement
from solver.domain.cluster import VM, Overcommit
from solver.domain.scenario import ScenarioSet, equal_probabilities
from solver.domain.units import NUM_RESOURCES, Resource
from tests.builders import NOW, make_cluster, make_host, make_vm


def futures(vms: list[VM], num_scenarios: int, seed: int) -> ScenarioSet:
    """Return CPU demand of up to the size of each VM, with swings common to all."""
    rng = np.random.default_rng(seed)
    demand = np.zeros((num_scenarios, len(vms), NUM_RESOURCES, 3), dtype=np.int64)
    size = np.array([vm.allocation.cpu_millicores for vm in vms])[None, :, None]
    common = rng.uniform(0.2, 0.9, (num_scenarios, 1, 3))
    own = rng.uniform(0.5, 1.0, (num_scenarios, len(vms), 3))
    demand[:, :, Resource.CPU] = (size * common * own).astype(np.int64)
    return ScenarioSet(
        vm_ids=tuple(vm.id for vm in vms),
        start_at=NOW,
        step_seconds=900,
        probability_ppm=equal_probabilities(num_scenarios),
        demand=demand,
    )


def require_proven(vms: list[VM], answer: HostsNeeded) -> None:
    """Judge the packing of an answer by the checker."""
    cluster = make_cluster(answer.hosts, vms).with_placement(answer.placement)
    assert not check_placement(cluster, cluster.placement)
    if answer.survives_loss:
        assert survival(cluster).survives is True


def least_price(
    vms: list[VM], scenarios: ScenarioSet, types: list[HostType], target_ppm: int, most: int
) -> int:
    """Return the least price of all numbers of hosts and all placements."""
    wanted = scenarios.demand[..., 1:]
    for counts in sorted(
        itertools.product(range(most + 1), repeat=len(types)),
        key=lambda counts: sum(n * t.price for n, t in zip(counts, types, strict=True)),
    ):
        hosts = [t.template for n, t in zip(counts, types, strict=True) for _ in range(n)]
        memory = [host.usable()[Resource.MEMORY] or 0 for host in hosts]
        cpu = [host.usable()[Resource.CPU] or 0 for host in hosts]
        for placed in itertools.product(range(len(hosts)), repeat=len(vms)):
            where = np.array(placed)
            if any(
                sum(vm.allocation.memory_mib for vm, h in zip(vms, placed, strict=True) if h == i)
                > memory[i]
                for i in range(len(hosts))
            ):
                continue
            short = np.zeros(scenarios.num_scenarios, dtype=np.bool_)
            for i in range(len(hosts)):
                load = wanted[:, where == i, Resource.CPU].sum(axis=1)
                short |= (load > cpu[i]).any(axis=1)
            if np.array(scenarios.probability_ppm)[short].sum() <= target_ppm:
                return sum(n * t.price for n, t in zip(counts, types, strict=True))
    raise AssertionError("no choice of hosts carries the VMs")


def test_no_choice_is_below_the_bound_and_the_answer_holds() -> None:
    """Bound <= best of all choices <= price; most often the answer is the best."""
    met = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        vms = [
            make_vm(
                f"v{i}", None, cores=int(rng.choice([1, 2])), memory_gib=int(rng.choice([2, 5]))
            )
            for i in range(5)
        ]
        types = [
            HostType(template=make_host("small", cores=2, memory_gib=8), price=10),
            HostType(template=make_host("large", cores=4, memory_gib=12), price=17),
        ]
        target_ppm = int(rng.choice([0, 400_000]))
        scenarios = futures(vms, 3, seed)
        answer = hosts_needed(vms, scenarios, types, target_ppm=target_ppm)
        best = least_price(vms, scenarios, types, target_ppm, 3)
        assert answer.bound <= best <= answer.price
        assert answer.overload_ppm <= target_ppm
        require_proven(vms, answer)
        if answer.status is CapacityStatus.OPTIMAL:
            assert answer.price == best
        met += answer.price == best
    assert met >= 14


@pytest.mark.parametrize("survive_loss", [False, True])
@pytest.mark.parametrize("target_ppm", [0, 125_000])
def test_four_hundred_vms_get_hosts_that_hold(survive_loss: bool, target_ppm: int) -> None:
    """Four types, one of them scarce: within the gap, within the target, judged on fresh paths."""
    rng = np.random.default_rng(0)
    vms = [
        make_vm(
            f"v{i}",
            None,
            cores=int(rng.choice([1, 2, 4, 8])),
            memory_gib=int(rng.choice([2, 4, 8, 16])),
        )
        for i in range(400)
    ]
    types = [
        HostType(template=make_host("s", cores=32, memory_gib=128), price=10),
        HostType(template=make_host("m", cores=64, memory_gib=256), price=18),
        HostType(template=make_host("l", cores=128, memory_gib=768), price=31, max_count=2),
        HostType(
            template=make_host("x", cores=48, memory_gib=192, overcommit=Overcommit(memory=1.5)),
            price=14,
        ),
    ]
    answer = hosts_needed(
        vms,
        futures(vms, 8, 1),
        types,
        target_ppm=target_ppm,
        survive_loss=survive_loss,
        fresh=futures(vms, 64, 2),
    )
    assert answer.status in (CapacityStatus.OPTIMAL, CapacityStatus.FEASIBLE)
    assert answer.overload_ppm <= target_ppm
    assert answer.counts.get("l", 0) <= 2
    # The bound is that of demand without margin.
    assert answer.gap <= (0.25 if survive_loss else 0.1) + answer.margin - 1
    assert answer.meets_target is True
    assert answer.survives_loss is (True if survive_loss else None)
    require_proven(vms, answer)


def small(count: int | None = None) -> list[HostType]:
    """Return one type of host, of which so many can be had."""
    return [HostType(template=make_host("s", cores=16), price=1, max_count=count)]


def test_hosts_sized_on_few_scenarios_are_too_few_for_others() -> None:
    """Never short on the eight they are made from, often on fresh ones; with margin seldom."""
    vms = [make_vm(f"v{i}", None, cores=1 + i % 4, memory_gib=1) for i in range(60)]
    few, fresh = futures(vms, 8, 1), futures(vms, 400, 2)
    flattered = hosts_needed(vms, few, small(), target_ppm=10_000)
    assert (flattered.overload_ppm, flattered.margin, flattered.meets_target) == (0, 1.0, None)
    honest = hosts_needed(vms, few, small(), target_ppm=10_000, fresh=fresh)
    assert honest.meets_target is True
    assert honest.margin > 1
    assert honest.price > flattered.price
    assert honest.bound == flattered.bound
    require_proven(vms, honest)
    # On others still, that neither hosts nor margin were chosen by.
    judge = make_cluster(honest.hosts, vms).with_placement(honest.placement)
    demand = futures(vms, 400, 3).demand[..., 1:]
    short = np.zeros(400, dtype=np.bool_)
    for host in judge.hosts:
        there = [v for v, vm in enumerate(judge.vms) if vm.host_id == host.id]
        load = demand[:, there, Resource.CPU].sum(axis=1)
        short |= (load > (host.usable()[Resource.CPU] or 0)).any(axis=1)
    assert short.mean() <= 0.03


def test_a_target_that_fresh_scenarios_do_not_meet_is_said() -> None:
    """No more hosts are to be had: the best answer, with its figure, and that it falls short."""
    vms = [make_vm(f"v{i}", None, cores=1 + i % 4, memory_gib=1) for i in range(60)]
    few, fresh = futures(vms, 8, 1), futures(vms, 400, 2)
    flattered = hosts_needed(vms, few, small(), target_ppm=10_000)
    scarce = small(count=len(flattered.hosts))
    answer = hosts_needed(vms, few, scarce, target_ppm=10_000, fresh=fresh)
    assert answer.meets_target is False
    assert answer.fresh_overload_ppm is not None
    assert answer.fresh_overload_ppm > 10_000 >= answer.overload_ppm
    assert answer.hosts


def test_the_same_question_has_the_same_answer() -> None:
    """One thread and one seed."""
    vms = [make_vm(f"v{i}", None, cores=1 + i % 4) for i in range(40)]
    types = [HostType(template=make_host("s", cores=8), price=3)]
    answers = [hosts_needed(vms, futures(vms, 4, 0), types, target_ppm=250_000) for _ in range(2)]
    assert answers[0] == answers[1]


def test_what_cannot_be_is_told_with_its_reason() -> None:
    """A VM too large for every type; too few hosts; nothing left after a loss; no VM at all."""
    vms = [make_vm(f"v{i}", None, memory_gib=40) for i in range(4)]
    scenarios = futures(vms, 1, 0)

    def asked(max_count: int | None, gib: int, survive_loss: bool = False) -> HostsNeeded:
        kind = HostType(template=make_host("s", memory_gib=gib), price=1, max_count=max_count)
        return hosts_needed(vms, scenarios, [kind], target_ppm=0, survive_loss=survive_loss)

    too_large = asked(None, 30)
    assert too_large.status is CapacityStatus.INFEASIBLE
    assert "'v0' fits on no host type" in too_large.limits
    too_few = asked(1, 100)
    assert too_few.status is CapacityStatus.INFEASIBLE
    assert "reservations" in too_few.limits
    no_spare = asked(2, 80, survive_loss=True)
    assert no_spare.status is CapacityStatus.INFEASIBLE
    assert "lost" in no_spare.limits
    kind = HostType(template=make_host("s"), price=1)
    nothing = hosts_needed([], futures([], 1, 0), [kind], target_ppm=0)
    assert (nothing.status, nothing.price) == (CapacityStatus.OPTIMAL, 0)


def test_the_last_host_that_can_be_had_is_used() -> None:
    """Sums say less than packings do; what can be had in all is tried before giving up."""
    vms = [make_vm(f"v{i}", None, memory_gib=gib) for i, gib in enumerate((5, 5, 5, 3))]
    kind = HostType(template=make_host("s", memory_gib=9), price=1, max_count=3)
    answer = hosts_needed(vms, futures(vms, 1, 0), [kind], target_ppm=0)
    assert answer.counts == {"s": 3}
    assert answer.status is CapacityStatus.OPTIMAL
    # Five of 4 GiB go into the sum of two hosts, but not onto them.
    vms = [make_vm(f"v{i}", None, memory_gib=gib) for i, gib in enumerate((4, 4, 4, 4, 4))]
    kind = HostType(template=make_host("s", memory_gib=10.5), price=1, max_count=3)
    answer = hosts_needed(vms, futures(vms, 1, 0), [kind], target_ppm=0)
    assert answer.counts == {"s": 3}


def test_nothing_is_printed_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither PuLP nor HiGHS leaves a word or a file."""
    monkeypatch.chdir(tmp_path)
    vms = [make_vm("v1", None)]
    with redirect_stdout(io.StringIO()) as out:
        hosts_needed(
            vms,
            futures(vms, 1, 0),
            [HostType(template=make_host("s"), price=1)],
            target_ppm=0,
        )
    assert out.getvalue() == ""
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
