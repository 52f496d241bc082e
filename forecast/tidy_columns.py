"""The columns of a tidy file: which there are, and within which limits a value is sane."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from solver.domain.units import Resource

MAX_CORES: Final = 4096.0
"""Largest guest a KVM host can define; more is a unit error."""
MAX_MEMORY_MIB: Final = float(64 * 1024 * 1024)
"""64 TiB."""
MAX_KIB_PER_S: Final = float(2**30 - 1)
"""1 TiB/s in one direction, so that both directions together still fit an amount."""

LIMITS: Final = {
    "cpu_cores": MAX_CORES,
    "cpu_used": MAX_CORES,
    "mem_mib": MAX_MEMORY_MIB,
    "mem_granted_mib": MAX_MEMORY_MIB,
    "mem_active_mib": MAX_MEMORY_MIB,
    "disk_read_kbs": MAX_KIB_PER_S,
    "disk_write_kbs": MAX_KIB_PER_S,
    "net_rx_kbs": MAX_KIB_PER_S,
    "net_tx_kbs": MAX_KIB_PER_S,
}
ACTIVITY: Final = "user_activity"
"""A series of user activity, and with ``_`` and a name behind it each further one."""
MAX_ACTIVITY: Final = 1e15
"""Larger counts and rates are a defect: the largest services see a billion requests a second."""
REQUIRED: Final = ("vm", "ts", "cpu_cores", "cpu_used")
BY_RESOURCE: Final = {
    Resource.CPU: ("cpu_cores", "cpu_used"),
    Resource.MEMORY: ("mem_mib", "mem_granted_mib", "mem_active_mib"),
    Resource.DISK_IO: ("disk_read_kbs", "disk_write_kbs"),
    Resource.NET_IO: ("net_rx_kbs", "net_tx_kbs"),
}


def is_activity(column: str) -> bool:
    """Tell whether a column holds a series of user activity."""
    return column == ACTIVITY or column.startswith(f"{ACTIVITY}_")


def stamp(seconds: int) -> str:
    """Return an instant as messages spell it."""
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
