"""When each tick of a guest was seen, by the lab's own clock.

A guest's clock stands still while it is paused, so only an observer sees how long it was away. Run
as a program, this module is that observer: a small process that nothing in the tests can delay.
It reads ``*.log`` of a folder every few milliseconds and writes each full line, after the instant
at which it was seen, to ``*.seen``. It ends when its standard input does.
"""

from __future__ import annotations

import re
import select
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

LOOK_EVERY_S = 0.01
TICK_MS = 100
"""As in ``guest_init.c``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One tick of a guest.

    Parameters
    ----------
    number
        1 at the first tick after a boot, and so on.
    guest_ms
        The guest's own monotonic clock; by it, ticks are at least ``TICK_MS`` apart.
    seen_at_s
        The lab's monotonic clock, as of ``time.monotonic``; late by some hundredths of a second.
    boot
        How often the guest had booted.
    """

    number: int
    guest_ms: int
    seen_at_s: float
    boot: int


def read_lines(seen: Path) -> list[tuple[float, str]]:
    """Return what a guest said, each line with the instant at which it was seen."""
    if not seen.exists():
        return []
    text = seen.read_text(encoding="utf-8")
    lines = text[: text.rfind("\n") + 1].splitlines()
    stamped = (line.partition(" ") for line in lines)
    return [(float(instant), said) for instant, _, said in stamped]


def parse_ticks(lines: list[tuple[float, str]]) -> tuple[Tick, ...]:
    """Return the ticks among the lines, in the order in which they were seen."""
    ticks = []
    boot = 0
    for seen_at_s, line in lines:
        if line == "boot":
            boot += 1
        # A guest that was killed leaves half a line.
        if found := re.fullmatch(r"tick (\d+) (\d+)", line):
            number, guest_ms = map(int, found.groups())
            ticks.append(Tick(number=number, guest_ms=guest_ms, seen_at_s=seen_at_s, boot=boot))
    return tuple(ticks)


def largest_gap_s(ticks: tuple[Tick, ...], since_s: float, until_s: float) -> float:
    """Return the longest time without a tick between two instants, those included."""
    inside = [tick.seen_at_s for tick in ticks if since_s < tick.seen_at_s < until_s]
    instants = [since_s, *inside, until_s]
    return max(after - before for before, after in pairwise(instants))


def miscounted(ticks: tuple[Tick, ...]) -> list[str]:
    """Return where a guest did not count on by one: lost ticks, or two copies counting.

    Emulated without KVM, QEMU may lose a guest's last write to a page at the handover, and then the
    guest counts its last number twice. Such a guest's clock has gone on by a tick. That of a second
    copy has not: it stood still together with that of the first.
    """
    return [
        f"tick {after.number} at {after.guest_ms} ms after {before.number} at {before.guest_ms} ms"
        for before, after in pairwise(ticks)
        if before.boot == after.boot
        and after.number != before.number + 1
        and not _is_count_lost(before, after)
    ]


def _is_count_lost(before: Tick, after: Tick) -> bool:
    return after.number == before.number and after.guest_ms >= before.guest_ms + TICK_MS


class _Log:
    """One guest's log, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._log = path.open("rb")
        self._seen = path.with_suffix(".seen").open("ab", buffering=0)
        self._rest = b""

    def look(self) -> None:
        fresh = self._log.read()
        if not fresh:
            return
        stamp = f"{time.monotonic():.3f} ".encode()
        *lines, self._rest = (self._rest + fresh).split(b"\n")
        said = [stamp + line.strip() + b"\n" for line in lines if line.strip()]
        self._seen.write(b"".join(said))


def observe(folder: Path) -> None:
    """Look at the logs of a folder until standard input ends."""
    logs: dict[Path, _Log] = {}
    next_listing_s = 0.0
    while not select.select([sys.stdin], [], [], LOOK_EVERY_S)[0]:
        now_s = time.monotonic()
        if now_s >= next_listing_s:
            next_listing_s = now_s + 10 * LOOK_EVERY_S
            logs = {path: logs.get(path) or _Log(path) for path in folder.glob("*.log")}
        for log in logs.values():
            log.look()


if __name__ == "__main__":
    observe(Path(sys.argv[1]))
