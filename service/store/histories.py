"""Histories read from bins, and put into them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from forecast.history import STEP_SECONDS, BinState, History
from service.monitored import GRANTED, MAX, MEAN, NUM_STATISTICS, P95, with_gaps
from service.store import bins, series
from service.store.base import Peaks
from service.store.bins import (
    BINS_PER_DAY,
    BINS_PER_HOUR,
    HOURS_PER_PERIOD,
)
from service.store.packing import Chunk, empty_chunk
from service.store.series import Series, Subject
from solver.domain.errors import InvalidInputError, NotEnoughHistoryError
from solver.domain.units import NUM_RESOURCES, VmId

HOUR_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Bins ``first`` to ``end - 1`` of a grid that starts in 1970.

    Raises
    ------
    InvalidInputError
        If an end lies between two bins, or nothing lies between the ends.
    """

    first: int
    end: int
    step_seconds: int

    @classmethod
    def of(cls, start_at: datetime, end_at: datetime, step_seconds: int) -> Window:
        """Return the window between two instants on the grid."""
        if step_seconds not in (STEP_SECONDS, HOUR_SECONDS):
            raise InvalidInputError(
                f"expected {STEP_SECONDS} or {HOUR_SECONDS}, got {step_seconds}",
                path="step_seconds",
            )
        for name, at in (("start_at", start_at), ("end_at", end_at)):
            if at.tzinfo is None or at.timestamp() % step_seconds:
                raise InvalidInputError(
                    f"expected an instant on the grid of {step_seconds} s, got {at.isoformat()}",
                    path=name,
                )
        if end_at <= start_at:
            raise InvalidInputError(f"expected later than {start_at}, got {end_at}", path="end_at")
        first, end = (int(at.timestamp()) // step_seconds for at in (start_at, end_at))
        return cls(first=first, end=end, step_seconds=step_seconds)

    @property
    def num_bins(self) -> int:
        """How many there are."""
        return self.end - self.first


class _Board:
    """The arrays a history is made of, filled piece by piece."""

    def __init__(self, found: Sequence[Series], window: Window, *, means_only: bool) -> None:
        self.window = window
        self.row = {each.number: row for row, each in enumerate(found)}
        shape = (len(found), window.num_bins)
        num_statistics = 1 if means_only else NUM_STATISTICS
        quantities = NUM_RESOURCES + 1
        self.state = np.full(shape, BinState.ABSENT, dtype=np.uint8)
        self.figures = np.full((num_statistics, quantities, *shape), np.nan, dtype=np.float32)

    def lay(self, number: int, first: int, chunk: Chunk) -> None:
        """Lay a chunk that begins at a bin over what is there, where it knows anything."""
        start = max(first, self.window.first)
        end = min(first + len(chunk.state), self.window.end)
        if start >= end:
            return
        here = slice(start - self.window.first, end - self.window.first)
        there = slice(start - first, end - first)
        row, state = self.row[number], chunk.state[there]
        known = state != BinState.ABSENT
        self.state[row, here][known] = state[known]
        figures = chunk.figures[: len(self.figures), :, there]
        if known.all():
            self.figures[:, :, row, here] = figures
        else:
            kept = self.figures[:, :, row, here]
            self.figures[:, :, row, here] = np.where(known, figures, kept)


def read(
    connection: Connection,
    cluster_id: str,
    subject: Subject,
    window: Window,
    ids: Iterable[str] | None,
    *,
    means_only: bool = True,
) -> Peaks:
    """Return a window of all VMs or hosts, or of those named, that have a bin in it.

    Raises
    ------
    NotEnoughHistoryError
        If none has.
    """
    found = series.find(connection, cluster_id, subject, ids)
    fill = _fill_bins if window.step_seconds == STEP_SECONDS else _fill_hours
    board = fill(connection, cluster_id, subject, found, window, means_only=means_only)
    there = np.flatnonzero((board.state != BinState.ABSENT).any(axis=1))
    if not len(there):
        ends = " to ".join(
            _instant(each, window).isoformat() for each in (window.first, window.end)
        )
        raise NotEnoughHistoryError(f"cluster {cluster_id!r} has no reading from {ends}")
    return _peaks(board, [found[row] for row in there], there)


def _fill_bins(
    connection: Connection,
    cluster_id: str,
    subject: Subject,
    found: Sequence[Series],
    window: Window,
    *,
    means_only: bool,
) -> _Board:
    board = _Board(found, window, means_only=means_only)
    numbers = [each.number for each in found]
    first_day, end_day = window.first // BINS_PER_DAY, -(-window.end // BINS_PER_DAY)
    for number, day, chunk in bins.days(
        connection, numbers, first_day, end_day, means_only=means_only
    ):
        board.lay(number, day * BINS_PER_DAY, chunk)
    blocks = sorted({series.block_of(subject, number) for number in numbers})
    wanted = np.array(sorted(board.row), dtype=np.int64)
    rows = np.array([board.row[number] for number in sorted(board.row)], dtype=np.int64)
    for number, block in bins.recent(connection, cluster_id, blocks, window.first, window.end):
        place = np.searchsorted(wanted, block.numbers)
        place[place == len(wanted)] = 0
        of_block = np.flatnonzero(wanted[place] == block.numbers)
        row, column = rows[place[of_block]], number - window.first
        board.state[row, column] = block.state[of_block]
        board.figures[:, :, row, column] = block.figures[: len(board.figures), :, of_block]
    return board


def _fill_hours(
    connection: Connection,
    cluster_id: str,
    subject: Subject,
    found: Sequence[Series],
    window: Window,
    *,
    means_only: bool,
) -> _Board:
    """Hours as they are kept, and over them those that bins are still kept of."""
    board = _Board(found, window, means_only=means_only)
    numbers = [each.number for each in found]
    first, end = window.first // HOURS_PER_PERIOD, -(-window.end // HOURS_PER_PERIOD)
    for number, period, chunk in bins.hours(connection, numbers, first, end, means_only=means_only):
        board.lay(number, period * HOURS_PER_PERIOD, chunk)
    in_bins = Window(
        first=window.first * BINS_PER_HOUR,
        end=window.end * BINS_PER_HOUR,
        step_seconds=STEP_SECONDS,
    )
    fine = _fill_bins(connection, cluster_id, subject, found, in_bins, means_only=means_only)
    for number, row in board.row.items():
        chunk = Chunk(state=fine.state[row], figures=fine.figures[:, :, row])
        board.lay(number, window.first, bins.hours_of(chunk))
    return board


def _peaks(board: _Board, found: Sequence[Series], rows: npt.NDArray[np.int64]) -> Peaks:
    window, figures, state = board.window, board.figures, board.state
    if len(rows) != len(state):
        figures, state = figures[:, :, rows], state[rows]
    state = with_gaps(state)
    # A VM that was seen before the window was there at its beginning too.
    began = np.array([each.first_bin * STEP_SECONDS // window.step_seconds for each in found])
    seen = np.maximum.accumulate(state != BinState.ABSENT, axis=1)
    state[(began < window.first)[:, None] & ~seen] = BinState.MISSING
    history = History(
        vm_ids=tuple(VmId(each.id) for each in found),
        start_at=_instant(window.first, window),
        readings=figures[MEAN, :NUM_RESOURCES],
        state=state,
        granted_mib=figures[MEAN, GRANTED],
        vcpus=np.array([each.vcpus for each in found], dtype=np.int64),
        memory_size_mib=np.array([each.memory_size_mib for each in found], dtype=np.int64),
        app_types=tuple(each.app_type for each in found),
        step_seconds=window.step_seconds,
    )
    if len(figures) == 1:
        empty = np.zeros((NUM_RESOURCES, 0, 0), dtype=np.float32)
        return Peaks(history=history, p95=empty, largest=empty)
    p95, largest = (figures[statistic, :NUM_RESOURCES] for statistic in (P95, MAX))
    return Peaks(history=history, p95=p95, largest=largest)


def _instant(number: int, window: Window) -> datetime:
    return datetime.fromtimestamp(number * window.step_seconds, UTC)


# Writing ---------------------------------------------------------------------------------------


def put_day(connection: Connection, cluster_id: str, history: History, day: int) -> None:
    """Keep the bins of a history that belong to one day, over whatever stands there."""
    first = int(history.start_at.timestamp()) // STEP_SECONDS
    known = history.state != BinState.ABSENT
    numbers = series.ensure(connection, cluster_id, Subject.VM, _told(history, first, known))
    for block in bins.recent_blocks(connection, cluster_id, day):
        bins.close_day(connection, cluster_id, block, day)
    start = max(day * BINS_PER_DAY, first)
    end = min((day + 1) * BINS_PER_DAY, first + history.num_bins)
    here = slice(start - day * BINS_PER_DAY, end - day * BINS_PER_DAY)
    there = slice(start - first, end - first)
    chunks = {}
    for position, number in enumerate(numbers):
        if known[position, there].any():
            chunk = empty_chunk(BINS_PER_DAY)
            chunk.state[here] = history.state[position, there]
            chunk.figures[MEAN, :NUM_RESOURCES, here] = history.readings[:, position, there]
            chunk.figures[MEAN, GRANTED, here] = history.granted_mib[position, there]
            chunks[number] = chunk
    bins.put_days(connection, day, chunks)


def _told(history: History, first: int, known: npt.NDArray[np.bool_]) -> list[Series]:
    return [
        Series(
            number=0,
            id=vm_id,
            vcpus=int(history.vcpus[position]),
            memory_size_mib=int(history.memory_size_mib[position]),
            app_type=history.app_types[position],
            first_bin=first + int(known[position].argmax()),
        )
        for position, vm_id in enumerate(history.vm_ids)
    ]


def days_of(history: History) -> range:
    """Return the numbers of the days that a history touches.

    Raises
    ------
    InvalidInputError
        If it is not on the grid.
    """
    window = Window.of(history.start_at, history.end_at, history.step_seconds)
    if window.step_seconds != STEP_SECONDS:
        raise InvalidInputError(f"expected bins of {STEP_SECONDS} s, got {history.step_seconds} s")
    return range(window.first // BINS_PER_DAY, -(-window.end // BINS_PER_DAY))
