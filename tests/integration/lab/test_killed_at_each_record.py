"""Wherever the process that moves a guest is killed, the next one closes the plan truthfully."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from executor.kvm.config import Mode
from tests.integration.lab.carrier_process import Death, Task, run_to_its_end
from tests.integration.lab.carrying import (
    PARAMS,
    assert_well_ended,
    carrying,
    go,
    make_config,
    make_plan,
)
from tests.integration.lab.conftest import LabShelf
from tests.integration.lab.soundness import unsoundness

if TYPE_CHECKING:
    from tests.integration.lab.hosts import Lab, LabHost

GUEST = "vm1"
NUM_RECORDS = 6
"""Of a plan with one move that succeeds: begun, start, accepted, ended, arrived, settled."""


class Shuttle:
    """A guest that goes to and fro between two hosts."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def way(self) -> tuple[LabHost, LabHost]:
        """Return where the guest is and where it goes next; a fresh one if it came to harm."""
        here, there, *_ = self.lab.hosts
        if GUEST not in self.lab.guests or unsoundness(self.lab):
            self.lab.reset()
            self.lab.start_guest(GUEST, here).wait_ticking()
        elif self.lab.placement()[GUEST] == there.name:
            here, there = there, here
        return here, there


@pytest.fixture(scope="module")
def shuttle(lab_shelf: LabShelf) -> Iterator[Shuttle]:
    """A guest that all tests of the module move."""
    yield Shuttle(lab_shelf.take())
    lab_shelf.give_back()


def instants() -> list[Any]:
    """Return the number of each record, with whether it is written before the process is killed.

    What lies between two records is reached from both; where nothing happens between them, one
    will do for a quick run.
    """
    eventful = [(1, True), (2, True), (3, False), (3, True), (4, False), (5, False), (6, False)]
    return [
        pytest.param(
            number,
            after,
            id=f"{'after' if after else 'before'}-{number}",
            marks=[] if (number, after) in eventful else pytest.mark.slow,
        )
        for number in range(1, NUM_RECORDS + 1)
        for after in (False, True)
    ]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(("number", "after"), instants())
def test_move_is_closed_by_the_next_process(
    shuttle: Shuttle, tmp_path: Path, number: int, after: bool, mode: Mode
) -> None:
    """The guest arrives, unless nothing had been written at all."""
    source, destination = shuttle.way()
    config = make_config(shuttle.lab, mode=mode)
    plan = make_plan(go(GUEST, source, destination))
    task = Task(config=config, plan=plan, params=PARAMS, death=Death(number=number, after=after))
    assert run_to_its_end(tmp_path, task) == -signal.SIGKILL
    with carrying(shuttle.lab, tmp_path, mode=mode) as carrier:
        if carrier.executor.recover():
            # A client-managed move dies with its process; no further try is wasted.
            assert carrier.finish().outcomes[0].attempts <= 2
        if not carrier.records():
            assert (number, after) == (1, False)
            return
        assert_well_ended(shuttle.lab, carrier.records(), {GUEST: destination.name})
