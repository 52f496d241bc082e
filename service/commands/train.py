"""``foreswap train``: a forecast model from a history, kept in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from service.commands import console
from service.options import Seed, instant, require_writable
from service.telemetry import MEND_HELP, defects_line


def train(
    history: Annotated[Path, typer.Argument(help="Telemetry: tidy Parquet or CSV.")],
    model: Annotated[Path, typer.Argument(help="Model file to write.", metavar="MODEL")],
    until: Annotated[
        str | None, typer.Option(help="Read nothing from this instant (UTC) on.")
    ] = None,
    seed: Seed = 0,
    mend: Annotated[bool, typer.Option("--mend", help=MEND_HELP)] = False,
) -> None:
    """Train the forecaster on a history; `foreswap solve --model` uses it."""
    from forecast.persist import save_model
    from forecast.quantile import QuantileModel, TrainingSettings
    from forecast.tidy import read_history
    from solver.domain.units import Resource

    require_writable(model, "MODEL")
    until_at = None if until is None else instant(until, "--until")
    with console.err().status("reading"):
        known = read_history(history, until_at=until_at, mend=mend)
    console.note(defects_line(known.report))
    trained = QuantileModel(
        resources=tuple(resource for resource in Resource if known.has(resource)),
        training=TrainingSettings(seed=seed),
    )
    with console.err().status("training"):
        trained.fit(known, until_bin=known.num_bins)
    save_model(trained, model)
    names = ", ".join(resource.field for resource in trained.resources)
    console.out().print(
        f"{model}: trained on {known.num_vms:,} VMs, {known.start_at:%Y-%m-%d %H:%M} to "
        f"{known.end_at:%Y-%m-%d %H:%M} UTC ({names})",
        soft_wrap=True,
    )
