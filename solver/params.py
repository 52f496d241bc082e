"""How to solve, as plain data: read by all who ask for a solve, without loading what solves."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field

from solver.contention import DEFAULT_ACT_HOST_S, DEFAULT_STOP_HOST_S
from solver.domain.errors import InvalidInputError
from solver.domain.migration import MigrationParameters
from solver.domain.weights import Weights


class Engine(enum.Enum):
    """Engines that may be asked for by name."""

    PORTFOLIO = "portfolio"
    GREEDY = "greedy"
    CPSAT = "cpsat"


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveParams:
    """How to solve.

    Raises
    ------
    InvalidInputError
        If the engine is unknown, a limit is not positive, or thresholds are out of order.
    """

    weights: Weights = field(default_factory=Weights)
    """Weights of the objective."""

    migration: MigrationParameters = field(default_factory=MigrationParameters)
    """Parameters of the migration estimator, as fitted from measured moves."""

    engine: str = "portfolio"
    """``portfolio``, or one engine alone: ``greedy`` or ``cpsat``."""

    limit_s: float = 10.0
    """Wall seconds; the answer is there at most half a second later. With many thousand VMs,
    compiling and judging alone may take longer than a limit of a second or two leaves."""

    work_limit: float | None = None
    """Work in deterministic seconds: same seed and same work limit, same answer, as long as
    ``limit_s`` is not what ends the search. ``None`` for no limit."""

    seed: int = 0
    """Decides every draw of the search."""

    act_threshold_host_s: float = DEFAULT_ACT_HOST_S
    """Contention score of a host, in host-seconds, above which balancing begins."""

    stop_threshold_host_s: float = DEFAULT_STOP_HOST_S
    """Contention score below which a host is well again: balancing that was going on ends."""

    was_acting: bool = False
    """Whether the cycle before this one was balancing."""

    @property
    def threshold_host_s(self) -> float:
        """The threshold in force: the lower one while balancing goes on."""
        return self.stop_threshold_host_s if self.was_acting else self.act_threshold_host_s

    def __post_init__(self) -> None:
        engines = [engine.value for engine in Engine]
        if self.engine not in engines:
            raise InvalidInputError(
                f"expected one of {engines}, got {self.engine!r}", path="params.engine"
            )
        if isinstance(self.seed, bool) or not 0 <= self.seed < 2**31:
            raise InvalidInputError(
                f"expected a seed of 0..{2**31 - 1}, got {self.seed}", path="params.seed"
            )
        for name in ("limit_s", "work_limit"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InvalidInputError(
                    f"expected more than 0 seconds, got {value}", path=f"params.{name}"
                )
        if not 0 <= self.stop_threshold_host_s <= self.act_threshold_host_s <= 1e9:
            raise InvalidInputError(
                f"expected 0 <= stop <= act <= 1e9, got stop {self.stop_threshold_host_s} and act "
                f"{self.act_threshold_host_s} host-seconds",
                path="params.stop_threshold_host_s",
            )
