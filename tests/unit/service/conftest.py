"""What every test of the service shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.schemas import keep_schemas


@pytest.fixture(scope="session", autouse=True)
def schemas_are_made_once() -> Iterator[None]:
    """Spare each application of a test the making of its schemas."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        keep_schemas(monkeypatch)
        yield
