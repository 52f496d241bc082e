"""What the checks of the repository itself share: its root and the files it tracks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def tracked_files(repository: Path) -> list[Path]:
    """Every file that git tracks and that is still there."""
    if not (repository / ".git").exists():
        pytest.skip("not a git checkout: tracked files are unknown")
    listing = subprocess.run(
        # A container's checkout often belongs to another user; reading its list is harmless.
        ["git", "-c", f"safe.directory={repository}", "ls-files", "-z"],
        cwd=repository,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = [repository / name for name in listing.split("\0") if name]
    return [path for path in paths if path.is_file()]
