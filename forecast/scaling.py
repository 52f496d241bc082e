"""One scale for VMs of any size, so that one model can serve them all.

CPU is a fraction of the vCPUs and memory a fraction of the size. Disk and network have no size:
they run over seven orders of magnitude and are taken as ``log1p(KiB/s) / 10``. Every map is
increasing, and quantiles pass through increasing maps unchanged.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from forecast.history import Floats, History
from solver.domain.units import Resource

LOG_DIVISOR: Final = 10.0


def unit_of(history: History, resource: Resource) -> Floats:
    """Return what one scaled unit means for each VM, shape ``(num_vms,)``; 1 for disk, network.

    A VM without a known memory size is measured by the largest grant, which is its size then; one
    with neither counts in GiB.
    """
    if resource is Resource.CPU:
        return (1000.0 * history.vcpus).astype(np.float32)
    if resource is Resource.MEMORY:
        size = history.memory_size_mib
        return np.where(size > 0, size, 1024).astype(np.float32)
    return np.ones(history.num_vms, dtype=np.float32)


def scale(readings: Floats, unit: Floats, resource: Resource) -> Floats:
    """Return readings on the common scale; ``unit`` broadcasts from the left (VMs first)."""
    if resource in (Resource.DISK_IO, Resource.NET_IO):
        return np.asarray(np.log1p(readings) / np.float32(LOG_DIVISOR))
    return np.asarray(readings / unit.reshape(-1, *(1,) * (readings.ndim - 1)))


def unscale(values: Floats, unit: Floats, resource: Resource) -> Floats:
    """Undo :func:`scale`; negative values come back as zero."""
    positive = np.maximum(values, 0.0)
    if resource in (Resource.DISK_IO, Resource.NET_IO):
        # 4.0 is e^40 KiB/s: far above any limit, far below what overflows float32.
        return np.asarray(np.expm1(np.minimum(positive, 4.0) * np.float32(LOG_DIVISOR)))
    return np.asarray(positive * unit.reshape(-1, *(1,) * (values.ndim - 1)))
