"""What the VMs of a request will need, in whichever form it was given, as joint scenarios.

Each form is plain data that travels to a worker and becomes scenarios there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np
import numpy.typing as npt

from solver.domain.cluster import Cluster
from solver.domain.errors import InvalidInputError
from solver.domain.scenario import PROBABILITY_PPM, ScenarioSet
from solver.domain.units import NUM_RESOURCES, Amounts, Resource, VmId

if TYPE_CHECKING:
    from forecast.forecaster import QuantileForecast
    from forecast.history import History

LOAD_STEPS: Final = 4
LOAD_STEP_SECONDS: Final = 900
"""A load that is only known now is taken to last for an hour."""


class Demand(Protocol):
    """Any of the forms."""

    def scenarios(
        self, cluster: Cluster, *, seed: int, num_scenarios: int | None = None
    ) -> ScenarioSet:
        """Return joint futures of at least the cluster's VMs.

        :raises InvalidInputError: if a VM of the cluster is missing
        """


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GivenScenarios:
    """Scenarios, as they are."""

    given: ScenarioSet

    def scenarios(
        self, cluster: Cluster, *, seed: int, num_scenarios: int | None = None
    ) -> ScenarioSet:
        """Return them; neither seed nor number has a part in it."""
        return self.given


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentLoad:
    """The load of now, taken to last; what is not known of a VM is all that it was promised.

    Parameters
    ----------
    usage
        By VM; those left out count with their allocation.
    """

    usage: Mapping[VmId, Amounts]

    def scenarios(
        self, cluster: Cluster, *, seed: int, num_scenarios: int | None = None
    ) -> ScenarioSet:
        """Return one scenario in which nothing changes for an hour."""
        _require_vms(cluster, self.usage, "usage")
        now = np.array(
            [self.usage.get(vm.id, vm.allocation).as_tuple() for vm in cluster.vms], dtype=np.int64
        ).reshape(len(cluster.vms), NUM_RESOURCES)
        return ScenarioSet(
            vm_ids=tuple(vm.id for vm in cluster.vms),
            start_at=cluster.observed_at,
            step_seconds=LOAD_STEP_SECONDS,
            probability_ppm=(PROBABILITY_PPM,),
            demand=np.repeat(now[None, :, :, None], 1 + LOAD_STEPS, axis=3),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quantiles:
    """Quantiles of each VM's demand over the next hour, of a forecaster elsewhere.

    Parameters
    ----------
    horizon_minutes
        When, rising, within ``5..60``; between them demand goes straight.
    levels
        Which, rising, within 0..1; beyond the outermost ones demand is theirs.
    values
        By VM and resource, shape ``(len(horizon_minutes), len(levels))``, not falling with the
        level. A resource left out is zero.
    present
        Demand now; where it is left out, the median of the first horizon.
    common_share
        Share of the deviations that all VMs have in common, in 0..0.9: quantiles alone do not tell.
    """

    at: datetime
    horizon_minutes: tuple[int, ...]
    levels: tuple[float, ...]
    values: Mapping[VmId, Mapping[Resource, npt.NDArray[np.float64]]]
    present: Mapping[VmId, Amounts]
    common_share: float = 0.1

    def scenarios(
        self, cluster: Cluster, *, seed: int, num_scenarios: int | None = None
    ) -> ScenarioSet:
        """Return joint futures drawn from the quantiles."""
        from forecast.error_memory import ErrorMemory
        from forecast.forecaster import NUM_HORIZONS
        from forecast.scenarios import affordable_scenarios, make_scenarios

        _require_all(cluster, self.values, "quantiles.demand")
        _require_vms(cluster, self.values, "quantiles.demand")
        _require_vms(cluster, self.present, "quantiles.present")
        number = num_scenarios or affordable_scenarios(len(cluster.vms))
        share = np.full((NUM_RESOURCES, NUM_HORIZONS), self.common_share, dtype=np.float32)
        now = np.full((NUM_RESOURCES, len(cluster.vms)), np.nan, dtype=np.float32)
        for v, vm in enumerate(cluster.vms):
            if vm.id in self.present:
                now[:, v] = self.present[vm.id].as_tuple()
        return make_scenarios(
            self._forecast(cluster),
            ErrorMemory(),
            num_scenarios=number,
            rng=np.random.default_rng(seed),
            start_at=self.at,
            present=now,
            common_share=share,
        )

    def _forecast(self, cluster: Cluster) -> QuantileForecast:
        """Return the quantiles on the grid of horizons and levels of forecasts."""
        from forecast.forecaster import NUM_HORIZONS, NUM_QUANTILES, QuantileForecast

        num_vms = len(cluster.vms)
        shape = (NUM_RESOURCES, num_vms, NUM_HORIZONS, NUM_QUANTILES)
        values = np.zeros(shape, dtype=np.float32)
        for v, vm in enumerate(cluster.vms):
            for resource, given in self.values[vm.id].items():
                values[resource, v] = self._on_grid(given)
        return QuantileForecast(
            vm_ids=tuple(vm.id for vm in cluster.vms),
            at=self.at,
            resources=tuple(Resource),
            values=values,
            limits=np.full((NUM_RESOURCES, num_vms), np.inf, dtype=np.float32),
            present=np.ones(num_vms, dtype=np.bool_),
            cold=np.zeros(num_vms, dtype=np.bool_),
            recent_coverage=np.full((NUM_RESOURCES, *shape[2:]), np.nan, dtype=np.float32),
        )

    def _on_grid(self, given: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        from forecast.forecaster import HORIZON_MINUTES, QUANTILES

        by_level = np.stack([np.interp(QUANTILES, self.levels, row) for row in given])
        return np.stack(
            [np.interp(HORIZON_MINUTES, self.horizon_minutes, column) for column in by_level.T],
            axis=1,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Readings:
    """Five-minute means of each VM up to the snapshot, to forecast the next hour from.

    Parameters
    ----------
    values
        By VM and resource, one reading a bin, NaN where there is none.
    model_path
        Of a trained model; ``None`` for the forecaster that needs no training.
    """

    start_at: datetime
    values: Mapping[VmId, Mapping[Resource, npt.NDArray[np.float32]]]
    model_path: Path | None = None

    def scenarios(
        self, cluster: Cluster, *, seed: int, num_scenarios: int | None = None
    ) -> ScenarioSet:
        """Return joint futures of the hour after the snapshot."""
        from forecast.persist import load_model
        from service.solving.forecasting import scenarios_of_history

        model = None if self.model_path is None else load_model(self.model_path).model
        return scenarios_of_history(
            cluster, self._history(cluster), seed=seed, num_scenarios=num_scenarios, model=model
        )

    def _history(self, cluster: Cluster) -> History:
        """Return the readings on the grid of histories; sizes are those of the cluster's VMs."""
        from forecast.history import BinState, History

        _require_vms(cluster, self.values, "history.demand")
        vm_ids = tuple(self.values)
        num_bins = max((len(a) for by in self.values.values() for a in by.values()), default=0)
        readings = np.full((NUM_RESOURCES, len(vm_ids), num_bins), np.nan, dtype=np.float32)
        for v, vm_id in enumerate(vm_ids):
            for resource, row in self.values[vm_id].items():
                readings[resource, v] = row
        allocation = {vm.id: vm.allocation for vm in cluster.vms}
        sizes = np.array([allocation[vm_id].as_tuple() for vm_id in vm_ids], dtype=np.int64)
        sizes = sizes.reshape(len(vm_ids), NUM_RESOURCES)
        read = ~np.isnan(readings).all(axis=0)
        return History(
            vm_ids=vm_ids,
            start_at=self.start_at,
            readings=readings,
            state=np.where(read, BinState.MEASURED, BinState.MISSING).astype(np.uint8),
            granted_mib=np.full(read.shape, np.nan, dtype=np.float32),
            vcpus=-(-sizes[:, Resource.CPU] // 1000),
            memory_size_mib=sizes[:, Resource.MEMORY].copy(),
            app_types=(None,) * len(vm_ids),
        )


def _require_vms(cluster: Cluster, named: Mapping[VmId, object], path: str) -> None:
    """Refuse the demand of a VM that the cluster does not have: most likely a slip of the pen."""
    unknown = set(named) - {vm.id for vm in cluster.vms}
    if unknown:
        raise InvalidInputError(
            f"expected VMs of the cluster, got {min(unknown)!r} ({len(unknown)} unknown)", path=path
        )


def _require_all(cluster: Cluster, named: Mapping[VmId, object], path: str) -> None:
    missing = [vm.id for vm in cluster.vms if vm.id not in named]
    if missing:
        raise InvalidInputError(
            f"expected every VM of the cluster, got none of {missing[0]!r} "
            f"({len(missing)} of {len(cluster.vms)} VMs missing)",
            path=path,
        )
