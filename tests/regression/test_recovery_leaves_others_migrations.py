"""Recovery must not take somebody else's migration for its own."""

from __future__ import annotations

from executor.drivers.base import MigrationState
from executor.engine import Executor
from executor.journal import MemoryJournal
from executor.records import MoveChanged, PlanBegun
from executor.states import MoveEvent, MoveState
from solver.domain.cluster import Cluster
from solver.domain.plan import Step
from solver.domain.units import HostId, VmId
from tests.builders import NOW, make_cluster, make_host, make_vm
from tests.executor_builders import make_plan, migrate, simulate, start

V1 = VmId("v1")
H1, H2, H3 = (HostId(name) for name in ("h1", "h2", "h3"))


def three_hosts(host: str | None) -> Cluster:
    """Return three hosts and one VM on ``host``."""
    return make_cluster([make_host(name) for name in ("h1", "h2", "h3")], [make_vm("v1", host)])


def crashed_while_starting(step: Step) -> MemoryJournal:
    """Return the journal of an executor that stopped after writing down that it would start."""
    plan = make_plan(step)
    starting = MoveChanged(
        plan_id="p1",
        at=NOW,
        step_idx=0,
        event=MoveEvent.START,
        state=MoveState.STARTING,
        attempt=1,
    )
    return MemoryJournal([PlanBegun(plan_id="p1", at=NOW, plan=plan), starting])


def test_a_migration_to_another_host_is_left_alone() -> None:
    """The step had not begun when the executor stopped, and the operator moved the VM to h3.

    Recovery followed whatever migration of the VM it found, and aborting the plan then cancelled
    the operator's.
    """
    driver, clock = simulate(three_hosts("h1"))
    executor = Executor(driver, clock, crashed_while_starting(migrate("v1", "h1", "h2")))
    operators = driver.start_migration(V1, H3, bandwidth_mib_per_s=100)
    clock.advance(5)
    assert executor.recover()
    executor.tick()
    executor.abort("enough")
    (outcome,) = executor.report().outcomes
    assert outcome.state is MoveState.FAILED
    assert outcome.reason == "somebody else moves it to 'h3'"
    clock.advance(300)
    assert driver.poll(operators).state is MigrationState.COMPLETED
    assert driver.locate(V1) == (H3,)


def test_a_vm_that_had_arrived_and_is_moved_on_has_arrived() -> None:
    """The step was carried out to its end while nobody watched; what comes after is not its own."""
    driver, clock = simulate(three_hosts("h1"))
    driver.start_migration(V1, H2, bandwidth_mib_per_s=1000)
    clock.advance(60)
    operators = driver.start_migration(V1, H3, bandwidth_mib_per_s=100)
    executor = Executor(driver, clock, crashed_while_starting(migrate("v1", "h1", "h2")))
    assert executor.recover()
    executor.tick()
    (outcome,) = executor.report().outcomes
    assert outcome.state is MoveState.DONE
    assert driver.poll(operators).state is MigrationState.RUNNING


def test_a_start_owns_no_migration() -> None:
    """The operator started the VM on h1 and moves it to where the step was to start it."""
    driver, clock = simulate(three_hosts("h1"))
    operators = driver.start_migration(V1, H2, bandwidth_mib_per_s=100)
    executor = Executor(driver, clock, crashed_while_starting(start("v1", "h2")))
    assert executor.recover()
    executor.tick()
    executor.abort("enough")
    (outcome,) = executor.report().outcomes
    assert outcome.state is MoveState.FAILED
    clock.advance(300)
    assert driver.poll(operators).state is MigrationState.COMPLETED


def test_its_own_migration_is_still_followed() -> None:
    """What goes where the step goes was begun by it and not yet written down."""
    driver, clock = simulate(three_hosts("h1"))
    driver.start_migration(V1, H2, bandwidth_mib_per_s=100)
    executor = Executor(driver, clock, crashed_while_starting(migrate("v1", "h1", "h2")))
    assert executor.recover()
    (outcome,) = executor.run_until_done().outcomes
    assert outcome.state is MoveState.DONE
    assert outcome.attempts == 1
    assert driver.account().migrations == 1
