"""From readings of VMs to joint futures of them, where no forecaster is kept at work.

For requests that bring their own history: calibration and memory are made anew of it each time. A
cluster that is looked after all the time has an ``OnlineForecaster`` that remembers.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import numpy as np

from forecast.baseline import Persistence
from forecast.classes import classify
from forecast.forecaster import Forecaster
from forecast.history import History
from forecast.online import OnlineForecaster
from forecast.quantile import QuantileModel
from forecast.scenarios import affordable_scenarios
from solver.domain.cluster import Cluster
from solver.domain.errors import InvalidInputError
from solver.domain.scenario import ScenarioSet
from solver.domain.units import Resource

STALE_AFTER: Final = timedelta(minutes=30)
"""A history that ends longer than this before the snapshot says little about the next hour."""


def scenarios_of_history(
    cluster: Cluster,
    history: History,
    *,
    seed: int,
    num_scenarios: int | None = None,
    model: QuantileModel | None = None,
    path: str = "history",
    model_path: str = "model",
) -> ScenarioSet:
    """Return joint scenarios from the readings before the snapshot.

    Parameters
    ----------
    num_scenarios
        ``None`` for as many as the size of the cluster affords.
    model
        A trained one; without it, the newest readings and the errors that go with them.
    path, model_path
        What errors call the history and the model.

    Raises
    ------
    InvalidInputError
        If a VM was not read, or not lately, or the model lacks a resource.
    """
    _require_known(cluster, history, path)
    end_bin = min(history.num_bins, history.bin_at(cluster.observed_at))
    _require_recent(cluster, history, end_bin, path)
    # The snapshot, not the last row of a file, says which VMs there are.
    history = history.until(end_bin).with_present([vm.id for vm in cluster.vms], end_bin - 1)
    return scenarios_until(
        cluster,
        history,
        end_bin=end_bin,
        seed=seed,
        num_scenarios=num_scenarios,
        model=model,
        model_path=model_path,
    )


def scenarios_until(
    cluster: Cluster,
    history: History,
    *,
    end_bin: int,
    seed: int,
    num_scenarios: int | None = None,
    model: QuantileModel | None = None,
    model_path: str = "model",
    warm_up_days: float = 7.0,
) -> ScenarioSet:
    """Return joint scenarios of the hour after a bin, of a history that knows every VM.

    VMs without readings are forecast from what is assumed of them; other parameters are those of
    :func:`scenarios_of_history`.

    Parameters
    ----------
    warm_up_days
        How much of the end of the history is forecast in hindsight, for calibration.
    """
    resources = forecastable(cluster, history)
    online = OnlineForecaster(
        forecaster=_forecaster(model, resources, model_path),
        resources=resources,
        class_of=classify(history, until_bin=end_bin).by_vm(history.vm_ids),
        seed=seed,
    )
    online.warm_up(history, until_bin=end_bin, days=warm_up_days)
    _, scenarios = online.scenarios(
        history,
        at_bin=end_bin - 1,
        num_scenarios=num_scenarios or affordable_scenarios(len(cluster.vms)),
        rng=np.random.default_rng(seed),
    )
    return scenarios


def forecastable(cluster: Cluster, history: History) -> tuple[Resource, ...]:
    """Return the resources that some host limits and that were read."""
    limited = [
        resource
        for resource in Resource
        if any(host.capacity.as_tuple()[resource] is not None for host in cluster.hosts)
    ]
    return tuple(resource for resource in limited if history.has(resource))


def _forecaster(
    model: QuantileModel | None, resources: tuple[Resource, ...], path: str
) -> Forecaster:
    if model is None:
        return Persistence()
    missing = [resource.field for resource in resources if resource not in model.models_]
    if missing:
        raise InvalidInputError(
            f"expected a model trained on {missing[0]}, got one without it", path=path
        )
    return model


def _require_known(cluster: Cluster, history: History, path: str) -> None:
    known = set(history.vm_ids)
    missing = [vm.id for vm in cluster.vms if vm.id not in known]
    if missing:
        raise InvalidInputError(
            f"expected readings of every VM of the cluster, got none of {missing[0]!r} "
            f"({len(missing)} of {len(cluster.vms)} VMs missing)",
            path=path,
        )


def _require_recent(cluster: Cluster, history: History, end_bin: int, path: str) -> None:
    ends_at = history.time_of(end_bin)
    if end_bin < 1 or cluster.observed_at - ends_at > STALE_AFTER:
        raise InvalidInputError(
            f"expected readings up to the snapshot at {cluster.observed_at.isoformat()} (at most "
            f"{STALE_AFTER.seconds // 60} minutes short of it), got {history.start_at.isoformat()} "
            f"to {history.end_at.isoformat()}",
            path=path,
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
                path=path,
            )
