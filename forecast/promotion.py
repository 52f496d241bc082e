"""Whether a new model may take the place of the one in use: only if it is not worse.

Both forecast the latest days, which neither was trained on, with calibration carried along as in
service, and are judged on the same readings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from forecast.classes import VmClasses, classify
from forecast.error_memory import actual_readings
from forecast.features import MODELLED_AT
from forecast.forecaster import HORIZON_BINS, HORIZON_MINUTES, Forecaster
from forecast.history import History
from forecast.online import OnlineForecaster
from forecast.scoring import GROUPS, RESOURCE_NAMES, LossTally, loss_units, memberships
from solver.domain.errors import NotEnoughHistoryError
from solver.domain.units import Resource

EVERY_BINS: Final = 7
TOLERANCE: Final = 0.01
"""Loss by which a new model may be worse and still count as not worse: the noise of a few days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a new model did beside the one in use.

    Parameters
    ----------
    candidate, current
        Mean pinball loss by resource, over the VMs that are not idle, on the scale of
        :mod:`forecast.scoring`.
    ratio
        Geometric mean over the resources of the candidate's loss to the current one's.
    num_origins
        Instants at which both forecast.
    """

    candidate: dict[str, float]
    current: dict[str, float]
    ratio: float
    num_origins: int

    @property
    def accepted(self) -> bool:
        """Whether the candidate is not worse."""
        return self.ratio <= 1.0 + TOLERANCE

    def to_json(self) -> dict[str, Any]:
        """Return the verdict as plain JSON values."""
        return {
            "candidate": self.candidate,
            "current": self.current,
            "ratio": round(self.ratio, 4),
            "num_origins": self.num_origins,
            "accepted": self.accepted,
        }


def compare(
    candidate: Forecaster,
    current: Forecaster,
    history: History,
    *,
    from_bin: int,
    resources: tuple[Resource, ...],
    seed: int = 0,
) -> Verdict:
    """Judge two fitted forecasters on the bins from ``from_bin`` to the end of a history.

    Raises
    ------
    NotEnoughHistoryError
        If there is nothing to judge on: no hour is left, or no VM that is not idle was cleanly
        read; or if one of them was not fitted for a resource.
    """
    origins = range(from_bin, history.num_bins - max(HORIZON_BINS), EVERY_BINS)
    if not len(origins):
        raise NotEnoughHistoryError(
            f"expected more than an hour to judge on, got {history.time_of(from_bin)} to "
            f"{history.end_at}"
        )
    classes = classify(history, until_bin=from_bin)
    losses = [
        _loss(forecaster, history, origins, classes, resources, seed)
        for forecaster in (candidate, current)
    ]
    logs = [
        np.log(losses[0][name] / losses[1][name])
        for name in losses[0]
        if losses[0][name] > 0 and losses[1][name] > 0
    ]
    if not logs:
        raise NotEnoughHistoryError(
            f"no reading of a VM that is not idle between {history.time_of(from_bin)} and "
            f"{history.end_at} to judge a model by"
        )
    return Verdict(
        candidate=losses[0],
        current=losses[1],
        ratio=float(np.exp(np.mean(logs))),
        num_origins=len(origins),
    )


def _loss(
    forecaster: Forecaster,
    history: History,
    origins: range,
    classes: VmClasses,
    resources: tuple[Resource, ...],
    seed: int,
) -> dict[str, float]:
    """Return the mean loss of each resource over the busier VMs and the modelled horizons."""
    online = OnlineForecaster(
        forecaster=forecaster,
        resources=resources,
        class_of=classes.by_vm(history.vm_ids),
        seed=seed,
    )
    members = memberships(classes, np.ones(history.num_vms, dtype=bool))
    members[GROUPS.index("all")] -= members[GROUPS.index("idle")]
    units = loss_units(history, until_bin=origins.start)
    tally = LossTally()
    for at_bin in origins:
        forecast = online.forecast(history, at_bin=at_bin)
        tally.add(forecast, actual_readings(history, at_bin, HORIZON_MINUTES), members, units)
    mean = tally.mean_pinball()[:, GROUPS.index("all")][:, MODELLED_AT]
    return {
        RESOURCE_NAMES[resource]: float(np.nanmean(mean[resource]))
        for resource in resources
        if not np.isnan(mean[resource]).all()
    }
