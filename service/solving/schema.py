"""What a request to solve may hold, as strict models; they are part of the published API.

``service.solving.request`` says what it means.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from forecast.scenarios import NUM_PATHS
from solver.contention import DEFAULT_ACT_HOST_S, DEFAULT_STOP_HOST_S
from solver.domain.weights import LEAST_TAIL_SHARE, Weights
from solver.schema import (
    AmountsModel,
    AnyRule,
    ClusterDocument,
    Id,
    Instant,
    ScenariosDocument,
    Strict,
)

MAX_BINS: Final = 28 * 288
"""Four weeks of five-minute readings."""

_DEFAULTS: Final = Weights()

Weight = Annotated[float, Field(ge=0, le=1e6)]
Host_s = Annotated[float, Field(ge=0, le=1e9)]
Reading = Annotated[float, Field(ge=0, le=2**31 - 1)]
Share = Annotated[float, Field(ge=0, le=1)]


class WeightsModel(Strict):
    """Weights of the objective; those left out keep their defaults."""

    contention: Weight = _DEFAULTS.contention
    imbalance: Weight = _DEFAULTS.imbalance
    stranded: Weight = _DEFAULTS.stranded
    utilisation: Weight = _DEFAULTS.utilisation
    transfer: Weight = _DEFAULTS.transfer
    downtime: Weight = _DEFAULTS.downtime
    latency: Weight = _DEFAULTS.latency
    disruption: Weight = _DEFAULTS.disruption
    zone_border_host_s: Weight = _DEFAULTS.zone_border_host_s
    resources: Annotated[list[Weight], Field(min_length=4, max_length=4)] = Field(
        default=list(_DEFAULTS.resources), description="CPU, memory, disk, network"
    )
    priority_steps_per_doubling: Annotated[float, Field(ge=0.1, le=1e6)] = (
        _DEFAULTS.priority_steps_per_doubling
    )
    repair_host_s: Weight = _DEFAULTS.repair_host_s
    knees: Annotated[list[Share], Field(max_length=8)] = Field(default=list(_DEFAULTS.knees))
    tail_share: Annotated[float, Field(ge=LEAST_TAIL_SHARE, le=1.0)] = Field(
        default=_DEFAULTS.tail_share,
        description="share of the futures, the worst ones, over which contention is averaged",
    )


class OptionsModel(Strict):
    """How to solve."""

    limit_s: Annotated[float, Field(gt=0, le=3600)] = Field(
        default=5.0, description="seconds of search; the service has a maximum of its own"
    )
    engine: Literal["portfolio", "greedy", "cpsat"] = "portfolio"
    work_limit: Annotated[float, Field(gt=0, le=1e6)] | None = Field(
        default=None, description="deterministic seconds: same seed, same answer"
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    act_threshold_host_s: Host_s = DEFAULT_ACT_HOST_S
    stop_threshold_host_s: Host_s = DEFAULT_STOP_HOST_S
    was_acting: bool = False
    num_scenarios: Annotated[int, Field(ge=1, le=NUM_PATHS)] | None = Field(
        default=None, description="drawn from quantiles or history; null: as the size affords"
    )
    weights: WeightsModel = WeightsModel()
    rules: list[AnyRule] | None = Field(
        default=None, description="in place of the cluster's; null: the cluster's"
    )


class VmQuantilesModel(Strict):
    """Demand of one VM: per resource one list per horizon, of one value per level."""

    cpu_millicores: list[list[Reading]] | None = None
    memory_mib: list[list[Reading]] | None = None
    disk_io_kib_per_s: list[list[Reading]] | None = None
    net_io_kib_per_s: list[list[Reading]] | None = None


class QuantilesModel(Strict):
    """A forecast made elsewhere: quantiles of every VM over the next hour."""

    at: Instant
    horizon_minutes: Annotated[
        list[Annotated[int, Field(ge=5, le=60)]], Field(min_length=1, max_length=60)
    ]
    levels: Annotated[list[Share], Field(min_length=1, max_length=99)]
    demand: dict[Id, VmQuantilesModel]
    present: dict[Id, AmountsModel] = Field(default={}, description="demand now, where known")
    common_share: Annotated[float, Field(ge=0, le=0.9)] = Field(
        default=0.1, description="share of the deviations that all VMs have in common"
    )


Readings = Annotated[list[Reading | None], Field(max_length=MAX_BINS)]


class VmReadingsModel(Strict):
    """Five-minute means of one VM; null where there is none."""

    cpu_millicores: Readings | None = None
    memory_mib: Readings | None = None
    disk_io_kib_per_s: Readings | None = None
    net_io_kib_per_s: Readings | None = None


class HistoryModel(Strict):
    """Readings up to the snapshot, to forecast from."""

    start_at: Instant
    step_seconds: Literal[300] = 300
    demand: dict[Id, VmReadingsModel]


class DemandModel(Strict):
    """At most one of these; none stands for the present load, VMs at their allocation."""

    scenarios: ScenariosDocument | None = None
    quantiles: QuantilesModel | None = None
    history: HistoryModel | None = None
    usage: dict[Id, AmountsModel] | None = Field(
        default=None, description="present load; VMs left out count with their allocation"
    )


class SolveRequest(DemandModel):
    """A cluster, what its VMs will need, and how to solve."""

    cluster: ClusterDocument
    options: OptionsModel = OptionsModel()
