"""Packings made by hand, so to say: greedy, exact about what fits, silent about what could.

A packing found here is a proof that VMs fit. That none is found proves nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from solver.capacity.need import Needs

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

NOWHERE = -1


def pack(needs: Needs, *, level: bool) -> IntArray | None:
    """Return a host for every VM such that nothing is exceeded, or ``None`` if none was found.

    The largest VM first, each where it fits and the host is then filled most, or least.

    Parameters
    ----------
    level
        Whether to fill hosts evenly, which leaves each some room, rather than one after another.
    """
    _, num_vms, _ = needs.need.shape
    scale = np.maximum(1, needs.room).astype(np.float64)
    taken = np.zeros_like(needs.room)
    hosts = np.full(num_vms, NOWHERE, dtype=np.int64)
    for v in _largest_first(needs):
        after = taken + needs.need[needs.host_class, v]
        fits = (after <= needs.room).all(axis=1)
        if not fits.any():
            return None
        fill = (after / scale).max(axis=1, initial=0.0)
        fill[~fits] = np.inf if level else -np.inf
        h = int(fill.argmin() if level else fill.argmax())
        hosts[v] = h
        taken[h] = after[h]
    return hosts


def _largest_first(needs: Needs) -> list[int]:
    """Return VMs by the largest share of a mean host that they need of anything."""
    bound = needs.room.astype(np.float64).mean(axis=0)
    size = (needs.need[0] / np.maximum(1.0, bound)).max(axis=1, initial=0.0)
    return [int(v) for v in np.argsort(-size, kind="stable")]


def place_lost(
    needs: Needs, taken: IntArray, lost: int, vms: IntArray, allowed: BoolArray
) -> IntArray:
    """Return where the VMs of a lost host fit while all others stay, ``NOWHERE`` for those left.

    Parameters
    ----------
    taken
        Load of each host, that of the lost one included.
    vms
        VMs of the lost host.
    allowed
        Where each of them may go, shape ``(len(vms), H)``.
    """
    left = needs.room - taken
    scale = np.maximum(1, needs.room).astype(np.float64)
    wanted = needs.need[:, vms]
    size = (wanted[0] / np.maximum(1.0, left.max(axis=0))).max(axis=1, initial=0.0)
    targets = np.full(len(vms), NOWHERE, dtype=np.int64)
    for i in np.argsort(-size, kind="stable").tolist():
        after = left - wanted[needs.host_class, i]
        fits = (after >= 0).all(axis=1) & allowed[i]
        fits[lost] = False
        if not fits.any():
            continue
        spare = (after / scale).min(axis=1, initial=1.0)
        spare[~fits] = np.inf
        h = int(spare.argmin())
        targets[i] = h
        left[h] = after[h]
    return targets


def survives_any_loss(needs: Needs, hosts: IntArray) -> bool:
    """Return whether the VMs of every host are seen to fit on the others, rules apart."""
    taken = needs.loads(hosts)
    for lost in range(len(needs.room)):
        vms = np.flatnonzero(hosts == lost)
        allowed = np.ones((len(vms), len(needs.room)), dtype=np.bool_)
        if (place_lost(needs, taken, lost, vms, allowed) == NOWHERE).any():
            return False
    return True
