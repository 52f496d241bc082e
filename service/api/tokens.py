"""Tokens of programs: made, listed and revoked by an admin."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from service.api import paging
from service.api.answering import answer, nothing
from service.api.asking import Path, principal
from service.api.idempotency import once
from service.api.operations import operation
from service.api.services import Services
from service.security import tokens
from service.security.principal import Role
from service.store.base import Credential, Transaction
from solver.schema import Id, Instant, Strict

Name = Annotated[str, Field(pattern=tokens.NAME)]


class TokenBody(Strict):
    """What a token is to be."""

    name: Name
    role: Literal["viewer", "owner", "operator", "admin", "agent"]
    owner: Annotated[str, Field(max_length=255)] = Field(
        default="", description="whose VMs, for the role owner"
    )
    cluster_id: Annotated[str, Field(max_length=255)] = Field(
        default="", description="the only cluster it reaches; empty: all"
    )
    host_id: Id | None = Field(default=None, description="the only host an agent delivers for")
    expires_at: Instant | None = Field(default=None, description="null: never")


class Token(BaseModel):
    """A token, without its secret."""

    name: str
    role: Role
    owner: str
    cluster_id: str
    host_id: str
    made_by: str
    made_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class NewToken(Token):
    """A token that has just been made."""

    secret: str | None = Field(description="shown this once; null when the request was repeated")


class TokenPage(BaseModel):
    """A page of tokens."""

    items: list[Token]
    next: str | None


class TokenPath(Path):
    """Names a token."""

    name: Name


def blueprint(services: Services) -> APIBlueprint:
    """Return the views of tokens."""
    api = APIBlueprint(
        "tokens", __name__, abp_tags=[Tag(name="tokens", description="credentials of programs")]
    )

    @api.get("/tokens", responses={200: TokenPage})
    @operation("tokens.list")
    def list_tokens(query: paging.PageQuery) -> Response:
        """List tokens, in the order of their names."""
        with services.store.begin(read_only=True) as tx:
            found = tokens.page(tx, after=paging.start(query), limit=query.limit + 1)
        return answer(paging.page(found, query, key=lambda token: token.subject, show=_shown))

    @api.post("/tokens", responses={201: NewToken})
    @operation("tokens.create", keyed=True)
    def create_token(body: TokenBody) -> Response:
        """Make a token; its secret is shown this once."""

        def act(tx: Transaction) -> Response:
            token, secret = tokens.create(tx, principal(), _wanted(body), services.now())
            location = f"/api/v1/tokens/{token.subject}"
            return answer({**_shown(token), "secret": secret}, status=201, location=location)

        return once(services, act, keep=_without_secret)

    @api.delete("/tokens/<name>", responses={204: None})
    @operation("tokens.delete")
    def delete_token(path: TokenPath) -> Response:
        """Revoke a token."""
        with services.store.begin() as tx:
            tokens.delete(tx, principal(), path.name, services.now())
        return nothing()

    return api


def _wanted(body: TokenBody) -> tokens.NewToken:
    return tokens.NewToken(
        name=body.name,
        role=Role(body.role),
        owner=body.owner,
        cluster_id=body.cluster_id,
        host_id=body.host_id or "",
        expires_at=body.expires_at,
    )


def _shown(token: Credential) -> dict[str, Any]:
    fields = {"name": token.subject, **token.document}
    for name in ("made_at", "expires_at", "last_used_at"):
        fields[name] = getattr(token, name)
    return Token.model_validate(fields).model_dump(mode="json")


def _without_secret(response: Response) -> str:
    return answer({**response.get_json(), "secret": None}).get_data(as_text=True)
