"""Every setting of the service is documented, with the default it has."""

from __future__ import annotations

import json
from pathlib import Path

from service.settings import paths


def test_every_setting_is_documented(repository: Path) -> None:
    """``docs/settings.md`` has one row per setting, with its default and its own words."""
    page = (repository / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    expected = [
        f"| `{path}` | {'–' if default in (None, '') else f'`{json.dumps(default)}`'} | {words} |"
        for path, (default, words) in paths().items()
    ]
    assert rows == expected


def test_every_setting_says_what_it_is_for() -> None:
    """A setting without a sentence below it is not finished."""
    silent = [path for path, (_, words) in paths().items() if not words.endswith(".")]
    assert not silent
