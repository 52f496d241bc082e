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
from service.security.passwords import Passwords, require_good
from service.security.policy import SecurityPolicy
from service.security.principal import Principal
from service.security.secrets import SESSION_PREFIX, csrf_token, digest, new_secret
from service.security.users import SESSION, User
from service.store.base import AuditEntry, Credential, Store, Transaction
from solver.domain.errors import InvalidInputError

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
    policy: SecurityPolicy,
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
        store, policy, passwords, name=name, password=password, origin=origin, now=now
    )
    renewed = passwords.hash(password) if passwords.is_outdated(user.password_hash) else None
    with store.begin() as tx:
        standing = users.find(tx, name)
        if standing is None or standing.password_hash != user.password_hash:
            raise UnauthenticatedError("the user was changed meanwhile")
        if renewed is not None:
            users.renew_hash(tx, standing, renewed, now)
        tx.credentials.forget_expired(now)
        return _begun(tx, policy, standing, origin, now)


def check_password(
    store: Store,
    policy: SecurityPolicy,
    passwords: Passwords,
    *,
    name: str,
    password: str,
    origin: str,
    now: datetime,
) -> User:
    """Return the user of a name and a password; raises as ``log_in`` does."""
    counted = _counted(policy, name, origin)
    since = now - policy.attempt_window
    with store.begin(read_only=True) as tx:
        tried_out = any(tx.attempts.count(key, since) >= most for key, most in counted.items())
        user = users.find(tx, name)
    if tried_out:
        raise TooManyError(
            "too many failed logins, of this user or from this address; expected a pause",
            retry_after_s=int(policy.attempt_window.total_seconds()),
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


def change_password(
    store: Store,
    policy: SecurityPolicy,
    passwords: Passwords,
    principal: Principal,
    *,
    current: str,
    new: str,
    now: datetime,
) -> None:
    """Give oneself another password; every session but the one that asks ends.

    Raises
    ------
    InvalidInputError
        At ``new_password`` or ``current_password``, if that is wrong.
    TooManyError
        If it was tried too often.
    """
    require_good(new, principal.name, path="new_password")
    if new == current:
        raise InvalidInputError("expected another password", path="new_password")
    name, origin = principal.name, principal.origin
    try:
        check_password(
            store, policy, passwords, name=name, password=current, origin=origin, now=now
        )
    except UnauthenticatedError as error:
        # The session is valid; it is the password that is wrong.
        raise InvalidInputError(
            "expected one's present password, got another", path="current_password"
        ) from error
    hashed = passwords.hash(new)
    with store.begin() as tx:
        users.change_own_password(tx, principal, hashed, now)


def principal_of(
    tx: Transaction, policy: SecurityPolicy, session: Credential, now: datetime
) -> Principal | None:
    """Return who asks with a session; ``None`` if it has ended, or its user is gone."""
    assert session.expires_at is not None
    used_at = session.last_used_at or session.made_at
    if session.expires_at <= now or used_at + policy.session_idle <= now:
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


def sessions_of(
    tx: Transaction, policy: SecurityPolicy, name: str, now: datetime
) -> list[Credential]:
    """Return the sessions of a user that go on, in no order; a thousand at most."""
    found = tx.credentials.page(SESSION, subject=name, limit=1000)
    return [session for session in found if principal_of(tx, policy, session, now) is not None]


def end(tx: Transaction, principal: Principal, *, everywhere: bool, now: datetime) -> None:
    """End the session that asks, or all of its user."""
    if everywhere:
        tx.credentials.delete_of(SESSION, principal.name)
    elif tx.credentials.page(SESSION, subject=principal.name, limit=1):
        tx.credentials.delete(principal.session_id)
    tx.audit.append(_entry(principal, "session.end", now))


def _begun(
    tx: Transaction, policy: SecurityPolicy, user: User, origin: str, now: datetime
) -> Login:
    secret = new_secret(SESSION_PREFIX)
    session = Credential(
        id=f"{SESSION}/{secrets.token_hex(8)}",
        kind=SESSION,
        digest=digest(secret),
        subject=user.name,
        document={"origin": origin},
        made_at=now,
        expires_at=now + policy.session_lifetime,
        last_used_at=now,
    )
    tx.credentials.put(session)
    principal = Principal(name=user.name, role=user.role, origin=origin)
    tx.audit.append(_entry(principal, "session.start", now))
    return Login(user=user, secret=secret, expires_at=now + policy.session_lifetime)


def _counted(policy: SecurityPolicy, name: str, origin: str) -> dict[str, int]:
    """Return what failed logins are counted under, and how many there may be; the pair first."""
    place = _place(origin)
    return {
        _key("pair", name, place): policy.max_attempts,
        _key("user", name): policy.max_attempts_per_user,
        _key("address", place): policy.max_attempts_per_address,
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
