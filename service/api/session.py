"""The session of a user: log in, who am I, another password, log out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from flask import Response, request
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from service.api import cookies
from service.api.answering import answer, nothing
from service.api.asking import Query, principal
from service.api.operations import operation
from service.api.services import Services
from service.errors import ForbiddenError
from service.security import sessions
from service.security.principal import Principal, Role
from solver.schema import Strict

Typed = Annotated[str, Field(max_length=1000)]


class LoginBody(Strict):
    """Who wants to come in."""

    user: Annotated[str, Field(min_length=1, max_length=255)]
    password: Typed


class PasswordBody(Strict):
    """A password to take the place of another."""

    current_password: Typed
    new_password: Typed = Field(description="12 to 256 characters")


class EndQuery(Query):
    """Which sessions to end."""

    everywhere: bool = Field(default=False, description="all of the user, not this one alone")


class Me(BaseModel):
    """Who asks."""

    name: str
    role: Role
    owner: str = Field(description="whose VMs are theirs, for the role owner")
    cluster_id: str = Field(description="the only cluster within reach; empty: all")
    host_id: str = Field(description="the only host an agent delivers for; empty: all")
    must_change_password: bool
    csrf_token: str = Field(
        description="to be sent as X-CSRF-Token with changes; empty where no cookie was sent"
    )


class Begun(Me):
    """A session that has begun; its secret is in the cookie."""

    expires_at: datetime


def blueprint(services: Services) -> APIBlueprint:
    """Return the views of the session."""
    api = APIBlueprint(
        "session", __name__, abp_tags=[Tag(name="session", description="logging in and out")]
    )

    @api.post("/session", responses={201: Begun})
    @operation("session.start")
    def start(body: LoginBody) -> Response:
        """Log in; the answer gives a cookie, and the token that changes have to show beside it."""
        login = sessions.log_in(
            services.store,
            services.security,
            services.passwords,
            name=body.user,
            password=body.password,
            origin=request.remote_addr or "",
            now=services.now(),
        )
        who = _of_login(login)
        begun = Begun(**_shown(who).model_dump(), expires_at=login.expires_at)
        response = answer(begun, status=201)
        cookies.give(response, services.security, login.secret, login.expires_at)
        return response

    @api.get("/session", responses={200: Me})
    @operation("session.show")
    def show() -> Response:
        """Say who asks, and what they are bound to."""
        return answer(_shown(principal()))

    @api.delete("/session", responses={204: None})
    @operation("session.end")
    def end(query: EndQuery) -> Response:
        """Log out, here or everywhere."""
        _require_session(principal())
        with services.store.begin() as tx:
            sessions.end(tx, principal(), everywhere=query.everywhere, now=services.now())
        response = nothing()
        cookies.take_back(response, services.security)
        return response

    @api.put("/session/password", responses={204: None})
    @operation("session.password")
    def change_password(body: PasswordBody) -> Response:
        """Change one's own password; all other sessions end."""
        who = principal()
        _require_session(who)
        sessions.change_password(
            services.store,
            services.security,
            services.passwords,
            who,
            current=body.current_password,
            new=body.new_password,
            now=services.now(),
        )
        return nothing()

    return api


def _shown(who: Principal) -> Me:
    return Me(
        name=who.name,
        role=who.role,
        owner=who.owner,
        cluster_id=who.cluster_id,
        host_id=who.host_id,
        must_change_password=who.must_change_password,
        csrf_token=who.csrf_token,
    )


def _of_login(login: sessions.Login) -> Principal:
    return Principal(
        name=login.user.name,
        role=login.user.role,
        owner=login.user.owner,
        csrf_token=login.csrf_token,
        must_change_password=login.user.must_change_password,
    )


def _require_session(who: Principal) -> None:
    if not who.session_id:
        raise ForbiddenError(f"{who.name} has no session: expected a user who has logged in")
