"""From what Prometheus calls things to the columns of tidy telemetry, within sane limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from forecast.prometheus.queries import Stretch
from forecast.tidy_columns import LIMITS, stamp
from solver.domain.errors import InvalidInputError

MOST_CORES_PER_VCPU: Final = 10.0
"""More than QEMU's own threads can add: another unit."""
SIZES: Final = ("cpu_cores", "mem_mib")
"""Columns that say how large a VM is, not what it does."""
_MIB: Final = 1024.0 * 1024.0
_LIMIT: Final = {
    "vcpus": LIMITS["cpu_cores"],
    "memory_size": LIMITS["mem_mib"] * _MIB,
    "memory_granted": LIMITS["mem_granted_mib"] * _MIB,
    "memory_available": LIMITS["mem_active_mib"] * _MIB,
    "memory_usable": LIMITS["mem_active_mib"] * _MIB,
    "disk_read": LIMITS["disk_read_kbs"] * 1024.0,
    "disk_write": LIMITS["disk_write_kbs"] * 1024.0,
    "net_receive": LIMITS["net_rx_kbs"] * 1024.0,
    "net_transmit": LIMITS["net_tx_kbs"] * 1024.0,
}

Doubles = npt.NDArray[np.float64]


def without_implausible(values: dict[str, Doubles], vms: tuple[str, ...], part: Stretch) -> int:
    """Make values that cannot be unknown, in place; return how many there were.

    Raises
    ------
    InvalidInputError
        If most values of a quantity are beyond its limit: it is in another unit.
    """
    found = 0
    cores = MOST_CORES_PER_VCPU * np.nan_to_num(values["vcpus"], nan=np.inf)
    for name, numbers in values.items():
        limit = cores if name in ("cpu_time", "cpu_wait") else np.array(_LIMIT[name])
        wrong = ~np.isnan(numbers) & ~((numbers >= 0) & (numbers <= limit))
        if wrong.sum() > 0.5 * (~np.isnan(numbers) & (numbers != 0)).sum():
            vm, at = (int(i[0]) for i in np.nonzero(wrong))
            raise InvalidInputError(
                f"{name} of VM {vms[vm]!r} is {numbers[vm, at]:g} at "
                f"{stamp(part.start_s + at * part.step_seconds)}, and most values are as large; "
                f"expected at most {np.broadcast_to(limit, numbers.shape)[vm, at]:g}; if the "
                f"exporter counts in another unit, set scale of vm.{name}"
            )
        found += int(wrong.sum())
        numbers[wrong] = np.nan
    return found


def tidy_columns(values: Mapping[str, Doubles]) -> dict[str, Doubles]:
    """Return the tidy columns: demand is what was used and what was waited for."""
    unknown = np.full_like(values["cpu_time"], np.nan)

    def get(name: str) -> Doubles:
        return values.get(name, unknown)

    available = get("memory_available")
    # Without its driver a guest tells nothing, which some exporters write as zero.
    told = (available > 0) & (get("memory_usable") > 0)
    active = np.where(told, np.maximum(0.0, available - get("memory_usable")), np.nan)
    return {
        "cpu_cores": get("vcpus"),
        "cpu_used": get("cpu_time") + np.nan_to_num(get("cpu_wait")),
        "mem_mib": get("memory_size") / _MIB,
        "mem_granted_mib": get("memory_granted") / _MIB,
        "mem_active_mib": active / _MIB,
        "disk_read_kbs": get("disk_read") / 1024.0,
        "disk_write_kbs": get("disk_write") / 1024.0,
        "net_rx_kbs": get("net_receive") / 1024.0,
        "net_tx_kbs": get("net_transmit") / 1024.0,
    }


def fill(values: dict[str, Doubles], *, measured: npt.NDArray[np.bool_]) -> None:
    """Fill what one VM lacks though others have it: no disk reads nothing, a mute guest is active.

    Only in bins that were measured; a guest that speaks at times is not filled in for.
    """
    for name in ("disk_read_kbs", "disk_write_kbs", "net_rx_kbs", "net_tx_kbs"):
        if name in values:
            values[name][measured & np.isnan(values[name])] = 0.0
    for name, other in (
        ("mem_granted_mib", "mem_mib"),
        ("mem_active_mib", "mem_granted_mib"),
    ):
        if name in values and other in values and np.isnan(values[name]).all():
            values[name][measured] = values[other][measured]
