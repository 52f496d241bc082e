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
    resources: tuple[str, ...] = RESOURCES,
) -> bytes:
    """Return fans whose medians are as given, of every resource, and whose bands grow with time."""
    meta = {
        "at": at.isoformat(),
        "forecaster": "boosted trees",
        "resources": list(resources),
        "vms": list(vms),
        "hosts": list(hosts),
    }
    data = io.BytesIO()
    np.savez_compressed(
        data,
        meta=np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8),
        vms=_bands(list(vms.values()), len(resources)),
        cold=np.zeros(len(vms), dtype=np.bool_),
        classes=np.full(len(vms), usage_class, dtype=np.int8),
        hosts=_bands(list(hosts.values()), len(resources)),
    )
    return data.getvalue()


def _bands(medians: list[float], num_resources: int) -> Any:
    level = np.array(QUANTILES) - 0.5
    width = 0.2 + 0.3 * np.arange(NUM_HORIZONS) / NUM_HORIZONS
    shape = 1.0 + width[:, None] * level
    fans = np.array(medians, dtype=np.float32)[:, None, None] * shape
    return np.broadcast_to(fans, (num_resources, *fans.shape)).astype(np.float32)
