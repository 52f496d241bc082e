"""Words of the command line become instants, durations and places, or one precise error."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from service.options import instant, positive_minutes, positive_seconds, require_writable
from solver.domain.errors import InvalidInputError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2013-09-03", datetime(2013, 9, 3, tzinfo=UTC)),
        ("2013-09-03T12:30Z", datetime(2013, 9, 3, 12, 30, tzinfo=UTC)),
        ("2013-09-03T12:30+02:00", datetime(2013, 9, 3, 10, 30, tzinfo=UTC)),
    ],
)
def test_instant(text: str, expected: datetime) -> None:
    """A date is midnight UTC; a zone is converted."""
    assert instant(text, "--from") == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2013-13-01", "0001-01-01T00:00+14:00"])
def test_wrong_instant(text: str) -> None:
    """What is no instant is refused, naming option and value."""
    with pytest.raises(InvalidInputError, match="--from") as caught:
        instant(text, "--from")
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(("text", "seconds"), [("10s", 10), ("15m", 900), ("2 h", 7200)])
def test_duration(text: str, seconds: int) -> None:
    """Durations carry their unit."""
    assert positive_seconds(text, "--limit") == seconds


@pytest.mark.parametrize("text", ["", "10", "0s", "-5m", "1.5h", "9999999999s", "10 days"])
def test_wrong_duration(text: str) -> None:
    """Without a unit, not positive or absurdly long is refused."""
    with pytest.raises(InvalidInputError, match="--limit: expected a duration"):
        positive_seconds(text, "--limit")


def test_minutes_are_whole() -> None:
    """Where minutes are asked for, half a minute is refused."""
    assert positive_minutes("1h", "--interval") == 60
    with pytest.raises(InvalidInputError, match="whole minutes"):
        positive_minutes("90s", "--interval")


def test_a_place_to_write_to(tmp_path: Path) -> None:
    """A folder, and a file in a folder that is not there, cannot be written; nothing is made."""
    require_writable(None, "--json")
    require_writable(tmp_path / "new.json", "--json")
    for path in (tmp_path, tmp_path / "none" / "new.json"):
        with pytest.raises(InvalidInputError, match="--json: expected a file that can be written"):
            require_writable(path, "--json")
    assert list(tmp_path.iterdir()) == []
