"""What is broken in a placement at rest."""

from __future__ import annotations

from solver.domain.checking.standing import Standing
from solver.domain.checking.violation import Violation
from solver.domain.cluster import Cluster, Placement


def check_placement(cluster: Cluster, placement: Placement) -> tuple[Violation, ...]:
    """Return every violation, hard and soft, of a placement at rest.

    Parameters
    ----------
    placement
        Host of every VM of the cluster; a VM left out counts as running nowhere.
    """
    return tuple(Standing(cluster, placement).violations())
