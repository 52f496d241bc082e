"""Tokens: credentials of programs, made and revoked by an admin.

The secret is shown once, when a token is made; what is kept is its digest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from service.errors import WrongStateError
from service.security.auditing import entry
from service.security.principal import Principal, Role
from service.security.secrets import TOKEN_PREFIX, digest, new_secret
from service.store.base import Credential, Transaction
from service.store.errors import NotFoundError
from solver.domain.errors import InvalidInputError

KIND: Final = "token"

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$"
"""What names of tokens look like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewToken:
    """What a token is to be.

    Parameters
    ----------
    name
        Unique among tokens; what the audit log shows, behind ``token/``.
    owner
        For the role owner: the owner that policies of VMs name.
    cluster_id, host_id
        What it is bound to; an agent has to be bound to a cluster.
    expires_at
        ``None`` for never.
    """

    name: str
    role: Role
    owner: str = ""
    cluster_id: str = ""
    host_id: str = ""
    expires_at: datetime | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(NAME, self.name):
            raise InvalidInputError(
                "expected 1 to 63 letters, digits or ._- that begin with a letter or digit, "
                f"got {self.name!r:.80}",
                path="name",
            )
        if self.role is Role.AGENT and not self.cluster_id:
            raise InvalidInputError("expected the cluster of the agent", path="cluster_id")
        if self.role is not Role.AGENT and self.host_id:
            raise InvalidInputError(
                f"expected a host for an agent only, got {self.host_id!r}", path="host_id"
            )
        if self.role is Role.OWNER and not self.owner:
            raise InvalidInputError("expected whose VMs the token is for", path="owner")
        if self.role is not Role.OWNER and self.owner:
            raise InvalidInputError(
                f"expected an owner for the role owner only, got {self.owner!r}", path="owner"
            )


def create(
    tx: Transaction, principal: Principal, wanted: NewToken, now: datetime
) -> tuple[Credential, str]:
    """Make a token; return it and its secret.

    Raises
    ------
    WrongStateError
        If there is one of that name.
    InvalidInputError
        If it would have expired already.
    """
    if wanted.expires_at is not None and wanted.expires_at <= now:
        raise InvalidInputError(
            f"expected an instant after {now.isoformat()}, got {wanted.expires_at.isoformat()}",
            path="expires_at",
        )
    if find(tx, wanted.name) is not None:
        raise WrongStateError(f"token {wanted.name!r} exists, expected a new name")
    secret = new_secret(TOKEN_PREFIX)
    token = Credential(
        id=_id(wanted.name),
        kind=KIND,
        digest=digest(secret),
        subject=wanted.name,
        document={
            "role": wanted.role.value,
            "owner": wanted.owner,
            "cluster_id": wanted.cluster_id,
            "host_id": wanted.host_id,
            "made_by": principal.name,
        },
        made_at=now,
        expires_at=wanted.expires_at,
    )
    tx.credentials.put(token)
    tx.audit.append(
        entry(principal, "tokens.create", "", f"tokens/{token.subject}", now, after=shown(token))
    )
    return token, secret


def delete(tx: Transaction, principal: Principal, name: str, now: datetime) -> None:
    """Revoke a token: from now on it is unknown.

    Raises
    ------
    NotFoundError
        If there is none of that name.
    """
    if find(tx, name) is None:
        raise NotFoundError(f"token {name!r}: expected one that exists")
    token = tx.credentials.delete(_id(name))
    tx.audit.append(
        entry(principal, "tokens.delete", "", f"tokens/{token.subject}", now, before=shown(token))
    )


def find(tx: Transaction, name: str) -> Credential | None:
    """Return the token of a name; ``None`` if there is none."""
    return next(iter(tx.credentials.page(KIND, subject=name, limit=1)), None)


def page(tx: Transaction, *, after: str, limit: int) -> Sequence[Credential]:
    """Return up to ``limit`` tokens in the order of their names, from behind the name ``after``."""
    return tx.credentials.page(KIND, after=_id(after) if after else "", limit=limit)


def principal_of(token: Credential, now: datetime) -> Principal | None:
    """Return who asks with a token; ``None`` if it has expired."""
    if token.expires_at is not None and token.expires_at <= now:
        return None
    allowed = token.document
    return Principal(
        name=f"token/{token.subject}",
        role=Role(allowed["role"]),
        owner=allowed["owner"],
        cluster_id=allowed["cluster_id"],
        host_id=allowed["host_id"],
    )


def shown(token: Credential) -> dict[str, Any]:
    """Return what anybody may see of a token."""
    return {"name": token.subject, **token.document, "expires_at": _iso(token.expires_at)}


def _id(name: str) -> str:
    # Sorted as the names are, and unique as they are: two tokens of one name cannot be written.
    return f"{KIND}/{name}"


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
