"""Baselines judged on the origins of a backtest, in a process of their own.

They need no state from origin to origin, so they can run beside the forecaster that does.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from forecast.error_memory import actual_readings
from forecast.forecaster import HORIZON_MINUTES, Forecaster
from forecast.history import Floats, History
from forecast.scoring import LossTally
from solver.domain.units import Resource

Tallies = dict[str, tuple[LossTally, ...]]

ORIGINS_PER_CHUNK: Final = 8


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
        chunks = [
            origins[first : first + ORIGINS_PER_CHUNK]
            for first in range(0, len(origins), ORIGINS_PER_CHUNK)
        ]
        # Spawned: a fork would inherit the locks of the thread pools of native libraries.
        self._pool = get_context("spawn").Pool(1, _prepare, (contest,))
        self._parts = self._pool.map_async(_judge, chunks, chunksize=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pool.terminate()
        self._pool.join()

    def tallies(self) -> Tallies:
        """Wait for the end and return the sums over all origins."""
        parts = self._parts.get()
        total: dict[str, tuple[LossTally, ...]] = parts[0]
        for part in parts[1:]:
            for name, tallies in part.items():
                for mine, more in zip(total[name], tallies, strict=True):
                    mine.merge(more)
        return total


_contest: Contest | None = None
"""What the worker process was started with."""


def _prepare(*arguments: Any) -> None:
    global _contest
    # The parent is interrupted too, and ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    (_contest,) = arguments


def _judge(origins: Sequence[int]) -> Tallies:
    assert _contest is not None
    return _contest.judge(origins)
