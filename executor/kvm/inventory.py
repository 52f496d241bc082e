"""What all hosts hold, as last seen.

Every host is asked at once and none for longer than its time limit. A host that does not answer is
frozen as it was last seen: it is never taken for empty.
"""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from executor.kvm import preflight
from executor.kvm.api import Connection, DomainRecord, Fault, HypervisorError, RunState
from executor.kvm.config import HostConfig, KvmConfig, VmPolicy
from executor.kvm.domain_xml import UNREADABLE, Domain, read_domain
from executor.kvm.host_xml import HostFacts, read_host
from executor.kvm.link import HostLink
from executor.kvm.stats import MEASURED
from solver.domain.errors import TemporaryError
from solver.domain.units import HostId, VmId

FACTS_S: Final = 60.0
"""Between two looks at what a host is and has; descriptions of domains are read anew as often."""

FIRST_LOOK_S: Final = 30.0
"""Limit of the first look at a host: a daemon that has just started tries out its QEMU first."""

_PRESENT: Final = (
    # In post-copy a VM stands at its source until the migration is over: its memory is there.
    RunState.LEAVING,
    RunState.RUNNING,
    RunState.BROKEN,
    RunState.LEFT_PAUSED,
    RunState.PAUSED,
    RunState.OFF,
)
"""Which of several copies of a VM tells where it is, first one first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """A domain on a host."""

    record: DomainRecord
    domain: Domain


@dataclass(slots=True, kw_only=True)
class HostView:
    """One host as last seen; ``reachable`` says whether that was just now."""

    config: HostConfig
    link: HostLink
    facts: HostFacts | None = None
    facts_at_s: float = 0.0
    copies: dict[str, Copy] = field(default_factory=dict)
    reachable: bool = False
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenVm:
    """A VM: the copy that counts, and where it is."""

    id: VmId
    copy: Copy
    host_id: HostId
    elsewhere: tuple[HostId, ...]
    """Other hosts on which it runs, which should never be."""


class Inventory:
    """Looks at hosts and remembers what was seen.

    Parameters
    ----------
    config
        The hosts, and what the snapshot is to say beyond what they tell.
    links
        One per host, in the configuration's order.
    """

    def __init__(self, config: KvmConfig, links: Sequence[HostLink]) -> None:
        self._config = config
        self.views = {
            host.id: HostView(config=host, link=link)
            for host, link in zip(config.hosts, links, strict=True)
        }
        self._fits: dict[tuple[HostId, str], bool] = {}
        self._parsed: dict[str, tuple[str, Domain]] = {}
        self._dirty: dict[str, int] = {}
        self._ids: dict[str, VmId] = {}
        self._vms: dict[VmId, SeenVm] = {}

    # Looking ----------------------------------------------------------------------------------

    def refresh(self, host_ids: Container[HostId] | None = None) -> None:
        """Look at hosts.

        Parameters
        ----------
        host_ids
            At which; ``None`` for all.

        Raises
        ------
        TemporaryError
            If no host can be asked.
        """
        now_s = time.monotonic()
        looked_at = [
            view for host_id, view in self.views.items() if host_ids is None or host_id in host_ids
        ]
        asked = [(view, self._ask(view, now_s)) for view in looked_at]
        for view, future in asked:
            if future is None:
                continue
            limit_s = self._config.timeout_s if view.facts else FIRST_LOOK_S
            left_s = max(0.0, now_s + limit_s - time.monotonic())
            try:
                facts, records = view.link.wait(future, timeout_s=left_s)
            except (TemporaryError, HypervisorError) as error:
                view.reachable, view.why_not = False, str(error)
                continue
            view.reachable, view.why_not = True, ""
            if facts is not None:
                view.facts, view.facts_at_s = facts, now_s
            view.copies = {record.uuid: self._copy(record) for record in records}
            for record in records:
                if record.stats.get("dirtyrate.calc_status") == MEASURED:
                    rate = int(record.stats.get("dirtyrate.megabytes_per_second", 0))
                    self._dirty[record.uuid] = max(0, rate)
        if not any(view.reachable for view in self.views.values()):
            first = next(iter(self.views.values()))
            raise TemporaryError(f"no host can be reached; {first.why_not}", delay_s=5.0)
        self._index()
        self._compare_processors()

    def _ask(
        self, view: HostView, now_s: float
    ) -> Future[tuple[HostFacts | None, tuple[DomainRecord, ...]]] | None:
        """Begin to look at a host; ``None`` if it is known to be silent."""
        stale = view.facts is None or now_s - view.facts_at_s >= FACTS_S
        known = {} if stale else {uuid: copy.record for uuid, copy in view.copies.items()}

        def look(connection: Connection) -> tuple[HostFacts | None, tuple[DomainRecord, ...]]:
            facts = read_host(connection.host()) if stale else None
            return facts, connection.domains(known)

        try:
            return view.link.ask(look)
        except TemporaryError as error:
            view.reachable, view.why_not = False, str(error)
            return None

    def _copy(self, record: DomainRecord) -> Copy:
        xml, domain = self._parsed.get(record.uuid, ("", None))
        if domain is None or xml != record.xml:
            domain = _readable(record, self._config.owners)
            self._parsed[record.uuid] = (record.xml, domain)
        return Copy(record=record, domain=domain)

    def _compare_processors(self) -> None:
        """Ask each host once whether it can run each kind of guest processor."""
        kinds = {preflight.processor(vm.copy.domain): vm.copy.domain for vm in self.vms()}
        asked = []
        for host_id, view in self.views.items():
            new = {k: d for k, d in kinds.items() if k and (host_id, k) not in self._fits}
            if new and view.reachable:
                with suppress(TemporaryError):
                    asked.append((host_id, view.link.ask(partial(_compare, kinds=new))))
        deadline_s = time.monotonic() + self._config.timeout_s
        for host_id, future in asked:
            left_s = max(0.0, deadline_s - time.monotonic())
            try:
                answers = self.views[host_id].link.wait(future, timeout_s=left_s)
            except (TemporaryError, HypervisorError):
                continue
            self._fits.update({(host_id, kind): fits for kind, fits in answers.items()})

    # What was seen ----------------------------------------------------------------------------

    def vms(self) -> tuple[SeenVm, ...]:
        """Return every VM with the host it counts for, in the order of hosts and names."""
        return tuple(self._vms.values())

    def find(self, vm_id: VmId) -> SeenVm | None:
        """Return a VM as last seen."""
        return self._vms.get(vm_id)

    def unseen(self) -> HostView | None:
        """Return a host that was never seen, if there is one: nobody knows what it holds."""
        return next((view for view in self.views.values() if view.facts is None), None)

    def ambiguous(self) -> set[VmId]:
        """Return the names of which there are several domains, none of them known to be meant."""
        shared = {name for name, uuids in self._by_name().items() if len(uuids) > 1}
        return {VmId(name) for name in shared if VmId(name) not in self._vms}

    def _by_name(self) -> dict[str, set[str]]:
        names: defaultdict[str, set[str]] = defaultdict(set)
        for view in self.views.values():
            for uuid, copy in view.copies.items():
                names[copy.record.name].add(uuid)
        return names

    def _index(self) -> None:
        """Find out which copy of each VM counts, and what the VM is called."""
        copies: defaultdict[str, list[tuple[HostId, Copy]]] = defaultdict(list)
        for host_id, view in self.views.items():
            for uuid, copy in view.copies.items():
                copies[uuid].append((host_id, copy))
        names = self._by_name()
        seen = [self._seen(uuid, found) for uuid, found in copies.items()]
        for name, uuids in names.items():
            self._name(name, uuids)
        order = {host_id: i for i, host_id in enumerate(self.views)}
        named = [replace(vm, id=self._ids[vm.copy.record.uuid]) for vm in seen if vm is not None]
        named.sort(key=lambda vm: (order[vm.host_id], vm.id))
        self._vms = {vm.id: vm for vm in named}
        self._parsed = {uuid: kept for uuid, kept in self._parsed.items() if uuid in copies}
        self._dirty = {uuid: kept for uuid, kept in self._dirty.items() if uuid in copies}

    def _name(self, name: str, uuids: set[str]) -> None:
        """Give the domains of one name their ids; who has had one keeps it.

        The plain name is that of the one the operator means, else of the only one. A newcomer of
        the same name must not take the rules and priorities of the VM that was there before.
        """
        meant = self._config.vms.get(VmId(name), VmPolicy()).uuid
        holder = next((uuid for uuid in uuids if self._ids.get(uuid) == name), None)
        for uuid in uuids:
            plain = uuid == (meant or holder) or (len(uuids) == 1 and not meant)
            self._ids[uuid] = VmId(name if plain else f"{name}~{uuid[:8]}")

    def _seen(self, uuid: str, found: Sequence[tuple[HostId, Copy]]) -> SeenVm | None:
        ranked = sorted(
            (pair for pair in found if pair[1].record.state in _PRESENT),
            # What was seen just now tells more than what a silent host held.
            key=lambda pair: (
                _PRESENT.index(pair[1].record.state),
                not self.views[pair[0]].reachable,
            ),
        )
        if not ranked:
            return None
        host_id, copy = ranked[0]
        running = [h for h, c in ranked if c.record.state is RunState.RUNNING]
        handed_over = copy.record.state is RunState.LEAVING
        return SeenVm(
            id=VmId(uuid),
            copy=copy,
            host_id=host_id,
            elsewhere=() if handed_over else tuple(h for h in running if h != host_id),
        )

    def dirty_mib_per_s(self, record: DomainRecord) -> int:
        """Return the rate at which a guest was last seen to rewrite its memory.

        It moves with the guest: the statistics of its new host know nothing yet.
        """
        return self._dirty.get(record.uuid, 0)

    def fits(self, host_id: HostId, processor: str) -> bool:
        """Return whether a host can run a kind of processor; true as long as it has not told."""
        return self._fits.get((host_id, processor), True)


def _compare(connection: Connection, kinds: Mapping[str, Domain]) -> dict[str, bool]:
    """Return which kinds of guest processors the host can run, as far as it tells."""
    answers = {}
    for kind, domain in kinds.items():
        guest = {
            "emulator": domain.emulator,
            "arch": domain.arch,
            "machine": domain.machine,
            "virttype": domain.virttype,
        }
        try:
            answers[kind] = connection.compare_cpu(guest, domain.cpu_xml)
        except HypervisorError as error:
            if error.fault is Fault.SILENT:
                raise
            # A host without this emulator cannot compare: it refuses the guest by its machine.
            answers[kind] = True
    return answers


def _readable(record: DomainRecord, owners: Mapping[str, str]) -> Domain:
    """Return a domain as its XML describes it; one that cannot be read is tied to its host."""
    try:
        return read_domain(record.xml, owners)
    except (ET.ParseError, ValueError, KeyError):
        return replace(UNREADABLE, name=record.name, uuid=record.uuid)
