"""Forecasts of VMs and hosts as fans of quantiles, and the readings they are made from."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import numpy as np
from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from forecast.classes import CLASSES
from forecast.history import History
from service.api.answering import answer
from service.api.asking import Path, Query, principal
from service.api.operations import operation
from service.api.services import Services
from service.inventory.access import visible_vm
from service.inventory.effective import look_up
from service.present import present
from service.runtime.kept import FORECAST, fan_from_bytes
from service.runtime.window import BIN, on_grid
from service.store.base import Kind
from service.store.errors import NotFoundError
from solver.domain.errors import NotEnoughHistoryError
from solver.domain.units import FIELDS, HostId, VmId
from solver.schema import Id

MOST_HOURS: Final = 24 * 42


class FanView(BaseModel):
    """The next hour of one VM or host."""

    id: str
    at: str
    forecaster: str
    usage_class: str = Field(
        description="how a VM uses its CPU: " + ", ".join(CLASSES) + "; empty for a host"
    )
    cold: bool = Field(description="too little is known of it: generic bands")
    horizon_minutes: list[int]
    quantiles: list[float]
    resources: dict[str, list[list[float]]] = Field(
        description="by resource: at each horizon, the demand at each quantile"
    )


class ReadingsView(BaseModel):
    """Readings of one VM or host, bin by bin."""

    id: str
    start_at: str
    step_seconds: int
    resources: dict[str, list[float | None]] = Field(description="mean demand; null where unread")


class VmPath(Path):
    """Names a VM."""

    cluster_id: Id
    vm_id: Id


class HostPath(Path):
    """Names a host."""

    cluster_id: Id
    host_id: Id


class HistoryQuery(Query):
    """How far back."""

    hours: Annotated[int, Field(ge=1, le=MOST_HOURS)] = 24


def blueprint(services: Services) -> APIBlueprint:
    """Return the views of forecasts and readings."""
    tag = Tag(name="forecasts", description="what VMs and hosts will need, and what they needed")
    api = APIBlueprint("forecasts", __name__, abp_tags=[tag])

    @api.get("/clusters/<cluster_id>/forecasts/vms/<vm_id>", responses={200: FanView})
    @operation("forecasts.vm")
    def forecast_of_vm(path: VmPath) -> Response:
        """Show what a VM will need in the next hour."""
        _require_vm(services, path)
        return answer(_fan(services, path.cluster_id, vm_id=path.vm_id))

    @api.get("/clusters/<cluster_id>/forecasts/hosts/<host_id>", responses={200: FanView})
    @operation("forecasts.host")
    def forecast_of_host(path: HostPath) -> Response:
        """Show what the VMs of a host will need together in the next hour."""
        return answer(_fan(services, path.cluster_id, host_id=path.host_id))

    @api.get("/clusters/<cluster_id>/history/vms/<vm_id>", responses={200: ReadingsView})
    @operation("history.vm")
    def history_of_vm(path: VmPath, query: HistoryQuery) -> Response:
        """Show what a VM needed lately."""
        _require_vm(services, path)
        end_at = _latest_bin(services, path.cluster_id)
        start_at = end_at - timedelta(hours=query.hours)
        vm_id = VmId(path.vm_id)
        try:
            history = services.store.telemetry.history(
                path.cluster_id, start_at, end_at, vm_ids=[vm_id]
            )
        except NotEnoughHistoryError as error:
            raise NotFoundError(f"there is no reading of VM {vm_id!r}") from error
        return answer(_readings(history, path.vm_id))

    @api.get("/clusters/<cluster_id>/history/hosts/<host_id>", responses={200: ReadingsView})
    @operation("history.host")
    def history_of_host(path: HostPath, query: HistoryQuery) -> Response:
        """Show what a host's monitor measured of the host itself lately."""
        with services.store.begin(read_only=True) as tx:
            tx.items.get(Kind.CLUSTER, "", path.cluster_id)
        end_at = _latest_bin(services, path.cluster_id)
        found = services.store.telemetry.host_history(
            path.cluster_id, end_at - timedelta(hours=query.hours), end_at
        )
        history = found.get(HostId(path.host_id))
        if history is None:
            raise NotFoundError(f"there is no reading of host {path.host_id!r}")
        return answer(_readings(history, path.host_id))

    return api


def _require_vm(services: Services, path: VmPath) -> None:
    with services.store.begin(read_only=True) as tx:
        visible_vm(look_up(tx, path.cluster_id), principal(), VmId(path.vm_id))


def _latest_bin(services: Services, cluster_id: str) -> datetime:
    """Return the end of the latest bin by the clock of a cluster."""
    with services.store.begin(read_only=True) as tx:
        return on_grid(present(tx, cluster_id, services.now()))


def _fan(services: Services, cluster_id: str, *, vm_id: str = "", host_id: str = "") -> Any:
    with services.store.begin(read_only=True) as tx:
        tx.items.get(Kind.CLUSTER, "", cluster_id)
        kept = tx.blobs.get(cluster_id, FORECAST)
    fan = None if kept is None else fan_from_bytes(kept[1], vm_id=vm_id, host_id=host_id)
    if fan is None:
        raise NotFoundError(f"there is no forecast of {vm_id or host_id!r} yet")
    return fan


def _readings(history: History, name: str) -> dict[str, Any]:
    position = history.vm_ids.index(VmId(name)) if name in history.vm_ids else 0
    values = history.readings[:, position].astype(float)
    return {
        "id": name,
        "start_at": history.start_at.isoformat(),
        "step_seconds": round(BIN.total_seconds()),
        "resources": {
            field: [None if np.isnan(value) else round(value, 1) for value in values[r].tolist()]
            for r, field in enumerate(FIELDS)
            if not np.isnan(values[r]).all()
        },
    }
