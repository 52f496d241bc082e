"""What the usual exporters call things; plain data that ``settings`` turns into its types.

``debian``
    ``prometheus-libvirt-exporter`` 0.2 as Debian and Ubuntu package it, and its relatives of the
    Kumina family. It tells neither how long vCPUs waited nor what guests say of their memory.
``tinkoff``
    Tinkoff's ``libvirt-exporter`` 2, which reads libvirt's bulk statistics.
``inovex``
    inovex' ``prometheus-libvirt-exporter`` 2. Early versions counted the waiting of vCPUs in
    nanoseconds; that is noticed, and told with its remedy.
"""

from __future__ import annotations

from typing import Any, Final

_COMMON: Final[dict[str, dict[str, str]]] = {
    "cpu_time": {"metric": "libvirt_domain_info_cpu_time_seconds_total"},
    "vcpus": {"metric": "libvirt_domain_info_virtual_cpus"},
    "memory_size": {"metric": "libvirt_domain_info_maximum_memory_bytes"},
    "memory_granted": {"metric": "libvirt_domain_info_memory_usage_bytes"},
    "disk_read": {
        "metric": "libvirt_domain_block_stats_read_bytes_total",
        "per": "target_device",
    },
    "disk_write": {
        "metric": "libvirt_domain_block_stats_write_bytes_total",
        "per": "target_device",
    },
    "net_receive": {
        "metric": "libvirt_domain_interface_stats_receive_bytes_total",
        "per": "target_device",
    },
    "net_transmit": {
        "metric": "libvirt_domain_interface_stats_transmit_bytes_total",
        "per": "target_device",
    },
    "up": {"metric": "libvirt_up"},
}
_BULK: Final[dict[str, dict[str, str]]] = {
    "cpu_wait": {"metric": "libvirt_domain_vcpu_delay_seconds_total", "per": "vcpu"},
    "memory_available": {"metric": "libvirt_domain_memory_stats_available_bytes"},
    "memory_usable": {"metric": "libvirt_domain_memory_stats_usable_bytes"},
}

PRESETS: Final[dict[str, dict[str, Any]]] = {
    "debian": {
        "labels": {"vm": "uuid", "name": "domain"},
        "vm": {**_COMMON, "state": {"metric": "libvirt_domain_state_code"}},
    },
    "tinkoff": {
        "labels": {"vm": "domain"},
        "vm": {**_COMMON, **_BULK, "state": {"metric": "libvirt_domain_info_vstate"}},
    },
    "inovex": {
        "labels": {"vm": "domain"},
        "vm": {**_COMMON, **_BULK, "state": {"metric": "libvirt_domain_info_state"}},
    },
}

# What a machine has of its own: loops, RAM disks, layers above disks, bridges and guests' ends of
# them would count the same bytes again.
_DISKS: Final = 'device!~"(loop|ram|zram|sr|fd|dm-|md).*"'
_LINKS: Final = (
    'device!~"lo|(veth|tap|vnet|macvtap|virbr|br-|br|docker|bond|team|ovs|vlan).*|.*[.].*"'
)

HOST: Final[dict[str, dict[str, str]]] = {
    "cpu_time": {"metric": "node_cpu_seconds_total"},
    "memory_size": {"metric": "node_memory_MemTotal_bytes"},
    "memory_usable": {"metric": "node_memory_MemAvailable_bytes"},
    "disk_read": {"metric": "node_disk_read_bytes_total"},
    "disk_write": {"metric": "node_disk_written_bytes_total"},
    "net_receive": {"metric": "node_network_receive_bytes_total"},
    "net_transmit": {"metric": "node_network_transmit_bytes_total"},
}
DEVICES: Final = {
    "disk_read": _DISKS,
    "disk_write": _DISKS,
    "net_receive": _LINKS,
    "net_transmit": _LINKS,
}
"""Which devices of a host count, as label matchers."""
