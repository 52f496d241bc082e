"""Clusters: made, changed, removed, and what was seen of them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from service.api import paging
from service.api.answering import answer, nothing
from service.api.asking import Path, principal
from service.api.etags import expected_revision
from service.api.operations import operation
from service.api.services import Services
from service.inventory import clusters
from service.inventory.access import visible_vms
from service.inventory.effective import Inventory, look_up
from service.inventory.policies import ClusterSettings, DriverKind, DriverSettings
from service.present import present
from service.security.principal import Principal, Role
from service.store.base import Item, Transaction
from solver.instances import cluster_from_model, cluster_to_document
from solver.schema import ClusterDocument, Id, Strict

MAX_SNAPSHOT_MIB = 64
"""Ten thousand VMs with many labels take about ten."""


class DriverBody(Strict):
    """How a cluster is seen and acted on."""

    kind: DriverKind = Field(
        default="none", description="none: snapshots are put by others, plans are not carried out"
    )
    hosts_file: Annotated[str, Field(min_length=1, max_length=4096)] | None = Field(
        default=None, description="of libvirt: how hosts are connected, on the service's machine"
    )
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = Field(
        default=None, description="of simulated"
    )
    speed: Annotated[float, Field(gt=0, le=10_000)] | None = Field(
        default=None, description="of simulated: times real time"
    )


class ClusterBody(Strict):
    """What a cluster is to be."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    time_zone: Annotated[str, Field(max_length=255)] = Field(
        default="UTC", description="IANA name, such as Europe/Rome"
    )
    driver: DriverBody = DriverBody()


class ClusterHead(BaseModel):
    """A cluster."""

    id: str
    name: str
    time_zone: str
    driver: dict[str, Any]
    observed_at: datetime | None = Field(description="of the latest snapshot")
    present_at: datetime = Field(
        description="what time it is there: ahead of real time where it is simulated and fast"
    )
    changed_at: datetime | None
    changed_by: str
    revision: int


class ClusterPage(BaseModel):
    """A page of clusters."""

    items: list[ClusterHead]
    next: str | None


class WaitingPolicies(BaseModel):
    """What was wanted of VMs and hosts that are not there now."""

    vm_ids: list[str]
    host_ids: list[str]
    rule_ids: list[str] = Field(description="rules that are not in force at all")


class Cluster(ClusterHead):
    """A cluster with what it holds."""

    num_vms: int = Field(description="those the asker sees")
    num_hosts: int | None = Field(description="null for owners")
    waiting: WaitingPolicies | None = Field(
        description="null for owners, and before the first snapshot"
    )


class ClusterPath(Path):
    """Names a cluster."""

    cluster_id: Id


def blueprint(services: Services) -> APIBlueprint:
    """Return the views of clusters."""
    tag = Tag(name="clusters", description="what is balanced")
    api = APIBlueprint("clusters", __name__, abp_tags=[tag])

    @api.get("/clusters", responses={200: ClusterPage})
    @operation("clusters.list")
    def list_clusters(query: paging.PageQuery) -> Response:
        """List clusters, in the order of their ids."""
        with services.store.begin(read_only=True) as tx:
            found = clusters.page_of_clusters(
                tx, principal(), after=paging.start(query), limit=query.limit + 1
            )
            heads = [_head(tx, item, services.now()) for item in found]
        return answer(paging.page(heads, query, key=lambda head: str(head["id"]), show=dict))

    @api.get("/clusters/<cluster_id>", responses={200: Cluster})
    @operation("clusters.show")
    def get_cluster(path: ClusterPath) -> Response:
        """Show a cluster."""
        with services.store.begin(read_only=True) as tx:
            return _answer(tx, path.cluster_id, services.now())

    @api.put("/clusters/<cluster_id>", responses={200: Cluster, 201: Cluster})
    @operation("clusters.put", revisioned=True)
    def put_cluster(path: ClusterPath, body: ClusterBody) -> Response:
        """Make a cluster, or change its settings."""
        with services.store.begin() as tx:
            kept = clusters.put_cluster(
                tx,
                principal(),
                path.cluster_id,
                settings_of(body),
                expected_revision=expected_revision(),
                now=services.now(),
            )
            return _answer(
                tx, path.cluster_id, services.now(), status=201 if kept.revision == 1 else 200
            )

    @api.delete("/clusters/<cluster_id>", responses={204: None})
    @operation("clusters.delete", revisioned=True)
    def delete_cluster(path: ClusterPath) -> Response:
        """Remove a cluster with its policies, rules, schedule and snapshot."""
        with services.store.begin() as tx:
            clusters.delete_cluster(
                tx,
                principal(),
                path.cluster_id,
                expected_revision=expected_revision(),
                now=services.now(),
            )
        return nothing()

    @api.get("/clusters/<cluster_id>/snapshot", responses={200: ClusterDocument})
    @operation("snapshots.show")
    def get_snapshot(path: ClusterPath) -> Response:
        """Show the cluster as it is solved: as it was seen, with policies and rules in force."""
        with services.store.begin(read_only=True) as tx:
            cluster = look_up(tx, path.cluster_id).cluster
        return answer(cluster_to_document(cluster))

    @api.put("/clusters/<cluster_id>/snapshot", responses={200: Cluster})
    @operation("snapshots.put", max_body_mib=MAX_SNAPSHOT_MIB)
    def put_snapshot(path: ClusterPath, body: ClusterDocument) -> Response:
        """Say how a cluster without a driver of real hosts looks now."""
        now = services.now()
        seen = cluster_from_model(body, now=now)
        with services.store.begin() as tx:
            clusters.put_snapshot(tx, principal(), path.cluster_id, seen, now=now)
        with services.store.begin(read_only=True) as tx:
            return _answer(tx, path.cluster_id, services.now())

    return api


def settings_of(body: ClusterBody) -> ClusterSettings:
    return ClusterSettings(
        name=body.name,
        time_zone=body.time_zone,
        driver=DriverSettings(**body.driver.model_dump()),
    )


def _head(tx: Transaction, item: Item, now: datetime) -> dict[str, Any]:
    settings = ClusterSettings.from_document(item.document)
    observed_at = tx.snapshots.observed_at(item.id)
    return ClusterHead(
        id=item.id,
        **settings.to_document(),
        observed_at=observed_at,
        present_at=present(tx, item.id, now),
        changed_at=item.changed_at,
        changed_by=item.changed_by,
        revision=item.revision,
    ).model_dump(mode="json")


def _answer(tx: Transaction, cluster_id: str, now: datetime, *, status: int = 200) -> Response:
    item = clusters.get_cluster(tx, cluster_id)
    seen = tx.snapshots.observed_at(cluster_id) is not None
    told = _told(look_up(tx, cluster_id), principal()) if seen else _UNSEEN
    return answer({**_head(tx, item, now), **told}, status=status, revision=item.revision)


_UNSEEN = {"num_vms": 0, "num_hosts": None, "waiting": None}


def _told(inventory: Inventory, asker: Principal) -> dict[str, Any]:
    num_vms = len(visible_vms(inventory, asker))
    if asker.role is Role.OWNER:
        return {**_UNSEEN, "num_vms": num_vms}
    idle = [each.rule.id for each in inventory.rules if each.in_force is None]
    return {
        "num_vms": num_vms,
        "num_hosts": len(inventory.hosts),
        "waiting": {
            "vm_ids": list(inventory.waiting_vm_ids),
            "host_ids": list(inventory.waiting_host_ids),
            "rule_ids": idle,
        },
    }
