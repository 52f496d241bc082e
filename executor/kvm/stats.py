"""Turns libvirt's bulk statistics into counters; pure, so that it is tested without libvirt.

Keys and units are those of ``virConnectGetAllDomainStats`` [1]_. Records are expected without the
flag for backing chains, with which the reads of one disk would be told several times.

References
----------
.. [1] https://libvirt.org/html/libvirt-libvirt-domain.html#virConnectGetAllDomainStats
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from executor.counters import VmCounters, VmState
from solver.domain.units import VmId

_STATES: Final = (
    VmState.UNKNOWN,
    VmState.RUNNING,
    VmState.BLOCKED,
    VmState.PAUSED,
    VmState.SHUTTING_DOWN,
    VmState.OFF,
    VmState.CRASHED,
    VmState.SUSPENDED,
)
"""By libvirt's ``virDomainState``."""

MEASURED: Final = 2
"""``VIR_DOMAIN_DIRTYRATEMEASURED``: before, the rate means nothing."""

_LARGEST: Final = 2**63 - 1
"""Larger counters are a -1 of the hypervisor, told without its sign."""


def vm_counters(record: Mapping[str, object], *, vm_id: VmId, name: str, uuid: str) -> VmCounters:
    """Return the counters of one record of ``getAllDomainStats``.

    What is missing, or is no whole number of 0 or more, is ``None``.
    """
    state = _count(record, "state.state")
    measured = _count(record, "dirtyrate.calc_status") == MEASURED
    return VmCounters(
        vm_id=vm_id,
        name=name,
        uuid=uuid,
        state=_STATES[state] if state is not None and state < len(_STATES) else VmState.UNKNOWN,
        cpu_time_ns=_count(record, "cpu.time"),
        vcpu_delay_ns=_sum(record, "vcpu", "maximum", "delay"),
        num_vcpus=_count(record, "vcpu.current"),
        balloon_current_kib=_count(record, "balloon.current"),
        balloon_unused_kib=_count(record, "balloon.unused"),
        balloon_usable_kib=_count(record, "balloon.usable"),
        balloon_rss_kib=_count(record, "balloon.rss"),
        disk_read_bytes=_sum(record, "block", "count", "rd.bytes"),
        disk_write_bytes=_sum(record, "block", "count", "wr.bytes"),
        disk_read_requests=_sum(record, "block", "count", "rd.reqs"),
        disk_write_requests=_sum(record, "block", "count", "wr.reqs"),
        net_rx_bytes=_sum(record, "net", "count", "rx.bytes"),
        net_tx_bytes=_sum(record, "net", "count", "tx.bytes"),
        dirty_mib_per_s=_count(record, "dirtyrate.megabytes_per_second") if measured else None,
    )


def _count(record: Mapping[str, object], key: str) -> int | None:
    value = record.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= _LARGEST else None


def _sum(record: Mapping[str, object], group: str, number: str, field: str) -> int | None:
    """Return the sum over a group's members; 0 of none, ``None`` if no member tells."""
    num_members = _count(record, f"{group}.{number}")
    if num_members is None:
        return None
    told = [_count(record, f"{group}.{member}.{field}") for member in range(num_members)]
    known = [value for value in told if value is not None]
    return sum(known) if known or not told else None
