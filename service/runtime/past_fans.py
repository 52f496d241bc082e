"""Fans of the past day, one per hour and cluster, so that what came of them is seen beside them.

They stand in a ring of blobs, the next day's in place of this day's: what is kept is bounded
without anybody removing it. Each blob holds some of the VMs, so that the fans of one VM are read
without those of ten thousand others. Of the quantiles the median and the ends of the 90 % band
are kept.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np

from forecast.forecaster import QUANTILES
from forecast.history import Floats
from service.store.base import Store, Transaction

HOURS_KEPT: Final = 24
LEVELS: Final = (0.05, 0.5, 0.95)
"""Quantiles that are kept."""
NUM_BLOCKS: Final = 16
"""Blobs of VMs per hour: of 10,000 VMs some 600 are read to show one."""

_HOUR: Final = timedelta(hours=1)
_HOSTS: Final = "hosts"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PastFan:
    """What was forecast of one VM or host.

    Parameters
    ----------
    at
        When it was made (aware UTC).
    values
        By resource, shape ``(num_horizons, len(LEVELS))``, in the units of the resources.
    """

    at: datetime
    values: Mapping[str, Floats]


def to_keep(store: Store, cluster_id: str, at: datetime, fans: bytes) -> dict[str, bytes]:
    """Return the blobs to keep of a forecast: none if its hour has one already.

    Parameters
    ----------
    fans
        Of ``service.runtime.forecasting.fans_to_bytes``.
    """
    with store.begin(read_only=True) as tx:
        kept = tx.blobs.get(cluster_id, _name(at, _HOSTS))
    if kept is not None and _hour(kept[0]) == _hour(at):
        return {}
    with np.load(io.BytesIO(fans), allow_pickle=False) as arrays:
        meta = json.loads(arrays["meta"].tobytes())
        vms, hosts = arrays["vms"], arrays["hosts"]
    levels = [QUANTILES.index(level) for level in LEVELS]
    resources = meta["resources"]
    blobs = {_name(at, _HOSTS): _packed(resources, meta["hosts"], hosts[..., levels])}
    block_of = np.array([_block(vm_id) for vm_id in meta["vms"]], dtype=np.intp)
    for block in range(NUM_BLOCKS):
        members = np.flatnonzero(block_of == block)
        names = [meta["vms"][v] for v in members.tolist()]
        values = vms[:, members][..., levels]
        blobs[_name(at, str(block))] = _packed(resources, names, values)
    return blobs


def past_fans(
    tx: Transaction, cluster_id: str, until: datetime, *, vm_id: str = "", host_id: str = ""
) -> list[PastFan]:
    """Return the fans of a VM or a host of the day before an instant, the oldest first."""
    block = str(_block(vm_id)) if vm_id else _HOSTS
    found = []
    for hours in reversed(range(HOURS_KEPT)):
        kept = tx.blobs.get(cluster_id, _name(until - hours * _HOUR, block))
        # What stands there may be from a day on which this hour was forecast last.
        if kept is None or not until - HOURS_KEPT * _HOUR < kept[0] <= until:
            continue
        values = _unpacked(kept[1], vm_id or host_id)
        if values is not None:
            found.append(PastFan(at=kept[0], values=values))
    return sorted(found, key=lambda fan: fan.at)


def _hour(at: datetime) -> int:
    return int(at.timestamp()) // 3600


def _name(at: datetime, block: str) -> str:
    return f"fan/{_hour(at) % HOURS_KEPT:02d}/{block}"


def _block(vm_id: str) -> int:
    return zlib.crc32(vm_id.encode()) % NUM_BLOCKS


def _packed(resources: Sequence[str], names: Sequence[str], values: Floats) -> bytes:
    """Return values of shape ``(num_resources, num_names, num_horizons, len(LEVELS))``."""
    data = io.BytesIO()
    meta = json.dumps({"resources": list(resources), "names": list(names)}).encode()
    np.savez_compressed(
        data, meta=np.frombuffer(meta, dtype=np.uint8), values=values.astype(np.float32)
    )
    return data.getvalue()


def _unpacked(data: bytes, name: str) -> dict[str, Any] | None:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        meta = json.loads(arrays["meta"].tobytes())
        if name not in meta["names"]:
            return None
        values = arrays["values"][:, meta["names"].index(name)]
    return dict(zip(meta["resources"], values, strict=True))
