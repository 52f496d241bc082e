"""Only the worst futures count: which those are, and what a placement costs in them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solver.domain.errors import InvalidInputError
from solver.domain.plan import Plan, Step, StepKind
from solver.domain.plan_score import score_plan
from solver.domain.scenario import PROBABILITY_PPM, equal_probabilities
from solver.domain.score import host_contention, score_placement
from solver.domain.tail import worst_ppm
from solver.domain.units import HostId, VmId
from solver.domain.weights import LEAST_TAIL_SHARE, Weights, to_host_s
from tests.builders import NOW, make_cluster, make_host, make_scenarios, make_vm

V1, V2 = VmId("v1"), VmId("v2")
H1, H2 = HostId("h1"), HostId("h2")


@st.composite
def futures(draw: st.DrawFn) -> tuple[list[int], tuple[int, ...], float]:
    """Return what some futures cost, their probabilities, and the share that counts."""
    num = draw(st.integers(1, 8))
    costs = draw(st.lists(st.integers(0, 20), min_size=num, max_size=num))
    cuts = draw(
        st.lists(
            st.integers(1, PROBABILITY_PPM - 1), min_size=num - 1, max_size=num - 1, unique=True
        )
    )
    edges = [0, *sorted(cuts), PROBABILITY_PPM]
    probability = tuple(b - a for a, b in itertools.pairwise(edges))
    least = round(LEAST_TAIL_SHARE * PROBABILITY_PPM)
    return costs, probability, draw(st.integers(least, PROBABILITY_PPM)) / PROBABILITY_PPM


@given(futures(), st.data())
def test_no_other_weighting_within_the_limits_is_worse(
    given_: tuple[list[int], tuple[int, ...], float], data: st.DataObject
) -> None:
    """Of all that stay below probability over share, as far as whole parts go."""
    costs, probability, share = given_
    counted = worst_ppm(np.array(costs), probability, share)
    assert sum(counted) == PROBABILITY_PPM
    most = [p / share for p in probability]
    assert all(q <= limit + len(costs) + 2 for q, limit in zip(counted, most, strict=True))
    left, other = float(PROBABILITY_PPM), [0.0] * len(costs)
    for k in data.draw(st.permutations(range(len(costs)))):
        other[k] = min(most[k], left)
        left -= other[k]
    worst = np.dot(counted, costs) / PROBABILITY_PPM
    assert worst >= np.dot(other, costs) / PROBABILITY_PPM - 1e-3


@given(futures())
def test_all_of_them_count_as_they_are(
    given_: tuple[list[int], tuple[int, ...], float],
) -> None:
    """With a share of one it is the expectation, to the last part."""
    costs, probability, _ = given_
    assert worst_ppm(np.array(costs), probability, 1.0) == probability


@pytest.mark.parametrize("share", [0.0, 0.04, 1.01, float("nan")])
def test_a_share_is_a_share(share: float) -> None:
    """The error names the setting."""
    with pytest.raises(InvalidInputError, match=r"expected 0.*got") as caught:
        Weights(tail_share=share)
    assert caught.value.path == "weights.tail_share"


def test_contention_is_that_of_the_worst_futures() -> None:
    """Short by 0, 1, 2 or 5 of ten cores for an hour: on average 720 host-seconds, at worst 1,800.

    The worst half is short by 3.5 on average, the worst three quarters by 2.67.
    """
    cluster = make_cluster([make_host("h1"), make_host("h2")], [make_vm("v1", priority=5)])
    scenarios = make_scenarios(cluster, {"v1": [10, 11, 15, 12]})
    costs = {
        share: to_host_s(
            score_placement(
                cluster, scenarios, Weights(tail_share=share), cluster.placement
            ).contention
        )
        for share in (1.0, 0.75, 0.5, 0.25, 0.1)
    }
    hour = 3600.0
    expected = {1.0: 0.2, 0.75: 8 / 30, 0.5: 0.35, 0.25: 0.5, 0.1: 0.5}
    assert costs == pytest.approx({share: c * hour for share, c in expected.items()}, rel=1e-5)


def test_worst_is_meant_of_the_whole_cluster() -> None:
    """Two hosts, each short in a future of its own: no future is worse than the other.

    The chance of an overload stays what it is.
    """
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")],
        [make_vm("v1", priority=5), make_vm("v2", "h2", priority=5)],
    )
    scenarios = make_scenarios(cluster, {"v1": [12, 0], "v2": [0, 12]})
    costs = [
        score_placement(cluster, scenarios, Weights(tail_share=share), cluster.placement).contention
        for share in (1.0, 0.5)
    ]
    assert costs[1] == pytest.approx(costs[0])
    first, second = host_contention(
        cluster, scenarios, Weights(tail_share=0.5, imbalance=0.0), cluster.placement
    )
    assert (first.overload_ppm, second.overload_ppm) == (500_000, 500_000)
    assert first.predicted + second.predicted == costs[1]


def test_a_plan_is_followed_in_the_futures_that_count_without_it() -> None:
    """Or in those that are named; an empty plan costs what staying does, to the last unit."""
    cluster = make_cluster(
        [make_host("h1"), make_host("h2")],
        [make_vm("v1", priority=5), make_vm("v2", priority=5)],
    )
    scenarios = make_scenarios(cluster, {"v1": [8, 2], "v2": [8, 13]})
    half_ms = 1_800_000
    step = Step(
        kind=StepKind.MIGRATE,
        vm_id=V1,
        source_id=H1,
        destination_id=H2,
        start_ms=half_ms - 1000,
        end_ms=half_ms,
        bandwidth_mib_per_s=1,
    )
    prices, plan = Weights(tail_share=0.5), Plan(made_at=NOW, steps=(step,))
    without, with_plan = score_plan(cluster, scenarios, prices, plan)
    assert without == score_placement(cluster, scenarios, prices, cluster.placement).contention
    # The first future is short by six cores for half of the hour, then by none.
    assert to_host_s(without) == pytest.approx(0.6 * 3600, rel=1e-5)
    assert to_host_s(with_plan) == pytest.approx(0.3 * 3600, rel=1e-5)
    # The second is short by five, then by three.
    other = score_plan(cluster, scenarios, prices, plan, counted_ppm=(0, PROBABILITY_PPM))
    assert [to_host_s(cost) for cost in other] == pytest.approx([0.5 * 3600, 0.4 * 3600], rel=1e-5)


def test_probabilities_need_not_be_equal() -> None:
    """A rare catastrophe fills as much of the share as it is likely."""
    costs = np.array([1000, 1, 0])
    counted = worst_ppm(costs, (10_000, 490_000, 500_000), 0.05)
    assert counted == (200_000, 800_000, 0)


def test_equal_futures_count_alike() -> None:
    """In proportion to their probabilities, whatever their order."""
    counted = worst_ppm(np.array([0, 7, 0, 0]), (100_000, 100_000, 200_000, 600_000), 0.5)
    assert counted[1] == pytest.approx(200_000, abs=4)
    assert [counted[0], counted[2] // 2, counted[3] // 6] == [88_888] * 3
    assert sum(counted) == PROBABILITY_PPM


def test_one_future_is_the_worst() -> None:
    """And all there is."""
    assert equal_probabilities(1) == worst_ppm(np.array([3]), (PROBABILITY_PPM,), 0.05)
