"""Put together what several hosts told of one VM, each for the time it was there.

Exporters tell of the VMs on their own host, and their counters begin anew where a VM arrives. So a
VM that migrates leaves a piece on each host. In the bin of a move, what the pieces counted adds up,
and is divided by the time they cover together. While a migration is under way both hosts tell of
the VM, the destination of one that is paused: until the piece that was there first ends, it alone
counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

OFF_STATES: Final = (5, 6)
"""libvirt's numbers for shut off and crashed."""
IDLE_STATES: Final = (3, 4, 7)
"""Paused, as a VM is that is arriving; being shut down; suspended."""
WHOLE: Final = 0.99
"""Of a bin; of two hosts that both saw so much of it one counts."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pieces:
    """What each host told of each VM it had.

    Parameters
    ----------
    vm, host
        Position of the VM and of the host, shape ``(num_pieces,)``.
    covered_s
        Seconds of each bin in which the piece was seen, shape ``(num_pieces, num_bins)``; 0 where
        nothing was counted.
    seen, full
        Whether there was a sample of it, and whether there were as many as in a whole bin; same
        shape.
    state, least_state
        libvirt's number of the state in which it was most alive, and in which it was least; same
        shape, NaN where unknown.
    rates, levels
        By quantity, what a counter gained per second, over the whole bin; and the mean of a level
        while it was seen; same shape, NaN where unknown.
    host_before
        Where each VM was before the first bin, shape ``(num_vms,)``; -1 where not known.
    """

    vm: npt.NDArray[np.intp]
    host: npt.NDArray[np.intp]
    covered_s: Doubles
    seen: Flags
    full: Flags
    state: Doubles
    least_state: Doubles
    rates: Mapping[str, Doubles]
    levels: Mapping[str, Doubles]
    host_before: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Joined:
    """The VMs, each of one piece.

    Parameters
    ----------
    covered_s
        Seconds of each bin of which something is known, shape ``(num_vms, num_bins)``.
    seen
        Whether any host had it.
    off
        Whether hosts had it, and none had it powered on.
    host
        Where it was for most of the bin, -1 where that is not known.
    twins
        Bins in which two hosts told of it all the time, shape ``(num_vms,)``.
    values
        By quantity, the mean while it was seen; NaN where unknown.
    """

    covered_s: Doubles
    seen: Flags
    off: Flags
    host: npt.NDArray[np.int32]
    twins: npt.NDArray[np.int64]
    values: dict[str, Doubles]


def join(pieces: Pieces, *, step_seconds: int) -> Joined:
    """Return what each VM did in each bin."""
    vm, num_vms = pieces.vm, len(pieces.host_before)
    is_off = np.isin(pieces.state, OFF_STATES)
    counted = np.where(is_off, 0.0, pieces.covered_s)
    weight = counted.copy()
    twins = np.zeros(num_vms, dtype=np.int64)
    host = np.full((num_vms, counted.shape[1]), -1, dtype=np.int32)
    for one, mine in _by_vm(vm):
        if len(mine) > 1:
            counted[mine], weight[mine], both = _shared(pieces, counted, mine, step_seconds)
            twins[one] = both.sum()
        # Where nothing was counted, at least who had it is known.
        present = weight[mine] + 1e-9 * pieces.seen[mine]
        most = pieces.host[mine][np.argmax(present, axis=0)]
        host[one] = np.where(present.any(axis=0), most, -1)
    covered = np.minimum(step_seconds, _summed(counted, vm, num_vms))
    seen = _summed(pieces.seen.astype(np.float64), vm, num_vms) > 0
    off = _summed((is_off & pieces.seen).astype(np.float64), vm, num_vms) > 0
    values = {
        name: _mean(rate * step_seconds, counted, vm, num_vms, most=step_seconds)
        for name, rate in pieces.rates.items()
    }
    values |= {
        name: _mean(level * weight, weight, vm, num_vms, most=step_seconds)
        for name, level in pieces.levels.items()
    }
    return Joined(
        covered_s=covered,
        seen=seen,
        off=off & (covered == 0),
        host=host,
        twins=twins,
        values=values,
    )


def _by_vm(vm: npt.NDArray[np.intp]) -> list[tuple[int, npt.NDArray[np.intp]]]:
    order = np.argsort(vm, kind="stable")
    starts = np.flatnonzero(np.diff(vm[order], prepend=-1))
    return [(int(vm[group[0]]), group) for group in np.split(order, starts[1:]) if len(group)]


def _shared(
    pieces: Pieces, counted: Doubles, mine: npt.NDArray[np.intp], step_seconds: int
) -> tuple[Doubles, Doubles, Flags]:
    """Return how much of each piece of one VM counts.

    Returns
    -------
    tuple
        The seconds for which what each piece counted is taken; the same without overlaps, to weigh
        levels by; and the bins that two hosts had as a whole.
    """
    alive, idle = counted[mine], np.isin(pieces.state[mine], IDLE_STATES)
    num_bins = alive.shape[1]
    is_off = np.isin(pieces.state[mine], OFF_STATES)
    here_before = pieces.host[mine] == pieces.host_before[pieces.vm[mine][0]]
    arrival = _arrivals(pieces.seen[mine] & ~is_off & ~idle) - here_before[:, None]
    preference = np.where(alive > 0, arrival + num_bins * idle, 4 * num_bins)
    order = np.argsort(preference, axis=0, kind="stable")
    wanted = np.take_along_axis(alive, order, axis=0)
    # One that ran there first and all the time leaves nothing to the others; but one that came or
    # went in between, as its state or a lack of samples tells, does.
    steady = pieces.full[mine] & ~np.isin(pieces.least_state[mine], (*IDLE_STATES, *OFF_STATES))
    whole = (alive >= WHOLE * step_seconds) & steady
    wanted[1:, np.take_along_axis(whole, order, axis=0)[0]] = 0.0
    taken = np.cumsum(wanted, axis=0) - wanted
    given = np.clip(step_seconds - taken, 0.0, wanted)
    counts, weight = np.empty_like(alive), np.empty_like(alive)
    np.put_along_axis(counts, order, wanted, axis=0)
    np.put_along_axis(weight, order, given, axis=0)
    both = whole.sum(axis=0) > 1
    return counts, weight, both


def _arrivals(running: Flags) -> npt.NDArray[np.intp]:
    """Return the first bin of the run of bins in which it was running that each bin is in."""
    bins = np.arange(running.shape[1])
    last_not = np.maximum.accumulate(np.where(running, -1, bins), axis=1)
    return last_not + 1


def _summed(values: Doubles, vm: npt.NDArray[np.intp], num_vms: int) -> Doubles:
    total = np.zeros((num_vms, values.shape[1]))
    np.add.at(total, vm, values)
    return total


def _mean(
    amount: Doubles, seconds: Doubles, vm: npt.NDArray[np.intp], num_vms: int, *, most: float
) -> Doubles:
    """Return the sum of the known amounts by the time they cover, ``most`` of it at most."""
    known = ~np.isnan(amount) & (seconds > 0)
    total = _summed(np.where(known, amount, 0.0), vm, num_vms)
    time = np.minimum(most, _summed(np.where(known, seconds, 0.0), vm, num_vms))
    return np.divide(total, time, out=np.full_like(total, np.nan), where=time > 0)
