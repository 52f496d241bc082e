"""What each role may do: one row per operation of the API.

An application with an operation that has no row does not start, and a test asks for every
operation with every role. A row says who may ask at all; that owners reach only their own VMs,
agents only their host and tokens only their cluster is checked beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from service.errors import ForbiddenError
from service.security.principal import Principal, Role

EVERYONE: Final = frozenset(Role)
PEOPLE: Final = frozenset({Role.VIEWER, Role.OWNER, Role.OPERATOR, Role.ADMIN})
READERS: Final = frozenset({Role.VIEWER, Role.OPERATOR, Role.ADMIN})
OPERATORS: Final = frozenset({Role.OPERATOR, Role.ADMIN})
ADMINS: Final = frozenset({Role.ADMIN})
AGENTS: Final = frozenset({Role.AGENT})

ROLES: Final[Mapping[str, frozenset[Role]]] = {
    "session.show": EVERYONE,
    "session.end": PEOPLE,
    "session.password": PEOPLE,
    "users.list": ADMINS,
    "users.show": ADMINS,
    "users.put": ADMINS,
    "users.delete": ADMINS,
    "users.log_out": ADMINS,
    "users.reset_password": ADMINS,
    "audit.list": PEOPLE,
    "tokens.list": ADMINS,
    "tokens.create": ADMINS,
    "tokens.delete": ADMINS,
    "metrics.read": READERS,
    "clusters.list": PEOPLE,
    "clusters.show": PEOPLE,
    "clusters.put": ADMINS,
    "clusters.delete": ADMINS,
    "snapshots.show": READERS,
    "snapshots.put": OPERATORS,
    "hosts.list": READERS,
    "hosts.show": READERS,
    "maintenance.set": OPERATORS,
    "vms.list": PEOPLE,
    "vms.show": PEOPLE,
    "policies.show": PEOPLE,
    "policies.set": OPERATORS,
    "priorities.set": OPERATORS | {Role.OWNER},
    "priorities.set_many": OPERATORS | {Role.OWNER},
    "groups.list": PEOPLE,
    "rules.list": READERS,
    "rules.show": READERS,
    "rules.put": OPERATORS,
    "rules.delete": OPERATORS,
    "ingest.post": AGENTS,
    "plans.list": READERS,
    "plans.show": READERS,
    "plans.scorecard": READERS,
    "plans.make": OPERATORS,
    "plans.approve": OPERATORS,
    "plans.reject": OPERATORS,
    "plans.pause": OPERATORS,
    "plans.resume": OPERATORS,
    "plans.abort": OPERATORS,
    "plans.approve_step": OPERATORS,
    "plans.skip_step": OPERATORS,
    "schedule.show": READERS,
    "schedule.put": OPERATORS,
    "contention.show": READERS,
    "outlook.show": READERS,
    "forecasts.vm": PEOPLE,
    "forecasts.host": READERS,
    "history.vm": PEOPLE,
    "history.host": READERS,
    "solve.run": READERS,
    "whatif.ask": READERS,
    "jobs.list": READERS,
    "jobs.show": READERS,
    "jobs.events": READERS,
    "jobs.cancel": READERS,
}
"""Operation → roles that may ask for it."""

OPEN: Final = frozenset(
    {
        "session.start",
        "docs.page",
        "docs.asset",
        "docs.openapi",
        "health.live",
        "health.ready",
        "metrics.open",
    }
)
"""Operations that ask for no credential."""

WITHOUT_CLUSTER: Final = frozenset(
    {
        "session.show",
        "audit.list",
        "clusters.list",
        "solve.run",
        "jobs.list",
        "jobs.show",
        "jobs.events",
        "jobs.cancel",
    }
)
"""Operations of no cluster that a token bound to one may ask for all the same."""

WITH_OLD_PASSWORD: Final = frozenset({"session.show", "session.end", "session.password"})
"""What a user may ask for whose password has to be changed."""


def known(operation: str) -> bool:
    """Return whether an operation has its row."""
    return operation in ROLES or operation in OPEN


def require(principal: Principal, operation: str, cluster_id: str | None) -> None:
    """Return if somebody may ask for an operation.

    Parameters
    ----------
    cluster_id
        Of the cluster the request names in its path; ``None`` if it names none.

    Raises
    ------
    ForbiddenError
        Saying what is in the way.
    """
    if principal.must_change_password and operation not in WITH_OLD_PASSWORD:
        raise ForbiddenError(
            f"user {principal.name!r} has a password given by somebody else, expected it to be "
            "changed first (PUT /api/v1/session/password)",
            reason="password",
        )
    if principal.role not in ROLES[operation]:
        allowed = ", ".join(sorted(ROLES[operation]))
        raise ForbiddenError(
            f"{operation} is for {allowed}, got the role {principal.role.value}", reason="role"
        )
    _require_reach(principal, operation, cluster_id)


def _require_reach(principal: Principal, operation: str, cluster_id: str | None) -> None:
    if cluster_id is None:
        if principal.cluster_id and operation not in WITHOUT_CLUSTER:
            raise ForbiddenError(
                f"{principal.name} reaches cluster {principal.cluster_id!r} alone, and {operation} "
                "is of no cluster"
            )
    elif not principal.reaches(cluster_id):
        raise ForbiddenError(
            f"{principal.name} reaches cluster {principal.cluster_id!r} alone, got {cluster_id!r}"
        )
