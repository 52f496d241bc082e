"""What is said with every answer of the pages, and packing what is asked for again and again."""

from __future__ import annotations

import gzip
from typing import Final

from flask import Flask, Response, request

from service.api import headers

_PACKED_TYPES: Final = ("text/", "application/javascript", "application/json")
_FILES: Final = ("/_dash-component-suites/", "/assets/", "/_favicon.ico")
_YEAR_S: Final = 365 * 24 * 3600
_MIN_PACKED_BYTES: Final = 1024
_OFTEN, _ONCE = 4, 6
"""Levels for what is packed at each request, and for files; more takes longer and gains little."""


def install(app: Flask, script_hashes: tuple[str, ...]) -> None:
    """Let every answer be packed and guarded.

    Parameters
    ----------
    script_hashes
        Of the scripts in the frame of the page; no other one in line is run.
    """
    policy = _policy(script_hashes)
    files: dict[str, bytes] = {}

    def finish(response: Response) -> Response:
        response.headers["Content-Security-Policy"] = policy
        _say_how_long(response)
        return headers.guard(_packed(response, files))

    app.after_request(finish)


def _say_how_long(response: Response) -> None:
    """Let a browser keep files whose address changes when they do, and nothing else."""
    if not request.path.startswith(_FILES):
        response.headers["Cache-Control"] = "no-store"
    elif response.status_code == 200 and ("m" in request.args or "v" in request.args):
        response.headers["Cache-Control"] = f"max-age={_YEAR_S}, immutable"


def _policy(script_hashes: tuple[str, ...]) -> str:
    """Return what a browser may load; Mantine and AG Grid write their themes in line."""
    scripts = " ".join(("script-src 'self'", *script_hashes))
    return (
        headers.CONTENT_SECURITY_POLICY.replace("script-src 'self'", scripts)
        .replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
        .replace("font-src 'self'", "font-src 'self' data:")
        .replace("img-src 'self' data:", "img-src 'self' data: blob:")
    )


def _packed(response: Response, files: dict[str, bytes]) -> Response:
    if "Content-Encoding" in response.headers:
        return response
    if response.status_code != 200 or not (response.mimetype or "").startswith(_PACKED_TYPES):
        return response
    response.vary.add("Accept-Encoding")
    if request.accept_encodings["gzip"] <= 0:
        return response
    response.direct_passthrough = False
    plain = response.get_data()
    if len(plain) < _MIN_PACKED_BYTES:
        return response
    response.set_data(_pack(plain, files))
    response.headers["Content-Encoding"] = "gzip"
    return response


def _pack(plain: bytes, files: dict[str, bytes]) -> bytes:
    if not request.path.startswith(_FILES):
        return gzip.compress(plain, _OFTEN)
    # The files of one installation: as many as there are, and they do not change.
    if request.path not in files:
        files[request.path] = gzip.compress(plain, _ONCE)
    return files[request.path]
