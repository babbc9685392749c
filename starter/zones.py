"""Names of time zones."""

import zoneinfo


def known_zone(name: str) -> bool:
    """Whether the time zone data base knows this name (``Europe/Amsterdam``)."""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
