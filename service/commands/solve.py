"""``foreswap solve``: a cluster document and its demand in, a plan with reasons out."""

from __future__ import annotations

import enum
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from service.commands import console
from service.options import Seed, positive_seconds, require_writable
from service.telemetry import MEND_HELP, defects_line
from solver.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from forecast.forecaster import Forecaster
    from forecast.history import History
    from solver.domain.cluster import Cluster
    from solver.domain.migration import MigrationParameters
    from solver.domain.result import Result
    from solver.domain.scenario import ScenarioSet
    from solver.domain.units import Resource

ROOMY: Final = 110
"""Columns from which reasons stand in the table of the plan rather than below it."""
STALE_AFTER: Final = timedelta(minutes=30)
"""A history that ends longer than this before the snapshot says little about the next hour."""


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
    from solver.solve import SolveParams

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
    import numpy as np

    from forecast.baseline import Persistence
    from forecast.classes import classify
    from forecast.online import OnlineForecaster
    from forecast.persist import load_model
    from forecast.scenarios import affordable_scenarios
    from forecast.tidy import read_history

    history = read_history(history_path, mend=mend)
    if mend:
        console.note(defects_line(history.report))
    _require_known(cluster, history)
    end_bin = min(history.num_bins, history.bin_at(cluster.observed_at))
    _require_recent(cluster, history, end_bin)
    # The snapshot, not the last row of a file, says which VMs there are.
    history = history.until(end_bin).with_present([vm.id for vm in cluster.vms], end_bin - 1)
    resources = _forecastable(cluster, history)
    forecaster: Forecaster = Persistence()
    if model_path is not None:
        trained = load_model(model_path).model
        missing = [r.field for r in resources if r not in trained.models_]
        if missing:
            raise InvalidInputError(
                f"expected a model trained on {missing[0]}, got one without it", path="--model"
            )
        forecaster = trained
    online = OnlineForecaster(
        forecaster=forecaster,
        resources=resources,
        class_of=classify(history, until_bin=end_bin).by_vm(history.vm_ids),
        seed=seed,
    )
    online.warm_up(history, until_bin=end_bin)
    _, scenarios = online.scenarios(
        history,
        at_bin=end_bin - 1,
        num_scenarios=affordable_scenarios(len(cluster.vms)),
        rng=np.random.default_rng(seed),
    )
    return scenarios


def _require_known(cluster: Cluster, history: History) -> None:
    known = set(history.vm_ids)
    missing = [vm.id for vm in cluster.vms if vm.id not in known]
    if missing:
        raise InvalidInputError(
            f"expected readings of every VM of the cluster, got none of {missing[0]!r} "
            f"({len(missing)} of {len(cluster.vms)} VMs missing)",
            path="--history",
        )


def _require_recent(cluster: Cluster, history: History, end_bin: int) -> None:
    ends_at = history.time_of(end_bin)
    if end_bin < 1 or cluster.observed_at - ends_at > STALE_AFTER:
        raise InvalidInputError(
            f"expected readings up to the snapshot at {cluster.observed_at.isoformat()} (at most "
            f"{STALE_AFTER.seconds // 60} minutes short of it), got {history.start_at.isoformat()} "
            f"to {history.end_at.isoformat()}",
            path="--history",
        )
    last_bins = history.last_read_bin(end_bin - 1)[history.positions([vm.id for vm in cluster.vms])]
    for vm, last_bin in zip(cluster.vms, last_bins.tolist(), strict=True):
        read_until = history.time_of(last_bin + 1)
        if last_bin < 0 or cluster.observed_at - read_until > STALE_AFTER:
            newest = f"its newest ends at {read_until.isoformat()}" if last_bin >= 0 else "none"
            raise InvalidInputError(
                f"expected readings of VM {vm.id!r} up to the snapshot at "
                f"{cluster.observed_at.isoformat()} (at most {STALE_AFTER.seconds // 60} minutes "
                f"short of it), got {newest}",
                path="--history",
            )


def _forecastable(cluster: Cluster, history: History) -> tuple[Resource, ...]:
    """Return the resources that some host limits and that were read."""
    from solver.domain.units import Resource

    limited = [
        resource
        for resource in Resource
        if any(host.capacity.as_tuple()[resource] is not None for host in cluster.hosts)
    ]
    return tuple(resource for resource in limited if history.has(resource))


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
    known = result.gap is not None and result.gap >= 0.0005
    gap = f"; at most {100 * (result.gap or 0):.1f} % above the best possible" if known else ""
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
