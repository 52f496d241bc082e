"""Small histories with known properties, and tidy files made from them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from forecast.history import BinState, Floats, History
from solver.domain.units import NUM_RESOURCES, VmId

START = datetime(2026, 2, 2, tzinfo=UTC)
DAY = 288


def make_history(
    readings: Floats | None = None,
    *,
    num_vms: int = 8,
    num_bins: int = 4 * DAY,
    seed: int = 0,
    state: np.ndarray[Any, np.dtype[np.uint8]] | None = None,
    app_types: tuple[str | None, ...] | None = None,
    activity: dict[str, Floats] | None = None,
) -> History:
    """Return a history of 4-vCPU, 16-GiB VMs; generated readings unless some are given.

    VM 0 idles, VM 1 has a clear day cycle, the others share a common shock beside their own noise.
    """
    if readings is None:
        readings = generated_readings(num_vms, num_bins, seed)
    num_vms, num_bins = readings.shape[1:]
    return History(
        vm_ids=tuple(VmId(f"vm{i}") for i in range(num_vms)),
        start_at=START,
        readings=readings,
        state=np.zeros((num_vms, num_bins), np.uint8) if state is None else state,
        granted_mib=np.full((num_vms, num_bins), 8192, np.float32),
        vcpus=np.full(num_vms, 4, np.int64),
        memory_size_mib=np.full(num_vms, 16384, np.int64),
        app_types=app_types or (None,) * num_vms,
        activity=activity or {},
    )


def activity_leads_demand(
    *, lead_bins: int = 6, num_vms: int = 40, num_bins: int = 6 * DAY, seed: int = 0
) -> History:
    """Return a history in which sessions come and go at random, and CPU follows them later.

    How much CPU a session takes differs from VM to VM; now and then sessions are not counted.
    """
    rng = np.random.default_rng(seed)
    changes = rng.random((num_vms, num_bins)) < 1 / 8
    levels = np.where(changes, rng.gamma(2.0, 40.0, (num_vms, num_bins)), 0.0)
    where = np.maximum.accumulate(np.where(changes, np.arange(num_bins), 0), axis=1)
    sessions = np.take_along_axis(levels, where, axis=1)
    per_session = rng.uniform(0.5, 2.0, (num_vms, 1)) / 400
    share = 0.1 + per_session * np.roll(sessions, lead_bins, axis=1)
    share = np.clip(share + 0.01 * rng.standard_normal((num_vms, num_bins)), 0.0, 1.0)
    readings = np.zeros((NUM_RESOURCES, num_vms, num_bins), np.float32)
    readings[0] = 4000 * share
    counted = np.where(rng.random((num_vms, num_bins)) < 0.02, np.nan, sessions)
    return make_history(readings, activity={"user_activity": counted.astype(np.float32)})


def type_decides_the_day(
    *, num_vms: int = 240, num_bins: int = 6 * DAY, life_bins: int = 120, seed: int = 0
) -> History:
    """Return a history of VMs that live ten hours, busy at the hours of their application type.

    Each hour of the day belongs to one type: a VM is at work then and idle otherwise. None lives
    to see the same hour twice, so that its own past does not tell what comes.
    """
    rng = np.random.default_rng(seed)
    num_types = 6
    type_of = rng.integers(num_types, size=num_vms)
    owner = np.random.default_rng(1).permutation(np.arange(24) % num_types)
    hour = (np.arange(num_bins) // 12) % 24
    works = owner[hour][None, :] == type_of[:, None]
    size = rng.uniform(0.4, 0.9, (num_vms, 1))
    share = np.where(works, size, 0.05) + 0.02 * rng.standard_normal((num_vms, num_bins))
    born = rng.integers(-life_bins // 2, num_bins, size=num_vms)[:, None]
    bins = np.arange(num_bins)[None, :]
    lives = (bins >= born) & (bins < born + life_bins)
    readings = np.zeros((NUM_RESOURCES, num_vms, num_bins), np.float32)
    readings[0] = 4000 * np.clip(share, 0.0, 1.0)
    readings[:, ~lives] = np.nan
    return make_history(
        readings,
        state=np.where(lives, BinState.MEASURED, BinState.ABSENT).astype(np.uint8),
        app_types=tuple(f"type{code}" for code in type_of),
    )


def generated_readings(num_vms: int, num_bins: int, seed: int) -> Floats:
    """Return plausible readings of all resources."""
    rng = np.random.default_rng(seed)
    hours = np.arange(num_bins) / 12.0
    shock = _persistent(rng, 1, num_bins)
    own = _persistent(rng, num_vms, num_bins)
    share = np.clip(0.3 + 0.08 * (shock + own), 0.01, 1.0)
    share[0] = 0.01 * rng.random(num_bins)
    if num_vms > 1:
        noise = 0.02 * rng.standard_normal(num_bins)
        share[1] = np.clip(0.4 + 0.3 * np.sin(2 * np.pi * hours / 24) + noise, 0, 1)
    readings = np.empty((NUM_RESOURCES, num_vms, num_bins), np.float32)
    readings[0] = 4000 * share
    readings[1] = 16384 * np.clip(0.2 + 0.5 * share, 0, 1)
    readings[2] = np.expm1(6 * share)
    readings[3] = np.expm1(5 * share)
    return readings


def _persistent(rng: np.random.Generator, rows: int, columns: int) -> Any:
    """Return autoregressive noise of unit variance."""
    noise = rng.standard_normal((rows, columns))
    for t in range(1, columns):
        noise[:, t] = 0.9 * noise[:, t - 1] + np.sqrt(1 - 0.81) * noise[:, t]
    return noise


def tidy_table(
    *, num_vms: int = 2, num_bins: int = 6, start: datetime = START, **columns: Any
) -> pa.Table:
    """Return a tidy table of measured rows; named columns replace the generated ones."""
    rows = num_vms * num_bins
    data: dict[str, Any] = {
        "vm": [f"vm{i}" for i in range(num_vms) for _ in range(num_bins)],
        "ts": [start + timedelta(minutes=5 * b) for _ in range(num_vms) for b in range(num_bins)],
        "cpu_cores": [4.0] * rows,
        "cpu_used": [1.0 + 0.1 * (i % num_bins) for i in range(rows)],
        "mem_mib": [16384.0] * rows,
        "mem_granted_mib": [8192.0] * rows,
        "mem_active_mib": [2048.0] * rows,
        "disk_read_kbs": [10.0] * rows,
        "disk_write_kbs": [20.0] * rows,
        "net_rx_kbs": [1.0] * rows,
        "net_tx_kbs": [2.0] * rows,
        "state": [0] * rows,
    }
    data.update(columns)
    arrays = {name: value for name, value in data.items() if value is not None}
    if isinstance(arrays["ts"], list) and isinstance(arrays["ts"][0], datetime):
        arrays["ts"] = pa.array(arrays["ts"], pa.timestamp("ms", tz="UTC"))
    return pa.table(arrays)
