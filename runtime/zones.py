"""Which rules of time zones a process goes by: those of the pinned package, not those of its machine.

When a window opens is worked out in the workflow, and once more at each replay: two workers with different rules would
come to different ends of the same wait.
"""

import zoneinfo


def pin_zone_rules() -> None:
    """Read time zones from the package ``tzdata`` alone. Called before a process looks at the first zone.

    What was read before is read anew; repeating is harmless.
    """
    if zoneinfo.TZPATH:
        zoneinfo.reset_tzpath(())
        zoneinfo.ZoneInfo.clear_cache()
