"""``foreswap solve``: a cluster document and its demand in, a plan with reasons out."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.markup import escape

from service.commands import console
from service.options import Seed, positive_seconds, require_writable
from service.telemetry import MEND_HELP, defects_line
from solver.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from solver.domain.cluster import Cluster
    from solver.domain.migration import MigrationParameters
    from solver.domain.result import Result
    from solver.domain.scenario import ScenarioSet

ROOMY: Final = 110
"""Columns from which reasons stand in the table of the plan rather than below it."""


class EngineName(enum.Enum):
    """Engines that may be asked for."""

    PORTFOLIO = "portfolio"
    GREEDY = "greedy"
    CPSAT = "cpsat"


def solve(
    cluster: Annotated[Path, typer.Argument(help="Cluster document.", metavar="CLUSTER.json")],
    scenarios: Annotated[
        Path | None, typer.Option(help="Demand: a scenario document.", metavar="FILE")
    ] = None,
    history: Annotated[
        Path | None,
        typer.Option(help="Demand: telemetry to forecast from, in Parquet or CSV.", metavar="FILE"),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            help="Forecast with this model of `foreswap train`; needs --history.", metavar="FILE"
        ),
    ] = None,
    mend: Annotated[bool, typer.Option("--mend", help=MEND_HELP)] = False,
    calibration: Annotated[
        Path | None,
        typer.Option(help="What moves took, of `foreswap execute --calibration`.", metavar="FILE"),
    ] = None,
    limit: Annotated[str, typer.Option(help="Time to search for, e.g. 10s.")] = "10s",
    engine: Annotated[EngineName, typer.Option(help="Engine.")] = EngineName.PORTFOLIO,
    seed: Seed = 0,
    json: Annotated[
        Path | None, typer.Option(help="Write the result here as JSON.", metavar="OUT")
    ] = None,
    plan: Annotated[
        Path | None, typer.Option(help="Write the plan alone here as JSON.", metavar="OUT")
    ] = None,
) -> None:
    """Say what to move, in which order and why; touches nothing."""
    from service.pipeline import Planner
    from solver.instances import (
        plan_to_document,
        read_cluster,
        read_scenarios,
        result_to_document,
        write_document,
    )
    from solver.params import SolveParams

    require_writable(json, "--json")
    require_writable(plan, "--plan")
    params = SolveParams(
        engine=engine.value,
        limit_s=positive_seconds(limit, "--limit"),
        seed=seed,
        migration=_estimator(calibration),
    )
    _require_one_demand(scenarios, history, model)
    snapshot = read_cluster(cluster)
    with console.err().status("solving"):
        if scenarios is not None:
            demand = read_scenarios(scenarios)
        else:
            assert history is not None
            demand = _forecast(snapshot, history, model, seed, mend=mend)
        result, _ = Planner(params).plan(snapshot, demand)
    if json is not None:
        write_document(json, result_to_document(result))
    if plan is not None:
        write_document(plan, plan_to_document(result.plan))
    _show(snapshot, demand, result)


def _estimator(calibration: Path | None) -> MigrationParameters:
    from service.calibration_file import read_parameters
    from solver.domain.migration import DEFAULT_MIGRATION

    if calibration is None:
        return DEFAULT_MIGRATION
    if not calibration.exists():
        raise InvalidInputError(
            f"file {str(calibration)!r}: expected a calibration, got none", path="--calibration"
        )
    return read_parameters(calibration)


def _require_one_demand(scenarios: Path | None, history: Path | None, model: Path | None) -> None:
    if scenarios is None and history is None:
        raise InvalidInputError(
            "expected the demand of the VMs, got none: give a scenario document with --scenarios "
            "FILE, or telemetry to forecast from with --history FILE"
        )
    if scenarios is not None and history is not None:
        raise InvalidInputError("expected one source of demand, got --scenarios and --history")
    if model is not None and history is None:
        raise InvalidInputError("expected --history with it, got none", path="--model")


def _forecast(
    cluster: Cluster, history_path: Path, model_path: Path | None, seed: int, *, mend: bool
) -> ScenarioSet:
    """Return joint scenarios from the readings before the snapshot."""
    from forecast.persist import load_model
    from forecast.tidy import read_history
    from service.solving.forecasting import scenarios_of_history

    history = read_history(history_path, mend=mend)
    if mend:
        console.note(defects_line(history.report))
    return scenarios_of_history(
        cluster,
        history,
        seed=seed,
        model=None if model_path is None else load_model(model_path).model,
        path="--history",
        model_path="--model",
    )


def _show(cluster: Cluster, scenarios: ScenarioSet, result: Result) -> None:
    from service.tables import contention_table, counted, plan_table, terms_table, violation_lines
    from solver.domain.check import check_placement

    out = console.out()
    out.print(contention_table(cluster, scenarios, result))
    if result.plan.steps:
        reasons = {str(item.vm_id): item.sentence for item in result.explanations}
        roomy = out.width >= ROOMY
        out.print(plan_table(result.plan, reasons if roomy else None))
        for number, step in enumerate(() if roomy else result.plan.steps, 1):
            out.print(f"{number}. {reasons.get(step.vm_id, step.reason)}", markup=False)
        out.print(terms_table(result.before, result.after))
    repaired = len([v for v in check_placement(cluster, cluster.placement) if v.hard]) - len(
        result.remaining
    )
    if repaired > 0:
        out.print(f"{counted(repaired, 'violation')} repaired")
    for line in violation_lines(result.remaining):
        out.print("remains: ", line, soft_wrap=True)
    for refusal in result.refusals:
        out.print(refusal.sentence, soft_wrap=True, markup=False)
    for failure in result.failures:
        console.note(f"{escape(failure)}; the answer is what other engines found")
    known = result.gap is not None and result.gap >= 0.0005
    gap = f"; the best possible costs at most {100 * (result.gap or 0):.1f} % less" if known else ""
    out.print(
        f"{_STATUS[result.status.value]}; {counted(len(result.plan.steps), 'step')}; engine "
        f"{result.engine}, {result.runtime_s:.2f} s{gap}",
        soft_wrap=True,
    )


_STATUS: Final = {
    "optimal": "proven optimal",
    "feasible": "best found within the limit",
    "no_beneficial_move": "no move is worth its cost",
    "below_threshold": "no host is contended and nothing is broken: nothing to do",
}
