"""Sessions: from a password to a cookie, and how often a password may be tried.

A session's secret is random and kept as a digest, as a token's is. What its user may do is read
from the user at every request, so a change of role, or the end of a user, counts at once.
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from service.errors import TooManyError, UnauthenticatedError
from service.security import users
from service.security.auditing import entry
from service.security.passwords import Passwords
from service.security.principal import Principal
from service.security.secrets import SESSION_PREFIX, csrf_token, digest, new_secret
from service.security.settings import SecuritySettings
from service.security.users import SESSION, User
from service.store.base import AuditEntry, Credential, Store, Transaction

_IPV6_PREFIX: Final = 64
"""Bits of an IPv6 address that name whoever has it; of the rest they have as many as they like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A session that has just begun."""

    user: User
    secret: str
    expires_at: datetime

    @property
    def csrf_token(self) -> str:
        """What its changes have to show beside the cookie."""
        return csrf_token(self.secret)


def log_in(
    store: Store,
    settings: SecuritySettings,
    passwords: Passwords,
    *,
    name: str,
    password: str,
    origin: str,
    now: datetime,
) -> Login:
    """Begin a session.

    Raises
    ------
    UnauthenticatedError
        If user and password do not belong together; which of them is wrong is not told.
    TooManyError
        If it was tried too often.
    """
    user = check_password(
        store, settings, passwords, name=name, password=password, origin=origin, now=now
    )
    renewed = passwords.hash(password) if passwords.is_outdated(user.password_hash) else None
    with store.begin() as tx:
        standing = users.find(tx, name)
        if standing is None or standing.password_hash != user.password_hash:
            raise UnauthenticatedError("the user was changed meanwhile")
        if renewed is not None:
            users.renew_hash(tx, standing, renewed, now)
        tx.credentials.forget_expired(now)
        return _begun(tx, settings, standing, origin, now)


def check_password(
    store: Store,
    settings: SecuritySettings,
    passwords: Passwords,
    *,
    name: str,
    password: str,
    origin: str,
    now: datetime,
) -> User:
    """Return the user of a name and a password; raises as ``log_in`` does."""
    counted = _counted(settings, name, origin)
    since = now - settings.attempt_window
    with store.begin(read_only=True) as tx:
        tried_out = any(tx.attempts.count(key, since) >= most for key, most in counted.items())
        user = users.find(tx, name)
    if tried_out:
        raise TooManyError(
            "too many failed logins, of this user or from this address; expected a pause",
            retry_after_s=int(settings.attempt_window.total_seconds()),
        )
    if not passwords.fits(password, None if user is None else user.password_hash):
        with store.begin() as tx:
            for key in counted:
                tx.attempts.note(key, now)
        raise UnauthenticatedError("user and password do not belong together")
    assert user is not None
    with store.begin() as tx:
        tx.attempts.forget(next(iter(counted)))
    return user


def principal_of(
    tx: Transaction, settings: SecuritySettings, session: Credential, now: datetime
) -> Principal | None:
    """Return who asks with a session; ``None`` if it has ended, or its user is gone."""
    assert session.expires_at is not None
    used_at = session.last_used_at or session.made_at
    if session.expires_at <= now or used_at + settings.session_idle <= now:
        return None
    user = users.find(tx, session.subject)
    if user is None:
        return None
    return Principal(
        name=user.name,
        role=user.role,
        owner=user.owner,
        session_id=session.id,
        must_change_password=user.must_change_password,
    )


def end(tx: Transaction, principal: Principal, *, everywhere: bool, now: datetime) -> None:
    """End the session that asks, or all of its user."""
    if everywhere:
        tx.credentials.delete_of(SESSION, principal.name)
    elif tx.credentials.page(SESSION, subject=principal.name, limit=1):
        tx.credentials.delete(principal.session_id)
    tx.audit.append(_entry(principal, "session.end", now))


def _begun(
    tx: Transaction, settings: SecuritySettings, user: User, origin: str, now: datetime
) -> Login:
    secret = new_secret(SESSION_PREFIX)
    session = Credential(
        id=f"{SESSION}/{secrets.token_hex(8)}",
        kind=SESSION,
        digest=digest(secret),
        subject=user.name,
        document={"origin": origin},
        made_at=now,
        expires_at=now + settings.session_lifetime,
        last_used_at=now,
    )
    tx.credentials.put(session)
    principal = Principal(name=user.name, role=user.role, origin=origin)
    tx.audit.append(_entry(principal, "session.start", now))
    return Login(user=user, secret=secret, expires_at=now + settings.session_lifetime)


def _counted(settings: SecuritySettings, name: str, origin: str) -> dict[str, int]:
    """Return what failed logins are counted under, and how many there may be; the pair first."""
    place = _place(origin)
    return {
        _key("pair", name, place): settings.max_attempts,
        _key("user", name): settings.max_attempts_per_user,
        _key("address", place): settings.max_attempts_per_address,
    }


def _key(*parts: str) -> str:
    # A digest: names are whatever somebody typed, now and then a password.
    code = hashlib.sha256("\x00".join(parts).encode("utf-8", "replace")).hexdigest()
    return f"login/{parts[0]}/{code}"


def _place(origin: str) -> str:
    try:
        address = ipaddress.ip_address(origin)
    except ValueError:
        return origin
    if address.version == 4:
        return origin
    return str(ipaddress.ip_network((origin, _IPV6_PREFIX), strict=False))


def _entry(principal: Principal, action: str, now: datetime) -> AuditEntry:
    return entry(principal, action, "", f"users/{principal.name}/sessions", now)
