"""From a secret to who asks with it."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from service.security import sessions, tokens
from service.security.policy import SecurityPolicy
from service.security.principal import Principal
from service.security.secrets import SESSION_PREFIX, digest
from service.security.users import SESSION
from service.store.base import Credential, Store, Transaction
from service.store.errors import StoreError

NOTED_EVERY: Final = timedelta(minutes=1)
"""How old the last use of a credential may get before it is written down again."""
_log = logging.getLogger(__name__)

_NOTING: Final[set[str]] = set()
"""Digests of credentials whose use some request of this process is writing down."""


def authenticate(
    store: Store, policy: SecurityPolicy, secret: str, now: datetime
) -> Principal | None:
    """Return who asks with a secret; ``None`` if it is nobody's, or was revoked or has ended."""
    kind = SESSION if secret.startswith(SESSION_PREFIX) else tokens.KIND
    # A session's user is read later than the session: at worst it has newer rights.
    with store.asking() as tx:
        credential = tx.credentials.find(kind, digest(secret))
        if credential is None:
            return None
        principal = _principal(tx, policy, credential, now)
    if principal is not None and _is_note_due(credential, now):
        _note_use(store, credential, now)
    return principal


def _principal(
    tx: Transaction, policy: SecurityPolicy, credential: Credential, now: datetime
) -> Principal | None:
    if credential.kind == SESSION:
        return sessions.principal_of(tx, policy, credential, now)
    return tokens.principal_of(credential, now)


def _is_note_due(credential: Credential, now: datetime) -> bool:
    last = credential.last_used_at
    return last is None or now - last >= NOTED_EVERY


def _note_use(store: Store, seen: Credential, now: datetime) -> None:
    """Write the use down; who finds another request at it does not wait for the writer's turn.

    Two that look at the same moment both write, which does no harm.
    """
    if seen.digest in _NOTING:
        return
    _NOTING.add(seen.digest)
    try:
        with store.begin() as tx:
            # Read again: one that was revoked meanwhile must not come back.
            standing = tx.credentials.find(seen.kind, seen.digest)
            if standing is not None:
                tx.credentials.put(replace(standing, last_used_at=now))
    except StoreError as error:
        # Nobody is refused because of it; the next request tries again.
        _log.warning("the use of a credential could not be noted: %s", error)
    finally:
        _NOTING.discard(seen.digest)
