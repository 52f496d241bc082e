"""Answers: JSON with a revision or a place, packed where the asker can unpack it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from typing import Any, Final

from flask import Response, request
from pydantic import BaseModel

from service.api import etags

MIN_PACKED_BYTES: Final = 1024
"""Below this, packing costs more than it saves."""

_LEVEL: Final = 4
_PACKED_TYPES: Final = ("application/json", "application/problem+json", "text/")


def answer(
    body: BaseModel | Mapping[str, Any],
    *,
    status: int = 200,
    revision: int | None = None,
    location: str | None = None,
) -> Response:
    """Return an answer of JSON.

    Parameters
    ----------
    revision
        Of what is answered; becomes its ETag.
    location
        Path of what was made, from the root.
    """
    text = body.model_dump_json() if isinstance(body, BaseModel) else _text(body)
    response = Response(text, status, content_type="application/json")
    if revision is not None:
        response.headers["ETag"] = etags.etag(revision)
    if location is not None:
        response.headers["Location"] = location
    return response


def nothing() -> Response:
    """Return the answer to what was done and leaves nothing to say."""
    response = Response(status=204)
    del response.headers["Content-Type"]
    return response


def pack(response: Response) -> Response:
    """Pack an answer by gzip if that is worth it and the asker takes it."""
    if (
        response.is_streamed
        or response.direct_passthrough
        or not (response.mimetype or "").startswith(_PACKED_TYPES)
    ):
        return response
    response.vary.add("Accept-Encoding")
    accepted = request.accept_encodings["gzip"] > 0
    if "Content-Encoding" in response.headers or response.status_code in (204, 304) or not accepted:
        return response
    plain = response.get_data()
    if len(plain) >= MIN_PACKED_BYTES:
        response.set_data(gzip.compress(plain, _LEVEL, mtime=0))
        response.headers["Content-Encoding"] = "gzip"
    return response


def _text(body: Mapping[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
