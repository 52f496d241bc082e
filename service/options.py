"""Words of the command line that become instants, durations and places to write to."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from solver.domain.errors import InvalidInputError

_DURATION = re.compile(r"^(\d{1,9})\s*(s|m|min|h)$")
_SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600}

FIRST_INSTANT: Final = datetime(1970, 1, 1, tzinfo=UTC)
END_OF_INSTANTS: Final = datetime(2200, 1, 1, tzinfo=UTC)
MAX_DURATION_S: Final = 7 * 86_400
"""Nothing here searches, waits or plans for longer than a week."""
MAX_SEED: Final = 2**32 - 1
"""What every generator behind a command accepts; scikit-learn's take no more."""

Seed = Annotated[int, typer.Option(help="Seed of everything random.", min=0, max=MAX_SEED)]


def instant(text: str, option: str) -> datetime:
    """Return an ISO-8601 instant in UTC; one without a zone is taken for UTC.

    Raises
    ------
    InvalidInputError
        If the text is no ISO-8601 date or time of the years 1970 to 2199.
    """
    try:
        parsed = datetime.fromisoformat(text)
        at = parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidInputError(
            f"expected a date or time such as 2013-09-03 or 2013-09-03T12:00Z, got {text!r}",
            path=option,
        ) from None
    if not FIRST_INSTANT <= at < END_OF_INSTANTS:
        raise InvalidInputError(
            f"expected a time of the years 1970 to {END_OF_INSTANTS.year - 1}, got {text!r}",
            path=option,
        )
    return at


def positive_seconds(text: str, option: str) -> int:
    """Return a duration such as ``10s``, ``15m`` or ``1h`` in seconds.

    Raises
    ------
    InvalidInputError
        If it is not of that form, zero, or longer than a week.
    """
    match = _DURATION.match(text.strip())
    seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
    if seconds < 1:
        raise InvalidInputError(
            f"expected a duration such as 10s, 15m or 1h, got {text!r}", path=option
        )
    if seconds > MAX_DURATION_S:
        raise InvalidInputError(
            f"expected a duration of at most {MAX_DURATION_S // 3600}h, got {text!r}", path=option
        )
    return seconds


def positive_minutes(text: str, option: str) -> int:
    """Return a duration such as ``15m`` or ``1h`` in minutes.

    Raises
    ------
    InvalidInputError
        If it is not of that form, zero, longer than a week, or not whole minutes.
    """
    seconds = positive_seconds(text, option)
    if seconds % 60:
        raise InvalidInputError(f"expected whole minutes such as 15m, got {text!r}", path=option)
    return seconds // 60


def require_writable(path: Path | None, option: str) -> None:
    """Refuse a place where no file can be written, before any work is done for it.

    Parameters
    ----------
    path
        The file to be written; ``None`` for none, which is always accepted.

    Raises
    ------
    InvalidInputError
        If the folder does not exist or may not be written to, or the path is a folder.
    """
    if path is None:
        return
    folder = path.parent
    reason = ""
    if path.is_dir():
        reason = "it is a folder"
    elif not folder.is_dir():
        reason = f"there is no folder {str(folder)!r}"
    elif not os.access(folder, os.W_OK | os.X_OK):
        reason = f"the folder {str(folder)!r} may not be written to"
    if reason:
        raise InvalidInputError(
            f"expected a file that can be written, got {str(path)!r}: {reason}", path=option
        )
