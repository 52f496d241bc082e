"""From what was asked to work: every check that needs more than one field stands here."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from service.solving.demand import Demand, GivenScenarios, PresentLoad, Quantiles, Readings
from service.solving.schema import (
    DemandModel,
    HistoryModel,
    OptionsModel,
    QuantilesModel,
    SolveRequest,
)
from service.solving.work import SolveWork
from solver.domain.cluster import Cluster
from solver.domain.errors import InvalidInputError
from solver.domain.migration import DEFAULT_MIGRATION, MigrationParameters
from solver.domain.units import FIELDS, Amounts, Resource, VmId
from solver.domain.weights import Weights
from solver.instances import cluster_from_model, rules_from_models, scenarios_from_model
from solver.params import SolveParams
from solver.schema import AmountsModel

FORMS: Final = ("scenarios", "quantiles", "history", "usage")


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveLimits:
    """What one request may ask for.

    Parameters
    ----------
    max_limit_s
        Longest search.
    model_path
        A trained model to forecast histories with; ``None`` for the one that needs no training.
    migration
        What moves take, as fitted from measured ones.
    """

    max_limit_s: float = 300.0
    model_path: Path | None = None
    migration: MigrationParameters = DEFAULT_MIGRATION


def solve_work(request: SolveRequest, *, now: datetime, limits: SolveLimits) -> SolveWork:
    """Return the work that a request asks for.

    Raises
    ------
    InvalidInputError
        With the path of what is wrong, from the top of the request.
    """
    with below("cluster"):
        cluster = cluster_from_model(request.cluster, now=now)
    if request.options.rules is not None:
        with below("options"):
            cluster = replace(cluster, rules=rules_from_models(request.options.rules))
    params = solve_params(request.options, limits)
    return SolveWork(
        cluster=cluster,
        demand=demand_of(request, cluster, limits),
        params=params,
        num_scenarios=request.options.num_scenarios,
    )


def solve_params(options: OptionsModel, limits: SolveLimits) -> SolveParams:
    """Return how to solve; errors as of :func:`solve_work`."""
    if options.limit_s > limits.max_limit_s:
        raise InvalidInputError(
            f"expected at most {limits.max_limit_s:g} seconds, got {options.limit_s:g}",
            path="options.limit_s",
        )
    if options.stop_threshold_host_s > options.act_threshold_host_s:
        raise InvalidInputError(
            f"expected at most the threshold to act, {options.act_threshold_host_s:g}, "
            f"got {options.stop_threshold_host_s:g}",
            path="options.stop_threshold_host_s",
        )
    given = options.weights.model_dump()
    with below("options"):
        weights = Weights(
            **given | {"resources": tuple(given["resources"]), "knees": tuple(given["knees"])}
        )
    return SolveParams(
        weights=weights,
        migration=limits.migration,
        engine=options.engine,
        limit_s=options.limit_s,
        work_limit=options.work_limit,
        seed=options.seed,
        act_threshold_host_s=options.act_threshold_host_s,
        stop_threshold_host_s=options.stop_threshold_host_s,
        was_acting=options.was_acting,
    )


def demand_of(request: DemandModel, cluster: Cluster, limits: SolveLimits) -> Demand:
    """Return what the VMs will need; errors as of :func:`solve_work`."""
    given = [name for name in FORMS if getattr(request, name) is not None]
    if len(given) > 1:
        raise InvalidInputError(
            f"expected one form of demand at most, got {' and '.join(given)}", path=given[1]
        )
    if request.scenarios is not None:
        with below("scenarios"):
            scenarios = scenarios_from_model(request.scenarios)
            scenarios = scenarios.for_vms(tuple(vm.id for vm in cluster.vms))
        return GivenScenarios(given=scenarios)
    if request.quantiles is not None:
        return _quantiles(request.quantiles)
    if request.history is not None:
        return _readings(request.history, limits.model_path)
    return PresentLoad(usage=_amounts(request.usage or {}))


def _quantiles(model: QuantilesModel) -> Quantiles:
    _require_rising(model.horizon_minutes, "quantiles.horizon_minutes")
    _require_rising(model.levels, "quantiles.levels")
    shape = (len(model.horizon_minutes), len(model.levels))
    values: dict[VmId, Mapping[Resource, npt.NDArray[np.float64]]] = {}
    for vm_id, item in model.demand.items():
        by_resource: dict[Resource, npt.NDArray[np.float64]] = {}
        for resource in Resource:
            rows = getattr(item, FIELDS[resource])
            if rows is not None:
                path = f"quantiles.demand[{vm_id!r}].{FIELDS[resource]}"
                by_resource[resource] = _quantile_rows(rows, shape, path)
        values[VmId(vm_id)] = by_resource
    return Quantiles(
        at=model.at,
        horizon_minutes=tuple(model.horizon_minutes),
        levels=tuple(model.levels),
        values=values,
        present=_amounts(model.present),
        common_share=model.common_share,
    )


def _quantile_rows(
    rows: Sequence[Sequence[float]], shape: tuple[int, int], path: str
) -> npt.NDArray[np.float64]:
    widths = {len(row) for row in rows}
    if len(rows) != shape[0] or widths != {shape[1]}:
        raise InvalidInputError(
            f"expected {shape[0]} horizons of {shape[1]} levels, got {len(rows)} of "
            f"{sorted(widths)}",
            path=path,
        )
    values = np.array(rows, dtype=np.float64)
    if (np.diff(values, axis=1) < 0).any():
        raise InvalidInputError("expected quantiles that do not fall with their level", path=path)
    return values


def _require_rising(values: Sequence[float], path: str) -> None:
    for one, next_one in itertools.pairwise(values):
        if next_one <= one:
            raise InvalidInputError(
                f"expected each larger than the one before, got {one:g} and {next_one:g}", path=path
            )


def _readings(model: HistoryModel, model_path: Path | None) -> Readings:
    values: dict[VmId, Mapping[Resource, npt.NDArray[np.float32]]] = {}
    num_bins: int | None = None
    for vm_id, item in model.demand.items():
        by_resource: dict[Resource, npt.NDArray[np.float32]] = {}
        for resource in Resource:
            row: list[float | None] | None = getattr(item, FIELDS[resource])
            if row is None:
                continue
            num_bins = len(row) if num_bins is None else num_bins
            if len(row) != num_bins or not row:
                raise InvalidInputError(
                    f"expected as many readings as all others have, {num_bins} and at least one, "
                    f"got {len(row)}",
                    path=f"history.demand[{vm_id!r}].{FIELDS[resource]}",
                )
            by_resource[resource] = np.array(row, dtype=np.float32)
        values[VmId(vm_id)] = by_resource
    return Readings(start_at=model.start_at, values=values, model_path=model_path)


def _amounts(models: Mapping[str, AmountsModel]) -> dict[VmId, Amounts]:
    return {VmId(vm_id): Amounts(**item.model_dump()) for vm_id, item in models.items()}


@contextmanager
def below(path: str) -> Iterator[None]:
    """Let every error about a part of a request name the place of the part as well."""
    try:
        yield
    except InvalidInputError as error:
        message = str(error).removeprefix(f"{error.path}: ")
        inner = f"{path}.{error.path}" if error.path else path
        raise InvalidInputError(message, path=inner) from error


def summary(work: SolveWork) -> dict[str, Any]:
    """Return what a job remembers of the request: not the whole of a large document."""
    return {
        "num_hosts": len(work.cluster.hosts),
        "num_vms": len(work.cluster.vms),
        "engine": work.params.engine,
        "limit_s": work.params.limit_s,
        "seed": work.params.seed,
    }
