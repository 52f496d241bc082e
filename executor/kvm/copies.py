"""The copies of a domain on all hosts, and what broken migrations leave of them.

A migration whose client or daemon dies in the instant of the handover may leave the guest paused at
its source, and libvirt leaves it to others to find out whether it runs at its destination. Here
that is found out: where no other host has a copy it goes on, where another runs it is ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, TypeVar

from executor.kvm.api import Connection, HypervisorError, JobRecord, RunState
from executor.kvm.link import HostLink
from solver.domain.errors import TemporaryError
from solver.domain.units import HostId

T = TypeVar("T")

ABSENT: Final = (None, RunState.OFF)

SILENT_DELAY_S: Final = 10.0


class Copies:
    """Asks hosts for their copies of a domain, and tidies up what is left over.

    Parameters
    ----------
    links
        One per host.
    """

    def __init__(self, links: Mapping[HostId, HostLink]) -> None:
        self._links = links

    def states(
        self, uuid: str, host_ids: tuple[HostId, ...] | None = None
    ) -> dict[HostId, RunState | None]:
        """Return what each host's copy is doing, ``None`` for no copy; all are asked at once.

        Raises
        ------
        TemporaryError
            If one of them cannot be asked.
        """
        asked = {
            host_id: self._links[host_id].ask(lambda connection: connection.state(uuid))
            for host_id in (self._links if host_ids is None else host_ids)
        }
        states = {}
        for host_id, future in asked.items():
            try:
                states[host_id] = self._links[host_id].wait(future)
            except HypervisorError as error:
                raise TemporaryError(str(error), delay_s=SILENT_DELAY_S, host_id=host_id) from error
        return states

    def job(self, uuid: str, host_id: HostId) -> JobRecord | None:
        """Return the migration of a domain that a host shows; ``None`` if there is none.

        Raises
        ------
        TemporaryError
            If the host cannot be asked, or does not tell.
        """
        return self._ask(host_id, lambda connection: connection.job(uuid))

    def revive(self, uuid: str, host_id: HostId) -> bool:
        """Let a copy go on that was left paused, if no other host has one; return whether it does.

        Raises
        ------
        TemporaryError
            If one of the other hosts cannot be asked: it may have one; or if the host refuses.
        """
        others = tuple(other for other in self._links if other != host_id)
        if any(state not in ABSENT for state in self.states(uuid, others).values()):
            return False
        self.resume(uuid, host_id)
        return True

    def resume(self, uuid: str, host_id: HostId) -> None:
        """Let a copy go on.

        Raises
        ------
        TemporaryError
            If the host cannot be asked, or refuses.
        """
        self._ask(host_id, lambda connection: connection.resume(uuid))

    def discard(self, uuid: str, host_id: HostId, *, kept_on: HostId, definition: bool) -> bool:
        """End a copy that was left paused, as another host has one; return whether it is gone.

        Nothing is done while the copy that is kept may still fetch memory from this one.

        Parameters
        ----------
        kept_on
            Where the domain runs, or is to go on.
        definition
            Whether the host is to forget the domain, too; it does not before the other host keeps
            its definition.

        Raises
        ------
        TemporaryError
            If one of the two hosts cannot be asked, or refuses.
        """
        kept = self._ask(kept_on, lambda connection: connection.kept_copy(uuid))
        if kept is None or not kept.whole:
            return False
        forget = definition and kept.persistent
        self._ask(host_id, lambda connection: connection.discard(uuid, forget=forget))
        return True

    def settle(
        self, uuid: str, source_id: HostId, destination_id: HostId, *, definition: bool
    ) -> tuple[RunState | None, RunState | None]:
        """Bring both ends of a migration to rest that is over, and return what they do then.

        A copy left paused at the source goes on, unless the domain runs at its destination; then
        it is ended. One left at the destination never ran: the source has all of its memory.

        Parameters
        ----------
        definition
            Whether the source is to forget a domain that runs at its destination.

        Raises
        ------
        TemporaryError
            If one of the two hosts cannot be asked, or refuses.
        """
        states = self.states(uuid, (source_id, destination_id))
        source, destination = states[source_id], states[destination_id]
        left = RunState.LEFT_PAUSED
        if destination is RunState.RUNNING:
            ended = source is left or (source is RunState.OFF and definition)
            if ended and self.discard(
                uuid, source_id, kept_on=destination_id, definition=definition
            ):
                source = None
        elif destination is left and source in (RunState.RUNNING, left):
            gone = self.discard(uuid, destination_id, kept_on=source_id, definition=False)
            destination = None if gone else destination
        if source is left and destination in ABSENT:
            # Both ends have said so, and the migration went from one to the other.
            self.resume(uuid, source_id)
            source = RunState.RUNNING
        return source, destination

    def tidy(self, uuid: str, *, definition: bool) -> None:
        """Let go on or end every copy that was left paused, by what all hosts have.

        Raises
        ------
        TemporaryError
            If a host cannot be asked, or refuses.
        """
        states = self.states(uuid)
        running = [host_id for host_id, state in states.items() if state is RunState.RUNNING]
        for host_id, state in states.items():
            if state is RunState.LEFT_PAUSED and not running:
                self.revive(uuid, host_id)
            elif state is RunState.LEFT_PAUSED and len(running) == 1:
                self.discard(uuid, host_id, kept_on=running[0], definition=definition)

    def _ask(self, host_id: HostId, what: Callable[[Connection], T]) -> T:
        with _temporary(host_id):
            return self._links[host_id].call(what)


@contextmanager
def _temporary(host_id: HostId) -> Iterator[None]:
    """Turn whatever libvirt says against a look or a repair into an error that may pass."""
    try:
        yield
    except HypervisorError as error:
        raise TemporaryError(str(error), delay_s=SILENT_DELAY_S, host_id=host_id) from error
