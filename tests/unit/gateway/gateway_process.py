"""A gateway process of its own, which can be told to die at one point: ``URL LOG DIE_AT``."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import structlog

from domain.events import ParsedDelivery, ProviderEvents
from gateway.pipeline import Pipeline
from gateway.process import GatewayParts, Ports, run_gateway
from gateway.reading import Receiving
from gateway.relay import Handover
from gateway.webhooks import Receive, Respond, Scope
from store.keys import KeyRing
from store.stores import Stores
from tests.unit.gateway.plain_reader import PlainReader


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DyingReader(PlainReader):
    def parse(self, body: bytes) -> ParsedDelivery:
        die()
        return super().parse(body)


class Logging:
    """A Temporal that is a file: one line per event taken, on disk before it says so."""

    def __init__(self, log: Path, die_at: str) -> None:
        self._log = log
        self._die_at = die_at

    async def signal(self, workflow_id: str, events: ProviderEvents) -> Handover:
        if self._die_at == "placed":
            die()
        with self._log.open("a") as log:
            log.writelines(f"{workflow_id} {event.key}\n" for event in events.events)
            log.flush()
            os.fsync(log.fileno())
        if self._die_at == "signalled":
            die()
        return Handover.TAKEN


async def nothing(scope: Scope, receive: Receive, respond: Respond) -> None:
    """A REST application without routes."""
    if scope["type"] == "lifespan":
        raise NotImplementedError


async def main(url: str, log: str, die_at: str) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output tells the ports
    if die_at == "committed":
        Pipeline.deliveries_kept = lambda self: die()  # type: ignore[method-assign]  # after the commit, before the 200
    reader = DyingReader() if die_at == "claimed" else PlainReader()
    async with Stores.open(url, KeyRing(bytes(32), bytes(range(32)))) as stores:
        parts = GatewayParts(
            stores=stores,
            accounts=(Receiving("plain", "main", ("nl-1",), reader),),
            rest=nothing,
            signaller=Logging(Path(log), die_at),
        )
        await run_gateway(parts, on_started=_tell)


def _tell(ports: Ports) -> None:
    sys.stdout.write(f"{ports.webhook_port} {ports.rest_port}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
