"""What a what-if request may hold, as strict models; they are part of the published API.

``service.whatif.request`` says what it means.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from service.solving.schema import DemandModel, OptionsModel, Share
from solver.domain.cluster import DEFAULT_PRIORITY, MAX_PRIORITY, MIN_PRIORITY
from solver.schema import AmountsModel, AnyRule, HostModel, Id, Name, Strict

MAX_ADDED = 10_000
"""Hosts, and VMs, that all entries of a request may add together."""

Count = Annotated[int, Field(ge=1, le=MAX_ADDED)]
Priority = Annotated[int, Field(ge=MIN_PRIORITY, le=MAX_PRIORITY)]


class AddedHostsModel(Strict):
    """More hosts: like one of the cluster, or like the one described."""

    name: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        default="new-host", description="what their ids begin with"
    )
    count: Count = 1
    like_host_id: Id | None = None
    host: HostModel | None = None


class AddedVmsModel(Strict):
    """More VMs: like one of the cluster in everything, or of an allocation."""

    name: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        default="new-vm", description="what their ids begin with"
    )
    count: Count = 1
    like_vm_id: Id | None = None
    allocation: AmountsModel | None = None
    usage: AmountsModel | None = Field(
        default=None, description="all the time; null: as that VM's, or the allocation"
    )
    priority: Priority = DEFAULT_PRIORITY
    group: str = ""
    requires: list[Name] = Field(default=[], description="what their hosts have to provide")
    apart: bool = Field(default=False, description="whether no two may share a host")


class DemandFactorModel(Strict):
    """More demand, or less: of a group, of a VM, or of all."""

    factor: Annotated[float, Field(ge=0, le=1000)]
    group: str = ""
    vm_id: str = ""


class HostTypeModel(Strict):
    """A kind of host that can be had."""

    like_host_id: Id | None = None
    host: HostModel | None = None
    price: Annotated[int, Field(ge=1, le=2**40)] = 1
    max_count: Annotated[int, Field(ge=0, le=MAX_ADDED)] | None = None


class HostsNeededModel(Strict):
    """How many hosts of which types would carry all VMs."""

    types: Annotated[list[HostTypeModel], Field(min_length=1, max_length=20)]
    target: Share = Field(default=0.01, description="largest probability of any overload")
    survive_loss: bool = False


class RoomModel(Strict):
    """How many more VMs of a kind would fit; `count` plays no part."""

    vms: AddedVmsModel
    target: Share = Field(default=0.01, description="largest probability of any overload")
    survive_loss: bool = False


class WhatIfOptions(OptionsModel):
    """How to find the moves; further questions take as much time each."""

    limit_s: Annotated[float, Field(gt=0, le=3600)] = 2.0


class WhatIfRequest(DemandModel):
    """Changes, in any combination, and the demand they are judged by."""

    lost_host_ids: list[Id] = Field(default=[], description="gone without warning")
    maintenance_host_ids: list[Id] = Field(default=[])
    removed_host_ids: list[Id] = Field(default=[], description="emptied first, then gone")
    added_hosts: Annotated[list[AddedHostsModel], Field(max_length=100)] = Field(default=[])
    removed_vm_ids: list[Id] = Field(default=[])
    added_vms: Annotated[list[AddedVmsModel], Field(max_length=100)] = Field(default=[])
    demand_factors: Annotated[list[DemandFactorModel], Field(max_length=1000)] = Field(default=[])
    priorities: dict[Id, Priority] = Field(default={})
    rules: list[AnyRule] = Field(default=[], description="added, in place of those of their ids")
    removed_rule_ids: list[Id] = Field(default=[])
    room: RoomModel | None = None
    hosts_needed: HostsNeededModel | None = None
    horizon: Literal["forecast", "busiest", "present"] = Field(
        default="forecast",
        description="where no demand is given: the next hour from telemetry, the busiest hours of "
        "the last weeks, or all VMs at their allocation",
    )
    busiest_days: Annotated[int, Field(ge=1, le=28)] = 14
    busiest_hours: Annotated[int, Field(ge=1, le=64)] = 8
    options: WhatIfOptions = WhatIfOptions()
