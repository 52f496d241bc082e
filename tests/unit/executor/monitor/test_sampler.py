"""A reading is taken whatever the hypervisor does."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from executor.counters import VmCounters
from executor.monitor.background import Errand
from executor.monitor.sampler import Sampler
from tests.monitoring import MadeUpHost, MadeUpVms, WoundTime, make_vm_counters


def test_host_and_vms_are_read() -> None:
    """Both stand in one reading, with the clocks."""
    time = WoundTime()
    reading = Sampler(MadeUpHost(time), MadeUpVms(time), time).read()
    assert reading.at == time.now()
    assert reading.vms is not None
    assert [vm.name for vm in reading.vms] == ["vm1"]
    assert reading.reason == ""


def test_a_host_without_hypervisor_has_no_vms() -> None:
    """That is known, not unavailable."""
    time = WoundTime()
    assert Sampler(MadeUpHost(time), None, time).read().vms == ()


def test_a_hypervisor_that_refuses_costs_its_vms_only() -> None:
    """The host is read, and the reason is told."""
    time = WoundTime()
    vms = MadeUpVms(time)
    vms.away = True
    reading = Sampler(MadeUpHost(time), vms, time).read()
    assert reading.vms is None
    assert "connection refused" in reading.reason
    assert len(reading.host.cpus) == 2


class Hanging:
    """A hypervisor that answers once the test lets it."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.num_asked = 0

    def read(self) -> tuple[VmCounters, ...]:
        """Return one VM, late."""
        self.num_asked += 1
        self.released.wait(30)
        return (make_vm_counters(),)


def eventually(condition: Callable[[], bool]) -> None:
    """Let other threads run until a condition holds."""
    waiter = threading.Event()
    for _ in range(3000):
        if condition():
            return
        waiter.wait(0.01)
    pytest.fail("the condition never held")


def test_a_hypervisor_that_hangs_is_asked_once() -> None:
    """Readings go on without it, no thread is added, and its late answer has its own instant."""
    time = WoundTime()
    asked_s = time.elapsed_s()
    vms = Hanging()
    sampler = Sampler(MadeUpHost(time), vms, time, vm_wait_s=0.01)
    first, second = sampler.read(), sampler.read()
    assert first.vms is None
    assert "has not answered" in first.reason
    assert second.vms is None
    vms.released.set()
    readings = [first]

    def answered() -> bool:
        readings.append(sampler.read())
        return readings[-1].vms is not None

    eventually(answered)
    assert vms.num_asked == 1
    assert readings[-1].vms_s == asked_s
    assert sampler.read().vms is not None
    assert vms.num_asked == 2


def test_an_errand_hands_on_what_it_met() -> None:
    """A defect in a thread is not swallowed."""
    errand: Errand[int] = Errand("test")
    errand.begin(lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        errand.take(wait_s=30)
    errand.begin(lambda: 7)
    assert errand.take(wait_s=30) == 7
    assert errand.take() is None
