"""What an admin wants of users: to be made, changed, or given a password for one login."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from service.errors import WrongStateError
from service.security import users
from service.security.passwords import Passwords, require_good
from service.security.principal import PEOPLE, Principal, Role
from service.security.users import User
from service.store.base import Transaction
from solver.domain.errors import InvalidInputError

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$"
"""What names of users look like."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedUser:
    """What a user is to be.

    Parameters
    ----------
    owner
        Whose VMs are theirs, for the role owner; empty for the user's name.
    password_hash
        ``None`` leaves the password as it was.
    """

    name: str
    role: Role
    owner: str = ""
    password_hash: str | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(NAME, self.name):
            raise InvalidInputError(
                "expected 1 to 63 letters, digits or ._@- that begin with a letter or digit, "
                f"got {self.name!r:.80}",
                path="name",
            )
        if self.role not in PEOPLE:
            raise InvalidInputError(
                f"expected one of {', '.join(PEOPLE)}, got {self.role.value!r}", path="role"
            )
        if self.role is not Role.OWNER and self.owner:
            raise InvalidInputError(
                f"expected an owner for the role owner only, got {self.owner!r}", path="owner"
            )


def hash_given(passwords: Passwords, name: str, password: str) -> str:
    """Return what is kept of a password that a user is given; to be called before a transaction.

    :raises InvalidInputError: if it is none that anybody may have
    """
    require_good(password, name, path="password")
    return passwords.hash(password)


def put(
    tx: Transaction,
    principal: Principal,
    wanted: WantedUser,
    *,
    expected_revision: int | None,
    now: datetime,
) -> User:
    """Make or change a user; whoever is given a password has to change it at the next login.

    Raises
    ------
    InvalidInputError
        If a new user has no password.
    ConflictError, WrongStateError
        As ``users.put`` does.
    """
    before = users.find(tx, wanted.name)
    after = _user(wanted, before, own=principal.name == wanted.name)
    return users.put(tx, principal, after, expected_revision=expected_revision, now=now)


def reset_password(
    tx: Transaction, principal: Principal, name: str, password_hash: str, now: datetime
) -> None:
    """Give somebody else a password for one login; their sessions end.

    Raises
    ------
    NotFoundError
        If there is no such user.
    WrongStateError
        If it is oneself, who would be logged out and might not have seen it.
    """
    if name == principal.name:
        raise WrongStateError(
            f"user {name!r} is who asks, expected somebody else; one's own password is changed "
            "with the present one"
        )
    users.give_password(tx, principal, name, password_hash, now)


def rescue(tx: Transaction, name: str, password_hash: str, now: datetime) -> None:
    """Let somebody in as an admin with a password for one login, when no admin can be asked.

    For whoever is at the machine of the service, and may do there whatever the service may.

    :raises InvalidInputError: if nobody may be called so
    """
    before = users.find(tx, name)
    wanted = WantedUser(name=name, role=Role.ADMIN, password_hash=password_hash)
    revision = 0 if before is None else before.revision
    put(tx, users.SERVICE, wanted, expected_revision=revision, now=now)


def _user(wanted: WantedUser, before: User | None, *, own: bool) -> User:
    hashed = wanted.password_hash
    if before is None and hashed is None:
        raise InvalidInputError("expected a password for a new user", path="password")
    given = hashed is not None and not own
    return User(
        name=wanted.name,
        role=wanted.role,
        owner=(wanted.owner or wanted.name) if wanted.role is Role.OWNER else "",
        password_hash=hashed or (before.password_hash if before else ""),
        must_change_password=given or (before is not None and before.must_change_password),
    )
