"""Reads stored deliveries into events and gives each event its place. What cannot be read is kept aside, visible."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from domain.errors import SetupError, StoreUnavailable
from domain.events import ParsedDelivery
from domain.ports import WebhookReader
from gateway.correlation import concerns_nobody, may_tie_weakly
from gateway.hand import Hand
from gateway.metrics import GatewayMetrics
from gateway.placement import AccountLines, place
from gateway.relay import Relay
from store.candidate_keys import DataKeys
from store.correlations import Correlations, Findings, Sighting
from store.inbox import Inbox, Kept, PlacedEvent, ReadDelivery, StoredDelivery
from store.inbox_tables import EventState
from store.keys import KeyRing

log = structlog.get_logger()

READ_HERE = 2 * 1024
"""So many bytes are read as soon as a thread would begin to; more would hold up those who wait for their 200."""


@dataclass(frozen=True)
class Receiving:
    """An account that this gateway receives for, with its lines and the reader of its deliveries."""

    provider: str
    account: str
    lines: tuple[str, ...]
    reader: WebhookReader
    senders: Mapping[str, str] = field(default_factory=dict)
    """The lines by the provider's own ids of them, where it has such."""

    @property
    def its_lines(self) -> AccountLines:
        """The lines as placement asks for them."""
        return AccountLines(self.lines, self.senders)


class Reading:
    """Turns deliveries into placed events. ``on_kept`` hears what became of every event, after the commit.

    ``relay`` hands over at once what is due as it is stored; ``data_keys`` are those under which it is sealed then.
    """

    def __init__(
        self,
        inbox: Inbox,
        correlations: Correlations,
        keys: KeyRing,
        receiving: Mapping[str, Receiving],
        *,
        metrics: GatewayMetrics,
        on_kept: Callable[[Sequence[Kept]], None],
        relay: Relay | None = None,
        data_keys: DataKeys | None = None,
    ) -> None:
        self.hand = Hand(inbox, receiving.keys())
        """Keeps deliveries so that they are read from memory."""
        self._inbox = inbox
        self._correlations = correlations
        self._keys = keys
        self._receiving = receiving
        self._metrics = metrics
        self._on_kept = on_kept
        self._relay = relay
        self._data_keys = data_keys
        self._in_hand: tuple[StoredDelivery, ...] = ()

    async def round(self) -> float:
        """Read what is there; returns the seconds until it is worth looking again without a wake-up.

        Raises ``StoreUnavailable``; what was in hand then is read first in the next round.
        """
        if not self._in_hand:
            self._in_hand = await self.hand.take()
        if not self._in_hand:
            return self.hand.rests
        claimed = self._in_hand
        try:
            await self._read(claimed, self._relay)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one delivery that breaks us must not hold up the others
            self._tell("deliveries_broke", claimed[0], error)
            for one in claimed:
                await self._read_alone(one)
        self._in_hand = ()
        return self.hand.rests

    async def finish(self) -> None:
        """Read what is in hand still, so that nobody has to wait for its leases. Raises like ``round``."""
        while self._in_hand or self.hand.holds:
            await self.round()

    async def _read(self, claimed: Sequence[StoredDelivery], relay: Relay | None) -> None:
        size = sum(len(one.delivery.body) for one in claimed)
        parsed = self._parse(claimed) if size <= READ_HERE else await asyncio.to_thread(self._parse, claimed)
        read = await self._placed(parsed)
        taking = relay.joins() if relay is not None else None
        kept, _ = await asyncio.gather(self._inbox.keep_events(read, taking), self._read_ahead(read))
        for one in kept:
            self._metrics.events.labels(one.provider, one.kind, one.result).inc()
        self._on_kept(kept)
        if self._relay is not None:
            await self._relay.begin(taking, counts_of(kept, EventState.PENDING))

    async def _read_ahead(self, read: Sequence[ReadDelivery]) -> None:
        """Have the keys at hand under which what leaves at once is sealed: they are read while it is stored."""
        if self._data_keys is None:
            return
        urgent = [
            workflow_id
            for one in read
            for placed in one.events
            if placed.placement.state is EventState.PENDING and placed.event.is_urgent
            for workflow_id in (placed.placement.workflow_id, *placed.placement.also)
        ]
        try:
            await self._data_keys.read_ahead(urgent)
        except (StoreUnavailable, SetupError):  # whoever seals hears of it
            return
        except Exception as error:  # noqa: BLE001 - what is taken in hand meanwhile would wait for its lease
            log.error("keys_not_read_ahead", error=type(error).__name__)  # noqa: TRY400 - a traceback could show an event

    async def _read_alone(self, stored: StoredDelivery) -> None:
        try:
            await self._read((stored,), None)  # a defect of the relay's must not hold it up either
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - kept aside with its raw bytes, to be read again after a repair
            self._tell("delivery_broke", stored, error)
            reason = f"could not be processed: {type(error).__name__}"
            self._on_kept(await self._inbox.keep_events((ReadDelivery(stored, quarantine=reason),)))

    def _parse(self, claimed: Sequence[StoredDelivery]) -> list[tuple[StoredDelivery, ParsedDelivery]]:
        return [(one, self._receiving[one.delivery.account].reader.parse(one.delivery.body)) for one in claimed]

    async def _placed(self, parsed: Sequence[tuple[StoredDelivery, ParsedDelivery]]) -> list[ReadDelivery]:
        sightings = {
            (stored.id, n): Sighting.of(event, self._keys, thread_may_tie=may_tie_weakly(event))
            for stored, delivery in parsed
            for n, event in enumerate(delivery.events)
        }
        found = await self._find(parsed, sightings)
        return [
            ReadDelivery(
                stored,
                tuple(
                    PlacedEvent(
                        event,
                        sightings[stored.id, n],
                        place(
                            event,
                            sightings[stored.id, n],
                            found.get(stored.delivery.account, Findings()),
                            self._receiving[stored.delivery.account].its_lines,
                        ),
                    )
                    for n, event in enumerate(delivery.events)
                ),
                delivery.quarantine,
            )
            for stored, delivery in parsed
        ]

    async def _find(
        self, parsed: Sequence[tuple[StoredDelivery, ParsedDelivery]], sightings: Mapping[tuple[int, int], Sighting]
    ) -> dict[str, Findings]:
        sought: dict[str, list[Sighting]] = defaultdict(list)
        for stored, delivery in parsed:
            for n, event in enumerate(delivery.events):
                if not concerns_nobody(event):
                    sought[stored.delivery.account].append(sightings[stored.id, n])
        return {account: await self._correlations.find(account, some) for account, some in sought.items()}

    def _tell(self, what: str, stored: StoredDelivery, error: Exception) -> None:
        """Report a defect without its traceback, which could show a delivery."""
        log.error(what, account=stored.delivery.account, delivery=stored.id, error=type(error).__name__)


def counts_of(kept: Sequence[Kept], state: EventState) -> int:
    """How many of the events just stored stand in ``state``."""
    return sum(one.result == state.value for one in kept)
