"""What the runtime keeps of a cluster for others to show: names of blobs, and how fans are read.

Apart from the rooms that make it: whoever answers requests needs none of what forecasts and solves.
"""

from __future__ import annotations

import io
import json
from typing import Any, Final

import numpy as np

from forecast.classes import CLASSES
from forecast.forecaster import HORIZON_MINUTES, QUANTILES

FORECAST: Final = "forecast"
"""Fans of every VM and host."""
CONTENTION: Final = "contention"
QUALITY: Final = "forecast-quality"
OUTLOOK: Final = "outlook"
"""Peaks of hosts, headroom and N+1."""
MODEL: Final = "model"
RUNTIME: Final = "runtime"
"""What the keeper knows and does."""


def fan_from_bytes(data: bytes, *, vm_id: str = "", host_id: str = "") -> dict[str, Any] | None:
    """Return the fan of one VM or host as JSON values; ``None`` if it is not in the forecast."""
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        meta = json.loads(arrays["meta"].tobytes())
        names, values = (meta["vms"], arrays["vms"]) if vm_id else (meta["hosts"], arrays["hosts"])
        wanted = vm_id or host_id
        if wanted not in names:
            return None
        position = names.index(wanted)
        cold = bool(arrays["cold"][position]) if vm_id else False
        # Absent from forecasts that an older version kept.
        told = bool(vm_id) and "classes" in arrays
        code = int(arrays["classes"][position]) if told else None
    return {
        "id": wanted,
        "usage_class": "" if code is None else CLASSES[code],
        "at": meta["at"],
        "forecaster": meta["forecaster"],
        "cold": cold,
        "horizon_minutes": list(HORIZON_MINUTES),
        "quantiles": list(QUANTILES),
        "resources": {
            name: np.round(values[r, position].astype(float), 1).tolist()
            for r, name in enumerate(meta["resources"])
        },
    }
