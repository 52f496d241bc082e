"""Run a whole replay: set the stage, let every policy run, two at a time, and report."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import joblib
import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from forecast.classes import classify
from forecast.online import Futures, OnlineForecaster
from forecast.quantile import QuantileModel, TrainingSettings
from service.cooldown import CooldownParams
from service.pipeline import Foresight, PredictivePlanner
from service.replay.config import FORESEEING, ReplayConfig
from service.replay.loop import LoopParams, run_policy
from service.replay.policies import (
    NonePolicy,
    OraclePolicy,
    Policy,
    PredictivePolicy,
    PresentPolicy,
    RecentMaxPolicy,
    TextbookPolicy,
)
from service.replay.reactive import ReactiveParams, rebalance
from service.replay.report import ReplayReport, write_report
from service.replay.spread import SpreadParams, even_out
from service.replay.stage import BINS_PER_DAY, BINS_PER_HOUR, Stage, set_stage
from service.replay.state import ReplayState
from service.replay.textbook import TextbookParams
from solver.domain.errors import InvalidInputError
from solver.domain.migration import MigrationParameters
from solver.domain.weights import Weights
from solver.params import SolveParams

WORK_LIMIT: Final = 0.5
"""Deterministic work per solve, so that a slow machine gives the same answer, only later."""

WARM_UP_DAYS: Final = 3
WARM_UP_EVERY_BINS: Final = 11
"""About 80 past forecasts, of days the model was not fitted on: calibrated on its own training
data it would think itself better than it is."""
PHYSICS: Final = MigrationParameters(
    setup_s=0.8,
    wire_efficiency=0.8,
    source_millicores=1_200,
    destination_millicores=600,
    handover_s=0.05,
)
"""Migrations are a little slower and dearer than the planner's estimate believes: the estimate
must not be perfect by construction."""
_FUTURES: Final = {"independent": Futures.INDEPENDENT, "point": Futures.MEDIAN}
PATIENCE_S: Final = 120.0
"""Wall seconds after which a solve is cut short all the same; only then are figures the machine's.
"""

_NUM_WORKERS: Final = 2
_ORDER: Final[tuple[str, ...]] = (
    "predictive",
    "independent",
    "point",
    "reference",
    "oracle",
    "recent-max",
    "reactive-greedy",
    "reactive",
    "none",
)
"""Longest first, which keeps both workers busy to the end."""


def run_replay(
    config: ReplayConfig,
    *,
    json_path: Path | None,
    state_path: Path | None,
    console: Console,
    trained: OnlineForecaster | None = None,
) -> ReplayReport:
    """Run every policy of a configuration and return the report; written to ``json_path`` too.

    Parameters
    ----------
    state_path
        Folder of finished parts; by default ``<json_path>.state``, none without a report file.
    console
        Where the progress goes.
    trained
        From :func:`trained_before_window` of a replay of the same trace and window, to be used in
        place of one trained here.

    Raises
    ------
    InvalidInputError
        If the trace is wrong, does not cover the window, or does not fit the hosts.
    NotEnoughHistoryError
        If there is too little of it before the window to train on.
    """
    begin = time.perf_counter()
    if json_path is not None and not json_path.parent.is_dir():
        raise InvalidInputError(f"folder {str(json_path.parent)!r} does not exist", path="--json")
    if state_path is None and json_path is not None:
        state_path = json_path.with_name(json_path.name + ".state")
    with console.status("reading the trace"):
        stage = set_stage(config)
    state = ReplayState(state_path, config)
    state.prepare()
    figures = {name: state.figures(name) for name in config.policies}
    missing = [name for name in _ORDER if name in figures and figures[name] is None]
    for name, values in _run_missing(stage, missing, console, trained):
        state.keep(name, values)
        figures[name] = values
        console.print(f"{name}: done in {values['running_s']:.0f} s")
    report = ReplayReport(
        config=config,
        policies={name: values for name, values in figures.items() if values is not None},
        seconds=time.perf_counter() - begin,
        num_vms=len(stage.start.vms),
    )
    if json_path is not None:
        write_report(report, json_path)
    state.remove()
    return report


def _run_missing(
    stage: Stage, names: list[str], console: Console, trained: OnlineForecaster | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run policies in worker processes and yield their figures as they finish."""
    if not names:
        return
    if trained is None and any(name in FORESEEING for name in names):
        with console.status("training on what precedes the window"):
            trained = trained_before_window(stage)
    with tempfile.TemporaryDirectory(prefix="foreswap-replay-") as folder:
        board = Path(folder) / "progress"
        np.zeros((len(names), 2), dtype=np.int64).tofile(board)
        jobs = (
            joblib.delayed(_run_one)(stage, name, trained, board, i) for i, name in enumerate(names)
        )
        with (
            _shown_progress(names, board, console),
            joblib.Parallel(n_jobs=_NUM_WORKERS, return_as="generator_unordered") as parallel,
        ):
            yield from parallel(jobs)


def _run_one(
    stage: Stage, name: str, trained: OnlineForecaster | None, board: Path, row: int
) -> tuple[str, dict[str, Any]]:
    """Run one policy; in a process of its own, which shares the arrays of the stage."""
    shown = np.memmap(board, dtype=np.int64, mode="r+").reshape(-1, 2)

    def progress(done: int, total: int) -> None:
        shown[row] = done, total

    begin = time.perf_counter()
    policy = _make_policy(stage, name, trained)
    figures = run_policy(
        policy,
        config=stage.config,
        start=stage.start,
        workload=stage.workload(stage.first_bin),
        params=LoopParams(weights=Weights(), cooldown=CooldownParams(), physics=PHYSICS),
        progress=progress,
    )
    values = figures.document()
    values["running_s"] = time.perf_counter() - begin
    return name, values


def _make_policy(stage: Stage, name: str, trained: OnlineForecaster | None) -> Policy:
    seed = stage.config.seed
    solving = SolveParams(work_limit=WORK_LIMIT, limit_s=PATIENCE_S, seed=seed)
    before = stage.first_bin - 1
    match name:
        case "none":
            return NonePolicy()
        case "reactive":
            balance = partial(rebalance, params=ReactiveParams())
            return PresentPolicy(stage.workload(before), balance)
        case "reactive-greedy":
            balance = partial(even_out, params=SpreadParams())
            return PresentPolicy(stage.workload(before), balance)
        case "recent-max":
            hour_before = max(0, stage.first_bin - BINS_PER_HOUR)
            return RecentMaxPolicy(stage.workload(hour_before), solving)
        case "oracle":
            return OraclePolicy(stage.workload(before), solving)
        case "reference" | "predictive" | "independent" | "point":
            assert trained is not None
            futures = _FUTURES.get(name, Futures.JOINT)
            foresight = Foresight(
                trained, num_scenarios=stage.num_scenarios, seed=seed, futures=futures
            )
            if name == "reference":
                return TextbookPolicy(foresight, stage.history, TextbookParams())
            return PredictivePolicy(PredictivePlanner(foresight, solving), stage.history)
        case _:
            raise InvalidInputError(f"unknown policy {name!r}", path="--policy")


def trained_before_window(stage: Stage) -> OnlineForecaster:
    """Return a forecaster fitted and warmed up on what precedes the window, and on nothing else."""
    fitted_until = stage.first_bin - WARM_UP_DAYS * BINS_PER_DAY
    model = QuantileModel(
        resources=stage.resources, training=TrainingSettings(seed=stage.config.seed)
    )
    model.fit(stage.history, until_bin=fitted_until)
    classes = classify(stage.history, until_bin=stage.first_bin)
    online = OnlineForecaster(
        forecaster=model,
        resources=stage.resources,
        class_of=classes.by_vm(stage.history.vm_ids),
        seed=stage.config.seed,
    )
    online.warm_up(
        stage.history, until_bin=stage.first_bin, days=WARM_UP_DAYS, every_bins=WARM_UP_EVERY_BINS
    )
    return online


@contextmanager
def _shown_progress(names: list[str], board: Path, console: Console) -> Iterator[None]:
    """Show a bar per policy, read from the board that the workers write to."""
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("plans"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    stop = threading.Event()
    with Progress(*columns, console=console) as bars:
        tasks = [bars.add_task(name, total=None) for name in names]

        def refresh() -> None:
            while not stop.wait(0.5):
                for task, (done, total) in zip(tasks, _read_board(board), strict=True):
                    bars.update(task, completed=done, total=total or None)

        reader = threading.Thread(target=refresh, daemon=True)
        reader.start()
        try:
            yield
        finally:
            stop.set()
            reader.join()
            for task, (done, total) in zip(tasks, _read_board(board), strict=True):
                bars.update(task, completed=done, total=total or None)


def _read_board(board: Path) -> list[tuple[int, int]]:
    return [(int(done), int(total)) for done, total in np.fromfile(board, np.int64).reshape(-1, 2)]
