"""Linear and mixed-integer programs by PuLP and HiGHS: quiet, bounded in time, deterministic.

The only module that imports either. HiGHS runs in this process, through its own bindings: nothing
is written to disk. It runs in a thread of its own, so that Ctrl-C reaches Python while it works.
"""

from __future__ import annotations

import enum
import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import pulp

INTEGRAL: Final = 1e-6
"""How far from whole a bound may be by floating point alone, relative to its size."""


class MipStatus(enum.Enum):
    """What a solve proved."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class MipOutcome:
    """What HiGHS found.

    Parameters
    ----------
    value
        Objective of the solution found; NaN when none was.
    bound
        Proven bound on the objective of any solution, below it when minimising and above it when
        maximising; infinite when nothing is known.
    """

    status: MipStatus
    value: float
    bound: float

    @property
    def found(self) -> bool:
        """Whether the variables hold a solution."""
        return self.status in (MipStatus.OPTIMAL, MipStatus.FEASIBLE)


class _Highs(pulp.HiGHS):  # type: ignore[misc]  # PuLP is not typed
    """HiGHS in a thread that an interrupt can end."""

    def createAndConfigureSolver(self, lp: pulp.LpProblem) -> None:  # noqa: N802 (PuLP's name)
        with _silence():
            super().createAndConfigureSolver(lp)

    def callSolver(self, lp: pulp.LpProblem) -> None:  # noqa: N802 (PuLP's name)
        solver = lp.solverModel
        solver.HandleUserInterrupt = True
        failed: list[BaseException] = []

        def work() -> None:
            try:
                solver.run()
            except BaseException as error:  # noqa: BLE001 (handed on to the caller below)
                failed.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            thread.join()
        except KeyboardInterrupt:
            solver.cancelSolve()
            thread.join()
            raise
        if failed:
            raise failed[0]


@contextmanager
def _silence() -> Iterator[None]:
    """Keep a library's words off standard output.

    HiGHS shows its licence when the first solver of a process is made, before it can be told to
    be quiet, and past ``sys.stdout``: only the file descriptor can be turned away.
    """
    sys.stdout.flush()
    try:
        kept = os.dup(_STANDARD_OUTPUT)
    except OSError:  # a process without standard output has nothing to keep clean
        yield
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, _STANDARD_OUTPUT)
        yield
    finally:
        os.dup2(kept, _STANDARD_OUTPUT)
        os.close(kept)
        os.close(nothing)


def solve_mip(program: pulp.LpProblem, *, limit_s: float, relaxed: bool = False) -> MipOutcome:
    """Solve a program; its variables hold the solution found, if one was.

    Deterministic as long as the limit does not end it: one thread, one seed, no gap accepted.

    Parameters
    ----------
    relaxed
        Whether to take integers for fractions.
    """
    highs = _Highs(
        mip=not relaxed,
        msg=False,
        threads=1,
        timeLimit=max(0.0, limit_s),
        gapRel=0.0,
        gapAbs=0.0,
        random_seed=0,
    )
    program.solve(highs)
    model = program.solverModel
    sign = -1.0 if program.sense == pulp.LpMaximize else 1.0
    if program.status == pulp.LpStatusInfeasible:
        return MipOutcome(status=MipStatus.INFEASIBLE, value=math.nan, bound=sign * math.inf)
    info = model.getInfo()
    name = model.modelStatusToString(model.getModelStatus())
    integer = program.isMIP() and not relaxed
    bound = info.mip_dual_bound if integer else -math.inf
    if info.primal_solution_status != _FEASIBLE:
        return MipOutcome(status=MipStatus.UNKNOWN, value=math.nan, bound=sign * bound)
    value = info.objective_function_value
    if name in ("Optimal", "Empty"):
        status, bound = MipStatus.OPTIMAL, bound if integer and name == "Optimal" else value
    else:
        status = MipStatus.FEASIBLE
    return MipOutcome(status=status, value=sign * value, bound=sign * bound)


_STANDARD_OUTPUT: Final = 1

_FEASIBLE: Final = 2
"""HiGHS's code for a primal solution that keeps every row."""


def whole_below(bound: float) -> int:
    """Return a lower bound on a whole number as a whole one, floating point allowed for."""
    return math.ceil(bound - INTEGRAL * max(1.0, abs(bound)))


def whole_above(bound: float) -> int:
    """Return an upper bound on a whole number as a whole one, floating point allowed for."""
    return math.floor(bound + INTEGRAL * max(1.0, abs(bound)))
