"""Proposals that are carried out if they cost no more than they may: looked at, moved and noted."""

from __future__ import annotations

from solver.problem import IntArray
from solver.search.away import Away, move
from solver.search.facts import Facts
from solver.search.live import Live
from solver.search.native import inner
from solver.search.proposals import chain_within, relocation_within, swap_within


@inner
def take_relocation(
    facts: Facts,
    live: Live,
    most_saved: IntArray,
    away: Away,
    v: int,
    h: int,
    limit: int,
    log: IntArray,
    tally: IntArray,
) -> None:
    """VM ``v`` goes to host ``h``, if it is not there and that costs no more than the limit."""
    a = live.hosts[v]
    if a != h and relocation_within(facts, live, most_saved, v, a, h, limit):
        move(facts, live, away, log, tally, v, h)


@inner
def take_exchange(
    facts: Facts,
    live: Live,
    most_saved: IntArray,
    away: Away,
    v: int,
    w: int,
    c: int,
    limit: int,
    log: IntArray,
    tally: IntArray,
) -> None:
    """VM ``v`` goes where ``w`` is, and ``w`` to host ``c``, if that costs no more than the limit.

    Nobody moves if both are on one host, or ``w`` is on ``c``; they change places if ``v`` is.
    """
    a, b = live.hosts[v], live.hosts[w]
    if b in (a, c):
        return
    if c == a:
        if swap_within(facts, live, most_saved, v, w, a, b, limit):
            move(facts, live, away, log, tally, v, b)
            move(facts, live, away, log, tally, w, a)
    elif chain_within(facts, live, most_saved, v, w, a, b, c, limit):
        move(facts, live, away, log, tally, w, c)
        move(facts, live, away, log, tally, v, b)
