"""What other settings and fewer predictors change about forecasts, and where the loss is made.

Boosted models of one resource are fitted on the training days as ``foreswap train`` fits them, and
once more for each trial with something changed: more rows, more rounds, other trees, a group of
predictors hidden, several models averaged, the trees of another library (extra: compare). All are
judged on the same readings of the test days: busy VMs that took part in training, the mean pinball
loss over the quantiles at each modelled horizon, without the online correction, which is the same
for all. Figures are relative to the first trial, in percent of its loss; a training sample drawn
anew moves them by up to three.

At the end: by how few VMs how much of the loss is made, and what the best constant band *in
hindsight* loses on those, of their demand and of its distance from the newest reading.

    python -m benchmarks.forecast_trials --trace FILE --json OUT [--resource cpu]
        [--train-until 2013-09-02] [--trials "as it is,64 leaves"]

Trials that OUT has already are not run again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from rich.console import Console
from rich.table import Table

from forecast.backtest import EVERY_BINS, unseen_vms
from forecast.classes import VmClasses, classify
from forecast.comparison import LightGbm
from forecast.extras import require_extra
from forecast.features import (
    FEATURE_NAMES,
    MODELLED_BINS,
    MODELLED_MINUTES,
    NUM_MODELLED,
    FeatureSettings,
    features_at,
)
from forecast.forecaster import QUANTILES
from forecast.history import BinState, Floats, History
from forecast.metrics import pinball
from forecast.quantile import QuantileModel, TrainingSettings
from forecast.scaling import scale, unit_of
from forecast.scoring import RESOURCE_NAMES
from forecast.tidy import read_history
from forecast.training_rows import MIN_KNOWN, TrainingRows, draw_rows
from service.files import write_text
from service.replay.report import machine
from solver.domain.units import Resource

APART_BINS: Final = 2 * EVERY_BINS
"""Between origins; every other one of a backtest's."""
UNSEEN_FRACTION: Final = 0.3
RESOURCES: Final = dict(zip(RESOURCE_NAMES, Resource, strict=True))
FIRST: Final = "as it is"
TOP: Final = (10, 20, 40, 80)
"""Numbers of VMs whose share of the loss is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is changed.

    Parameters
    ----------
    training
        Fields of ``TrainingSettings``.
    hidden
        Predictors whose names begin like this are the same for all.
    models
        How many are fitted, each on rows of its own, and averaged quantile by quantile.
    model_type
        Whose trees.
    """

    training: dict[str, Any] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    models: int = 1
    model_type: type[QuantileModel] = QuantileModel


TRIALS: Final[dict[str, Trial]] = {
    FIRST: Trial(),
    "other rows": Trial(training={"seed": 1}),
    "four times the rows": Trial(training={"rows_per_resource": 600_000}),
    "a quarter of the rows": Trial(training={"rows_per_resource": 37_500}),
    "300 rounds at half the rate": Trial(training={"iterations": 300, "learning_rate": 0.05}),
    "40 rounds": Trial(training={"iterations": 40}),
    "16 leaves": Trial(training={"max_leaves": 16}),
    "64 leaves": Trial(training={"max_leaves": 64}),
    "leaves of 20 rows": Trial(training={"min_rows_per_leaf": 20}),
    "leaves of 2000 rows": Trial(training={"min_rows_per_leaf": 2_000}),
    "a fifth of the predictors a split": Trial(training={"feature_share": 0.2}),
    "without age": Trial(hidden=("log_age",)),
    "without the fleet": Trial(hidden=("fleet_",)),
    "without the calendar": Trial(hidden=("hour_sin", "hour_cos", "weekday_", "minute_of_hour")),
    "without yesterday and last week": Trial(hidden=("yesterday", "last_week")),
    "without past errors": Trial(hidden=("error_",)),
    "without analogues": Trial(hidden=("analogue_",)),
    "three models averaged": Trial(models=3),
    "LightGBM": Trial(model_type=LightGbm),
    "LightGBM with 300 rounds at half the rate": Trial(
        model_type=LightGbm, training={"iterations": 300, "learning_rate": 0.05}
    ),
    "LightGBM with 40 rounds": Trial(model_type=LightGbm, training={"iterations": 40}),
    "LightGBM with 16 leaves": Trial(model_type=LightGbm, training={"max_leaves": 16}),
    "LightGBM with 64 leaves": Trial(model_type=LightGbm, training={"max_leaves": 64}),
    "LightGBM with leaves of 20 rows": Trial(
        model_type=LightGbm, training={"min_rows_per_leaf": 20}
    ),
    "LightGBM with leaves of 2000 rows": Trial(
        model_type=LightGbm, training={"min_rows_per_leaf": 2_000}
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """Readings of the test days, and what was known before: a row a VM, origin and horizon.

    Parameters
    ----------
    features
        Shape ``(num_rows, num_features)``.
    moved
        How far demand was from the newest reading, on the common scale, shape ``(num_rows,)``.
    level
        That newest reading, shape ``(num_rows,)``.
    horizon, vm
        Positions, shape ``(num_rows,)``.
    """

    features: npt.NDArray[np.float64]
    moved: Floats
    level: Floats
    horizon: npt.NDArray[np.int64]
    vm: npt.NDArray[np.int64]


def judged_readings(
    history: History, resource: Resource, busy: npt.NDArray[np.intp], first_bin: int
) -> Judged:
    """Return all that busy VMs measured on the test days, with what was known before."""
    unit = unit_of(history, resource)
    parts = []
    for at in range(first_bin - 1, history.num_bins - max(MODELLED_BINS), APART_BINS):
        running = busy[history.state[busy, at] <= BinState.INTERPOLATED]
        block = features_at(history, resource, at, settings=FeatureSettings(), positions=running)
        targets = at + np.array(MODELLED_BINS)
        demand = scale(
            history.readings[resource][running][:, targets], unit[running][:, None], resource
        )
        known = (history.state[running][:, targets] == BinState.MEASURED) & ~np.isnan(demand)
        known &= (~np.isnan(block.level) & (block.known >= MIN_KNOWN))[:, None]
        level = np.broadcast_to(block.level[:, None], known.shape)
        horizon = np.broadcast_to(np.arange(NUM_MODELLED), known.shape)
        vm = np.broadcast_to(running[:, None], known.shape)
        parts.append(
            (block.values[known], (demand - level)[known], level[known], horizon[known], vm[known])
        )
    features, moved, level, horizon, vm = (
        np.concatenate(part) for part in zip(*parts, strict=True)
    )
    return Judged(
        features=features.astype(np.float64), moved=moved, level=level, horizon=horizon, vm=vm
    )


def losses(
    trial: Trial, seen: History, classes: VmClasses, resource: Resource, judged: Judged
) -> Floats:
    """Return the mean loss over the quantiles of each reading, shape ``(num_rows,)``."""
    hidden = [k for k, name in enumerate(FEATURE_NAMES) if name.startswith(trial.hidden)]
    features = judged.features.copy()
    features[:, hidden] = 0.0
    quantiles = np.zeros((len(features), len(QUANTILES)), dtype=np.float64)
    for number in range(trial.models):
        settings = TrainingSettings(**{"seed": number} | trial.training)
        rows = draw_rows(
            seen,
            resource,
            seen.num_bins,
            classes=classes,
            features=FeatureSettings(),
            num_rows=settings.rows_per_resource,
            rows_per_instant=settings.rows_per_instant,
            idle_weight=settings.idle_weight,
            rng=np.random.default_rng(settings.seed),
        )
        shown = rows.features.copy()
        shown[:, hidden] = 0.0
        shown_rows = replace(rows, features=shown)
        columns = Parallel(n_jobs=2)(
            delayed(_fit_and_predict)(trial.model_type, shown_rows, q, settings, features)
            for q in QUANTILES
        )
        quantiles += np.sort(np.stack(columns, axis=1), axis=1)
    lost: Floats = pinball(judged.moved, quantiles / trial.models, QUANTILES).mean(axis=1)
    return lost


def _fit_and_predict(
    model_type: type[QuantileModel],
    rows: TrainingRows,
    quantile: float,
    settings: TrainingSettings,
    features: Any,
) -> npt.NDArray[np.floating[Any]]:
    return model_type.fit_one(rows, quantile, settings).predict(features)


def concentration(lost: Floats, judged: Judged) -> list[dict[str, Any]]:
    """Return by which share of the loss the dearest VMs come in for at the longest horizon.

    And what the best constant bands in hindsight lose on them, VM by VM, relative to the forecast.
    """
    last = judged.horizon == NUM_MODELLED - 1
    vms = np.unique(judged.vm[last])
    rows_of = {v: np.flatnonzero(last & (judged.vm == v)) for v in vms.tolist()}
    dearest = sorted(rows_of, key=lambda v: -float(lost[rows_of[v]].sum()))
    total = float(lost[last].sum())
    found = []
    for num in TOP:
        rows = [rows_of[v] for v in dearest[:num]]
        ours = sum(float(lost[some].sum()) for some in rows)
        demand = sum(_hindsight(judged.level[some] + judged.moved[some]) for some in rows)
        distance = sum(_hindsight(judged.moved[some]) for some in rows)
        found.append(
            {
                "vms": num,
                "of": len(vms),
                "share_of_loss": ours / total,
                "constant_demand": demand / ours,
                "constant_distance": distance / ours,
            }
        )
    return found


def _hindsight(values: Floats) -> float:
    """Return what a constant band loses in all that fits these values best."""
    best = np.quantile(values, QUANTILES)
    return float(
        pinball(values, np.broadcast_to(best, (len(values), len(best))), QUANTILES)
        .mean(axis=1)
        .sum()
    )


def print_tables(document: dict[str, Any], console: Console) -> None:
    """Print trials against the first one, and by which VMs the loss is made."""
    table = Table(title=f"{document['resource']}: loss relative to “{FIRST}”, in percent")
    table.add_column("trial")
    for minutes in MODELLED_MINUTES:
        table.add_column(f"{minutes} min", justify="right")
    table.add_column("seconds", justify="right")
    first = document["trials"][FIRST]["loss"]
    for name, row in document["trials"].items():
        change = [100 * (loss / base - 1) for loss, base in zip(row["loss"], first, strict=True)]
        table.add_row(name, *(f"{percent:+.1f}" for percent in change), f"{row['seconds']:.0f}")
    console.print(table)
    table = Table(title="Who makes the loss at the longest horizon, and constants in hindsight")
    for name in ("dearest VMs", "share of the loss", "constant demand", "constant distance"):
        table.add_column(name, justify="right")
    for row in document["concentration"]:
        table.add_row(
            f"{row['vms']} of {row['of']}",
            f"{row['share_of_loss']:.0%}",
            f"{row['constant_demand'] - 1:+.0%}",
            f"{row['constant_distance'] - 1:+.0%}",
        )
    console.print(table)


def main() -> None:
    """Run the trials that are missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--trace", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--resource", choices=list(RESOURCES), default="cpu")
    parser.add_argument("--train-until", default="2013-09-02")
    parser.add_argument("--trials", default=",".join(TRIALS), help="names, separated by commas")
    arguments = parser.parse_args()
    wanted = arguments.trials.split(",")
    for name in wanted:
        if name not in TRIALS:
            parser.error(f"--trials: expected some of {', '.join(TRIALS)}; got {name!r}")
    if any(TRIALS[name].model_type is LightGbm for name in wanted):
        require_extra("lightgbm", extra="compare", path="--trials")
    chosen = [FIRST, *(name for name in TRIALS if name in wanted)]
    document: dict[str, Any] = {"resource": arguments.resource, "trials": {}, "machine": machine()}
    if arguments.json.is_file():
        document = json.loads(arguments.json.read_text(encoding="utf-8"))
    resource = RESOURCES[arguments.resource]
    history = read_history(arguments.trace, mend=True)
    first_bin = history.bin_at(datetime.fromisoformat(arguments.train_until).replace(tzinfo=UTC))
    unseen = unseen_vms(history, UNSEEN_FRACTION, 0)
    seen = history.until(first_bin).select(np.flatnonzero(~unseen))
    classes = classify(history, until_bin=first_bin)
    busy = np.flatnonzero(classes.busy & classes.known & ~unseen)
    judged = judged_readings(history, resource, busy, first_bin)
    of_seen = classify(seen, until_bin=first_bin)
    for name in dict.fromkeys(chosen):
        if name in document["trials"]:
            continue
        begun_s = time.monotonic()
        lost = losses(TRIALS[name], seen, of_seen, resource, judged)
        by_horizon = [float(lost[judged.horizon == h].mean()) for h in range(NUM_MODELLED)]
        row = {"loss": by_horizon, "seconds": time.monotonic() - begun_s}
        document["trials"][name] = row
        if name == FIRST:
            document["concentration"] = concentration(lost, judged)
        write_text(arguments.json, json.dumps(document, indent=1) + "\n")
        print(f"{name}: {row['seconds']:.0f} s", file=sys.stderr, flush=True)
    print_tables(document, Console(width=110))


if __name__ == "__main__":
    main()
