"""The migration estimate is monotonous, and each weight of the cost scales its own term alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.domain.errors import InvalidInputError
from solver.domain.migration import (
    DEFAULT_MIGRATION,
    MigrationCost,
    MigrationParameters,
    estimate,
    migration_cost,
)
from solver.domain.weights import UNITS_PER_HOST_S, Weights

FOOTPRINTS = st.integers(0, 2**20)
DIRTY = st.integers(0, 20_000)
BANDWIDTHS = st.integers(1, 20_000)
TERMS = ("utilisation", "transfer", "downtime", "latency")


def cost_of(weights: Weights | None = None, **changed: Any) -> MigrationCost:
    """Return the cost of an ordinary move, with all terms above zero."""
    move: dict[str, Any] = {
        "footprint_mib": 8192,
        "dirty_mib_per_s": 50,
        "cpu_demand_millicores": 3000,
        "priority": 5,
        "bandwidth_mib_per_s": 500,
        "latency_us": 1000,
        "distance": 1,
        "utilisation_difference": 0.25,
        "reference_cpu_millicores": 32_000,
    }
    return migration_cost(**(move | changed), weights=weights or Weights())


# The estimate


def test_an_idle_vm_is_sent_once() -> None:
    """9 GiB at 1000 MiB/s, nine tenths of it for pages, last 10.24 s and a little more."""
    course = estimate(9 * 1024, 0, 1000)
    assert int(course.transferred_mib) == 9 * 1024
    assert 10_240 <= int(course.duration_ms) <= 10_240 + 521
    assert int(course.downtime_ms) <= 21


def test_a_vm_that_rewrites_half_as_fast_as_the_link_is_sent_about_twice() -> None:
    """The rounds form a geometric series: 1 + 1/2 + 1/4 + …"""
    course = estimate(10_000, 450, 1000)
    assert 1.9 * 10_000 <= int(course.transferred_mib) <= 2 * 10_000


def test_a_vm_that_rewrites_faster_than_the_link_still_arrives() -> None:
    """Such a guest is throttled; the migration is long but ends."""
    wild = estimate(10_000, 100_000, 100)
    assert int(wild.transferred_mib) <= 10_000 / (1 - DEFAULT_MIGRATION.max_dirty_fraction) + 1
    assert int(wild.downtime_ms) > 0


@given(FOOTPRINTS, FOOTPRINTS, DIRTY, BANDWIDTHS)
def test_more_memory_is_never_faster(one: int, other: int, dirty: int, bandwidth: int) -> None:
    """Duration and bytes grow with the footprint."""
    course = estimate(sorted((one, other)), dirty, bandwidth)
    assert course.duration_ms[0] <= course.duration_ms[1]
    assert course.transferred_mib[0] <= course.transferred_mib[1]


@given(FOOTPRINTS, DIRTY, DIRTY, BANDWIDTHS)
def test_more_rewriting_is_never_faster(
    footprint: int, one: int, other: int, bandwidth: int
) -> None:
    """Duration grows with the dirty rate, but for the tail of one round more or less.

    A round more sends what would otherwise be sent standing still, so bytes may differ by the
    share of the last round; duration is checked within what the downtime limit allows.
    """
    course = estimate(footprint, sorted((one, other)), bandwidth)
    slack_ms = 1000 * DEFAULT_MIGRATION.downtime_limit_s + 1
    assert course.duration_ms[0] <= course.duration_ms[1] + slack_ms


@given(FOOTPRINTS, DIRTY, BANDWIDTHS, BANDWIDTHS)
def test_more_bandwidth_is_never_slower(footprint: int, dirty: int, one: int, other: int) -> None:
    """Duration falls with bandwidth, but for the tail of one round more or less."""
    course = estimate(footprint, dirty, sorted((one, other)))
    slack_ms = 1000 * DEFAULT_MIGRATION.downtime_limit_s + 1
    assert course.duration_ms[1] <= course.duration_ms[0] + slack_ms


@given(FOOTPRINTS, DIRTY, BANDWIDTHS)
def test_the_course_holds_together(footprint: int, dirty: int, bandwidth: int) -> None:
    """All memory is sent at least once, within the time given, and downtime is a part of it."""
    course = estimate(footprint, dirty, bandwidth)
    assert int(course.transferred_mib) >= footprint
    assert 0 < int(course.downtime_ms) <= int(course.duration_ms)
    assert (int(course.transferred_mib) - 1) / bandwidth <= int(course.duration_ms) / 1000


def test_arrays_broadcast() -> None:
    """Candidates by destinations in one call give the same as one by one."""
    footprints, bandwidths = np.array([[100], [90_000]]), np.array([[50, 1000, 3000]])
    together = estimate(footprints, 20, bandwidths)
    assert together.duration_ms.shape == (2, 3)
    assert together.duration_ms[1, 2] == estimate(90_000, 20, 3000).duration_ms


@pytest.mark.parametrize(
    "wrong",
    [
        {"setup_s": -1.0},
        {"wire_efficiency": 0.0},
        {"wire_efficiency": 1.1},
        {"max_dirty_fraction": 1.0},
        {"handover_s": float("nan")},
    ],
)
def test_absurd_parameters_are_refused(wrong: dict[str, float]) -> None:
    """Parameters come from measurements, which may be wrong; the error names which."""
    with pytest.raises(InvalidInputError) as caught:
        MigrationParameters(**wrong)  # type: ignore[arg-type]  # one float field at a time
    assert caught.value.path == next(iter(wrong))


# The cost


@pytest.mark.parametrize("name", TERMS)
def test_each_weight_scales_its_own_term_only(name: str) -> None:
    """Three times the weight is three times the term; the other three stay."""
    changed: dict[str, Any] = {name: 3.0 * getattr(Weights(), name)}
    usual, heavier = cost_of(), cost_of(replace(Weights(), **changed))
    for term in TERMS:
        factor = 3 if term == name else 1
        assert int(getattr(heavier, term)) == pytest.approx(factor * getattr(usual, term), abs=2)
        assert int(getattr(usual, term)) > 0


@pytest.mark.parametrize("name", TERMS)
def test_a_weight_of_zero_removes_its_term(name: str) -> None:
    """What is not priced does not cost."""
    changed: dict[str, Any] = {name: 0.0}
    assert int(getattr(cost_of(replace(Weights(), **changed)), name)) == 0


def test_priority_multiplies_the_whole() -> None:
    """Two steps of priority double every term; two steps down halve it."""
    usual, higher, lower = cost_of(), cost_of(priority=7), cost_of(priority=3)
    for term in TERMS:
        assert int(getattr(higher, term)) == pytest.approx(2 * getattr(usual, term), abs=2)
        assert int(getattr(lower, term)) == pytest.approx(getattr(usual, term) / 2, abs=2)
    assert int(usual.total) == sum(int(getattr(usual, term)) for term in TERMS)


@pytest.mark.parametrize(
    ("changed", "term"),
    [
        ({"utilisation_difference": 0.5}, "utilisation"),
        ({"footprint_mib": 16_384}, "transfer"),
        ({"bandwidth_mib_per_s": 250}, "transfer"),
        ({"dirty_mib_per_s": 300}, "transfer"),
        ({"cpu_demand_millicores": 6000}, "downtime"),
        ({"latency_us": 50_000}, "latency"),
        ({"distance": 2}, "latency"),
    ],
)
def test_what_makes_a_move_worse_makes_it_dearer(changed: dict[str, Any], term: str) -> None:
    """Each property of a move shows in the term it belongs to."""
    assert int(getattr(cost_of(**changed), term)) > int(getattr(cost_of(), term))


def test_leaving_the_source_fuller_is_free_but_not_paid_for() -> None:
    """A move to an emptier host has no utilisation cost, and no reward either: relief is that."""
    assert int(cost_of(utilisation_difference=-0.5).utilisation) == 0


def test_the_utilisation_term_is_in_host_seconds() -> None:
    """A quarter of a host fuller costs a quarter of a host-second at weight 1."""
    assert int(cost_of().utilisation) == UNITS_PER_HOST_S // 4


def test_a_border_costs_what_the_weights_say() -> None:
    """Each zone border adds its price to the latency term."""
    near, far = cost_of(distance=0), cost_of(distance=2)
    added = int(far.latency) - int(near.latency)
    assert added == round(2 * Weights().zone_border_host_s * UNITS_PER_HOST_S)
