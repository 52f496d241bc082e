"""One run of CP-SAT: its limits, reproducible by seed and work, and ended when asked to."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from ortools.sat.python import cp_model

ASKED_EVERY_S: Final = 0.05
"""How often a run asks whether it is cancelled."""


def new_solver(
    *, limit_s: float, work_limit: float, seed: int, presolve: bool = True
) -> cp_model.CpSolver:
    """Return a solver of one worker with limits in wall and deterministic seconds.

    Parameters
    ----------
    presolve
        Whether to simplify the model first: for models that are small and many it takes longer than
        it saves.
    """
    solver = cp_model.CpSolver()
    # The library would take SIGINT for itself and leave the process without Python's handler.
    solver.parameters.catch_sigint_signal = False
    solver.parameters.num_workers = 1
    solver.parameters.random_seed = seed
    if not presolve:
        solver.parameters.cp_model_presolve = False
        solver.parameters.cp_model_probing_level = 0
        solver.parameters.symmetry_level = 0
    solver.parameters.max_time_in_seconds = max(0.0, limit_s)
    if math.isfinite(work_limit):
        solver.parameters.max_deterministic_time = max(0.0, work_limit)
    return solver


@contextmanager
def stopped_when(cancel: Callable[[], bool], solver: cp_model.CpSolver) -> Iterator[None]:
    """Stop a solver soon after ``cancel`` has become true."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(ASKED_EVERY_S):
            if cancel():
                solver.stop_search()

    watcher = threading.Thread(target=watch, name="cpsat-cancel", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def bound_below(bound: float) -> int:
    """Return a whole number that a bound in floating point does not exceed."""
    return math.floor(bound - abs(bound) * 2.0**-50)
