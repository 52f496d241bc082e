"""Hypervisors in memory, for tests of what stands on ``executor.kvm.api.Connection``.

They answer like a connection does, from the domains and facts they are given; they can be silent,
slow and wrong. Migrations are the real lab's business.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from executor.kvm.api import (
    Connection,
    DomainRecord,
    Fault,
    HostRecord,
    HypervisorError,
    KeptCopy,
    RunState,
)

CAPABILITIES = """<capabilities><host>
<cpu><arch>x86_64</arch><model>{model}</model><topology sockets='1' cores='4' threads='2'/></cpu>
<topology><cells num='2'>
<cell id='0'><memory unit='KiB'>16777216</memory>
<cpus num='4'><cpu id='0'/><cpu id='1'/><cpu id='2'/><cpu id='3'/></cpus></cell>
<cell id='1'><memory unit='KiB'>4194304</memory><cpus num='1'><cpu id='4'/></cpus></cell>
</cells></topology></host>
<guest><os_type>hvm</os_type><arch name='x86_64'>
<machine canonical='pc-i440fx-7.2'>pc</machine><machine>pc-q35-7.2</machine>
<domain type='qemu'/><domain type='kvm'><machine>pc-q35-7.2</machine></domain></arch></guest>
</capabilities>"""

POOL = "<pool type='{kind}'><name>{name}</name><target><path>{path}</path></target></pool>"


def make_domain_xml(
    name: str = "web1",
    *,
    uuid: str = "11111111-0000-0000-0000-000000000000",
    memory_mib: int = 2048,
    machine: str = "pc-q35-7.2",
    cpu: str = "",
    devices: str = "",
    more: str = "",
) -> str:
    """Return the XML of a domain."""
    return f"""<domain type='kvm'><name>{name}</name><uuid>{uuid}</uuid>
<memory unit='MiB'>{memory_mib}</memory><vcpu>2</vcpu>
<os><type arch='x86_64' machine='{machine}'>hvm</type></os>{cpu}{more}
<devices><emulator>/usr/bin/qemu</emulator>{devices}</devices></domain>"""


def make_record(
    name: str = "web1",
    *,
    uuid: str = "11111111-0000-0000-0000-000000000000",
    state: RunState = RunState.RUNNING,
    num_snapshots: int = 0,
    stats: Mapping[str, int | str] | None = None,
    **more: Any,
) -> DomainRecord:
    """Return a domain as a host tells of it."""
    return DomainRecord(
        uuid=uuid,
        name=name,
        state=state,
        xml=make_domain_xml(name, uuid=uuid, **more),
        num_snapshots=num_snapshots,
        stats=stats or {},
    )


def make_host_record(
    *,
    model: str = "EPYC",
    pools: tuple[tuple[str, str, str], ...] = (),
    networks: tuple[str, ...] = ("default",),
    interfaces: tuple[str, ...] | None = None,
    free_pages: Mapping[int, int] | None = None,
) -> HostRecord:
    """Return a host of 16 GiB; pools by name, kind and path."""
    return HostRecord(
        capabilities_xml=CAPABILITIES.format(model=model),
        memory_mib=16_384,
        num_cpus=8,
        pools=tuple(
            (name, POOL.format(name=name, kind=kind, path=path), True) for name, kind, path in pools
        ),
        networks=tuple((name, True) for name in networks),
        interfaces=interfaces,
        free_pages=free_pages or {},
    )


@dataclass
class Hypervisor:
    """One host.

    Parameters
    ----------
    refused_processors
        Models of guest processors that it cannot run.
    errs
        What it answers to questions about one domain.
    hangs
        While cleared, its answers do not come.
    fetching
        Domains that run here and still fetch memory from elsewhere.
    transient
        Domains that it forgets once they are off.
    """

    facts: HostRecord = field(default_factory=make_host_record)
    held: dict[str, DomainRecord] = field(default_factory=dict)
    refused_processors: tuple[str, ...] = ()
    down: bool = False
    errs: HypervisorError | None = None
    hangs: threading.Event = field(default_factory=threading.Event)
    num_opened: int = 0
    compared: list[str] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)
    fetching: set[str] = field(default_factory=set)
    transient: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.hangs.set()

    def hold(self, *records: DomainRecord) -> None:
        """Have domains."""
        self.held.update({record.uuid: record for record in records})


class FakeConnection(Connection):
    """A connection to a hypervisor in memory."""

    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor
        self.alive_ = True

    @property
    def alive(self) -> bool:
        """Whether the wire still stands."""
        return self.alive_ and not self._hypervisor.down

    def close(self) -> None:
        """Cut the wire."""
        self.alive_ = False

    def _answer(self) -> Hypervisor:
        self._hypervisor.hangs.wait()
        if self._hypervisor.down:
            raise HypervisorError("connection closed", fault=Fault.SILENT)
        return self._hypervisor

    def host(self) -> HostRecord:
        """Return the facts."""
        return self._answer().facts

    def domains(self, known: Mapping[str, DomainRecord]) -> tuple[DomainRecord, ...]:
        """Return the domains."""
        return tuple(self._answer().held.values())

    def state(self, uuid: str) -> RunState | None:
        """Return what a copy is doing."""
        self._about_one()
        record = self._answer().held.get(uuid)
        return None if record is None else record.state

    def job(self, uuid: str) -> None:
        """Return no migration: here none is ever under way."""
        self._about_one()

    def _about_one(self) -> None:
        errs = self._answer().errs
        if errs is not None:
            raise errs

    def compare_cpu(self, capabilities_of: Mapping[str, str], cpu_xml: str) -> bool:
        """Return whether it runs a processor."""
        hypervisor = self._answer()
        hypervisor.compared.append(cpu_xml)
        return not any(model in cpu_xml for model in hypervisor.refused_processors)

    def measure_dirty_rate(self, uuid: str, *, seconds: int = 1) -> None:
        """Measure nothing."""
        self._answer()

    def resume(self, uuid: str) -> None:
        """Let a paused domain go on."""
        hypervisor = self._answer()
        hypervisor.resumed.append(uuid)
        hypervisor.held[uuid] = replace(hypervisor.held[uuid], state=RunState.RUNNING)

    def kept_copy(self, uuid: str) -> KeptCopy | None:
        """Return a copy that runs or was left paused."""
        hypervisor = self._answer()
        if self.state(uuid) not in (RunState.RUNNING, RunState.LEFT_PAUSED):
            return None
        whole = uuid not in hypervisor.fetching
        return KeptCopy(whole=whole, persistent=uuid not in hypervisor.transient)

    def discard(self, uuid: str, *, forget: bool) -> None:
        """End what was left of a domain."""
        hypervisor = self._answer()
        if forget or uuid in hypervisor.transient:
            del hypervisor.held[uuid]
        else:
            hypervisor.held[uuid] = replace(hypervisor.held[uuid], state=RunState.OFF)


class Hypervisors:
    """Hypervisors by URI; call it to connect."""

    def __init__(self, **by_name: Hypervisor) -> None:
        self._by_uri = {f"qemu+ssh://{name}/system": h for name, h in by_name.items()}

    def __call__(self, uri: str) -> Connection:
        """Return a connection."""
        hypervisor = self._by_uri[uri]
        hypervisor.num_opened += 1
        if hypervisor.down:
            raise HypervisorError(f"cannot connect to {uri}: no route", fault=Fault.SILENT)
        return FakeConnection(hypervisor)
