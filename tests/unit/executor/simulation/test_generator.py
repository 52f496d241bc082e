"""The made-up fleet has the statistics of the real one."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from executor.simulation.generator import (
    GeneratedWorkload,
    GeneratorParameters,
    LoadClass,
    generate,
)
from solver.domain.errors import InvalidInputError
from solver.domain.units import Resource
from tests.builders import NOW

SEEDS = (0, 1)


@pytest.fixture(scope="module", params=SEEDS)
def fleet(request: pytest.FixtureRequest) -> GeneratedWorkload:
    """Four weeks of 400 VMs."""
    return generate(np.random.default_rng(request.param), NOW)


def cpu_share(fleet: GeneratedWorkload) -> np.ndarray:
    """Return CPU demand over vCPUs."""
    size = np.array([vm.allocation.cpu_millicores for vm in fleet.vms])
    return fleet.readings[Resource.CPU].astype(np.float64) / size[:, None]


def busy(fleet: GeneratedWorkload) -> np.ndarray:
    """Return which VMs are not idle by class."""
    return np.array([kind is not LoadClass.IDLE for kind in fleet.classes])


def test_classes_have_their_shares(fleet: GeneratedWorkload) -> None:
    """59 % idle, and the others as asked for, to within one VM."""
    counts = Counter(fleet.classes)
    for kind, share in zip(LoadClass, GeneratorParameters().shares, strict=True):
        assert abs(counts[kind] - share * 400) <= 1


def test_idle_is_idle_by_the_definition(fleet: GeneratedWorkload) -> None:
    """The 99th percentile of an idle VM's CPU is below 5 %, and of nearly no other's."""
    idle = np.quantile(cpu_share(fleet), 0.99, axis=1) < 0.05
    assert idle[~busy(fleet)].all()
    assert idle[busy(fleet)].mean() < 0.02


def test_few_carry_nearly_all_the_load(fleet: GeneratedWorkload) -> None:
    """The busy two fifths want nine tenths of the CPU."""
    demand = fleet.readings[Resource.CPU].sum(axis=1)
    assert demand[busy(fleet)].sum() > 0.88 * demand.sum()


def test_levels_shift(fleet: GeneratedWorkload) -> None:
    """About 43 % of the busy VMs change their weekly mean by more than 2x in four weeks."""
    weekly = cpu_share(fleet)[busy(fleet)].reshape(busy(fleet).sum(), 4, -1).mean(axis=2)
    changed = weekly.max(axis=1) > 2 * weekly.min(axis=1)
    assert 0.33 < changed.mean() < 0.53


def test_vms_move_together(fleet: GeneratedWorkload) -> None:
    """The fleet's variance is that of a real fleet of this size: many times the independent one.

    33 times for 876 VMs is a mean correlation that makes it about 16 times for 400.
    """
    demand = fleet.readings[Resource.CPU].astype(np.float64)
    assert 10 < demand.sum(axis=0).var() / demand.var(axis=1).sum() < 24


def test_some_are_saturated(fleet: GeneratedWorkload) -> None:
    """About 2.6 % of the readings are at the VM's size, never above."""
    share = cpu_share(fleet)
    assert 0.01 < (share > 0.999).mean() < 0.045
    assert share.max() <= 1.0 + 1e-6


def test_the_day_is_seen_where_there_is_one(fleet: GeneratedWorkload) -> None:
    """Diurnal VMs want more at noon than at midnight, on most days; bursty ones do not care."""
    hour = (np.arange(fleet.num_bins) * 300 / 3600 + NOW.hour) % 24
    share = cpu_share(fleet)
    noon, midnight = abs(hour - 12) < 1, (hour < 1) | (hour > 23)
    ratio = share[:, noon].mean(axis=1) / share[:, midnight].mean(axis=1)
    kinds = np.array([kind.value for kind in fleet.classes])
    assert np.median(ratio[kinds == "diurnal"]) > 2
    assert 0.7 < np.median(ratio[kinds == "bursty"]) < 1.4


def test_memory_fits_the_vm(fleet: GeneratedWorkload) -> None:
    """No VM wants more memory than it has."""
    size = np.array([vm.allocation.memory_mib for vm in fleet.vms])
    assert (fleet.readings[Resource.MEMORY] <= size[:, None] * (1 + 1e-6)).all()


def test_the_same_seed_gives_the_same_fleet() -> None:
    """And another seed another one."""
    small = GeneratorParameters(num_vms=20, num_bins=288)
    one, same, other = (generate(np.random.default_rng(s), NOW, small) for s in (5, 5, 6))
    assert np.array_equal(one.readings, same.readings)
    assert one.vms == same.vms
    assert not np.array_equal(one.readings, other.readings)


def test_shares_must_add_up() -> None:
    """The error says what they add up to."""
    with pytest.raises(InvalidInputError, match=r"got 1\.1"):
        GeneratorParameters(share_idle=0.69)
    with pytest.raises(InvalidInputError, match="num_vms"):
        GeneratorParameters(num_vms=0)
