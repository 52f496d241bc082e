"""Time zones by name, as people write them."""

from __future__ import annotations

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from solver.domain.errors import InvalidInputError


def time_zone(name: str, *, path: str = "time_zone") -> ZoneInfo:
    """Return the zone of a name of the tz database.

    Raises
    ------
    InvalidInputError
        If there is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidInputError(
            f"expected a time zone such as Europe/Berlin, got {name!r}", path=path
        ) from error
