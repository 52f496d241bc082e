"""Users: people with a name, a password and a role."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from service.errors import WrongStateError
from service.security.auditing import entry
from service.security.principal import Principal, Role
from service.store.base import AuditEntry, Item, Kind, Transaction
from service.store.errors import NotFoundError

SESSION: Final = "session"

SERVICE: Final = Principal(name="service", role=Role.ADMIN)
"""Who acts at the machine of the service itself."""

FIRST: Final = "admin"
"""Name of the user whom the first start makes."""

_MANY: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """Somebody who may log in.

    Parameters
    ----------
    owner
        Whose VMs are theirs, for the role owner: the owner that policies of VMs name. Several
        users may be of one.
    must_change_password
        It was given by somebody else.
    """

    name: str
    role: Role
    owner: str
    password_hash: str
    must_change_password: bool = False
    revision: int = 0

    def shown(self) -> dict[str, Any]:
        """Return what anybody may see."""
        return {
            "name": self.name,
            "role": self.role.value,
            "owner": self.owner,
            "must_change_password": self.must_change_password,
        }


def get(tx: Transaction, name: str) -> User:
    """Return a user.

    :raises NotFoundError: if there is none of that name
    """
    found = find(tx, name)
    if found is None:
        raise NotFoundError(f"user {name!r}: expected one that exists")
    return found


def find(tx: Transaction, name: str) -> User | None:
    """Return a user; ``None`` if there is none of that name."""
    item = tx.items.find(Kind.USER, "", [name]).get(name)
    return None if item is None else _user(item)


def page(tx: Transaction, *, after: str, limit: int) -> Sequence[User]:
    """Return up to ``limit`` users in the order of their names, from behind the name ``after``."""
    return [_user(item) for item in tx.items.page(Kind.USER, "", after=after, limit=limit)]


def put(
    tx: Transaction,
    principal: Principal,
    wanted: User,
    *,
    expected_revision: int | None,
    now: datetime,
) -> User:
    """Make or change a user; whoever's role, owner or password changes is logged out.

    Raises
    ------
    ConflictError
        If the user stands at another revision.
    WrongStateError
        If no admin would be left.
    """
    before = find(tx, wanted.name)
    if before is not None and before.role is Role.ADMIN and wanted.role is not Role.ADMIN:
        _require_another_admin(tx, wanted.name)
    after = _written(tx, principal, wanted, expected_revision, now)
    if before is not None and replace(before, revision=0) != replace(after, revision=0):
        tx.credentials.delete_of(SESSION, wanted.name)
    tx.audit.append(_entry(principal, "users.put", now, before, after))
    return after


def change_own_password(
    tx: Transaction, principal: Principal, password_hash: str, now: datetime
) -> None:
    """Give oneself another password; every session but the one that asks ends."""
    before = get(tx, principal.name)
    changed = replace(before, password_hash=password_hash, must_change_password=False)
    after = _written(tx, principal, changed, before.revision, now)
    kept = [one for one in _sessions(tx, principal.name) if one.id == principal.session_id]
    tx.credentials.delete_of(SESSION, principal.name)
    for session in kept:
        tx.credentials.put(session)
    tx.audit.append(_entry(principal, "session.password", now, before, after))


def delete(
    tx: Transaction,
    principal: Principal,
    name: str,
    *,
    expected_revision: int | None,
    now: datetime,
) -> None:
    """Remove a user and end their sessions.

    Raises
    ------
    NotFoundError
        If there is none of that name.
    ConflictError
        If the user stands at another revision.
    WrongStateError
        If no admin would be left.
    """
    before = get(tx, name)
    if before.role is Role.ADMIN:
        _require_another_admin(tx, name)
    tx.items.delete(Kind.USER, "", name, expected_revision=expected_revision)
    tx.credentials.delete_of(SESSION, name)
    tx.audit.append(_entry(principal, "users.delete", now, before, None))


def log_out(tx: Transaction, principal: Principal, name: str, now: datetime) -> int:
    """End every session of a user; return how many there were.

    :raises NotFoundError: if there is none of that name
    """
    user = get(tx, name)
    ended = tx.credentials.delete_of(SESSION, name)
    tx.audit.append(_entry(principal, "users.log_out", now, user, user))
    return ended


def make_first(tx: Transaction, password_hash: str, now: datetime) -> bool:
    """Make the first admin, unless there is a user already; return whether it was made."""
    if tx.items.page(Kind.USER, "", limit=1):
        return False
    admin = User(
        name=FIRST,
        role=Role.ADMIN,
        owner="",
        password_hash=password_hash,
        must_change_password=True,
    )
    put(tx, SERVICE, admin, expected_revision=0, now=now)
    return True


def give_password(
    tx: Transaction, principal: Principal, name: str, password_hash: str, now: datetime
) -> None:
    """Give a user a password to be changed at the next login.

    :raises NotFoundError: if there is none of that name
    """
    before = get(tx, name)
    changed = replace(before, password_hash=password_hash, must_change_password=True)
    put(tx, principal, changed, expected_revision=before.revision, now=now)


def renew_hash(tx: Transaction, user: User, password_hash: str, now: datetime) -> None:
    """Keep another hash of the same password, made with today's parameters."""
    changed = replace(user, password_hash=password_hash)
    _written(tx, Principal(name=user.name, role=user.role), changed, user.revision, now)


def _written(
    tx: Transaction,
    principal: Principal,
    wanted: User,
    expected_revision: int | None,
    now: datetime,
) -> User:
    item = Item(
        kind=Kind.USER,
        cluster_id="",
        id=wanted.name,
        document={
            "role": wanted.role.value,
            "owner": wanted.owner,
            "password_hash": wanted.password_hash,
            "must_change_password": wanted.must_change_password,
        },
        changed_at=now,
        changed_by=principal.name,
    )
    return _user(tx.items.put(item, expected_revision=expected_revision))


def _user(item: Item) -> User:
    kept = item.document
    return User(
        name=item.id,
        role=Role(kept["role"]),
        owner=kept["owner"],
        password_hash=kept["password_hash"],
        must_change_password=kept["must_change_password"],
        revision=item.revision,
    )


def _require_another_admin(tx: Transaction, name: str) -> None:
    # Whoever writes is alone with the store, so two admins cannot remove each other at once.
    after = ""
    while users := page(tx, after=after, limit=_MANY):
        if any(user.role is Role.ADMIN and user.name != name for user in users):
            return
        after = users[-1].name
    raise WrongStateError(f"user {name!r} is the last admin, expected another one first")


def _sessions(tx: Transaction, name: str) -> list[Any]:
    return list(tx.credentials.page(SESSION, subject=name, limit=_MANY))


def _entry(
    principal: Principal, action: str, now: datetime, before: User | None, after: User | None
) -> AuditEntry:
    concerned = after or before
    assert concerned is not None
    return entry(
        principal,
        action,
        "",
        f"users/{concerned.name}",
        now,
        before=None if before is None else before.shown(),
        after=None if after is None else _with_password(before, after),
    )


def _with_password(before: User | None, after: User) -> dict[str, Any]:
    # That a password was changed is told, and nothing of what it is.
    changed = before is not None and before.password_hash != after.password_hash
    return {**after.shown(), **({"password": "changed"} if changed else {})}
