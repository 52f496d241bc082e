"""``foreswap execute``: carries out a plan on real hosts, or takes up one that was interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from service.commands import console
from service.commands.snapshot import HOSTS_HELP, POLICY_HELP
from service.options import require_writable
from solver.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from executor.engine import Executor
    from executor.lease import FileLease

LOOK_S: Final = 0.5
"""Longest pause between two looks: what is shown is never older."""


def execute(
    hosts: Annotated[Path, typer.Argument(help=HOSTS_HELP, metavar="HOSTS.toml")],
    journal: Annotated[
        Path,
        typer.Option(help="Where every step is written down before it is made.", metavar="FILE"),
    ],
    plan: Annotated[
        Path | None, typer.Option(help="Plan to carry out, of `foreswap solve --plan`.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help=POLICY_HELP, metavar="CLUSTER.json")] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="Add what moves took to this file, for `foreswap solve --calibration`.",
            metavar="FILE",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume/--settle",
            help="Of an interrupted plan: make the steps that were not begun, or only see to "
            "what was under way.",
        ),
    ] = True,
) -> None:
    """Migrate VMs as a plan says, checking each step against the live cluster.

    An interrupted plan is taken up first, whether or not another is given. Ctrl-C starts nothing
    more and cancels what is under way; a second Ctrl-C leaves at once, and the next call with
    the same journal sees to the rest.
    """
    from executor.clock import SystemClock
    from executor.engine import Executor
    from executor.journal import FileJournal
    from executor.lease import FileLease
    from service.real_hosts import connect
    from solver.instances import read_plan

    wanted = None if plan is None else read_plan(plan)
    require_writable(calibration, "--calibration")
    lease = FileLease(journal.with_name(f"{journal.name}.lease"))
    with (
        connect(hosts, policy) as driver,
        _held(lease),
        FileJournal(journal, lease) as written,
    ):
        if written.torn_tail:
            console.note("the journal's last line was torn by a crash and is left out")
        driver.snapshot()
        executor = Executor(driver, SystemClock(), written, lease=lease)
        if executor.recover(resume=resume):
            console.note("taking up the plan that was interrupted")
            _carry_out(executor)
        elif wanted is None:
            raise InvalidInputError(
                "expected a plan, got none, and the journal knows of none that was interrupted",
                path="--plan",
            )
        if wanted is not None:
            executor.begin(wanted)
            _carry_out(executor)
        if calibration is not None:
            _keep(calibration, executor)
        _end(executor)


@contextmanager
def _held(lease: FileLease) -> Iterator[None]:
    """Hold the lease: of several processes with one journal only one acts."""
    from executor.errors import LeaseError, LeaseHeldError

    lease.acquire()
    try:
        yield
    finally:
        # Whoever has lost it has nothing to give back.
        with suppress(LeaseError, LeaseHeldError):
            lease.release()


def _carry_out(executor: Executor) -> None:
    """Show the plan being carried out until it has ended."""
    from datetime import UTC, datetime

    from rich.live import Live

    from executor.clock import SystemClock
    from service.tables import moves_table

    clock = SystemClock()
    view = console.err()
    with Live(console=view, transient=True, auto_refresh=False, screen=False) as live:
        stopping = False
        while executor.active:
            try:
                executor.tick()
                if view.is_terminal:
                    live.update(moves_table(executor.report()), refresh=True)
                latest_at = datetime.now(UTC) + timedelta(seconds=LOOK_S)
                next_at = executor.next_event_at
                clock.sleep_until(latest_at if next_at is None else min(next_at, latest_at))
            except KeyboardInterrupt:
                if stopping:
                    raise
                stopping = True
                console.note("stopping: nothing more is started, what is under way is cancelled")
                executor.abort("stopped by the operator")


def _keep(calibration: Path, executor: Executor) -> None:
    """Keep what moves took, and say how well they can be predicted now."""
    from service.calibration_file import add_moves

    measured = [o.measured for o in executor.report().outcomes if o.measured is not None]
    fit = add_moves(calibration, measured)
    if fit.error_after is not None:
        console.note(
            f"{fit.num_moves} measured moves; predicted durations are off by "
            f"{fit.error_after:.0%} (median)"
        )


def _end(executor: Executor) -> None:
    """Show how the plan ended; raise if it did not end well."""
    from executor.states import MoveState
    from service.tables import counted, moves_table
    from solver.domain.errors import ExecutionError

    report = executor.report()
    out = console.out()
    out.print(moves_table(report))
    done = len(report.in_state(MoveState.DONE))
    out.print(
        f"plan {report.plan_id} {report.state.value}: {done} of "
        f"{counted(len(report.outcomes), 'step')} done"
    )
    if done < len(report.outcomes):
        raise ExecutionError(f"{counted(len(report.outcomes) - done, 'step')} not done")
