"""From what was asked to a question about a cluster; every slip names its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from service.solving.demand import Demand
from service.solving.request import (
    FORMS,
    SolveLimits,
    below,
    demand_of,
    solve_params,
)
from service.whatif.change import require_known
from service.whatif.futures import KeptFutures
from service.whatif.question import (
    AddedHosts,
    AddedVms,
    DemandFactor,
    HostsQuestion,
    Question,
    RoomQuestion,
)
from service.whatif.schema import (
    MAX_ADDED,
    AddedHostsModel,
    AddedVmsModel,
    HostsNeededModel,
    HostTypeModel,
    RoomModel,
    WhatIfRequest,
)
from service.whatif.work import WhatIfWork
from solver.capacity.question import HostType
from solver.domain.cluster import VM, Cluster, Host
from solver.domain.errors import InvalidInputError
from solver.domain.scenario import PROBABILITY_PPM
from solver.domain.units import Amounts, HostId, VmId
from solver.instances import host_from_model, rules_from_models
from solver.schema import HostModel


def whatif_work(
    cluster_id: str,
    cluster: Cluster,
    request: WhatIfRequest,
    *,
    now: datetime,
    limits: SolveLimits,
    store_url: str,
) -> WhatIfWork:
    """Return the work that a request about a kept cluster asks for.

    Parameters
    ----------
    store_url
        Where the worker reads telemetry from.

    Raises
    ------
    InvalidInputError
        With the path of what is wrong, from the top of the request.
    """
    for path, items in (("added_hosts", request.added_hosts), ("added_vms", request.added_vms)):
        _require_within_bounds(path, items)
    question = question_of(cluster, request)
    require_known(cluster, question)
    return WhatIfWork(
        cluster=cluster,
        question=question,
        demand=_demand(cluster_id, cluster, request, now, limits, store_url),
        params=solve_params(request.options, limits),
        num_scenarios=request.options.num_scenarios,
    )


def _require_within_bounds(
    path: str, items: Sequence[AddedHostsModel] | Sequence[AddedVmsModel]
) -> None:
    """Refuse more than a worker has memory for: each entry may be small, and all together not."""
    total = sum(item.count for item in items)
    if total > MAX_ADDED:
        raise InvalidInputError(
            f"expected at most {MAX_ADDED} of all entries together, got {total}", path=path
        )


def question_of(cluster: Cluster, request: WhatIfRequest) -> Question:
    """Return the question; errors as of :func:`whatif_work`."""
    return Question(
        lost_host_ids=tuple(map(HostId, request.lost_host_ids)),
        maintenance_host_ids=tuple(map(HostId, request.maintenance_host_ids)),
        removed_host_ids=tuple(map(HostId, request.removed_host_ids)),
        added_hosts=tuple(
            _added_hosts(cluster, item, f"added_hosts[{i}]")
            for i, item in enumerate(request.added_hosts)
        ),
        removed_vm_ids=tuple(map(VmId, request.removed_vm_ids)),
        added_vms=tuple(
            _added_vms(cluster, item, f"added_vms[{i}]") for i, item in enumerate(request.added_vms)
        ),
        demand_factors=_factors(request),
        priorities={VmId(vm_id): value for vm_id, value in request.priorities.items()},
        rules=rules_from_models(request.rules),
        removed_rule_ids=tuple(request.removed_rule_ids),
        room=None if request.room is None else _room(cluster, request.room),
        hosts_needed=(
            None if request.hosts_needed is None else _hosts_needed(cluster, request.hosts_needed)
        ),
    )


def _demand(
    cluster_id: str,
    cluster: Cluster,
    request: WhatIfRequest,
    now: datetime,
    limits: SolveLimits,
    store_url: str,
) -> Demand:
    given = any(getattr(request, name) is not None for name in FORMS)
    if given or request.horizon == "present" or not store_url:
        return demand_of(request, cluster, limits)
    return KeptFutures(
        store_url=store_url,
        cluster_id=cluster_id,
        # A simulated cluster may be ahead of this clock.
        at=max(now, cluster.observed_at),
        busiest_hours=request.busiest_hours if request.horizon == "busiest" else 0,
        days=request.busiest_days,
        model_path=limits.model_path,
    )


def _factors(request: WhatIfRequest) -> tuple[DemandFactor, ...]:
    factors = []
    for i, item in enumerate(request.demand_factors):
        with below(f"demand_factors[{i}]"):
            factors.append(DemandFactor(factor=item.factor, group=item.group, vm_id=item.vm_id))
    return tuple(factors)


def _added_hosts(cluster: Cluster, item: AddedHostsModel, path: str) -> AddedHosts:
    host = _host(cluster, item.like_host_id, item.host, path)
    return AddedHosts(template=replace(host, id=HostId(item.name)), count=item.count)


def _host(cluster: Cluster, like_id: str | None, described: HostModel | None, path: str) -> Host:
    if (like_id is None) == (described is None):
        raise InvalidInputError(
            f"expected like_host_id or host, got {'neither' if like_id is None else 'both'}",
            path=path,
        )
    if described is not None:
        with below(f"{path}.host"):
            return host_from_model(described)
    for host in cluster.hosts:
        if host.id == like_id:
            return host
    raise InvalidInputError(
        f"expected a host of the cluster, got {like_id!r}", path=f"{path}.like_host_id"
    )


def _added_vms(cluster: Cluster, item: AddedVmsModel, path: str) -> AddedVms:
    if (item.like_vm_id is None) == (item.allocation is None):
        seen = "neither" if item.like_vm_id is None else "both"
        raise InvalidInputError(f"expected like_vm_id or allocation, got {seen}", path=path)
    with below(path):
        template = _template(cluster, item)
    usage = None if item.usage is None else Amounts(**item.usage.model_dump())
    return AddedVms(
        template=template,
        count=item.count,
        like_vm_id=None if item.like_vm_id is None or usage else VmId(item.like_vm_id),
        usage=usage,
        apart=item.apart,
    )


def _template(cluster: Cluster, item: AddedVmsModel) -> VM:
    if item.allocation is not None:
        return VM(
            id=VmId(item.name),
            allocation=Amounts(**item.allocation.model_dump()),
            priority=item.priority,
            group=item.group,
            requires=tuple(item.requires),
        )
    for vm in cluster.vms:
        if vm.id == item.like_vm_id:
            return replace(
                vm, id=VmId(item.name), host_id=None, not_migratable_reason="", not_before_at=None
            )
    raise InvalidInputError(
        f"expected a VM of the cluster, got {item.like_vm_id!r}", path="like_vm_id"
    )


def _room(cluster: Cluster, item: RoomModel) -> RoomQuestion:
    return RoomQuestion(
        vms=_added_vms(cluster, item.vms, "room.vms"),
        target_ppm=round(item.target * PROBABILITY_PPM),
        survive_loss=item.survive_loss,
    )


def _hosts_needed(cluster: Cluster, item: HostsNeededModel) -> HostsQuestion:
    types = tuple(
        _host_type(cluster, kind, f"hosts_needed.types[{i}]") for i, kind in enumerate(item.types)
    )
    names = [kind.template.id for kind in types]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise InvalidInputError(
                f"expected each type once, got {name!r} again", path=f"hosts_needed.types[{i}]"
            )
    return HostsQuestion(
        types=types,
        target_ppm=round(item.target * PROBABILITY_PPM),
        survive_loss=item.survive_loss,
    )


def _host_type(cluster: Cluster, item: HostTypeModel, path: str) -> HostType:
    host = _host(cluster, item.like_host_id, item.host, path)
    return HostType(template=host, price=item.price, max_count=item.max_count)


def summary(work: WhatIfWork) -> dict[str, Any]:
    """Return what a job remembers of the request: not the whole of a large document."""
    question = work.question
    return {
        "num_hosts": len(work.cluster.hosts),
        "num_vms": len(work.cluster.vms),
        "lost_host_ids": list(question.lost_host_ids),
        "emptied_host_ids": list(question.emptied_host_ids),
        "num_added_hosts": sum(item.count for item in question.added_hosts),
        "num_added_vms": sum(item.count for item in question.added_vms),
        "limit_s": work.params.limit_s,
    }
