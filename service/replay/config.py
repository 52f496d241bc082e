"""What to replay: the trace, the synthetic hosts, the window and the policies."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from solver.domain.errors import InvalidInputError

POLICIES: Final = (
    "none",
    "reactive",
    "reactive-greedy",
    "recent-max",
    "reference",
    "point",
    "independent",
    "predictive",
    "oracle",
)
FORESEEING: Final = ("reference", "point", "independent", "predictive")
"""Policies that need a trained forecaster."""

TELEMETRY_MINUTES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayConfig:
    """One replay, completely described: equal configurations give equal figures.

    Parameters
    ----------
    trace
        Telemetry in the tidy columns.
    num_hosts, host_cores, host_memory_gib
        Synthetic hosts, all alike.
    host_disk_mib_per_s, host_net_mib_per_s
        Throughput of each host; ``None`` for unlimited.
    from_at, until_at
        The window, aware UTC, end exclusive.
    interval_minutes
        Time between plans; a multiple of the five minutes between readings.
    policies
        Any of ``POLICIES``, each once.
    num_vms
        How many VMs of the trace, drawn at random, the cluster runs; all if ``None``. The
        forecaster is trained on all of them either way.
    num_scenarios
        Joint futures that foreseeing policies plan on; by the size of the cluster if ``None``.
    seed
        Seed of the draw, the start, the priorities, the scenarios and the engines.

    Raises
    ------
    InvalidInputError
        If the window is empty, a policy unknown, or the interval off the telemetry grid.
    """

    trace: Path
    num_hosts: int
    host_cores: int
    host_memory_gib: int
    from_at: datetime
    until_at: datetime
    host_disk_mib_per_s: int | None = None
    host_net_mib_per_s: int | None = None
    interval_minutes: int = 15
    policies: tuple[str, ...] = POLICIES
    num_vms: int | None = None
    num_scenarios: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.from_at >= self.until_at:
            raise InvalidInputError(
                f"expected an end after {self.from_at.isoformat()}, "
                f"got {self.until_at.isoformat()}",
                path="--until",
            )
        if self.interval_minutes % TELEMETRY_MINUTES:
            raise InvalidInputError(
                f"expected a multiple of {TELEMETRY_MINUTES} minutes, got {self.interval_minutes}",
                path="--interval",
            )
        if self.num_vms is not None and self.num_vms < 1:
            raise InvalidInputError(f"expected at least 1, got {self.num_vms}", path="--vms")
        for name in self.policies:
            if name not in POLICIES:
                raise InvalidInputError(
                    f"expected some of {', '.join(POLICIES)}, got {name!r}", path="--policy"
                )
        if len(set(self.policies)) != len(self.policies):
            raise InvalidInputError(
                f"expected each policy once, got {','.join(self.policies)}", path="--policy"
            )

    def document(self) -> dict[str, Any]:
        """Return the configuration as plain JSON values, the trace by its name."""
        values = asdict(self)
        values["trace"] = self.trace.name
        values["from_at"] = self.from_at.isoformat()
        values["until_at"] = self.until_at.isoformat()
        values["policies"] = list(self.policies)
        return values

    def fingerprint(self) -> str:
        """Return a short hash of all that decides the figures of one policy.

        The size and time stamp of the trace are part of it, and the code, so that figures of two
        versions never stand in one report; the list of policies is not, so that a policy finished
        earlier is not run again when others are added.
        """
        stat = self.trace.stat()
        values = self.document() | {"bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        values["code"] = _code_digest()
        del values["policies"]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def _code_digest() -> str:
    """Return a hash of every module that may decide a figure."""
    root = Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for package in ("solver", "forecast", "executor", "service"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
