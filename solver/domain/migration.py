"""What a live migration takes and what it costs.

``estimate`` predicts duration, bytes and downtime of pre-copy migrations; its parameters are
fitted from measured migrations by the executor. ``migration_cost`` prices a move by four terms,
each with its weight. Both are pure, vectorised functions: every engine, the score and every
explanation use the same ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt

from solver.domain.errors import InvalidInputError
from solver.domain.weights import UNITS_PER_HOST_S, Weights

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationParameters:
    """Parameters of the migration estimator.

    Defaults fit QEMU pre-copy over a plain TCP stream; the executor fits them to measured moves.
    """

    setup_s: float = 0.5
    """Seconds before the first page is sent: preparing the destination."""

    wire_efficiency: float = 0.9
    """Share of the granted bandwidth that carries pages."""

    sent_fraction: float = 1.0
    """Share of the resident memory that has to be sent: pages of zeros cost nearly nothing."""

    source_millicores: int = 1_000
    """CPU burned at the source while pages are sent: QEMU's migration thread is one core."""

    destination_millicores: int = 500
    """CPU burned at the destination while pages are received."""

    downtime_limit_s: float = 0.3
    """Pre-copy stops once the rest can be sent within this time (QEMU's default)."""

    max_dirty_fraction: float = 0.8
    """Largest share of the bandwidth that re-dirtying is allowed to take.

    A guest that dirties faster is throttled (auto-converge) down to it.
    """

    max_rounds: int = 30
    """Pre-copy rounds before the rest is sent in one go."""

    handover_s: float = 0.02
    """Downtime beyond sending the rest: device state and resuming."""

    handover_round_trips: int = 20
    """Network round trips while the guest stands still."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if not (math.isfinite(value) and value >= 0):
                raise InvalidInputError(f"expected 0 or more, got {value}", path=item.name)
        for name in ("wire_efficiency", "sent_fraction", "max_dirty_fraction"):
            if not 0 < getattr(self, name) <= 1:
                raise InvalidInputError(f"expected (0, 1], got {getattr(self, name)}", path=name)
        if self.max_dirty_fraction == 1:
            raise InvalidInputError("expected less than 1, got 1", path="max_dirty_fraction")


DEFAULT_MIGRATION = MigrationParameters()

LEAST_SENT_FRACTION: Final = 0.01
"""No fitted ``sent_fraction`` is below: a guest that has touched next to nothing has a kernel."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MigrationEstimate:
    """Predicted course of migrations; arrays share the shape the inputs broadcast to."""

    duration_ms: IntArray
    """From start to the guest running at the destination, setup included."""
    transferred_mib: IntArray
    downtime_ms: IntArray


def estimate(
    footprint_mib: npt.ArrayLike,
    dirty_mib_per_s: npt.ArrayLike,
    bandwidth_mib_per_s: npt.ArrayLike,
    parameters: MigrationParameters = DEFAULT_MIGRATION,
) -> MigrationEstimate:
    """Predict duration, bytes and downtime of pre-copy live migrations.

    Each round re-sends what was dirtied during the one before: with memory ``M``, bandwidth ``b``
    and dirty rate ``d``, round ``i`` sends ``M (d/b)^i``, until the rest fits the downtime limit
    or the rounds are used up [1]_.

    Parameters
    ----------
    footprint_mib, dirty_mib_per_s, bandwidth_mib_per_s
        Arrays that broadcast together; footprint and dirty rate non-negative, bandwidth positive.
    parameters
        Fitted or default parameters.

    References
    ----------
    .. [1] Clark et al. (2005). Live Migration of Virtual Machines. NSDI '05.
    """
    footprint, dirty, granted = np.broadcast_arrays(
        np.asarray(footprint_mib, dtype=np.float64) * parameters.sent_fraction,
        np.asarray(dirty_mib_per_s, dtype=np.float64),
        np.asarray(bandwidth_mib_per_s, dtype=np.float64),
    )
    bandwidth = granted * parameters.wire_efficiency
    ratio = np.minimum(dirty / bandwidth, parameters.max_dirty_fraction)
    small_enough = bandwidth * parameters.downtime_limit_s
    # Rounds needed until M * ratio^n <= small_enough, as n = log(small/M) / log(ratio).
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = np.ceil(
            np.log(small_enough / np.maximum(footprint, 1e-9)) / np.log(np.maximum(ratio, 1e-12))
        )
    rounds = np.where(footprint <= small_enough, 0, np.clip(wanted, 1, parameters.max_rounds))
    rest = footprint * ratio**rounds
    precopied = footprint * (1 - ratio**rounds) / (1 - ratio)
    last_s = rest / bandwidth
    duration_s = parameters.setup_s + precopied / bandwidth + last_s + parameters.handover_s
    return MigrationEstimate(
        duration_ms=np.ceil(duration_s * 1000).astype(np.int64),
        transferred_mib=np.ceil(precopied + rest).astype(np.int64),
        downtime_ms=np.ceil((last_s + parameters.handover_s) * 1000).astype(np.int64),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MigrationCost:
    """The four terms of the cost of moves, in whole cost units, weights and priority included."""

    utilisation: IntArray
    transfer: IntArray
    downtime: IntArray
    latency: IntArray

    @property
    def total(self) -> IntArray:
        """Sum of the four terms."""
        return self.utilisation + self.transfer + self.downtime + self.latency


def migration_cost(
    *,
    footprint_mib: npt.ArrayLike,
    dirty_mib_per_s: npt.ArrayLike,
    cpu_demand_millicores: npt.ArrayLike,
    priority: npt.ArrayLike,
    bandwidth_mib_per_s: npt.ArrayLike,
    latency_us: npt.ArrayLike,
    distance: npt.ArrayLike,
    utilisation_difference: npt.ArrayLike,
    reference_cpu_millicores: int,
    weights: Weights,
    parameters: MigrationParameters = DEFAULT_MIGRATION,
) -> MigrationCost:
    """Price moves of candidates to destinations.

    For every pair ``ω(priority) · (utilisation + transfer + downtime + latency)`` with

    - utilisation: ``w_utilisation · max(0, difference)``, the difference of utilisation that the
      move leaves behind (destination after minus source after, 1.0 is a whole host);
    - transfer: ``w_transfer · seconds on the wire · cores burned at both ends / reference``;
    - downtime: ``w_downtime · downtime · CPU demand / reference``;
    - latency: ``w_latency · (round trips of the handover · CPU demand / reference
      + borders crossed · zone_border_host_s)``.

    The priority weighs the *whole* cost, so that of two equal candidates the lower one moves.

    Parameters
    ----------
    footprint_mib, dirty_mib_per_s, cpu_demand_millicores, priority
        Of the candidates; non-negative; typically shape ``(num_candidates, 1)``.
    bandwidth_mib_per_s, latency_us, distance, utilisation_difference
        Of the pairs; typically shape ``(num_candidates, num_destinations)``.
    reference_cpu_millicores
        CPU of the reference host; positive.

    Returns
    -------
    MigrationCost
        Non-negative ``int64`` arrays of the broadcast shape. A move to the VM's own host is not a
        move: callers zero it.
    """
    course = estimate(footprint_mib, dirty_mib_per_s, bandwidth_mib_per_s, parameters)
    omega = 2.0 ** ((np.asarray(priority) - 5.0) / weights.priority_steps_per_doubling)
    unit = omega * UNITS_PER_HOST_S
    share = np.asarray(cpu_demand_millicores, dtype=np.float64) / reference_cpu_millicores
    burned = (
        parameters.source_millicores + parameters.destination_millicores
    ) / reference_cpu_millicores
    round_trips_s = np.asarray(latency_us) * 1e-6 * parameters.handover_round_trips
    difference = np.maximum(0.0, np.asarray(utilisation_difference, dtype=np.float64))
    border = np.asarray(distance) * weights.zone_border_host_s
    terms = np.broadcast_arrays(
        unit * weights.utilisation * difference,
        unit * weights.transfer * (course.duration_ms / 1000) * burned,
        unit * weights.downtime * (course.downtime_ms / 1000) * share,
        unit * weights.latency * (round_trips_s * share + border),
    )
    utilisation, transfer, downtime, latency = (np.rint(t).astype(np.int64) for t in terms)
    return MigrationCost(
        utilisation=utilisation, transfer=transfer, downtime=downtime, latency=latency
    )
