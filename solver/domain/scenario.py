"""Joint scenarios: what every VM may need, together, over the next steps.

A scenario is one possible future of the *whole* cluster. Keeping VMs joint is the point: hosts
carry sums of VMs, and VMs move together, so bands added up per VM are either far too narrow
(as if independent) or far too wide (as if identical).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from solver.domain.errors import InvalidInputError
from solver.domain.units import FIELDS, MAX_AMOUNT, NUM_RESOURCES, VmId

PROBABILITY_PPM: Final = 1_000_000
"""Probabilities are whole parts per million, so that scores stay exact integers."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScenarioSet:
    """Weighted joint futures of the demand of every VM.

    Parameters
    ----------
    vm_ids
        The VMs, in the order of axis 1; each once.
    start_at
        The present: the end of the last bin that was read (aware UTC).
    step_seconds
        Length of one step; positive.
    probability_ppm
        Probability of each scenario in parts per million; each positive, together exactly
        1,000,000.
    demand
        Shape ``(num_scenarios, num_vms, num_resources, 1 + num_steps)``, ``int64``, in the units
        of :class:`~solver.domain.units.Resource`, each in ``0..MAX_AMOUNT``. Step 0 is the present
        reading; step ``t >= 1`` is the demand taken to hold from
        ``start_at + (t - 1) * step_seconds`` to ``start_at + t * step_seconds``. Made read-only.

    Raises
    ------
    InvalidInputError
        If shapes disagree, a VM is named twice, a value is out of range, or probabilities do not
        add up.
    """

    vm_ids: tuple[VmId, ...]
    start_at: datetime
    step_seconds: int
    probability_ppm: tuple[int, ...]
    demand: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.start_at.utcoffset() != timedelta(0):
            raise InvalidInputError(f"expected aware UTC, got {self.start_at!r}", path="start_at")
        if self.step_seconds <= 0:
            raise InvalidInputError(
                f"expected a positive length, got {self.step_seconds}", path="step_seconds"
            )
        if len(set(self.vm_ids)) != len(self.vm_ids):
            twice = next(v for v in self.vm_ids if self.vm_ids.count(v) > 1)
            raise InvalidInputError(f"VM {twice!r} is named more than once", path="vm_ids")
        if any(p <= 0 for p in self.probability_ppm) or sum(self.probability_ppm) != (
            PROBABILITY_PPM
        ):
            raise InvalidInputError(
                f"expected positive parts that add up to {PROBABILITY_PPM}, "
                f"got {sum(self.probability_ppm)} from {len(self.probability_ppm)} scenarios",
                path="probability_ppm",
            )
        if self.demand.dtype != np.int64:
            raise InvalidInputError(f"expected int64, got {self.demand.dtype}", path="demand")
        expected = (len(self.probability_ppm), len(self.vm_ids), NUM_RESOURCES)
        if self.demand.ndim != 4 or self.demand.shape[:3] != expected or self.demand.shape[3] < 1:
            raise InvalidInputError(
                f"expected shape {(*expected, '1 + num_steps')}, got {self.demand.shape}",
                path="demand",
            )
        if self.demand.size and (self.demand.min() < 0 or self.demand.max() > MAX_AMOUNT):
            bad = np.argwhere((self.demand < 0) | (self.demand > MAX_AMOUNT))[0]
            raise InvalidInputError(
                f"expected 0..{MAX_AMOUNT}, got {self.demand[tuple(bad)]} for VM "
                f"{self.vm_ids[bad[1]]!r}, {FIELDS[bad[2]]}, step {bad[3]}",
                path=f"demand[{bad[0]}]",
            )
        self.demand.flags.writeable = False

    @property
    def num_scenarios(self) -> int:
        """Number of weighted futures, K."""
        return len(self.probability_ppm)

    @property
    def num_steps(self) -> int:
        """Number of future steps; 0 when only the present is known."""
        return int(self.demand.shape[3]) - 1

    @property
    def horizon_seconds(self) -> int:
        """Seconds from the present to the end of the last step."""
        return self.num_steps * self.step_seconds

    def for_vms(self, vm_ids: tuple[VmId, ...]) -> ScenarioSet:
        """Return the same futures with VMs in the given order.

        Raises
        ------
        InvalidInputError
            If a VM has no scenario.
        """
        if vm_ids == self.vm_ids:
            return self
        position = {vm_id: i for i, vm_id in enumerate(self.vm_ids)}
        missing = [vm_id for vm_id in vm_ids if vm_id not in position]
        if missing:
            raise InvalidInputError(
                f"VM {missing[0]!r} has no demand in the scenarios "
                f"({len(missing)} of {len(vm_ids)} VMs missing)",
                path="vm_ids",
            )
        order = np.array([position[vm_id] for vm_id in vm_ids], dtype=np.intp)
        return ScenarioSet(
            vm_ids=vm_ids,
            start_at=self.start_at,
            step_seconds=self.step_seconds,
            probability_ppm=self.probability_ppm,
            demand=self.demand[:, order],
        )


def equal_probabilities(num_scenarios: int) -> tuple[int, ...]:
    """Return near-equal parts per million that add up exactly.

    >>> equal_probabilities(3)
    (333334, 333333, 333333)
    """
    if num_scenarios < 1:
        raise InvalidInputError(f"expected at least one scenario, got {num_scenarios}")
    base, rest = divmod(PROBABILITY_PPM, num_scenarios)
    return tuple(base + (i < rest) for i in range(num_scenarios))
