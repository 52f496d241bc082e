"""Courses: where every figure stands, in which unit, and how forecasts fared."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from forecast.forecaster import HORIZON_MINUTES
from forecast.history import STEP_SECONDS, History
from service.runtime.kept import fan_from_bytes
from service.runtime.past_fans import PastFan
from service.web.charts import course_figure
from service.web.course import courses, hindsight, sum_of
from solver.domain.units import NUM_RESOURCES, Resource, VmId
from tests.builders import NOW
from tests.fans import make_fans

STEP = timedelta(seconds=STEP_SECONDS)


def history(cpu: Any) -> History:
    """Return CPU readings of VMs, one row each, from ``NOW`` on; nothing else was read."""
    rows = np.atleast_2d(np.array(cpu, dtype=np.float32))
    readings = np.full((NUM_RESOURCES, *rows.shape), np.nan, dtype=np.float32)
    readings[Resource.CPU] = rows
    return History(
        vm_ids=tuple(VmId(f"v{i}") for i in range(len(rows))),
        start_at=NOW,
        readings=readings,
        state=np.zeros(rows.shape, dtype=np.uint8),
        granted_mib=np.full(rows.shape, np.nan, dtype=np.float32),
        vcpus=np.ones(len(rows), dtype=np.int64),
        memory_size_mib=np.ones(len(rows), dtype=np.int64),
        app_types=(None,) * len(rows),
    )


def past_fan(bins: int, low: float, middle: float, high: float) -> PastFan:
    """Return a fan of CPU, made so many bins after ``NOW``, that does not change with time."""
    band = np.tile(np.array([low, middle, high], dtype=np.float32), (len(HORIZON_MINUTES), 1))
    return PastFan(at=NOW + bins * STEP, values={"cpu_millicores": band})


def test_readings_stand_at_the_end_of_their_bins_in_cores() -> None:
    """A bin that nobody read is a gap, not a zero."""
    (cpu,) = courses(
        {"observed": history([500, np.nan, 1500])}, [], None, (2000,) * 4, limit_name="x", since=NOW
    )
    instants, values = cpu.observed["observed"]
    assert instants == [NOW + STEP, NOW + 2 * STEP, NOW + 3 * STEP]
    assert values == [0.5, None, 1.5]
    assert (cpu.unit.unit, cpu.limit) == ("cores", 2.0)


def test_the_next_hour_follows_the_last_reading() -> None:
    """The fan begins a bin after it was made; memory is told in GiB."""
    fan = fan_from_bytes(make_fans(NOW, {"v0": 800.0}, {}, memory_mib=2048.0), vm_id="v0")
    cpu, memory = courses({}, [], fan, (None,) * 4, limit_name="x", since=NOW)
    assert cpu.ahead is not None
    assert memory.ahead is not None
    assert cpu.ahead.instants[0] == NOW + STEP
    assert cpu.ahead.lines["p50"][0] == pytest.approx(0.8)
    assert cpu.ahead.lines["p5"][0] < cpu.ahead.lines["p25"][0] < cpu.ahead.lines["p95"][0]
    assert memory.ahead.lines["p50"][0] == pytest.approx(2.0)
    assert cpu.limit is None


def test_earlier_fans_from_before_the_span_are_left_out() -> None:
    """Those since then are there with their band."""
    fans = [past_fan(0, 400, 500, 600), past_fan(12, 1400, 1500, 1600)]
    (cpu,) = courses(
        {"observed": history([500])}, fans, None, (None,) * 4, limit_name="x", since=NOW + STEP
    )
    (kept,) = cpu.earlier
    assert [kept.lines[name][0] for name in ("p5", "p50", "p95")] == [1.4, 1.5, 1.6]


def test_a_sum_bears_a_tenth_that_was_not_read() -> None:
    """Of ten VMs one may be missing, not two; those that were elsewhere do not count."""
    cpu = np.full((11, 3), 100.0)
    cpu[0, 1] = np.nan
    cpu[:2, 2] = np.nan
    there = np.ones((11, 3), dtype=np.bool_)
    there[10] = False
    total = sum_of(history(cpu), there)
    assert total.readings[Resource.CPU, 0, :2].tolist() == [1000.0, 900.0]
    assert np.isnan(total.readings[Resource.CPU, 0, 2])
    assert np.isnan(total.readings[Resource.MEMORY]).all()


def test_a_sum_of_nobody_is_zero_of_what_is_read() -> None:
    """A host that was empty used no CPU; of memory, which nobody reads, nothing is known."""
    total = sum_of(history([[100.0, 100.0]]), np.array([[False, True]]))
    assert total.readings[Resource.CPU, 0].tolist() == [0.0, 100.0]
    assert np.isnan(total.readings[Resource.MEMORY]).all()


def test_forecasts_are_held_against_what_was_read() -> None:
    """By hand: twelve readings after the forecast, of which three are above and one below."""
    read = [500.0] * 8 + [700.0] * 3 + [100.0]
    found = hindsight([past_fan(1, 400, 500, 600)], history([500.0, *read]), Resource.CPU)
    assert found is not None
    assert found.num_readings == 12
    assert found.within == pytest.approx(8 / 12)
    assert found.below_p95 == pytest.approx(9 / 12)
    inside = (0.05 * 100 + 0.05 * 100) / 3
    above = (0.05 * 300 + 0.5 * 200 + 0.95 * 100) / 3
    below = (0.95 * 300 + 0.5 * 400 + 0.05 * 500) / 3
    assert found.loss == pytest.approx((8 * inside + 3 * above + below) / (3 * 200 + 400))


def test_nothing_came_to_pass_yet() -> None:
    """A forecast whose hour is still to come, or of another resource, is held against nothing."""
    read = history([500.0, 500.0])
    assert hindsight([past_fan(2, 400, 500, 600)], read, Resource.CPU) is None
    assert hindsight([past_fan(0, 400, 500, 600)], read, Resource.MEMORY) is None


def test_demand_that_stands_still_has_no_relative_loss() -> None:
    """Nothing is divided by a way of zero."""
    found = hindsight([past_fan(1, 400, 500, 600)], history([500.0] * 5), Resource.CPU)
    assert found is not None
    assert found.loss is None


def test_a_figure_has_a_row_for_each_resource_and_travels_as_json() -> None:
    """Instants keep their zone, for the browser to turn into its own; gaps stay gaps."""
    fan = fan_from_bytes(make_fans(NOW + 3 * STEP, {"v0": 800.0}, {}), vm_id="v0")
    drawn = course_figure(
        courses(
            {"observed": history([500, np.nan, 1500])},
            [past_fan(0, 400, 500, 600)],
            fan,
            (2000, 2048, None, None),
            limit_name="size",
            since=NOW,
        )
    )
    json.dumps(drawn)
    by_name = {trace["name"]: trace for trace in reversed(drawn["data"])}
    assert by_name["observed"]["x"][0] == "2026-03-02T12:05:00+00:00"
    assert by_name["observed"]["y"] == [0.5, None, 1.5]
    assert by_name["earlier p5–p95"]["y"][-1] is None
    assert {"next hour median", "size"} <= set(by_name)
    assert {trace["yaxis"] for trace in drawn["data"]} == {"y", "y2"}
    assert course_figure([])["data"] == []
