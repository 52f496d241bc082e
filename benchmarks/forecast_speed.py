"""How long training and forecasting take on a recorded trace, and how forecasting grows with VMs.

Protocol: four resources; trained on all VMs up to `--train-until`; then forecasts with joint
scenarios for 250 to 2,000 VMs (the trace's, repeated under other names), each as in service: a
history in memory that ends now, calibration and memory of joint errors filled by a day in
hindsight. Medians of five.

    python -m benchmarks.forecast_speed --trace FILE [--json OUT]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from forecast.classes import classify
from forecast.features import WEEK
from forecast.history import History
from forecast.online import OnlineForecaster
from forecast.quantile import QuantileModel
from forecast.scenarios import affordable_scenarios
from forecast.tidy import read_history
from service.options import instant
from service.replay.report import machine
from solver.domain.units import VmId

SIZES: Final = (250, 500, 1000, 2000)
REPEATS: Final = 5
KEPT_BINS: Final = WEEK + 288
"""What a running service keeps in memory for forecasts: a week and a day."""


def repeated(history: History, num_vms: int) -> History:
    """Return a history of so many VMs, those of another one again and again."""
    chosen = np.arange(num_vms) % history.num_vms
    names = tuple(VmId(f"{history.vm_ids[v]}-{i}") for i, v in enumerate(chosen))
    return replace(
        history,
        vm_ids=names,
        readings=history.readings[:, chosen],
        state=history.state[chosen],
        granted_mib=history.granted_mib[chosen],
        vcpus=history.vcpus[chosen],
        memory_size_mib=history.memory_size_mib[chosen],
        app_types=tuple(history.app_types[v] for v in chosen),
        activity={name: series[chosen] for name, series in history.activity.items()},
    )


def forecast_seconds(model: QuantileModel, history: History) -> dict[str, float]:
    """Return medians of the seconds of a forecast, and of one with joint scenarios."""
    now = history.num_bins - 1
    online = OnlineForecaster(
        forecaster=model,
        resources=tuple(model.resources),
        class_of=classify(history, until_bin=history.num_bins).by_vm(history.vm_ids),
    )
    online.warm_up(history, until_bin=now - REPEATS, days=1.0, every_bins=12)
    quantiles_s, all_s = [], []
    num_scenarios = affordable_scenarios(history.num_vms)
    for at_bin in range(now - REPEATS + 1, now + 1):
        begun_s = time.perf_counter()
        model.forecast(history, at_bin=at_bin, resources=tuple(model.resources))
        quantiles_s.append(time.perf_counter() - begun_s)
        begun_s = time.perf_counter()
        online.scenarios(
            history,
            at_bin=at_bin,
            num_scenarios=num_scenarios,
            rng=np.random.default_rng(at_bin),
        )
        all_s.append(time.perf_counter() - begun_s)
    return {
        "num_vms": history.num_vms,
        "num_scenarios": num_scenarios,
        "quantiles_s": statistics.median(quantiles_s),
        "with_scenarios_s": statistics.median(all_s),
    }


def peak_mib() -> float:
    """Return the most memory this process and its living children have had, added up."""
    peak = 0.0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = status.read_text(encoding="utf-8").splitlines()
        except OSError:
            continue  # it has ended
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        if "VmHWM" in fields and os.getpid() in (int(fields["Pid"]), int(fields["PPid"])):
            peak += int(fields["VmHWM"].split()[0]) / 1024
    return peak


def main() -> None:
    """Train, forecast, and print the seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trace", type=Path, required=True, help="tidy Parquet of the trace")
    parser.add_argument("--train-until", default="2013-09-02")
    parser.add_argument("--json", type=Path, default=None)
    arguments = parser.parse_args()
    until_at = instant(arguments.train_until, "--train-until")
    history = read_history(arguments.trace, until_at=until_at)
    model = QuantileModel(resources=history.resources)
    begun_s = time.perf_counter()
    model.fit(history, until_bin=history.num_bins)
    document: dict[str, Any] = {
        "num_vms": history.num_vms,
        "num_bins": history.num_bins,
        "train_s": time.perf_counter() - begun_s,
        "train_peak_mib": peak_mib(),
        "forecasts": [],
        "machine": machine(),
    }
    print(
        f"trained on {history.num_vms} VMs, {len(model.resources)} resources: "
        f"{document['train_s']:.0f} s, {document['train_peak_mib']:,.0f} MiB",
        flush=True,
    )
    latest = history.window(max(0, history.num_bins - KEPT_BINS), history.num_bins)
    for num_vms in SIZES:
        row = forecast_seconds(model, repeated(latest, num_vms))
        document["forecasts"].append(row)
        print(
            f"{num_vms:5d} VMs: quantiles {row['quantiles_s']:.2f} s, with "
            f"{row['num_scenarios']:.0f} scenarios {row['with_scenarios_s']:.2f} s",
            flush=True,
        )
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
