"""Random secrets of tokens and sessions, and the digests they are kept as.

A secret is 256 random bits. Nobody finds it by trying, so a fast hash keeps it as safe as a slow
one would: argon2 makes *guessable* secrets expensive to guess, and costs every request tens of
milliseconds. Passwords are guessable and get argon2 (``service.security.passwords``).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final

TOKEN_PREFIX: Final = "fst_"
"""Of a token, so that tools which look for leaked secrets know one."""

SESSION_PREFIX: Final = "fss_"

_NUM_BYTES: Final = 32


def new_secret(prefix: str) -> str:
    """Return a new secret."""
    return prefix + secrets.token_urlsafe(_NUM_BYTES)


def digest(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def csrf_token(secret: str) -> str:
    """Return what a page shows to prove that it can read answers, made of the session's secret.

    Whoever has it learns nothing of the secret; a page of somebody else has neither.
    """
    code = hmac.new(secret.encode(), b"foreswap csrf", hashlib.sha256).digest()
    return base64.urlsafe_b64encode(code).decode().rstrip("=")


def same(left: str, right: str) -> bool:
    """Compare two secrets in a time that does not tell where they differ."""
    return hmac.compare_digest(left.encode("utf-8", "replace"), right.encode("utf-8", "replace"))
