"""Finishes starts that a crash or an outage broke off, for as long as a gateway runs."""

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog

from domain.errors import RapportError
from starter.interface import Engagements

log = structlog.get_logger()

EVERY = 30.0
"""Seconds between two looks."""


async def keep_starting_missing(service: Engagements, clock: Callable[[], datetime], every: float = EVERY) -> None:
    """Look for registered engagements that Temporal never got, and start them, until cancelled."""
    while True:
        try:
            healed = await service.start_missing(clock())
        except RapportError as error:
            log.warning("start_missing_failed", error_type=type(error).__name__)
        else:
            if healed:
                log.info("start_missing", count=len(healed))
        await asyncio.sleep(every)
