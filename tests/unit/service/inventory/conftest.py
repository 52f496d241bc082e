"""A store on disk with a small cluster in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.store.base import Store
from service.store.sql import open_store
from tests.builders import NOW
from tests.inventories import fill


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store with the small cluster in it."""
    store: Any = open_store(f"sqlite:///{tmp_path / 'store.db'}", now=lambda: NOW)
    yield fill(store)
    store.close()
