"""What a JSON text tells before it is read, in passes over its bytes that cost next to nothing."""

from __future__ import annotations

import re
from typing import Final

_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', flags=re.DOTALL)
_BRACKETS: Final = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET: Final = bytes(set(range(256)) - set(b'[]{}"'))
# A zero character or half of a surrogate pair.
_SUSPICIOUS_TEXT: Final = re.compile(rb"\\u0000|\\u[dD][89a-fA-F]")
_NUMERALS: Final = bytes.maketrans(b"123456789E", b"000000000e")
_SUSPICIOUS_NUMBERS: Final = (b"e000", b"e+000", b"0" * 309)
"""An exponent, and digits before the point, of more than floats may hold."""


def is_deeper(body: bytes, depth: int) -> bool:
    """Whether brackets stand deeper within one another; by passes as fast as copying.

    Where they do not match there is no depth: reading the document will say so.
    """
    if b"\\" in body:
        body = _STRING.sub(b"", body)
    # Between quotes, every second piece is a string.
    outside = b"".join(body.translate(_BRACKETS, _NO_BRACKET).split(b'"')[::2])
    for _ in range(depth):
        if not outside:
            return False
        outside = outside.replace(b"[]", b"")
    return outside.count(b"[") == outside.count(b"]") > 0


def is_suspicious(body: bytes) -> bool:
    """Whether a document may hold text or numbers that nothing could be done with."""
    if b"\\u" in body and _SUSPICIOUS_TEXT.search(body):
        return True
    numerals = body.translate(_NUMERALS)
    return any(number in numerals for number in _SUSPICIOUS_NUMBERS)
