"""What requests to solve may ask for, out of the settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.server import solve_limits
from service.settings import Settings, SolvingSettings
from solver.domain.errors import ForeswapError


def test_without_a_model_there_is_none() -> None:
    """Readings are then forecast without one."""
    assert solve_limits(Settings()).model_path is None


@pytest.mark.parametrize("content", [None, b"no model"])
def test_a_file_that_is_no_model_is_told_at_the_start(
    tmp_path: Path, content: bytes | None
) -> None:
    """With its name, not by the first request."""
    path = tmp_path / "model"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ForeswapError, match="model"):
        solve_limits(Settings(solving=SolvingSettings(model=path)))
