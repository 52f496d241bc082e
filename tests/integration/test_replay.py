"""The closed loop from a trace file to figures, on a small generated fleet."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from executor.simulation.generator import GeneratorParameters, generate
from service.replay.config import POLICIES, ReplayConfig
from service.replay.run import run_replay
from service.replay.stage import set_stage
from service.replay.state import ReplayState
from solver.domain.errors import InvalidInputError
from solver.domain.units import Resource

START = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = 6
BINS_PER_DAY = 288
TIMINGS = ("planning_s_p50", "planning_s_p99", "running_s")


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write six days of a generated fleet of 60 VMs as a tidy Parquet file."""
    num_bins = DAYS * BINS_PER_DAY
    workload = generate(
        np.random.default_rng(5),
        START,
        GeneratorParameters(num_vms=60, num_bins=num_bins, share_idle=0.4, share_bursty=0.33),
    )
    stamps = [START + timedelta(minutes=5 * b) for b in range(num_bins)]
    ids = [vm.id for vm in workload.vms]
    sizes = [vm.allocation for vm in workload.vms]
    memory = workload.readings[Resource.MEMORY].astype(np.float32)
    columns = {
        "vm": np.repeat(ids, num_bins),
        "ts": pa.array(stamps * len(ids), pa.timestamp("ms", tz="UTC")),
        "cpu_cores": np.repeat([s.cpu_millicores / 1000 for s in sizes], num_bins),
        "cpu_used": workload.readings[Resource.CPU].ravel() / 1000,
        "mem_mib": np.repeat([float(s.memory_mib) for s in sizes], num_bins),
        "mem_granted_mib": memory.ravel(),
        "mem_active_mib": memory.ravel() / 2,
        "state": np.zeros(len(ids) * num_bins, dtype=np.uint8),
    }
    path = tmp_path_factory.mktemp("trace") / "trace.parquet"
    pq.write_table(pa.table(columns), path)
    return path


def config_of(trace: Path, **changes: Any) -> ReplayConfig:
    """Return four hours of the last day, tight enough that hosts get hot."""
    begin = START + timedelta(days=DAYS - 1, hours=8)
    base = ReplayConfig(
        trace=trace,
        num_hosts=4,
        host_cores=16,
        host_memory_gib=256,
        from_at=begin,
        until_at=begin + timedelta(hours=4),
        seed=1,
    )
    return replace(base, **changes)


def run(config: ReplayConfig, json_path: Path | None = None) -> dict[str, dict[str, Any]]:
    """Run a replay quietly and return its figures per policy."""
    report = run_replay(config, json_path=json_path, state_path=None, console=Console(quiet=True))
    return report.policies


def without_timings(figures: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the figures that must not depend on the machine."""
    return {
        name: {key: value for key, value in values.items() if key not in TIMINGS}
        for name, values in figures.items()
    }


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    "policies",
    [
        pytest.param(("none", "reactive", "oracle"), id="some"),
        pytest.param(POLICIES, marks=pytest.mark.slow, id="all"),
    ],
)
def test_policies_run_and_foresight_spares_shortfall(
    trace: Path, tmp_path: Path, policies: tuple[str, ...]
) -> None:
    """No policy breaks a rule, balancing beats doing nothing, the true future is best of all."""
    out = tmp_path / "report.json"
    figures = run(config_of(trace, policies=policies), out)
    assert list(figures) == list(policies)
    assert all(values["violations"] == 0 for values in figures.values())
    shortfall = {name: values["weighted_shortfall_host_s"] for name, values in figures.items()}
    assert shortfall["none"] > 0
    assert all(shortfall[name] < shortfall["none"] for name in policies if name != "none")
    assert shortfall["oracle"] <= min(shortfall.values())
    assert figures["none"]["migrations"] == 0
    for values in figures.values():
        by_resource = values["weighted_shortfall_host_s_by_resource"]
        assert sum(by_resource.values()) == pytest.approx(values["weighted_shortfall_host_s"])
    document = json.loads(out.read_text())
    assert document["policies"] == figures
    assert document["config"]["seed"] == 1
    assert list(tmp_path.iterdir()) == [out], "nothing but the report is left behind"


def test_a_draw_runs_some_of_the_vms(trace: Path) -> None:
    """Twenty of sixty VMs, others for another seed; the forecaster still knows all of them."""
    drawn = set_stage(config_of(trace, num_vms=20))
    other = set_stage(config_of(trace, num_vms=20, seed=2))
    assert len(drawn.start.vms) == len(other.start.vms) == 20
    assert {vm.id for vm in drawn.start.vms} != {vm.id for vm in other.start.vms}
    assert drawn.history.num_vms == 60
    assert drawn.workload(drawn.first_bin).vm_ids == tuple(vm.id for vm in drawn.start.vms)


def test_the_same_seed_gives_the_same_figures(trace: Path) -> None:
    """Two runs agree to the last digit, whatever the machine was doing; another seed does not."""
    config = config_of(trace, policies=("reactive", "oracle"))
    first = without_timings(run(config))
    assert without_timings(run(config)) == first
    assert without_timings(run(replace(config, seed=2))) != first


def test_an_interrupted_replay_goes_on_with_what_is_missing(trace: Path, tmp_path: Path) -> None:
    """A policy that was finished before is taken from the state folder, not run again."""
    out = tmp_path / "report.json"
    config = config_of(trace, policies=("none", "reactive"))
    kept = without_timings(run(config_of(trace, policies=("none",))))["none"] | {"plans": -7}
    ReplayState(tmp_path / "report.json.state", config).keep("none", kept)
    figures = run(config, out)
    assert figures["none"]["plans"] == -7
    assert figures["reactive"]["plans"] == 16


def test_figures_of_another_configuration_are_not_taken(trace: Path, tmp_path: Path) -> None:
    """The state folder tells configurations apart by everything that decides the figures."""
    out = tmp_path / "report.json"
    ReplayState(tmp_path / "report.json.state", config_of(trace, seed=9)).keep("none", {"plans": 0})
    assert run(config_of(trace, policies=("none",)), out)["none"]["plans"] == 16


def test_a_damaged_part_is_run_again(trace: Path, tmp_path: Path) -> None:
    """Half a file, as a full disk leaves it, is not a result and not a crash."""
    out = tmp_path / "report.json"
    config = config_of(trace, policies=("none",))
    state = ReplayState(tmp_path / "report.json.state", config)
    state.keep("none", {"plans": 0})
    part = next(tmp_path.rglob("none.json"))
    part.write_text('{"plans":')
    assert run(config, out)["none"]["plans"] == 16


def test_a_state_folder_that_cannot_be_made_shows_before_the_work(
    trace: Path, tmp_path: Path
) -> None:
    """A file stands where the folder should be: refused at once, not after the last policy."""
    (tmp_path / "state").write_text("")
    with pytest.raises(InvalidInputError, match="--state: expected a folder"):
        run_replay(
            config_of(trace),
            json_path=None,
            state_path=tmp_path / "state",
            console=Console(quiet=True),
        )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"until_at": START + timedelta(days=30)}, "expected a window within the trace"),
        ({"until_at": START}, "--until: expected an end after"),
        (
            {"from_at": START + timedelta(days=5, seconds=7)},
            "expected an instant on the 300 s grid",
        ),
        (
            {"from_at": START, "policies": ("none",)},
            "--from: policy none needs 0:05:00 of the trace",
        ),
        ({"num_vms": 61}, "--vms: expected at most 60, the VMs that live in the window, got 61"),
        ({"num_vms": 0}, "--vms: expected at least 1, got 0"),
        ({"policies": ("psychic",)}, "--policy: expected some of none, reactive"),
        ({"policies": ("none", "none")}, "--policy: expected each policy once"),
        ({"interval_minutes": 7}, "--interval: expected a multiple of 5 minutes, got 7"),
        ({"num_hosts": 1, "host_memory_gib": 1}, "no host has that much left"),
    ],
)
def test_what_cannot_be_replayed_is_refused(
    trace: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """One precise error, and no file is written."""
    with pytest.raises(InvalidInputError, match=message):
        run(config_of(trace, **changes), tmp_path / "report.json")
    assert not list(tmp_path.iterdir())
