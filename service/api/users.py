"""Users: made, changed, logged out and removed by an admin."""

from __future__ import annotations

from typing import Annotated, Literal

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from service.api import paging
from service.api.answering import answer, nothing
from service.api.asking import Path, principal
from service.api.etags import expected_revision
from service.api.operations import operation
from service.api.services import Services
from service.security import users
from service.security.passwords import require_good
from service.security.principal import Role
from solver.domain.errors import InvalidInputError
from solver.schema import Strict

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$")]


class UserBody(Strict):
    """What a user is to be."""

    role: Literal["viewer", "owner", "operator", "admin"]
    owner: Annotated[str, Field(max_length=255)] = Field(
        default="", description="whose VMs are theirs, for the role owner; empty: the user's name"
    )
    password: Annotated[str, Field(max_length=1000)] | None = Field(
        default=None,
        description="12 to 256 characters, to be changed at the first login; null: as it was",
    )


class User(BaseModel):
    """A user."""

    name: str
    role: Role
    owner: str
    must_change_password: bool


class UserPage(BaseModel):
    """A page of users."""

    items: list[User]
    next: str | None


class LoggedOut(BaseModel):
    """What became of the sessions of a user."""

    num_ended: int


class UserPath(Path):
    """Names a user."""

    name: Name


def blueprint(services: Services) -> APIBlueprint:
    """Return the views of users."""
    api = APIBlueprint(
        "users", __name__, abp_tags=[Tag(name="users", description="people who may log in")]
    )

    @api.get("/users", responses={200: UserPage})
    @operation("users.list")
    def list_users(query: paging.PageQuery) -> Response:
        """List users, in the order of their names."""
        with services.store.begin(read_only=True) as tx:
            found = users.page(tx, after=paging.start(query), limit=query.limit + 1)
        return answer(paging.page(found, query, key=lambda user: user.name, show=users.User.shown))

    @api.get("/users/<name>", responses={200: User})
    @operation("users.show")
    def show_user(path: UserPath) -> Response:
        """Show a user."""
        with services.store.begin(read_only=True) as tx:
            user = users.get(tx, path.name)
        return answer(user.shown(), revision=user.revision)

    @api.put("/users/<name>", responses={200: User, 201: User})
    @operation("users.put", revisioned=True)
    def put_user(path: UserPath, body: UserBody) -> Response:
        """Make a user, or change one; a user who was changed has to log in again."""
        revision = expected_revision()
        hashed = _hashed(services, path.name, body.password)
        with services.store.begin() as tx:
            before = users.find(tx, path.name)
            wanted = _wanted(path.name, body, hashed, before, own=principal().name == path.name)
            user = users.put(
                tx, principal(), wanted, expected_revision=revision, now=services.now()
            )
        status = 201 if before is None else 200
        return answer(user.shown(), status=status, revision=user.revision)

    @api.delete("/users/<name>", responses={204: None})
    @operation("users.delete", revisioned=True)
    def delete_user(path: UserPath) -> Response:
        """Remove a user; never the last admin."""
        with services.store.begin() as tx:
            users.delete(
                tx,
                principal(),
                path.name,
                expected_revision=expected_revision(),
                now=services.now(),
            )
        return nothing()

    @api.delete("/users/<name>/sessions", responses={200: LoggedOut})
    @operation("users.log_out")
    def log_out(path: UserPath) -> Response:
        """End every session of a user."""
        with services.store.begin() as tx:
            ended = users.log_out(tx, principal(), path.name, services.now())
        return answer(LoggedOut(num_ended=ended))

    return api


def _hashed(services: Services, name: str, password: str | None) -> str | None:
    # Before the transaction: everybody who writes would wait for a hash.
    if password is None:
        return None
    require_good(password, name, path="password")
    return services.passwords.hash(password)


def _wanted(
    name: str, body: UserBody, hashed: str | None, before: users.User | None, *, own: bool
) -> users.User:
    if before is None and hashed is None:
        raise InvalidInputError("expected a password for a new user", path="password")
    role = Role(body.role)
    if role is not Role.OWNER and body.owner:
        raise InvalidInputError(
            f"expected an owner for the role owner only, got {body.owner!r}", path="owner"
        )
    given = hashed is not None and not own
    return users.User(
        name=name,
        role=role,
        owner=(body.owner or name) if role is Role.OWNER else "",
        password_hash=hashed or (before.password_hash if before else ""),
        must_change_password=given or (before is not None and before.must_change_password),
    )
