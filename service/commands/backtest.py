"""``foreswap backtest``: how good the forecasts would have been."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from service.commands import console
from service.options import Seed, instant, require_writable
from service.telemetry import MEND_HELP, defects_document, defects_line

if TYPE_CHECKING:
    from rich.table import Table


def backtest(
    trace: Annotated[Path, typer.Option(help="Telemetry: tidy Parquet or CSV.")],
    train_until: Annotated[str, typer.Option(help="End of the training time (UTC).")],
    test_from: Annotated[str, typer.Option(help="First instant to forecast at (UTC).")],
    test_until: Annotated[str, typer.Option(help="End of the test time (UTC).")],
    unseen_fraction: Annotated[
        float, typer.Option(help="Share of the VMs kept out of training.", min=0.0, max=0.99)
    ] = 0.3,
    seed: Seed = 0,
    mend: Annotated[bool, typer.Option("--mend", help=MEND_HELP)] = False,
    compare: Annotated[
        list[str] | None,
        typer.Option(
            help="Judge models of this library, too: lightgbm, statsforecast (extra: compare)."
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write all figures here as JSON.")] = None,
    plots: Annotated[
        Path | None,
        typer.Option(help="Draw coverage, reliability and fans into this folder (extra: plots)."),
    ] = None,
) -> None:
    """Forecast a trace from a rolling origin, as it would have been, and compare with baselines."""
    from forecast.backtest import run_backtest
    from forecast.comparison import compared_models, require_compared
    from forecast.extras import require_extra
    from forecast.tidy import read_history
    from solver.instances import write_document

    require_writable(json, "--json")
    require_compared(compare or ())
    if plots is not None:
        from forecast.plots import draw_plots, make_folder

        require_extra("matplotlib", extra="plots", path="--plots")
        make_folder(plots)
    until_at = instant(test_until, "--test-until")
    with console.err().status("reading the trace"):
        history = read_history(trace, until_at=until_at, mend=mend)
    console.note(defects_line(history.report))
    if until_at > history.end_at:
        console.note(f"the trace ends at {history.end_at:%Y-%m-%d %H:%M} UTC: tested so far")
    with console.counted("training, then forecasting", "origins") as progress:
        report = run_backtest(
            history,
            train_until=instant(train_until, "--train-until"),
            test_from=instant(test_from, "--test-from"),
            test_until=min(until_at, history.end_at),
            unseen_fraction=unseen_fraction,
            seed=seed,
            compared=compared_models(compare or (), history.resources, seed=seed),
            progress=progress,
        )
    document = report.to_json() | {"defects": defects_document(history.report.by_vm)}
    if json is not None:
        write_document(json, document)
    if plots is not None:
        draw_plots(document, plots)
    out = console.out()
    out.print(_loss_table("VMs that took part in training", report.results))
    if report.unseen:
        out.print(_loss_table("VMs never seen before", report.unseen))
    for name in report.settings["compared"]:
        out.print(_compared_table(name, report.results))
    if report.host_sums:
        out.print(_sums_table(report.host_sums))
    out.print(
        f"{report.settings['num_vms']} VMs ({report.settings['num_unseen']} unseen), "
        f"{report.settings['num_origins']} origins; trained in {report.train_seconds:.0f} s, "
        f"{report.forecast_seconds:.2f} s a forecast",
        soft_wrap=True,
    )


def _loss_table(title: str, results: Any) -> Table:
    """Return the loss of the busy VMs and of all, by resource and horizon."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name in ("resource", "minutes", "VMs"):
        table.add_column(name, justify="right" if name == "minutes" else "left")
    for name in ("pinball", "best baseline", "skill", "≤ p50", "≤ p95", "≤ p99", "readings"):
        table.add_column(name, justify="right")
    for resource, by_horizon in results.items():
        for minutes, groups in by_horizon.items():
            for group in ("busy", "all"):
                cell = groups.get(group)
                if cell is not None:
                    table.add_row(
                        resource,
                        minutes,
                        group,
                        f"{cell['pinball']:.4f}",
                        f"{cell['best_baseline_pinball']:.4f} ({cell['best_baseline']})",
                        f"{100 * cell['skill']:+.1f} %",
                        *(f"{100 * cell['coverage'][q]:.1f} %" for q in ("0.5", "0.95", "0.99")),
                        f"{cell['n']:,}",
                    )
    return table


def _compared_table(name: str, results: Any) -> Table:
    """Return how much less the loss of busy VMs is than with another library's models."""
    from rich.table import Table

    table = Table(title=f"Less loss than {name}, busy VMs", title_justify="left")
    minutes = list(dict.fromkeys(m for by_horizon in results.values() for m in by_horizon))
    for heading in ("resource", *(f"{m} min" for m in minutes)):
        table.add_column(heading, justify="right")
    for resource, by_horizon in results.items():
        cells = [by_horizon.get(m, {}).get("busy") for m in minutes]
        table.add_row(resource, *(_less(cell, name) for cell in cells))
    return table


def _less(cell: Any, name: str) -> str:
    """Return by how much, or nothing where neither was judged."""
    theirs = 0.0 if cell is None else cell["compared"][name]
    return f"{100 * (1 - cell['pinball'] / theirs):+.1f} %" if theirs > 0 else ""


def _sums_table(host_sums: Any) -> Table:
    """Return how often sums over host-sized groups fell inside their 90 % band."""
    from rich.table import Table

    table = Table(title="90 % bands of host sums (15 to 25 VMs)", title_justify="left")
    for name in ("minutes", "inside", "95 % interval", "if independent", "if identical", "n"):
        table.add_column(name, justify="right")
    for minutes, cell in host_sums.items():
        low, high = cell["coverage_90_interval"]
        table.add_row(
            minutes,
            f"{100 * cell['coverage_90']:.1f} %",
            f"{100 * low:.1f} to {100 * high:.1f} %",
            f"{100 * cell['independent']['coverage_90']:.1f} %",
            f"{100 * cell['comonotone']['coverage_90']:.1f} %",
            f"{cell['n']:,}",
        )
    return table
