"""A forecast as the runtime keeps it, made by hand: bands around medians that go straight."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np

from forecast.forecaster import NUM_HORIZONS, QUANTILES

RESOURCES = ("cpu_millicores", "memory_mib")


def make_fans(
    at: datetime,
    vms: Mapping[str, float],
    hosts: Mapping[str, float],
    *,
    usage_class: int = 3,
    memory_mib: float = 1024.0,
) -> bytes:
    """Return fans whose bands grow with time.

    Parameters
    ----------
    vms, hosts
        Medians of CPU, in millicores.
    memory_mib
        Median of memory of each VM; of a host, of fifty times as much.
    """
    meta = {
        "at": at.isoformat(),
        "forecaster": "boosted trees",
        "resources": list(RESOURCES),
        "vms": list(vms),
        "hosts": list(hosts),
    }
    data = io.BytesIO()
    np.savez_compressed(
        data,
        meta=np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8),
        vms=_bands(list(vms.values()), memory_mib),
        cold=np.zeros(len(vms), dtype=np.bool_),
        classes=np.full(len(vms), usage_class, dtype=np.int8),
        hosts=_bands(list(hosts.values()), 50 * memory_mib),
    )
    return data.getvalue()


def _bands(medians: list[float], memory_mib: float) -> Any:
    level = np.array(QUANTILES) - 0.5
    width = 0.4 + 0.4 * np.arange(NUM_HORIZONS) / NUM_HORIZONS
    shape = 1.0 + width[:, None] * level
    middle = np.array([medians, [memory_mib] * len(medians)], dtype=np.float32)
    return (middle[:, :, None, None] * shape).astype(np.float32)
