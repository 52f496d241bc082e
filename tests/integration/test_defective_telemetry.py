"""A fleet whose meters fail in every way: forecasts go on, and the sound VMs do not suffer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from forecast.backtest import BacktestReport, run_backtest
from forecast.baseline import Persistence
from forecast.history import History
from forecast.quantile import TrainingSettings
from forecast.tidy import read_history
from tests.histories import DAY, make_history

START = datetime(2026, 3, 2, tzinfo=UTC)
NUM_VMS = 40
NUM_BINS = 6 * DAY
OUTAGE = slice(3 * DAY, 3 * DAY + 30 * 12)
"""Thirty hours in which no VM was read."""
SMALL = TrainingSettings(rows_per_resource=6000, rows_per_instant=30, iterations=30, num_jobs=1)


def columns(history: History) -> dict[str, np.ndarray[Any, Any]]:
    """Return tidy columns of CPU alone, VM after VM, each of shape (VMs, bins)."""
    stamps = np.array([START + timedelta(minutes=5 * b) for b in range(NUM_BINS)])
    shape = (NUM_VMS, NUM_BINS)
    return {
        "vm": np.broadcast_to(np.array(history.vm_ids)[:, None], shape).copy(),
        "ts": np.broadcast_to(stamps, shape).copy(),
        "cpu_cores": np.full(shape, 4.0),
        "cpu_used": history.readings[0].astype(np.float64) / 1000.0,
    }


def write(table: dict[str, np.ndarray[Any, Any]], keep: np.ndarray[Any, Any], path: Path) -> Path:
    """Write the rows that are kept."""
    flat = {name: values[keep] for name, values in table.items()}
    stamps = pa.array(flat.pop("ts").tolist(), pa.timestamp("ms", tz="UTC"))
    pq.write_table(pa.table({**flat, "ts": stamps}), path)
    return path


def judged(history: History) -> BacktestReport:
    """Train on five days, test on half of the sixth."""
    return run_backtest(
        history,
        train_until=START + timedelta(days=5),
        test_from=START + timedelta(days=5),
        test_until=START + timedelta(days=5, hours=12),
        unseen_fraction=0.0,
        training=SMALL,
        baselines=[Persistence()],
        warm_up_days=1.0,
    )


@pytest.mark.timeout(300)
def test_forecasts_survive_what_meters_do(tmp_path: Path) -> None:
    """Eight VMs with a defect each, an outage for all; loss on the others is as without."""
    table = columns(make_history(num_vms=NUM_VMS, num_bins=NUM_BINS))
    everything = np.ones((NUM_VMS, NUM_BINS), dtype=bool)
    everything[:, OUTAGE] = False
    sound = read_history(write(table, everything, tmp_path / "sound.parquet"))
    keep = everything.copy()
    some = np.arange(DAY, DAY + 500, 5)
    keep[0, some] = False  # gaps
    table["ts"][1, some] = table["ts"][1, some - 1]  # told twice
    table["cpu_used"][2, some] = -5.0  # a counter was reset
    table["cpu_cores"][3, some] = 0.0  # no capacity
    table["cpu_cores"][4, 2 * DAY :] = 8.0  # twice the vCPUs from one day on
    table["ts"][5, some] = datetime(2190, 1, 1, tzinfo=UTC)  # a clock without battery
    table["cpu_used"][6, some] = np.nan
    table["cpu_used"][7, some] = 1e12
    path = write(table, keep, tmp_path / "defective.parquet")
    defective = read_history(path, mend=True)
    by_vm = defective.report.by_vm
    names = [str(vm) for vm in defective.vm_ids]
    outage = OUTAGE.stop - OUTAGE.start
    assert all(by_vm[name].missing >= outage for name in names)
    found = [by_vm[name] for name in names[:8]]
    assert found[0].missing == outage + 100
    assert (found[1].repeated, found[1].missing) == (100, outage + 100)
    assert [found[i].implausible for i in (2, 6, 7)] == [100, 100, 100]
    assert found[3].zero_cores == 100
    assert found[4].resized == 1
    assert found[5].future == 100
    assert by_vm[names[8]].missing == outage
    before, after = judged(sound), judged(defective)
    for minutes in ("15", "60"):
        loss = {
            name: report.results["cpu"][minutes]["all"]["pinball"]
            for name, report in (("sound", before), ("defective", after))
        }
        assert np.isfinite(loss["defective"])
        assert loss["defective"] < 1.15 * loss["sound"]
