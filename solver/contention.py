"""The gate before any solving: is the cluster contended enough to be worth it?

Two thresholds on the contention score of a host, in host-seconds, give hysteresis: balancing
begins above the higher and goes on until every host is below the lower, so that a load that
hovers around one number does not move VMs every cycle. Repair of rules and capacities and the
emptying of hosts in maintenance are exempt: they do not pass through this gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from solver.domain.score import HostContention
from solver.domain.units import HostId
from solver.domain.weights import to_units

DEFAULT_ACT_HOST_S: Final = 20.0
"""Act above this: 10 % of a host short for 200 s. For a day after an event hosts carry some 5 to 20
host-seconds of risk that mostly does not come true: insurance against it moves twice as much for
the same shortfall in the end (docs/decisions/0013)."""

DEFAULT_STOP_HOST_S: Final = 1.0
"""Stop below this: what is left is worth about two moves."""


def hot_hosts(contention: Sequence[HostContention], threshold_host_s: float) -> list[HostId]:
    """Return the hosts whose score is above a threshold in host-seconds, worst first."""
    threshold = to_units(threshold_host_s)
    above = [host for host in contention if host.total > threshold]
    return [host.host_id for host in sorted(above, key=lambda host: -host.total)]
