"""The stage of the demonstration: feasible, repeatable, with contention on its way."""

from __future__ import annotations

import numpy as np
import pytest

from service.demo.config import START_AT, DemoConfig
from service.demo.fleet import SHOWN_BINS, set_stage
from solver.domain.check import check_placement
from solver.domain.errors import InvalidInputError
from solver.domain.units import Resource


def test_the_start_is_feasible_and_the_same_for_a_seed() -> None:
    """No rule or capacity is broken at the start; another seed gives another start."""
    config = DemoConfig(num_hosts=6, num_vms=80, seed=4)
    stage, same = set_stage(config), set_stage(config)
    assert check_placement(stage.start, stage.start.placement) == ()
    assert stage.start == same.start
    assert set_stage(DemoConfig(num_hosts=6, num_vms=80, seed=5)).start != stage.start


def test_how_long_and_how_fast_changes_nothing_else() -> None:
    """Length and pace of the show leave load and start as they are."""
    short = set_stage(DemoConfig(num_hosts=4, num_vms=40, hours=0.5))
    long = set_stage(DemoConfig(num_hosts=4, num_vms=40, hours=20.0, speed=10.0))
    assert short.start == long.start
    np.testing.assert_array_equal(short.history.readings, long.history.readings)


def test_history_and_workload_tell_the_same() -> None:
    """What the forecaster will read is what the cluster will want, from the start on."""
    stage = set_stage(DemoConfig(num_hosts=4, num_vms=40))
    assert stage.workload.start_at == stage.history.time_of(stage.first_bin) == START_AT
    assert stage.workload.num_bins == SHOWN_BINS
    recorded = stage.history.readings[Resource.CPU, :, stage.first_bin + 7]
    np.testing.assert_allclose(stage.workload.demand_at(7)[:, Resource.CPU], recorded)


def test_hosts_get_hot_where_chance_has_put_vms() -> None:
    """The whole is large enough, and still some host will be short within three hours."""
    for seed in range(3):
        stage = set_stage(DemoConfig(seed=seed))
        capacity = stage.start.hosts[0].capacity.cpu_millicores
        assert capacity is not None
        coming = stage.history.readings[Resource.CPU, :, stage.first_bin : stage.first_bin + 36]
        assert coming.sum(axis=0).max() < len(stage.start.hosts) * capacity
        on_host = [
            coming[[vm.host_id == host.id for vm in stage.start.vms]].sum(axis=0)
            for host in stage.start.hosts
        ]
        assert np.max(on_host) > capacity


@pytest.mark.parametrize(
    ("setting", "option"),
    [
        ({"num_hosts": 1}, "--hosts"),
        ({"num_vms": 0}, "--vms"),
        ({"hours": float("nan")}, "--hours"),
        ({"speed": 0.0}, "--speed"),
    ],
)
def test_settings_that_cannot_be(setting: dict[str, float], option: str) -> None:
    """A size, length or pace out of range is refused by the name of its option."""
    with pytest.raises(InvalidInputError, match=option):
        DemoConfig(**setting)  # type: ignore[arg-type]  # integers and floats alike
