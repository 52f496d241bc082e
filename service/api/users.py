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
from service.api.idempotency import once
from service.api.operations import operation
from service.api.services import Services
from service.security import accounts, users
from service.security.passwords import one_time_password
from service.security.principal import Role
from service.store.base import Transaction
from solver.schema import Strict

Name = Annotated[str, Field(pattern=accounts.NAME)]


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


class GivenPassword(BaseModel):
    """A password for one login."""

    password: str | None = Field(description="null when the request was repeated")


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
        wanted = _wanted(services, path.name, body)
        with services.store.begin() as tx:
            user = accounts.put(
                tx, principal(), wanted, expected_revision=revision, now=services.now()
            )
        status = 201 if user.revision == 1 else 200
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

    @api.post("/users/<name>/password", responses={200: GivenPassword})
    @operation("users.reset_password", keyed=True)
    def reset_password(path: UserPath) -> Response:
        """Give somebody else a password for one login; it is shown this once."""
        password = one_time_password()
        hashed = services.passwords.hash(password)

        def act(tx: Transaction) -> Response:
            accounts.reset_password(tx, principal(), path.name, hashed, services.now())
            return answer(GivenPassword(password=password))

        return once(services, act, keep=_without_password)

    return api


def _without_password(_response: Response) -> str:
    return answer(GivenPassword(password=None)).get_data(as_text=True)


def _wanted(services: Services, name: str, body: UserBody) -> accounts.WantedUser:
    # Before the transaction: everybody who writes would wait for a hash.
    hashed = (
        None
        if body.password is None
        else accounts.hash_given(services.passwords, name, body.password)
    )
    return accounts.WantedUser(
        name=name, role=Role(body.role), owner=body.owner, password_hash=hashed
    )
