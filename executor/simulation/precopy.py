"""The course of one migration, at a bandwidth that may change under way.

It is the law that ``solver.domain.migration.estimate`` predicts, written as a process: each round
sends what was dirtied during the one before, until the rest can be sent within the downtime limit;
then the guest stands still, the rest is sent, and it runs at the destination. At a constant rate
both agree. Switched to post-copy, the guest is handed over at once and what was not sent follows,
each page once. Time is seconds; nothing here knows hosts, clocks or other migrations.
"""

from __future__ import annotations

import enum
import math

from solver.domain.migration import MigrationParameters


class Phase(enum.Enum):
    """What a migration is doing."""

    SETUP = "setup"
    PRECOPY = "precopy"
    LAST = "last"
    """The guest stands still and the rest of its pages is sent."""
    HANDOVER = "handover"
    """The guest stands still; device state and round trips."""
    SWITCH = "switch"
    """The guest stands still and is handed over before its memory."""
    POSTCOPY = "postcopy"
    """The guest runs at the destination and the rest of its pages is sent."""
    OVER = "over"


SENDING = frozenset({Phase.PRECOPY, Phase.LAST, Phase.POSTCOPY})
PAUSED = frozenset({Phase.LAST, Phase.HANDOVER, Phase.SWITCH})
SWITCHED = frozenset({Phase.SWITCH, Phase.POSTCOPY})
"""Past the point at which the source alone could carry on."""


class Precopy:
    """One migration under way.

    Parameters
    ----------
    footprint_mib, dirty_mib_per_s
        Memory to copy and rate at which it is rewritten; 0 or more.
    round_trip_s
        Round trip between both ends; each one of the handover adds to the downtime.
    mark_mib
        Amount sent at which :meth:`seconds_to_event` also ends, for faults half-way.
    """

    __slots__ = (
        "_dirtied_mib",
        "_dirty_mib_per_s",
        "_footprint_mib",
        "_handover_s",
        "_parameters",
        "_rate_mib_per_s",
        "_round",
        "_setup_left_s",
        "downtime_s",
        "mark_mib",
        "phase",
        "remaining_mib",
        "sent_mib",
    )

    def __init__(
        self,
        *,
        footprint_mib: float,
        dirty_mib_per_s: float,
        round_trip_s: float,
        parameters: MigrationParameters,
        mark_mib: float = math.inf,
    ) -> None:
        self._parameters = parameters
        self._footprint_mib = footprint_mib * parameters.sent_fraction
        self._dirty_mib_per_s = dirty_mib_per_s
        self._setup_left_s = parameters.setup_s
        self._handover_s = parameters.handover_s + parameters.handover_round_trips * round_trip_s
        self._rate_mib_per_s = 0.0
        self._round = 0
        self._dirtied_mib = 0.0
        self.mark_mib = mark_mib
        self.phase = Phase.SETUP
        self.remaining_mib = self._footprint_mib
        """Still to send of the present round."""
        self.sent_mib = 0.0
        self.downtime_s = 0.0

    @property
    def pending_mib(self) -> float:
        """Pages known to be still to send: of this round, and dirtied since it began."""
        return self.remaining_mib + self._dirtied_mib

    @property
    def wire_mib_per_s(self) -> float:
        """What it sends on the link now, overhead included; 0 unless it is sending."""
        if self.phase not in SENDING:
            return 0.0
        return self._rate_mib_per_s / self._parameters.wire_efficiency

    @property
    def rounds(self) -> int:
        """Passes over the memory begun so far, the last included."""
        return 0 if self.phase is Phase.SETUP else self._round + 1

    def switch(self) -> None:
        """Go on in post-copy, unless nothing was sent yet or the guest is being handed over."""
        if self.phase is Phase.PRECOPY:
            self.phase = Phase.SWITCH
            self.mark_mib = math.inf
            self.remaining_mib = min(self._footprint_mib, self.pending_mib)
            self._dirtied_mib = 0.0

    def set_rate(self, wire_mib_per_s: float) -> None:
        """Tell what share of the link it has from now on; 0 while it is stalled."""
        self._rate_mib_per_s = wire_mib_per_s * self._parameters.wire_efficiency

    def seconds_to_event(self) -> float:
        """Return the seconds until a phase or round ends or the mark is reached, at this rate."""
        if self.phase is Phase.SETUP:
            return self._setup_left_s
        if self.phase in (Phase.HANDOVER, Phase.SWITCH):
            return self._handover_s
        if self.phase is Phase.OVER or self._rate_mib_per_s <= 0:
            return math.inf
        to_mark = self.mark_mib - self.sent_mib if self.phase is Phase.PRECOPY else math.inf
        return max(0.0, min(self.remaining_mib, to_mark)) / self._rate_mib_per_s

    def progress(self, seconds: float) -> None:
        """Let time pass; at most up to the next event."""
        if self.phase in PAUSED:
            self.downtime_s += seconds
        if self.phase is Phase.SETUP:
            self._setup_left_s = max(0.0, self._setup_left_s - seconds)
        elif self.phase in (Phase.HANDOVER, Phase.SWITCH):
            self._handover_s = max(0.0, self._handover_s - seconds)
        elif self.phase in SENDING:
            sent = min(self.remaining_mib, self._rate_mib_per_s * seconds)
            self.sent_mib += sent
            self.remaining_mib -= sent
            if self.phase is Phase.PRECOPY:
                dirtied = self._dirtied_mib + self._dirtying_mib_per_s() * seconds
                self._dirtied_mib = min(self._footprint_mib, dirtied)

    def at_mark(self) -> bool:
        """Whether the event whose time has come is the mark, rather than the end of a round.

        Decided by what is nearer: comparing amounts would trip over rounding in the time.
        """
        return self.phase is Phase.PRECOPY and self.mark_mib - self.sent_mib <= self.remaining_mib

    def end_phase(self) -> bool:
        """Enter the next round or phase, its time having come; return whether the phase changed.

        What rounding left of the present one is settled, so that totals are exact.
        """
        before = self.phase
        if self.phase is Phase.SETUP:
            self.phase = self._after_round()
        elif self.phase in SENDING:
            self.sent_mib += self.remaining_mib
            self.remaining_mib = 0.0
            if self.phase is Phase.LAST:
                self.phase = Phase.HANDOVER
            elif self.phase is Phase.POSTCOPY:
                self.phase = Phase.OVER
            else:
                self._round += 1
                self.remaining_mib, self._dirtied_mib = self._dirtied_mib, 0.0
                self.phase = self._after_round()
        elif self.phase is Phase.SWITCH:
            self.phase = Phase.POSTCOPY
        elif self.phase is Phase.HANDOVER:
            self.phase = Phase.OVER
        return self.phase is not before

    def _after_round(self) -> Phase:
        """Return whether another round is worth it or the rest goes in one go.

        Before the first page is sent the rate is not known yet: a guest is small enough only if
        it is empty, and otherwise the first decision falls in :meth:`begin_sending`.
        """
        small_mib = self._rate_mib_per_s * self._parameters.downtime_limit_s
        if self.remaining_mib <= small_mib or self._round >= self._parameters.max_rounds:
            return Phase.LAST
        return Phase.PRECOPY

    def begin_sending(self) -> bool:
        """Decide, now that the first share is known, whether a small guest goes in one go.

        Returns whether the phase changed.
        """
        if self.phase is Phase.PRECOPY and self._round == 0 and self.sent_mib == 0.0:
            self.phase = self._after_round()
            return self.phase is not Phase.PRECOPY
        return False

    def _dirtying_mib_per_s(self) -> float:
        """Rate of re-dirtying; a guest that outruns the link is throttled (auto-converge).

        While nothing is sent at all nobody throttles it.
        """
        if self._rate_mib_per_s <= 0:
            return self._dirty_mib_per_s
        return min(
            self._dirty_mib_per_s, self._parameters.max_dirty_fraction * self._rate_mib_per_s
        )
