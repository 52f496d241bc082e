"""Samples of ten seconds become one record a minute."""

from __future__ import annotations

from datetime import timedelta

import pytest

from executor.monitor.rates import Sample, VmSample
from executor.monitor.rollup import Rollup
from executor.monitor.sample import CLOCK_SKEWED, GAP
from solver.domain.units import HostId
from tests.monitoring import START_AT, make_host_counters, make_vm_counters


def sample(
    end_s: float, used: float = 0.0, *, span_s: float = 10, flags: frozenset[str] = frozenset()
) -> Sample:
    """Return a sample that ends so many seconds after the start."""
    end_at = START_AT + timedelta(seconds=end_s)
    figures = {"cpu_used_millicores": used}
    return Sample(
        middle_at=end_at - timedelta(seconds=span_s / 2),
        end_at=end_at,
        span_s=span_s,
        host=make_host_counters(),
        figures=figures,
        cpu_fractions=(0.1, 0.2),
        vms=(VmSample(vm=make_vm_counters(), span_s=span_s, figures=figures),),
        flags=flags,
    )


def test_six_samples_make_a_minute() -> None:
    """The sample that reaches the minute's end closes it."""
    rollup = Rollup(HostId("h1"))
    closed = [rollup.add(sample(10 * number, 10 * number)) for number in range(1, 7)]
    assert closed[:5] == [[]] * 5
    (record,) = closed[5]
    assert record.host_id == "h1"
    assert record.minute_at == START_AT
    assert (record.num_samples, record.span_s) == (6, 60)
    figure = record.host.figures["cpu_used_millicores"]
    assert (figure.mean, figure.p95, figure.max) == pytest.approx((35, 57.5, 60))
    assert record.vms[0].figures["cpu_used_millicores"] == figure
    assert record.vms[0].num_samples == 6
    assert len(record.host.cpu_fractions) == 2


def test_the_mean_weighs_samples_by_their_time() -> None:
    """A late sample stands for more time, so that mean times span is what the counter gained."""
    rollup = Rollup(HostId("h1"))
    rollup.add(sample(10, 100))
    (record,) = rollup.add(sample(60, 10, span_s=30)) or rollup.close()
    assert record.host.figures["cpu_used_millicores"].mean == pytest.approx(
        (100 * 10 + 10 * 30) / 40
    )


def test_a_sample_just_after_the_full_minute_belongs_to_the_old_one() -> None:
    """A wait ends a moment late; the middle decides."""
    rollup = Rollup(HostId("h1"))
    (record,) = rollup.add(sample(60.01))
    assert record.minute_at == START_AT


def test_a_new_minute_closes_the_old() -> None:
    """A minute whose last samples are missing is still told."""
    rollup = Rollup(HostId("h1"))
    rollup.add(sample(10))
    (record,) = rollup.add(sample(130))
    assert (record.minute_at, record.num_samples) == (START_AT, 1)


def test_a_clock_that_steps_back_makes_a_second_record() -> None:
    """Time that is told twice is not mixed into one record."""
    rollup = Rollup(HostId("h1"))
    rollup.add(sample(130))
    (record,) = rollup.add(sample(20))
    assert record.minute_at == START_AT + timedelta(minutes=2)
    (second,) = rollup.close()
    assert second.minute_at == START_AT


def test_flags_of_samples_are_the_records() -> None:
    """Whatever was odd within the minute is told, and so is a clock that is off."""
    rollup = Rollup(HostId("h1"))
    rollup.add(sample(10, flags=frozenset({GAP})))
    rollup.add(sample(20))
    (record,) = rollup.close(clock_skew_s=-61.0)
    assert record.flags == {GAP, CLOCK_SKEWED}
    assert record.clock_skew_s == -61.0


def test_a_small_skew_is_told_but_no_matter() -> None:
    """A second off changes no five minutes."""
    rollup = Rollup(HostId("h1"))
    rollup.add(sample(10))
    (record,) = rollup.close(clock_skew_s=1.0)
    assert record.flags == frozenset()


def test_nothing_sampled_is_no_record() -> None:
    """Closing twice tells nothing twice."""
    rollup = Rollup(HostId("h1"))
    rollup.add(sample(10))
    assert len(rollup.close()) == 1
    assert rollup.close() == []
