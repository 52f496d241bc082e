"""Who is asking: a user or a token, with what follows from it."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Role(enum.StrEnum):
    """What somebody is allowed to do; the table is in ``service.security.roles``."""

    VIEWER = "viewer"
    """Sees everything of the clusters, changes nothing."""
    OWNER = "owner"
    """Sees the VMs that are theirs and sets their priorities within bounds."""
    OPERATOR = "operator"
    """Runs the clusters: inventory, rules, schedules, plans."""
    ADMIN = "admin"
    """All of it, users and tokens too."""
    AGENT = "agent"
    """A monitor: delivers the telemetry of one host."""


PEOPLE = (Role.VIEWER, Role.OWNER, Role.OPERATOR, Role.ADMIN)
"""Roles of users; a monitor has a token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A known asker.

    Parameters
    ----------
    name
        Of the user, or ``token/`` and the name of the token; what the audit log shows.
    owner
        Whose VMs are theirs, for owners: the owner that policies of VMs name.
    cluster_id
        The only cluster a token reaches; empty for all.
    host_id
        The only host an agent delivers for; empty for all of its cluster.
    origin
        Address the request came from.
    session_id
        Of the session, empty for a token.
    csrf_token
        What a change has to show beside the cookie; empty where no cookie was used.
    must_change_password
        Nothing else is allowed before.
    """

    name: str
    role: Role
    owner: str = ""
    cluster_id: str = ""
    host_id: str = ""
    origin: str = ""
    session_id: str = ""
    csrf_token: str = ""
    must_change_password: bool = False

    def reaches(self, cluster_id: str) -> bool:
        """Return whether a cluster is within reach of the credential."""
        return self.cluster_id in ("", cluster_id)
