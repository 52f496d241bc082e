"""Puts a monitor together from its settings: the only place that picks concretes."""

from __future__ import annotations

from importlib import import_module

from executor.monitor.config import MonitorConfig
from executor.monitor.daemon import Monitor
from executor.monitor.delivery import Delivery
from executor.monitor.host import PsutilHost
from executor.monitor.http import HttpSender
from executor.monitor.outbox import Outbox
from executor.monitor.sampler import VM_WAIT_S, Sampler
from executor.monitor.source import VmSource
from executor.monitor.timekeeper import Timekeeper
from solver.domain.errors import InvalidInputError
from solver.domain.units import HostId


def vm_source(uri: str) -> VmSource | None:
    """Return the VMs of a libvirt, asked with no more than the right to look.

    Parameters
    ----------
    uri
        Where; empty for nowhere.

    Raises
    ------
    InvalidInputError
        If libvirt's binding is not installed.
    """
    if not uri:
        return None
    try:
        module = import_module("executor.kvm.vm_source")
    except ModuleNotFoundError as error:
        if error.name not in ("libvirt", "libvirtmod"):
            raise
        raise InvalidInputError(
            "expected libvirt's Python binding (pip install 'foreswap[libvirt]'), or an empty "
            "address on a host without libvirt",
            path="libvirt_uri",
        ) from error
    source: VmSource = module.open_vm_source(uri)
    return source


def set_up(settings: MonitorConfig, vms: VmSource | None, time: Timekeeper) -> Monitor:
    """Return a monitor of this host that is ready to run.

    Raises
    ------
    InvalidInputError
        If there is nothing to do with what is sampled, or a file or folder cannot be used.
    """
    settings.require_destination()
    host_id = HostId(settings.effective_host_id)
    outbox = delivery = None
    if settings.url:
        assert settings.token_file is not None
        assert settings.outbox is not None
        sender = HttpSender(settings.url, settings.token_file, ca_file=settings.ca_file)
        outbox = Outbox(settings.outbox, max_bytes=settings.outbox_max_mib * 2**20)
        delivery = Delivery(outbox, sender, host_id, time)
    return Monitor(
        Sampler(PsutilHost(), vms, time, vm_wait_s=min(VM_WAIT_S, 0.8 * settings.interval_s)),
        time,
        host_id=host_id,
        interval_s=settings.interval_s,
        outbox=outbox,
        delivery=delivery,
        metrics_file=settings.metrics_file,
    )
