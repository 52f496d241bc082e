"""``foreswap train``: a forecast model from a history, kept in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from service.commands import console
from service.options import Seed, instant, require_writable
from service.telemetry import MEND_HELP, defects_line

if TYPE_CHECKING:
    from forecast.history import History
    from forecast.persist import ModelFile
    from forecast.promotion import Verdict
    from forecast.quantile import QuantileModel


LEAST_JUDGED_BINS: Final = 144
"""Half a day: less says too little about a model."""


def train(
    history: Annotated[Path, typer.Argument(help="Telemetry: tidy Parquet or CSV.")],
    model: Annotated[Path, typer.Argument(help="Model file to write.", metavar="MODEL")],
    until: Annotated[
        str | None, typer.Option(help="Read nothing from this instant (UTC) on.")
    ] = None,
    unless_worse_than: Annotated[
        Path | None,
        typer.Option(
            help="The model in use: write nothing, and end with exit code 1, if the new one is "
            "worse on the latest days.",
            metavar="FILE",
        ),
    ] = None,
    judge_days: Annotated[
        float, typer.Option(help="How many latest days the two are judged on.", min=0.1)
    ] = 3.0,
    time_zone: Annotated[
        str, typer.Option(help="By whose clock people work, as in the tz database.")
    ] = "UTC",
    seed: Seed = 0,
    mend: Annotated[bool, typer.Option("--mend", help=MEND_HELP)] = False,
) -> None:
    """Train the forecaster on a history; `foreswap solve --model` uses it."""
    from forecast.features import FeatureSettings
    from forecast.persist import load_model, save_model
    from forecast.quantile import QuantileModel, TrainingSettings
    from forecast.tidy import read_history

    require_writable(model, "MODEL")
    until_at = None if until is None else instant(until, "--until")
    features = FeatureSettings(time_zone=time_zone)
    current = None if unless_worse_than is None else load_model(unless_worse_than)
    with console.err().status("reading"):
        known = read_history(history, until_at=until_at, mend=mend)
    console.note(defects_line(known.report))
    trained = QuantileModel(
        resources=known.resources,
        training=TrainingSettings(seed=seed),
        features=features,
    )
    verdict = None
    if current is not None:
        with console.err().status("judging"):
            verdict = _judged(trained, current, known, judge_days)
        if not verdict.accepted:
            console.note(
                f"{model} is not written: on the last {judge_days:g} days the new model's loss is "
                f"{verdict.ratio:.3f} times that of {unless_worse_than}"
            )
            raise typer.Exit(1)
    with console.err().status("training"):
        trained.fit(known, until_bin=known.num_bins)
    save_model(trained, model, backtest=None if verdict is None else verdict.to_json())
    names = ", ".join(resource.field for resource in trained.resources)
    judged = "" if verdict is None else f"; loss {verdict.ratio:.3f} times that of the one in use"
    console.out().print(
        f"{model}: trained on {known.num_vms:,} VMs, {known.start_at:%Y-%m-%d %H:%M} to "
        f"{known.end_at:%Y-%m-%d %H:%M} UTC ({names}){judged}",
        soft_wrap=True,
    )


def _judged(candidate: QuantileModel, current: ModelFile, history: History, days: float) -> Verdict:
    """Return how a model trained on all but the latest days does there, beside the one in use.

    Days that the one in use was trained on do not count: there it would be flattered.
    """
    from forecast.promotion import compare
    from solver.domain.errors import InvalidInputError, ModelMismatchError

    lost = [r.field for r in current.model.resources if r not in candidate.resources]
    if lost:
        raise ModelMismatchError(
            f"the model in use forecasts {', '.join(lost)}, of which the history has nothing"
        )
    first_bin = history.num_bins - round(days * 86_400 / history.step_seconds)
    if first_bin <= 0:
        raise InvalidInputError(
            f"expected less than the {history.end_at - history.start_at} of the history, "
            f"got {days:g} days",
            path="--judge-days",
        )
    from_bin = max(first_bin, history.bin_at(current.trained_until))
    if history.num_bins - from_bin < LEAST_JUDGED_BINS:
        raise InvalidInputError(
            f"expected a history that goes on for half a day or more after the model in use was "
            f"trained, which was until {current.trained_until:%Y-%m-%d %H:%M} UTC; it ends "
            f"{history.end_at:%Y-%m-%d %H:%M} UTC",
            path="--unless-worse-than",
        )
    candidate.fit(history, until_bin=from_bin)
    return compare(
        candidate, current.model, history, from_bin=from_bin, resources=current.model.resources
    )
