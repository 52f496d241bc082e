"""``foreswap execute``: carries out a plan on real hosts, or takes up one that was interrupted."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Final, Self

import typer

from service.commands import console
from service.commands.snapshot import HOSTS_HELP, POLICY_HELP
from service.options import require_writable
from solver.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from executor.engine import Executor
    from executor.kvm.config import KvmConfig
    from executor.kvm.driver import KvmDriver
    from executor.lease import FileLease
    from executor.params import ExecutorParameters

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
    from service.real_hosts import connect
    from solver.instances import read_plan

    wanted = None if plan is None else read_plan(plan)
    require_writable(calibration, "--calibration")
    if policy is None:
        console.note("without --policy no rule is checked, and no priority known")
    with (
        connect(hosts, policy) as driver,
        _held(lease_of(driver.config)) as lease,
        FileJournal(journal, lease) as written,
    ):
        if written.torn_tail:
            console.note("the journal's last line was torn by a crash and is left out")
        driver.snapshot()
        executor = Executor(driver, SystemClock(), written, _params(driver), lease=lease)
        if executor.recover(resume=resume):
            console.note("taking up the plan that was interrupted")
            _to_its_end(executor, calibration)
        elif wanted is None:
            raise InvalidInputError(
                "expected a plan, got none, and the journal knows of none that was interrupted",
                path="--plan",
            )
        if wanted is not None:
            executor.begin(wanted)
            _to_its_end(executor, calibration)


def _params(driver: KvmDriver) -> ExecutorParameters:
    from executor.params import ExecutorParameters, OnTimeout

    may_switch = driver.capabilities().can_post_copy
    return ExecutorParameters(on_timeout=OnTimeout.POST_COPY if may_switch else OnTimeout.CANCEL)


def lease_of(config: KvmConfig) -> FileLease:
    """Return the lease of a cluster on this machine, whatever file its journal is in."""
    from executor.lease import TTL_S, FileLease

    uris = "\n".join(sorted(host.uri for host in config.hosts))
    name = hashlib.sha256(uris.encode()).hexdigest()[:16]
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    folder = state / "foreswap"
    folder.mkdir(parents=True, exist_ok=True)
    # A call inside the lease asks a host several questions, each for as long as it may take.
    return FileLease(folder / f"{name}.lease", ttl_s=max(TTL_S, 8 * config.timeout_s))


def _to_its_end(executor: Executor, calibration: Path | None) -> None:
    """Carry out what is begun; raise if it did not end well."""
    _carry_out(executor)
    if calibration is not None:
        _keep(calibration, executor)
    _end(executor)


@contextmanager
def _held(lease: FileLease) -> Iterator[FileLease]:
    """Hold the lease: of several processes on one cluster only one acts."""
    from executor.errors import LeaseError, LeaseHeldError

    lease.acquire()
    try:
        yield lease
    finally:
        # Whoever has lost it has nothing to give back.
        with suppress(LeaseError, LeaseHeldError):
            lease.release()


class _Stop:
    """Notes SIGINT and SIGTERM instead of raising in the middle of a step; a second one raises."""

    def __init__(self) -> None:
        self.wanted = False

    def __enter__(self) -> Self:
        self._before = {
            number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True


def _carry_out(executor: Executor) -> None:
    """Show the plan being carried out until it has ended."""
    from rich.live import Live

    from executor.errors import LeaseError, LeaseHeldError
    from executor.states import PlanState
    from service.tables import moves_table

    view = console.err()
    if executor.report().state is PlanState.PAUSED:
        executor.resume()
    with _Stop() as stop, Live(console=view, transient=True, auto_refresh=False) as live:
        stopping = False
        while executor.active:
            try:
                if stop.wanted and not stopping:
                    console.note("stopping: nothing more is begun, what is under way is cancelled")
                    executor.abort("stopped by the operator")
                    stopping = True
                executor.tick()
            except (LeaseError, LeaseHeldError) as error:
                console.note(f"waiting: {error}")
                time.sleep(LOOK_S)
            if view.is_terminal:
                live.update(moves_table(executor.report()), refresh=True)
            next_at = executor.next_event_at
            if next_at is not None:
                pause_s = (next_at - datetime.now(UTC)).total_seconds()
                time.sleep(min(LOOK_S, max(0.0, pause_s)))


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
