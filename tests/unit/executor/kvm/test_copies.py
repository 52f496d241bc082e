"""What is left of a broken migration is put right, by what both ends have."""

from __future__ import annotations

import pytest

from executor.kvm.api import RunState
from executor.kvm.copies import Copies
from executor.kvm.link import HostLink
from solver.domain.errors import TemporaryError
from solver.domain.units import HostId
from tests.hypervisors import Hypervisor, Hypervisors, make_record

H1, H2 = HostId("h1"), HostId("h2")
U1 = "11111111-0000-0000-0000-000000000000"
RUNNING, LEFT, OFF = RunState.RUNNING, RunState.LEFT_PAUSED, RunState.OFF


class Ends:
    """The two ends of a migration that is over, and the domain's copies there."""

    def __init__(self, source: RunState | None, destination: RunState | None) -> None:
        self.source, self.destination = Hypervisor(), Hypervisor()
        for hypervisor, state in ((self.source, source), (self.destination, destination)):
            if state is not None:
                hypervisor.hold(make_record(uuid=U1, state=state))
        connect = Hypervisors(h1=self.source, h2=self.destination)
        links = (
            HostLink(host_id, f"qemu+ssh://{host_id}/system", open_connection=connect)
            for host_id in (H1, H2)
        )
        self.copies = Copies({link.host_id: link for link in links})

    def settle(self, *, definition: bool = True) -> tuple[RunState | None, RunState | None]:
        """Put them right and return what is there, which is what was told."""
        told = self.copies.settle(U1, H1, H2, definition=definition)
        found = self.copies.states(U1)
        assert [None if s is OFF else s for s in told] == [
            None if s is OFF else s for s in found.values()
        ]
        return found[H1], found[H2]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((RUNNING, None), (RUNNING, None)),
        ((None, RUNNING), (None, RUNNING)),
        ((LEFT, None), (RUNNING, None)),
        ((LEFT, OFF), (RUNNING, OFF)),
        ((LEFT, RUNNING), (None, RUNNING)),
        ((OFF, RUNNING), (None, RUNNING)),
        ((RunState.PAUSED, RUNNING), (RunState.PAUSED, RUNNING)),
        ((RunState.LEAVING, RUNNING), (RunState.LEAVING, RUNNING)),
        ((LEFT, RunState.INCOMING), (LEFT, RunState.INCOMING)),
        ((LEFT, RunState.PAUSED), (LEFT, RunState.PAUSED)),
        ((RUNNING, RUNNING), (RUNNING, RUNNING)),
        ((None, LEFT), (None, LEFT)),
        ((None, None), (None, None)),
    ],
)
def test_ends_are_put_right(
    before: tuple[RunState | None, RunState | None], after: tuple[RunState | None, RunState | None]
) -> None:
    """A copy left paused goes on where no other is, and is ended where another runs."""
    assert Ends(*before).settle() == after


@pytest.mark.parametrize("source", [RUNNING, LEFT])
def test_a_copy_that_never_ran_is_ended(source: RunState) -> None:
    """Libvirt keeps it where both daemons die in the handover; once it barred every further try."""
    ends = Ends(source, LEFT)
    ends.destination.transient.add(U1)
    assert ends.settle() == (RUNNING, None)


@pytest.mark.parametrize("source", [LEFT, OFF])
def test_nothing_is_ended_that_memory_is_still_fetched_from(source: RunState) -> None:
    """In post-copy the destination runs, and the source has what it lacks."""
    ends = Ends(source, RUNNING)
    ends.destination.fetching.add(U1)
    assert ends.settle() == (source, RUNNING)


def test_the_last_definition_stays() -> None:
    """A domain that its destination would forget is not forgotten at its source."""
    ends = Ends(LEFT, RUNNING)
    ends.destination.transient.add(U1)
    assert ends.settle() == (OFF, RUNNING)


def test_a_definition_stays_where_it_is_to_stay() -> None:
    """The copy is ended all the same."""
    assert Ends(LEFT, RUNNING).settle(definition=False) == (OFF, RUNNING)
    assert Ends(OFF, RUNNING).settle(definition=False) == (OFF, RUNNING)


@pytest.mark.parametrize("end", ["source", "destination"])
def test_silence_changes_nothing(end: str) -> None:
    """What one end has says nothing of the other."""
    ends = Ends(LEFT, RUNNING)
    getattr(ends, end).down = True
    with pytest.raises(TemporaryError):
        ends.settle()
    getattr(ends, end).down = False
    assert set(ends.source.held) == set(ends.destination.held) == {U1}
    assert not ends.source.resumed
