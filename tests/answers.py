"""Reads answers of the API as tests want them."""

from __future__ import annotations

from typing import Any

from werkzeug.test import TestResponse


def document(answer: TestResponse) -> dict[str, Any]:
    """Return the JSON object an answer holds."""
    assert (answer.mimetype or "").endswith("json"), answer.get_data(as_text=True)
    told = answer.json
    assert isinstance(told, dict)
    return told


def problem(answer: TestResponse) -> dict[str, Any]:
    """Return the problem details of an answer, having looked at their form."""
    assert answer.mimetype == "application/problem+json", answer.get_data(as_text=True)
    told = document(answer)
    assert told["status"] == answer.status_code
    assert told["type"].startswith("urn:foreswap:problem:")
    assert told["title"]
    return told
