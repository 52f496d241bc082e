"""What lies ahead of a cluster as a whole, in figures that are kept beside its forecast.

Bands of hosts, room, and N+1 take a second or two at ten thousand VMs: too long for a request,
little for something that is made once a forecast.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from forecast.forecaster import QUANTILES
from service.runtime.forecasting import Forecasted
from service.whatif.measure import headroom
from solver.capacity.question import Survival
from solver.capacity.survival import survival
from solver.domain.cluster import Cluster

SHOWN: Final = {"p50": QUANTILES.index(0.5), "p95": QUANTILES.index(0.95)}
N_PLUS_1_LIMIT_S: Final = 3.0
"""The leader does nothing else meanwhile; what is not settled by then is told as unknown."""


def outlook_document(cluster: Cluster, forecasted: Forecasted, fans: bytes) -> dict[str, Any]:
    """Return what is shown of a cluster as a whole.

    Parameters
    ----------
    fans
        The bands that were made of the forecast, as ``fans_to_bytes`` returns them.
    """
    room = headroom(cluster, forecasted.scenarios, cluster.placement)
    return {
        "at": forecasted.at.isoformat(),
        "hosts": peaks(fans),
        "headroom": {name: asdict(of) for name, of in room.items()},
        "survival": survival_document(survival(cluster, limit_s=N_PLUS_1_LIMIT_S)),
    }


def peaks(fans: bytes) -> dict[str, dict[str, dict[str, float]]]:
    """Return the largest p50 and p95 of the next hour by host and resource, in its unit."""
    with np.load(io.BytesIO(fans), allow_pickle=False) as arrays:
        meta = json.loads(arrays["meta"].tobytes())
        highest = arrays["hosts"].max(axis=2)  # resources, hosts, quantiles
    return {
        host_id: {
            resource: {name: round(float(highest[r, h, q]), 1) for name, q in SHOWN.items()}
            for r, resource in enumerate(meta["resources"])
        }
        for h, host_id in enumerate(meta["hosts"])
    }


def survival_document(found: Survival) -> dict[str, Any]:
    """Return whether each host may be lost, and which loss is the worst."""
    worst = found.worst
    return {
        "survives": found.survives,
        "num_judged": len(found.losses),
        "num_fatal": sum(loss.survived is False for loss in found.losses),
        "num_unknown": sum(loss.survived is None for loss in found.losses),
        "worst": None
        if worst is None
        else {
            "host_id": worst.host_id,
            "num_left_out": len(worst.left_out),
            "lacks": worst.lacks,
        },
    }
