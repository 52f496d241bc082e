"""Baselines judged on the origins of a backtest, in a process of their own.

They need no state from origin to origin, so they can run beside the forecaster that does.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from forecast.error_memory import actual_readings
from forecast.forecaster import HORIZON_MINUTES, Forecaster
from forecast.history import Floats, History
from forecast.scoring import LossTally
from solver.domain.units import Resource

Tallies = dict[str, tuple[LossTally, ...]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contest:
    """What baselines are judged on.

    Parameters
    ----------
    members
        One array of memberships, from :func:`~forecast.scoring.memberships`, for each set of VMs
        that is judged apart.
    units
        From :func:`~forecast.scoring.loss_units`.
    """

    history: History
    baselines: Sequence[Forecaster]
    resources: Sequence[Resource]
    members: tuple[npt.NDArray[np.float32], ...]
    units: Floats

    def judge(self, origins: Sequence[int]) -> Tallies:
        """Forecast at each origin with each baseline and add up how it went."""
        tallies: Tallies = {
            baseline.name: tuple(LossTally() for _ in self.members) for baseline in self.baselines
        }
        for at_bin in origins:
            actual = actual_readings(self.history, at_bin, HORIZON_MINUTES)
            for baseline in self.baselines:
                forecast = baseline.forecast(self.history, at_bin=at_bin, resources=self.resources)
                for tally, members in zip(tallies[baseline.name], self.members, strict=True):
                    tally.add(forecast, actual, members, self.units)
        return tallies


class Background:
    """A contest going on in another process; leaving the context ends it.

    Parameters
    ----------
    origins
        Where to forecast.
    """

    def __init__(self, contest: Contest, origins: Sequence[int]) -> None:
        # Spawned: a fork would inherit the locks of the thread pools of native libraries.
        context = get_context("spawn")
        self._mine, theirs = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_judge, args=(contest, list(origins), theirs), daemon=True
        )
        self._process.start()
        # With our end of it closed, the other end tells when the process is gone.
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.join()
        self._mine.close()

    def tallies(self) -> Tallies:
        """Wait for the end and return the sums over all origins.

        Raises
        ------
        RuntimeError
            If the process ended without an answer, as when memory runs out.
        """
        try:
            answer: Tallies | BaseException = self._mine.recv()
        except EOFError as error:
            self._process.join()
            raise RuntimeError(
                f"the process that judges baselines ended with code {self._process.exitcode}"
            ) from error
        if isinstance(answer, BaseException):
            raise answer
        return answer


def _judge(contest: Contest, origins: Sequence[int], answer: Connection) -> None:
    # The parent is interrupted too, and ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        answer.send(contest.judge(origins))
    except Exception as error:  # noqa: BLE001  # whatever it is, the parent raises it
        answer.send(error)
