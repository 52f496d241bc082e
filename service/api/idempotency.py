"""Requests that act at most once: ``Idempotency-Key``.

The first request with a key acts, and its answer is kept in the same transaction; the same
request again gets that answer and changes nothing. The same key with another request is refused.
Keys are of one asker each. A request that failed changed nothing and leaves its key free.

The key itself is not kept, and the digest of the request is keyed by it: a request may hold a
password, and whoever reads the store must not be able to try passwords on a plain digest.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from flask import Response, request

from service.api.asking import body_bytes, principal
from service.api.services import Services
from service.errors import KeyInUseError, MalformedError
from service.store.base import Answer, Transaction
from solver.domain.errors import InvalidInputError
from solver.schema import show

HEADER: Final = "Idempotency-Key"

_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}")
_KEPT_HEADERS: Final = ("Content-Type", "ETag", "Location", "Retry-After")


def once(
    services: Services,
    act: Callable[[Transaction], Response],
    *,
    keep: Callable[[Response], str] = lambda response: response.get_data(as_text=True),
) -> Response:
    """Do what a request asks for, and keep the answer, in one transaction.

    Parameters
    ----------
    keep
        Body to keep of the answer; another one where the answer holds a secret.

    Raises
    ------
    InvalidInputError
        If the key was used with another request.
    """
    wanted = _wanted(services)
    with services.store.begin() as tx:
        if wanted is None:
            return act(tx)
        kept = tx.answers.take(wanted)
        if kept is not None:
            return _again(kept, wanted)
        response = act(tx)
        tx.answers.put(_filled(wanted, response, keep(response)))
        return response


def once_outside(services: Services, act: Callable[[], Response]) -> Response:
    """Do what a request asks for that cannot be done within a transaction, such as solving.

    Until it is done the key is taken. Where the process ends meanwhile it stays so until kept
    answers are forgotten: whether the request acted is then unknown.

    Raises
    ------
    KeyInUseError
        If the first request is still being worked on.
    InvalidInputError
        If the key was used with another request.
    """
    wanted = _wanted(services)
    if wanted is None:
        return act()
    with services.store.begin() as tx:
        kept = tx.answers.take(wanted)
    if kept is not None:
        return _again(kept, wanted)
    try:
        response = act()
    except BaseException:
        with services.store.begin() as tx:
            tx.answers.drop(wanted.actor, wanted.key)
        raise
    with services.store.begin() as tx:
        tx.answers.put(_filled(wanted, response, response.get_data(as_text=True)))
    return response


def _wanted(services: Services) -> Answer | None:
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise MalformedError(
            f"{HEADER}: expected 1 to 200 visible ASCII characters, got {show(key)}"
        )
    code = hmac.new(key.encode(), digestmod="sha256")
    for part in (request.method.encode(), request.full_path.encode(), body_bytes()):
        code.update(len(part).to_bytes(8, "big") + part)
    return Answer(
        actor=principal().name,
        key=hashlib.sha256(key.encode()).hexdigest(),
        digest=code.hexdigest(),
        at=services.now(),
    )


def _filled(wanted: Answer, response: Response, body: str) -> Answer:
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    return replace(wanted, status=response.status_code, headers=headers, body=body)


def _again(kept: Answer, wanted: Answer) -> Response:
    if not hmac.compare_digest(kept.digest, wanted.digest):
        raise InvalidInputError("used with another request before, expected a new key", path=HEADER)
    if kept.status == 0:
        raise KeyInUseError(f"the first request with this {HEADER} is still being worked on")
    headers = {**(kept.headers or {}), "Idempotent-Replayed": "true"}
    return Response(kept.body, kept.status, headers)
