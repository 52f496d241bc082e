"""Reads the public placement instances of the BtrPlace project as clusters.

F. Hermenier, J. Lawall and G. Muller, *BtrPlace: A Flexible Consolidation Manager for Highly
Available Applications*, IEEE TDSC 2013. 5,000 servers; loads that rise, servers that fail.

What an instance asks for becomes a state of the cluster that is already wrong: a VM that has to
have more CPU (``preserve``) already wants it, so its host starts over-committed; a node that has to
be off is in maintenance; a VM that has to run (``running``) runs nowhere yet. Both resources are
promised, not forecast. A migration copies the VM's memory at 100 MiB/s.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import TypeAdapter

from solver.domain.cluster import VM, Cluster, Host, HostState, Link, Network, Overcommit
from solver.domain.migration import MigrationParameters
from solver.domain.rules import Among, AntiAffinity, MoveBudget, PlacementRule
from solver.domain.scenario import ScenarioSet, equal_probabilities
from solver.domain.units import NUM_RESOURCES, Amounts, HostId, Limits, Resource, VmId

OBSERVED_AT: Final = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
MIB_PER_S: Final = 100
PARALLEL_PER_HOST: Final = 10
"""The instances set no caps; this many at once share a host's link of ten times the speed."""

PARTS: Final = re.compile(rb'"parts"\s*:\s*(\[(?:\s*\[[^\[\]]*\]\s*,?)*\s*\])')

MIGRATION: Final = MigrationParameters(setup_s=0.0, wire_efficiency=1.0, handover_s=0.0)
"""One second for 100 MiB, and nothing besides."""


def read_datacentre(path: Path) -> tuple[Cluster, ScenarioSet]:
    """Return the instance in a gzipped JSON file.

    Raises
    ------
    ValueError
        If the file holds a constraint of a kind that is not known.
    """
    with gzip.open(path) as file:
        document, parts = _parsed(file.read())
    model, constraints = document["model"], document["constraints"]
    views = {view["rcId"]: view for view in model["views"] if view["id"] == "shareableResource"}
    online = {int(node): state for node, state in model["mapping"]["onlineNodes"].items()}
    nodes = sorted([*online, *model["mapping"]["offlineNodes"]])
    where: dict[int, int | None] = {
        vm: node for node, state in online.items() for vm in state["runningVMs"]
    }
    cpu_at_least: dict[int, int] = {}
    emptied = set(model["mapping"]["offlineNodes"])
    rules: list[PlacementRule] = []
    for constraint in constraints:
        kind = constraint["id"]
        if kind == "preserve" and constraint["rc"] == "uCpu":
            vm, amount = constraint["vm"], constraint["amount"]
            cpu_at_least[vm] = max(amount, cpu_at_least.get(vm, 0))
        elif kind == "running":
            where.setdefault(constraint["vm"], None)
        elif kind == "offline":
            emptied.add(constraint["node"])
        elif kind == "spread":
            rules.append(
                AntiAffinity(
                    id=f"spread{len(rules)}",
                    vm_ids=_vm_ids(constraint["vms"]),
                    continuous=constraint["continuous"],
                )
            )
        elif kind == "among":
            rules.append(
                Among(
                    id=f"among{len(rules)}",
                    vm_ids=_vm_ids(constraint["vms"]),
                    parts=parts[constraint["parts"]],
                    continuous=constraint["continuous"],
                )
            )
        elif kind != "online":
            raise ValueError(f"{path.name}: constraint {constraint} is of an unknown kind")
    cluster = Cluster(
        observed_at=OBSERVED_AT,
        hosts=tuple(_host(node, views, empty=node in emptied) for node in nodes),
        vms=tuple(_vm(vm, where[vm], views, cpu_at_least.get(vm, 0)) for vm in sorted(where)),
        network=Network(same_zone=Link(bandwidth_mib_per_s=MIB_PER_S)),
        rules=tuple(rules),
        budget=MoveBudget(
            max_parallel=len(nodes),
            max_parallel_in_per_host=PARALLEL_PER_HOST,
            max_parallel_out_per_host=PARALLEL_PER_HOST,
        ),
    )
    return cluster, _present(cluster)


def _parsed(text: bytes) -> tuple[dict[str, Any], list[tuple[tuple[HostId, ...], ...]]]:
    """Return the document with numbers in place of groups of nodes, and the groups by number.

    Hundreds of constraints spell out the same 5,000 nodes, which is nearly all of a document.
    """
    number: dict[bytes, int] = {}

    def numbered(match: re.Match[bytes]) -> bytes:
        return b'"parts": %d' % number.setdefault(match[1], len(number))

    document = TypeAdapter(dict[str, Any]).validate_json(PARTS.sub(numbered, text))
    nodes = TypeAdapter(list[list[int]])
    parts = [
        tuple(tuple(map(_host_id, part)) for part in nodes.validate_json(found)) for found in number
    ]
    return document, parts


def _vm_ids(vms: Iterable[int]) -> tuple[VmId, ...]:
    return tuple(VmId(f"vm{vm}") for vm in vms)


def _host_id(node: int) -> HostId:
    return HostId(f"node{node}")


def _of(view: dict[str, Any], kind: str, number: int) -> int:
    default = view["defCapacity" if kind == "nodes" else "defConsumption"]
    return int(view[kind].get(str(number), default))


def _host(node: int, views: dict[str, Any], *, empty: bool) -> Host:
    return Host(
        id=_host_id(node),
        capacity=Limits(
            cpu_millicores=_of(views["uCpu"], "nodes", node),
            memory_mib=_of(views["memory"], "nodes", node),
        ),
        overcommit=Overcommit(cpu=1.0),
        state=HostState.MAINTENANCE if empty else HostState.UP,
        migration_bandwidth_mib_per_s=MIB_PER_S * PARALLEL_PER_HOST,
    )


def _vm(vm: int, node: int | None, views: dict[str, Any], cpu_at_least: int) -> VM:
    return VM(
        id=VmId(f"vm{vm}"),
        host_id=None if node is None else _host_id(node),
        allocation=Amounts(
            cpu_millicores=max(cpu_at_least, _of(views["uCpu"], "vms", vm)),
            memory_mib=_of(views["memory"], "vms", vm),
        ),
    )


def _present(cluster: Cluster) -> ScenarioSet:
    """Return the one scenario in which every VM uses what it was promised."""
    demand = np.zeros((1, len(cluster.vms), NUM_RESOURCES, 1), dtype=np.int64)
    demand[0, :, Resource.CPU, 0] = [vm.allocation.cpu_millicores for vm in cluster.vms]
    demand[0, :, Resource.MEMORY, 0] = [vm.allocation.memory_mib for vm in cluster.vms]
    return ScenarioSet(
        vm_ids=tuple(vm.id for vm in cluster.vms),
        start_at=OBSERVED_AT,
        step_seconds=900,
        probability_ppm=equal_probabilities(1),
        demand=demand,
    )
