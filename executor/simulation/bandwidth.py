"""How concurrent migrations share the links of hosts: max-min fairness.

A host's link carries what comes in and what goes out together. Long-lived TCP streams settle near
the max-min fair share, which is also the one share that wastes nothing and starves nobody [1]_.

References
----------
.. [1] Bertsekas and Gallager (1992). Data Networks, section 6.5.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_FULL = 1e-9
"""Share of a link below which what is left of it is rounding, not room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One stream between two hosts, by their positions; ``cap`` is the most it may send."""

    source_idx: int
    destination_idx: int
    cap_mib_per_s: float


def max_min_rates(flows: Sequence[Flow], links_mib_per_s: Sequence[float]) -> list[float]:
    """Return the rate of each flow in MiB/s.

    All rates rise together; a flow stops rising at its cap or when one of its two links is full.
    The result never exceeds a link or a cap, and no rate can be raised without lowering one that
    is smaller or equal.

    Parameters
    ----------
    links_mib_per_s
        Capacity of every host's link, positive.
    """
    rates = [0.0] * len(flows)
    spare = dict(enumerate(links_mib_per_s))
    rising = [i for i, flow in enumerate(flows) if flow.cap_mib_per_s > 0]
    while rising:
        load: dict[int, int] = {}
        for i in rising:
            for end in (flows[i].source_idx, flows[i].destination_idx):
                load[end] = load.get(end, 0) + 1
        rise = min(spare[end] / number for end, number in load.items())
        rise = min(rise, *(flows[i].cap_mib_per_s - rates[i] for i in rising))
        for end, number in load.items():
            spare[end] -= rise * number
        full = {end for end in load if spare[end] <= _FULL * links_mib_per_s[end]}
        still = []
        for i in rising:
            flow = flows[i]
            rates[i] += rise
            if flow.cap_mib_per_s - rates[i] <= _FULL * flow.cap_mib_per_s:
                rates[i] = flow.cap_mib_per_s
            elif flow.source_idx not in full and flow.destination_idx not in full:
                still.append(i)
        rising = still
    return rates
