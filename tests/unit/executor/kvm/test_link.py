"""No host can hold up another."""

from __future__ import annotations

import threading

import pytest

from executor.kvm.api import Connection, Fault, HypervisorError
from executor.kvm.link import HostLink
from solver.domain.errors import TemporaryError
from solver.domain.units import HostId
from tests.hypervisors import Hypervisor, Hypervisors

H1 = HostId("h1")


def make_link(hypervisor: Hypervisor, *, timeout_s: float = 5.0) -> HostLink:
    """Return a link to a hypervisor."""
    return HostLink(
        H1,
        "qemu+ssh://h1/system",
        timeout_s=timeout_s,
        open_connection=Hypervisors(h1=hypervisor),
    )


def test_a_connection_is_opened_once() -> None:
    """And used again as long as it stands."""
    hypervisor = Hypervisor()
    link = make_link(hypervisor)
    for _ in range(3):
        assert link.call(lambda c: c.host()) is hypervisor.facts
    assert hypervisor.num_opened == 1


def test_a_broken_connection_is_opened_anew() -> None:
    """The question that broke it is answered with an error, the next one by the host."""
    hypervisor = Hypervisor()
    link = make_link(hypervisor)
    link.call(lambda c: c.host())
    lost = HypervisorError("connection closed", fault=Fault.SILENT)

    def break_it(connection: Connection) -> None:
        raise lost

    with pytest.raises(TemporaryError, match="'h1' cannot be reached: connection closed"):
        link.call(break_it)
    assert link.call(lambda c: c.host()) is hypervisor.facts
    assert hypervisor.num_opened == 2


def test_a_host_that_hangs_is_given_up_in_time_and_not_asked_again_before_it_answers() -> None:
    """One thread waits for it, never more; once it answers it is asked as before."""
    hypervisor = Hypervisor()
    link = make_link(hypervisor, timeout_s=0.05)
    hypervisor.hangs.clear()
    before = threading.active_count()
    with pytest.raises(TemporaryError, match=r"did not answer within 0\.05 s") as caught:
        link.call(lambda c: c.host())
    assert caught.value.host_id == H1
    for _ in range(5):
        with pytest.raises(TemporaryError, match="has not answered an earlier question yet"):
            link.call(lambda c: c.host())
    assert threading.active_count() <= before + 1
    hypervisor.hangs.set()
    done = link._stuck
    assert done is not None
    done.result(5.0)
    assert link.call(lambda c: c.host(), timeout_s=5.0) is hypervisor.facts


def test_a_host_that_is_down_is_not_tried_at_every_question() -> None:
    """Between tries there is a pause, which the error tells."""
    hypervisor = Hypervisor(down=True)
    link = make_link(hypervisor)
    for _ in range(5):
        with pytest.raises(TemporaryError, match="no route") as caught:
            link.call(lambda c: c.host())
    assert hypervisor.num_opened == 1
    assert caught.value.delay_s > 0


def test_what_the_host_refuses_is_told_as_it_is() -> None:
    """A refusal is not silence."""
    link = make_link(Hypervisor())

    def refuse(connection: Connection) -> None:
        raise HypervisorError("unsupported", fault=Fault.REFUSED)

    with pytest.raises(HypervisorError, match="unsupported"):
        link.call(refuse)
