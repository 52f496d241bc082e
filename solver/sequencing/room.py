"""Free room of all hosts at once: where a VM fits, without asking host by host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from solver.domain.cluster import VM
from solver.sequencing.state import NUM_SLOTS, Occupancy


class Room:
    """Room on some hosts, free now and left over once all that is still to come is there.

    Parameters
    ----------
    hosts
        Positions of the hosts to keep.
    kinds
        Of each of them a number; hosts of one kind reserve alike.
    """

    def __init__(self, hosts: Sequence[int], kinds: Sequence[int]) -> None:
        self._hosts = np.array(hosts, dtype=np.int64)
        self._row = {h: i for i, h in enumerate(hosts)}
        members: dict[int, list[int]] = {}
        for i, kind in enumerate(kinds):
            members.setdefault(kind, []).append(i)
        self._kinds = [(hosts[rows[0]], np.array(rows)) for rows in members.values()]
        self._free = np.zeros((NUM_SLOTS, len(hosts)), dtype=np.int64)
        self._left = np.zeros((NUM_SLOTS, len(hosts)), dtype=np.int64)

    def update(
        self, hosts: Iterable[int], state: Occupancy, demanded: Mapping[int, Sequence[int]]
    ) -> None:
        """Take over what hosts have free, and what is left of it after all still to come."""
        for h in hosts:
            i = self._row.get(h)
            if i is None:
                continue
            free = [most - used for most, used in zip(state.allowed(h), state.load(h), strict=True)]
            self._free[:, i] = free
            if h in demanded:
                free = [f - d for f, d in zip(free, demanded[h], strict=True)]
            self._left[:, i] = free

    def fitting(self, state: Occupancy, vm: VM, *, clear: bool) -> list[int]:
        """Return the hosts with room for a VM, ascending.

        Parameters
        ----------
        clear
            Only those where it is in nobody's way.
        """
        room = self._left if clear else self._free
        found: list[npt.NDArray[np.int64]] = []
        for host, rows in self._kinds:
            fits = np.ones(len(rows), dtype=np.bool_)
            for slot, amount in state.needs(vm, host):
                fits &= room[slot, rows] >= amount
            found.append(rows[fits])
        if not found:
            return []
        return [int(h) for h in self._hosts[np.sort(np.concatenate(found))]]

    def may_fit(self, state: Occupancy, vm: VM, largest: Sequence[int]) -> bool:
        """Whether a VM is small enough for the largest room there is anywhere."""
        return any(
            all(amount <= largest[slot] for slot, amount in state.needs(vm, host))
            for host, _ in self._kinds
        )

    def largest(self) -> list[int]:
        """Return per slot the most that is free on any host."""
        return [int(most) for most in self._free.max(axis=1, initial=-1)]
