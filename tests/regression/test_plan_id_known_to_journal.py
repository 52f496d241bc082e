"""The id of a plan that was carried out is not given to another."""

from __future__ import annotations

import pytest

from executor.engine import Executor
from executor.errors import BusyError
from executor.journal import MemoryJournal
from solver.domain.errors import InvalidInputError
from tests.builders import make_cluster, make_host, make_vm
from tests.executor_builders import make_plan, migrate, simulate


def test_the_id_of_a_finished_plan_is_refused() -> None:
    """Only the plan carried out last by the same object was compared with.

    After a restart, or two plans later, a known id was accepted, and the journal then told two
    stories under one name.
    """
    hosts = [make_host("h1"), make_host("h2")]
    driver, clock = simulate(make_cluster(hosts, [make_vm("v1")]))
    journal = MemoryJournal()
    executor = Executor(driver, clock, journal)
    for plan_id, ends in (("first", ("h1", "h2")), ("second", ("h2", "h1"))):
        executor.begin(make_plan(migrate("v1", *ends)), plan_id=plan_id)
        executor.run_until_done()
    before = journal.read()
    plan = make_plan(migrate("v1", "h1", "h2"))
    for other in (executor, Executor(driver, clock, journal)):
        with pytest.raises(InvalidInputError, match="'first' was carried out already"):
            other.begin(plan, plan_id="first")
    assert journal.read() == before
    executor.begin(plan, plan_id="third")
    with pytest.raises(BusyError):
        executor.begin(plan, plan_id="first")
