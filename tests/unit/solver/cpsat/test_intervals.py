"""The scheduling model against trying everything, and what it holds and keeps in order."""

from __future__ import annotations

from itertools import permutations, product

from hypothesis import given
from hypothesis import strategies as st

from solver.cpsat.intervals import Holding, Job, Limits, Way, schedule_jobs

HORIZON = 200


def jobs_of(*durations: int, weights: tuple[int, ...] = ()) -> list[Job]:
    """Return jobs that can be done in one way each, in the order given."""
    starts = [sum(durations[:i]) for i in range(len(durations))]
    return [
        Job(ways=(Way(duration=d, rate=1),), weight=w, start=s, way=0)
        for d, s, w in zip(durations, starts, weights or (1,) * len(durations), strict=True)
    ]


def ends_of(jobs: list[Job], limits: Limits) -> list[int]:
    """Return the ends of the best schedule."""
    found = schedule_jobs(jobs, limits, horizon=HORIZON, work_limit=5)
    assert found is not None
    return [start + job.ways[way].duration for job, (start, way) in zip(jobs, found, strict=True)]


@given(st.data())
def test_the_best_schedule_is_found(data: st.DataObject) -> None:
    """Of up to four jobs with two speeds on shared links no schedule has a lower sum of ends.

    Each job as early as it fits after those before it, in every order and every mix of ways, is
    all that has to be tried.
    """
    number = data.draw(st.integers(2, 4))
    rate, parallel = data.draw(st.integers(2, 4)), data.draw(st.integers(1, 3))
    jobs = []
    for i in range(number):
        fast = Way(duration=data.draw(st.integers(1, 5)), rate=data.draw(st.integers(1, rate)))
        slow = Way(duration=fast.duration + data.draw(st.integers(1, 4)), rate=1)
        weight = data.draw(st.integers(0, 3))
        jobs.append(Job(ways=(fast, slow), weight=weight, start=10 * i, way=0))
    everyone = list(range(number))
    found = ends_of(jobs, Limits(parallel=[(parallel, everyone)], rates=[(rate, everyone)]))
    best = min(
        cost(jobs, earliest(jobs, order, ways, rate, parallel))
        for order in permutations(everyone)
        for ways in product((0, 1), repeat=number)
    )
    assert cost(jobs, found) == best


def cost(jobs: list[Job], ends: list[int]) -> tuple[int, int]:
    """Return the weighted sum of ends, and the makespan."""
    return sum(job.weight * end for job, end in zip(jobs, ends, strict=True)), max(ends)


def earliest(
    jobs: list[Job], order: tuple[int, ...], ways: tuple[int, ...], rate: int, parallel: int
) -> list[int]:
    """Return the ends when each job in turn begins as early as the others leave room for it."""
    used, running = [0] * HORIZON, [0] * HORIZON
    ends = [0] * len(jobs)
    for i in order:
        way = jobs[i].ways[ways[i]]
        start = next(
            t
            for t in range(HORIZON)
            if all(
                used[t + k] + way.rate <= rate and running[t + k] < parallel
                for k in range(way.duration)
            )
        )
        for k in range(start, start + way.duration):
            used[k] += way.rate
            running[k] += 1
        ends[i] = start + way.duration
    return ends


def test_the_shortest_goes_first_when_all_weigh_the_same() -> None:
    """One after another, Smith's rule is best."""
    limits = Limits(parallel=[(1, [0, 1, 2])])
    assert ends_of(jobs_of(5, 1, 3), limits) == [9, 1, 4]


def test_what_is_held_at_both_ends_waits() -> None:
    """The second enters when the first has ended: until then both places are taken."""
    room = [
        Holding(amount=1, since=None, until=0),
        Holding(amount=1, since=1, until=None),
    ]
    assert ends_of(jobs_of(5, 1, weights=(1, 9)), Limits(room=[(1, room)])) == [5, 6]


def test_jobs_that_follow_and_events_in_order() -> None:
    """A second leg waits for the first; a start that comes before an end stays before it."""
    assert ends_of(jobs_of(2, 3, weights=(0, 1)), Limits(follows=[(0, 1)])) == [2, 5]
    apart = Limits(in_order=[[(0, False), (0, True), (1, False), (1, True)]])
    assert ends_of(jobs_of(4, 1), apart) == [4, 5]
    across = Limits(in_order=[[(0, False), (1, False), (1, True), (0, True)]])
    assert ends_of(jobs_of(4, 1), across) == [4, 1]


def test_nothing_is_found_where_nothing_fits() -> None:
    """A room that is too small for ever is said to have no schedule."""
    room = [Holding(amount=2, since=0, until=None)]
    assert schedule_jobs(jobs_of(1), Limits(room=[(1, room)]), horizon=9, work_limit=1) is None
