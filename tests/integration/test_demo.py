"""The demonstration from end to end: on a small cluster, as plain text, and interrupted."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import urllib3
from rich.console import Console

from executor.states import MoveState
from forecast.quantile import TrainingSettings
from service.cli import run
from service.demo import model
from service.demo.config import INTERVAL_MINUTES, START_AT, DemoConfig
from service.demo.fleet import Stage, set_stage
from service.demo.frame import Frame, Summary
from service.demo.model import make_forecaster
from service.demo.show import Show
from service.demo.view import summary_report

COMMAND = Path(sysconfig.get_path("scripts")) / "foreswap"
SMALL = DemoConfig(num_hosts=5, num_vms=60, seed=0, hours=1.0)


@pytest.fixture(scope="module", autouse=True)
def quick_training() -> Iterator[None]:
    """Train on little: the test is about the show, not about the forecasts."""
    patch = pytest.MonkeyPatch()
    settings = TrainingSettings(rows_per_resource=4_000, iterations=6, num_jobs=1)
    patch.setattr(model, "TRAINING", settings)
    patch.setattr(model, "WARM_UP_DAYS", 0.5)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def stage() -> Stage:
    """A small cluster with ten days behind it."""
    return set_stage(SMALL)


def play(config: DemoConfig, stage: Stage, folder: Path) -> tuple[list[Frame], Summary]:
    """Return all frames of a show, and what it came to."""
    online = make_forecaster(
        config, stage.history, stage.first_bin, folder=folder, tell=lambda words: None
    )
    show = Show(config, stage, online)
    return list(show.run()), show.summary()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where models are kept."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def played(stage: Stage, models: Path) -> tuple[list[Frame], Summary]:
    """An hour of it."""
    return play(SMALL, stage, models)


def test_an_hour_is_planned_moved_and_watched(played: tuple[list[Frame], Summary]) -> None:
    """Every quarter of an hour gets its plan, and time never stands still nor runs back."""
    frames, summary = played
    assert summary.cycles == 60 // INTERVAL_MINUTES
    assert [frame.now for frame in frames] == sorted(frame.now for frame in frames)
    assert frames[-1].now == START_AT + timedelta(hours=1)
    assert {frame.cycle for frame in frames} == {1, 2, 3, 4}


def test_moves_are_seen_from_waiting_to_done(played: tuple[list[Frame], Summary]) -> None:
    """Contention arises, VMs move under the eyes of the watcher, and nothing is broken by it."""
    frames, summary = played
    assert summary.effort.migrations > 0
    assert summary.effort.violations == 0
    seen = {move.state for frame in frames for move in frame.moves}
    assert {MoveState.RUNNING, MoveState.DONE} <= seen
    assert any(0 < move.fraction < 1 for frame in frames for move in frame.moves)
    assert all(move.reason for frame in frames for move in frame.moves)


def test_hosts_show_what_they_carry(played: tuple[list[Frame], Summary], stage: Stage) -> None:
    """Before anything moves a host's load is the sum of its VMs' demand over its capacity."""
    first = played[0][0]
    demand = stage.workload.demand_at(0)
    for host, shown in zip(stage.start.hosts, first.hosts, strict=True):
        guests = [v for v, vm in enumerate(stage.start.vms) if vm.host_id == host.id]
        assert shown.num_vms == len(guests)
        capacity = host.capacity.cpu_millicores
        assert capacity is not None
        assert shown.cpu.now == pytest.approx(demand[guests, 0].sum() / capacity)


def test_predictions_are_ordered(played: tuple[list[Frame], Summary]) -> None:
    """The p95 of a host is never below its p50, and probabilities are such."""
    for frame in played[0]:
        for host in frame.hosts:
            assert host.cpu.p50 <= host.cpu.p95
            assert host.memory.p50 <= host.memory.p95
            assert 0.0 <= host.overload <= 1.0


def test_the_same_seed_shows_the_same(
    played: tuple[list[Frame], Summary], stage: Stage, models: Path
) -> None:
    """Outcomes depend on the seed alone, however fast it is shown, with a model made or kept."""
    faster = DemoConfig(num_hosts=5, num_vms=60, seed=0, hours=1.0, speed=3_000.0)
    _, again = play(faster, stage, models)
    assert again.effort.migrations == played[1].effort.migrations
    for mine, other in ((again.ours, played[1].ours), (again.control, played[1].control)):
        # Time is cut into other pieces, so sums may round differently.
        assert mine.weighted_host_s == pytest.approx(other.weighted_host_s)
        assert mine.overloaded_host_intervals == other.overloaded_host_intervals


def test_one_cycle_and_its_hour(stage: Stage, tmp_path: Path) -> None:
    """Once means one plan, carried out to its end, and what the hour after it brought."""
    config = DemoConfig(num_hosts=5, num_vms=60, seed=0, once=True)
    frames, summary = play(config, stage, tmp_path)
    assert summary.cycles == 1
    assert frames[-1].now == START_AT + timedelta(hours=1)
    assert all(move.state is MoveState.DONE for move in frames[-1].moves)
    console = Console(file=io.StringIO(), width=120)
    console.print(summary_report(summary))
    assert isinstance(console.file, io.StringIO)
    assert "left alone" in console.file.getvalue()


def test_plain_text_where_there_is_no_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Into a file go lines without control characters: hosts, plan with reasons, summary."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    picture = tmp_path / "demo.svg"
    words = ["demo", "--once", "--hosts", "5", "--vms", "60", "--seed", "0"]
    assert run([*words, "--save-svg", str(picture)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "host01" in shown
    assert "08:00 plan 1:" in shown
    assert "costs" in shown
    assert "shortfall that came" in shown
    assert shown.splitlines()[-1] == (
        "live in a browser, at http://127.0.0.1:8470: foreswap demo without --once"
    )
    assert picture.read_text(encoding="utf-8").startswith("<svg")
    kept = list((tmp_path / "cache" / "foreswap").iterdir())
    assert [path.suffix for path in kept] == [".model"]


def test_it_ends_by_telling_where_it_is_in_a_browser(stage: Stage, tmp_path: Path) -> None:
    """Pages answer at the address in the last line until Ctrl-C, and leave nothing behind."""
    keep_model(stage, tmp_path)
    with demo(tmp_path, "--hours", "0.25", "--port", "0") as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if line.startswith("listening on "):
                break
        shown = "\n".join(lines)
        assert "shortfall that came" in shown
        assert "log in as admin with the one-time password " in shown
        url = lines[-1].removeprefix("listening on ")
        page = urllib3.request("GET", url)
        assert page.status == 200
        assert "foreswap" in page.data.decode()
        assert list(tmp_path.glob("foreswap-demo-*"))
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=90) == 0
    assert not list(tmp_path.glob("foreswap-demo-*"))


def test_a_port_that_is_taken_is_told_before_the_show(tmp_path: Path) -> None:
    """Nobody watches for minutes to learn that it cannot go on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with demo(tmp_path, "--port", port) as process:
            shown, _ = process.communicate(timeout=60)
            assert process.returncode == 1
    assert f"127.0.0.1:{port} is in use" in " ".join(shown.split())
    assert "making up" not in shown


def test_interrupted_it_says_what_was_reached(stage: Stage, tmp_path: Path) -> None:
    """Ctrl-C ends with the summary of what was shown so far, and exit code 130."""
    keep_model(stage, tmp_path)
    with demo(tmp_path, "--hours", "24") as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "plan 1:" in line:
                process.send_signal(signal.SIGINT)
                break
        lines += process.stdout.readlines()
        assert process.wait(timeout=20) == 130
    shown = "".join(lines)
    assert "interrupted; 08:00 to" in shown
    assert shown.splitlines()[-1] == "error: interrupted"


def keep_model(stage: Stage, folder: Path) -> None:
    """Leave a model that the command finds, so that it need not train for long."""
    make_forecaster(
        SMALL, stage.history, stage.first_bin, folder=folder / "foreswap", tell=lambda words: None
    )


@contextmanager
def demo(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """Run the demonstration of a small cluster beside this process; it is killed at the end."""
    environment = os.environ | {
        "XDG_CACHE_HOME": str(folder),
        "TMPDIR": str(folder),
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        [str(COMMAND), "demo", "--hosts", "5", "--vms", "60", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        # A test run in the background would hand on that interrupts are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
