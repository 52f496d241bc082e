"""Decides how a migration ended, by where the VM really runs and never by what anybody says."""

from __future__ import annotations

from datetime import timedelta

from executor.clock import Clock
from executor.drivers.base import Driver, MigrationUnderWay
from executor.params import ExecutorParameters
from executor.run import Run
from executor.states import MoveEvent, PlanState
from executor.tracker import Tracker
from solver.domain.cluster import VM
from solver.domain.errors import TemporaryError
from solver.domain.plan import Step, StepKind
from solver.domain.units import HostId


class Concluding:
    """Verifies what is over as far as the driver tells."""

    def __init__(self, driver: Driver, clock: Clock, params: ExecutorParameters) -> None:
        self._driver = driver
        self._clock = clock
        self._params = params

    def verify(self, run: Run, move: Tracker) -> None:
        """Decide by where the VM really runs."""
        move.unclear_since = move.unclear_since or self._clock.now()
        try:
            if not move.confirmed and self._found_under_way(run, move):
                return
            self._conclude(run, move)
        except TemporaryError as error:
            if self.unclear_for_too_long(move):
                run.change(move, MoveEvent.LOSE, f"cannot be verified: {error}")

    def unclear_for_too_long(self, move: Tracker) -> bool:
        """Whether a step was out of sight or unclear for so long that a person must look."""
        assert move.unclear_since is not None
        unclear_s = (self._clock.now() - move.unclear_since).total_seconds()
        return unclear_s >= self._params.verify_wait_s

    def _found_under_way(self, run: Run, move: Tracker) -> bool:
        """Follow on a migration of the VM that is under way, or leave it to whoever began it."""
        found = self._driver.find_migration(move.step.vm_id)
        if found is None:
            return False
        if not _is_own(move, found):
            return self._left_to_others(run, move, found)
        move.handle = found.handle
        move.unclear_since = None
        move.cancel_sent = False
        move.follow_from(self._clock.now(), self._params)
        run.change(move, MoveEvent.FOUND_UNDER_WAY, "found under way")
        return True

    def _left_to_others(self, run: Run, move: Tracker, found: MigrationUnderWay) -> bool:
        """Give up a step whose VM somebody else moves, unless it had arrived before."""
        destination_id = move.step.destination_id
        if self._driver.locate(move.step.vm_id, (destination_id,)):
            return False
        reason = f"somebody else moves it to {found.destination_id!r}"
        run.change(move, MoveEvent.GIVE_UP, reason)
        return True

    def _conclude(self, run: Run, move: Tracker) -> None:
        step = move.step
        ends = tuple(end for end in (step.source_id, step.destination_id) if end is not None)
        found = self._driver.locate(step.vm_id, ends)
        if found == (step.destination_id,):
            run.change(move, MoveEvent.ARRIVED, "")
        elif step.source_id is not None and found == (step.source_id,):
            self._back_at_source(run, move)
        elif found:
            self._lose_in_time(run, move, f"runs on {_names(found)} at once")
        else:
            self._conclude_missing(run, move)

    def _conclude_missing(self, run: Run, move: Tracker) -> None:
        """Tell apart what runs at neither end: moved by others, ended by its owner, or lost."""
        step = move.step
        vm = next((vm for vm in self._driver.snapshot().vms if vm.id == step.vm_id), None)
        ended_by_owner = vm is not None and not vm.migratable
        if move.confirmed and not move.reason and ended_by_owner and _stands(vm, step):
            # The driver says that it has arrived; its owner has paused it or switched it off since.
            assert vm is not None
            run.change(move, MoveEvent.ARRIVED, f"arrived, and is {vm.not_migratable_reason} now")
            return
        ended = move.confirmed and not move.retriable and ended_by_owner
        # A VM that was ended where it stood need not be looked for on hosts that may not answer.
        elsewhere = () if ended else self._driver.locate(step.vm_id)
        if len(elsewhere) == 1:
            run.change(move, MoveEvent.GIVE_UP, f"somebody else moved it to {elsewhere[0]!r}")
            return
        if step.kind is StepKind.START and vm is not None and vm.host_id is None:
            self._back_at_source(run, move)
        elif move.confirmed and not move.retriable and (vm is None or not vm.migratable):
            run.change(move, MoveEvent.GIVE_UP, move.reason)
        else:
            told = f" ({move.reason})" if move.reason else ""
            self._lose_in_time(run, move, f"runs nowhere{told}")

    def _back_at_source(self, run: Run, move: Tracker) -> None:
        """Try again, or give up: the VM is as it was before the step."""
        reason = move.reason or "it was found as it was before"
        if run.state is PlanState.STOPPING:
            run.change(move, MoveEvent.ABORT, run.reason)
        elif not move.retriable:
            run.change(move, MoveEvent.GIVE_UP, reason)
        elif move.attempt >= self._params.max_attempts:
            tried = f"tried {move.attempt} times: {reason}"
            run.change(move, MoveEvent.GIVE_UP, tried)
        else:
            pause_s = self._params.pause_s(max(1, move.attempt))
            move.due_at = self._clock.now() + timedelta(seconds=pause_s)
            run.change(move, MoveEvent.RETURNED, reason)

    def _lose_in_time(self, run: Run, move: Tracker, what: str) -> None:
        move.reason = what
        if self.unclear_for_too_long(move):
            run.change(move, MoveEvent.LOSE, f"VM {move.step.vm_id!r} {what}")


def _stands(vm: VM | None, step: Step) -> bool:
    return vm is not None and vm.host_id == step.destination_id


def _is_own(move: Tracker, found: MigrationUnderWay) -> bool:
    """Return whether a migration that was found is the step's: by its name, or where it goes."""
    if move.step.kind is not StepKind.MIGRATE:
        return False
    return found.handle == move.handle or found.destination_id == move.step.destination_id


def _names(host_ids: tuple[HostId, ...]) -> str:
    return " and ".join(repr(host_id) for host_id in host_ids)
