"""Cool-downs: a VM that was moved is left alone for a while, longer each time it is moved again.

The loudest complaint about balancers is ping-pong. The pause doubles with every repeat, decays
with quiet, and never exceeds a day. It reaches the solver as ``VM.not_before_at``; moves that
repair a rule are exempt there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from solver.domain.errors import InvalidInputError
from solver.domain.units import VmId

LONGEST: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class CooldownParams:
    """Settings of the cool-down.

    Parameters
    ----------
    first
        Pause after a first move; zero turns cool-downs off.
    forget_after
        Quiet time that takes back one doubling.
    """

    first: timedelta = timedelta(minutes=30)
    forget_after: timedelta = timedelta(hours=6)

    def __post_init__(self) -> None:
        if not timedelta(0) <= self.first <= LONGEST:
            raise InvalidInputError(f"expected 0..24 h, got {self.first}", path="cooldown.first")
        if self.forget_after <= timedelta(0):
            raise InvalidInputError(
                f"expected more than 0, got {self.forget_after}", path="cooldown.forget_after"
            )


@dataclass(frozen=True, slots=True)
class _Record:
    moved_at: datetime
    repeats: int


class Cooldowns:
    """The moves of the recent past, as far as they still forbid the next one."""

    def __init__(self, params: CooldownParams | None = None) -> None:
        self._params = params or CooldownParams()
        self._records: dict[VmId, _Record] = {}

    def record(self, vm_id: VmId, moved_at: datetime) -> None:
        """Note that a VM was moved."""
        repeats = 0
        last = self._records.get(vm_id)
        if last is not None:
            forgotten = (moved_at - last.moved_at) // self._params.forget_after
            repeats = max(0, last.repeats + 1 - forgotten)
        self._records[vm_id] = _Record(moved_at, repeats)

    def to_document(self) -> dict[str, list[str | int]]:
        """Return what is remembered as JSON values: when each VM was moved, and how often."""
        return {
            vm_id: [record.moved_at.isoformat(), record.repeats]
            for vm_id, record in self._records.items()
        }

    def restore(self, document: Mapping[str, Sequence[Any]]) -> None:
        """Remember what :meth:`to_document` told."""
        for vm_id, (moved_at, repeats) in document.items():
            self._records[VmId(vm_id)] = _Record(datetime.fromisoformat(moved_at), int(repeats))

    def not_before(self, vm_id: VmId) -> datetime | None:
        """Return the instant before which a VM is not to be moved again, if it was ever moved."""
        last = self._records.get(vm_id)
        if last is None or not self._params.first:
            return None
        # The exponent is bounded before the shift: timedelta must not overflow.
        factor = 1 << min(last.repeats, 32)
        return last.moved_at + min(LONGEST, self._params.first * factor)
