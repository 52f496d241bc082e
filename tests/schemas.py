"""JSON schemas of the API's models, made once for all applications that a test process builds.

Making them is nine tenths of what an application costs, and hundreds of tests build one.
"""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import pytest
from flask_openapi3 import utils


def keep_schemas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the schema of a model be made once; each application gets a copy of its own."""
    made = cache(utils.get_model_schema)

    def get_model_schema(*asked: Any, **named: Any) -> dict[str, Any]:
        return copy.deepcopy(made(*asked, **named))

    monkeypatch.setattr(utils, "get_model_schema", get_model_schema)
