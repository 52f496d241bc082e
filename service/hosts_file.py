"""The file that names real hosts: TOML in, ``executor.kvm.config.KvmConfig`` out.

What hosts cannot tell (priorities, groups, rules, network, budget) is taken from a cluster
document, such as ``foreswap snapshot`` writes and an operator then edits.
"""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from executor.kvm.config import HostConfig, KvmConfig, MigrationConfig, Mode, VmPolicy
from executor.kvm.domain_xml import OWNERS
from executor.kvm.preflight import is_found_out
from solver.domain.cluster import Cluster, HostState, Overcommit
from solver.domain.errors import InvalidInputError
from solver.domain.units import Amounts, HostId
from solver.instances import naming_file
from solver.schema import (
    Amount,
    AmountsModel,
    Id,
    Name,
    OvercommitModel,
    PositiveAmount,
    Strict,
    validate,
)


class HostEntry(Strict):
    """One host."""

    id: Id
    uri: Annotated[str, Field(min_length=1)]
    peer_uri: str = ""
    migration_address: str = ""
    zone: str = ""
    rack: str = ""
    labels: dict[str, str] = Field(default={})
    cpu_millicores: Amount | None = None
    memory_mib: Amount | None = None
    disk_io_kib_per_s: Amount | None = None
    net_io_kib_per_s: Amount | None = None
    reserve: AmountsModel | None = None
    overcommit: OvercommitModel = OvercommitModel()
    migration_bandwidth_mib_per_s: PositiveAmount = 1_000
    max_vms: Amount | None = None
    provides: list[Name] = Field(default=[])
    state: Literal["up", "maintenance"] = "up"


class MigrationEntry(Strict):
    """How VMs are moved."""

    mode: Literal["peer_to_peer", "client_managed"] = "peer_to_peer"
    tunnelled: bool = False
    tls: bool = False
    auto_converge: bool = True
    post_copy: bool = False
    compressed: bool = False
    parallel_connections: int = 0
    max_downtime_ms: int | None = None
    copy_storage: bool = False
    shared_paths: list[str] = Field(default=[])
    persist: bool = True


class HostsDocument(Strict):
    """A hosts file."""

    foreswap: Literal["hosts"]
    version: Literal[1]
    hosts: Annotated[list[HostEntry], Field(min_length=1)]
    migration: MigrationEntry = MigrationEntry()
    move_foreign: bool = False
    owners: dict[str, str] = Field(default={})
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 10.0


def read_hosts(path: Path, policy: Cluster | None = None) -> KvmConfig:
    """Return the configuration of a hosts file.

    Parameters
    ----------
    policy
        Where priorities, groups, types, labels, rules, network and budget are taken from.

    Raises
    ------
    InvalidInputError
        If the file cannot be read or anything in it is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
        document = tomllib.loads(text)
    except OSError as error:
        raise InvalidInputError(
            f"file {str(path)!r}: expected a readable hosts file, got: {error.strerror}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"file {str(path)!r}: expected TOML: {error}") from error
    with naming_file(path):
        config = _config(validate(HostsDocument, document, kind="hosts"))
    return config if policy is None else with_policy(config, policy)


def with_policy(config: KvmConfig, policy: Cluster) -> KvmConfig:
    """Return the configuration with what a cluster says that hosts do not know."""
    return replace(
        config,
        vms={
            vm.id: VmPolicy(
                uuid=vm.labels.get("uuid", ""),
                not_before_at=vm.not_before_at,
                requires=tuple(name for name in vm.requires if not is_found_out(name)),
                priority=vm.priority,
                group=vm.group,
                app_type=vm.app_type,
                labels={name: value for name, value in vm.labels.items() if name != "uuid"},
            )
            for vm in policy.vms
        },
        rules=policy.rules,
        network=policy.network,
        budget=policy.budget,
    )


def _config(document: HostsDocument) -> KvmConfig:
    values: dict[str, Any] = document.migration.model_dump()
    values["mode"] = Mode(values["mode"])
    values["shared_paths"] = tuple(values["shared_paths"])
    return KvmConfig(
        hosts=tuple(_host(entry) for entry in document.hosts),
        migration=MigrationConfig(**values),
        move_foreign=document.move_foreign,
        owners={**OWNERS, **document.owners},
        timeout_s=document.timeout_s,
    )


def _host(entry: HostEntry) -> HostConfig:
    values = entry.model_dump()
    return HostConfig(
        **{
            **values,
            "id": HostId(entry.id),
            "reserve": None if entry.reserve is None else Amounts(**values["reserve"]),
            "provides": tuple(entry.provides),
            "overcommit": Overcommit(**values["overcommit"]),
            "state": HostState(entry.state),
        }
    )
