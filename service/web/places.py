"""Why a VM is not elsewhere: for each other host what stands in the way, and how it would be there.

Whether a move is worth its cost is decided by a solve; what is told here is whether it may be, and
how loaded the host is already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from solver.domain.check import Violation, check_elsewhere
from solver.domain.cluster import Cluster
from solver.domain.units import VmId

Contention = Mapping[str, Mapping[str, Any]]
"""Rows of ``service.runtime.forecasting.contention_document`` by host."""

ALLOWED: Final = "nothing: it may be there"


def place_rows(cluster: Cluster, vm_id: VmId, contention: Contention) -> list[dict[str, Any]]:
    """Return a row for each other host, those where it may be first, the least contended first."""
    zones = {host.id: host.zone for host in cluster.hosts}
    rows = [
        _row(host_id, zones[host_id], violations, contention.get(host_id))
        for host_id, violations in check_elsewhere(cluster, vm_id).items()
    ]
    return sorted(rows, key=lambda row: (row["rank"], row["score_host_s"] or 0.0, row["id"]))


def verdict(rows: Sequence[Mapping[str, Any]], here: Mapping[str, Any] | None) -> str:
    """Return in a sentence or two what the rows come to.

    Parameters
    ----------
    here
        Contention of the host it is on; ``None`` where none is known.
    """
    if not rows:
        return "There is no other host."
    free = [row for row in rows if row["rank"] == 0]
    if not free:
        return f"None of the {len(rows)} other hosts could take it as things are."
    could = f"{len(free)} of {len(rows)} other hosts could take it."
    if here is None:
        return could
    score = here["score_host_s"]
    if score <= 0:
        return f"{could} Its host is not contended, so that a move would save nothing there."
    return (
        f"{could} Its host's contention is {score:,.3g} host-seconds in the next hour; the next "
        "plan weighs that against the cost of a move."
    )


def _row(
    host_id: str,
    zone: str,
    violations: Sequence[Violation],
    contention: Mapping[str, Any] | None,
) -> dict[str, Any]:
    hard = [violation for violation in violations if violation.hard]
    soft = [violation for violation in violations if not violation.hard]
    told = [violation.message for violation in hard] + [_soft(violation) for violation in soft]
    score = overload = None
    if contention is not None:
        score = contention["score_host_s"]
        overload = round(100 * contention["overload_probability"], 1)
    return {
        "id": host_id,
        "zone": zone,
        "rank": 2 if hard else 1 if soft else 0,
        "in_the_way": "; ".join(told) or ALLOWED,
        "score_host_s": score,
        "overload_percent": overload,
    }


def _soft(violation: Violation) -> str:
    penalty = (violation.penalty_host_s or 0) * violation.amount
    return f"{violation.message} (a wish, costs {penalty:g} host-seconds)"
