"""A wake-up call that is never missed, and the loop that background work runs in."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from domain.errors import StoreUnavailable
from gateway.metrics import GatewayMetrics

log = structlog.get_logger()

FIRST_PAUSE = 0.25
LONGEST_PAUSE = 15.0
"""Seconds that a loop rests after errors: doubled each time, from the first to the longest."""


class Wakeup:
    """Set when there is work. A call that comes while a round runs makes the next round follow at once."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        """Ask for a round now."""
        self._event.set()

    def take(self) -> None:
        """Forget the calls so far: the round that begins now serves them."""
        self._event.clear()

    async def wait(self, seconds: float) -> None:
        """Return at the next call, at the latest after ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return


@dataclass
class Loop:
    """Runs ``round`` again and again: at each wake-up, and at the latest when the round said."""

    name: str
    round: Callable[[], Awaitable[float]]
    metrics: GatewayMetrics
    wakeup: Wakeup = field(default_factory=Wakeup)
    stopping: bool = False

    async def run(self) -> None:
        """Run until ``stop``; an error costs one round and a pause, never the loop."""
        failures = 0
        while not self.stopping:
            self.wakeup.take()
            try:
                seconds = await self.round()
                failures = 0
            except Exception as error:  # noqa: BLE001 - whatever breaks one round must not end the gateway's work
                failures += 1
                seconds = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 10))
                self._tell(error, failures)
            if not self.stopping:
                await self.wakeup.wait(seconds)

    def stop(self) -> None:
        """End after the round in hand."""
        self.stopping = True
        self.wakeup.set()

    def _tell(self, error: Exception, failures: int) -> None:
        known = isinstance(error, StoreUnavailable)
        self.metrics.trouble.labels(self.name, type(error).__name__).inc()
        (log.warning if known else log.error)(
            "gateway_round_failed", work=self.name, failures=failures, error=type(error).__name__
        )
