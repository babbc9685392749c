"""Two gateways' views of one inbox, and a clock that the test moves."""

from datetime import datetime, timedelta

from domain.events import ProviderEvent
from domain.retention import KeptKind
from store.correlations import Sighting
from store.inbox import Delivery, Inbox, Kept, PlacedEvent, Placement, ReadDelivery, StoredDelivery
from store.inbox_desk import InboxDesk
from store.inbox_relay import Outbound
from store.inbox_review import InboxReview
from store.inbox_tables import EventState
from store.retention import Retention
from tests.unit.gateway.world import World, delivery, now

UNMATCHED = Placement(EventState.UNMATCHED, "no-tie")


def pending(workflow_id: str, *also: str) -> Placement:
    return Placement(EventState.PENDING, "run_id", workflow_id=workflow_id, also=also)


class Bench:
    def __init__(self, world: World) -> None:
        self.at = now()
        self.world = world
        self.keys = world.stores.keys
        database = world.stores.database
        self.mine, self.theirs = (Inbox(database, self.keys, owner=o, clock=self.clock) for o in ("me", "they"))
        self.my_outbound, self.their_outbound = (
            Outbound(database, self.keys, owner=o, clock=self.clock) for o in ("me", "they")
        )
        self.review = InboxReview(database, self.keys, clock=self.clock)
        self.retention = Retention(database, self.keys, clock=self.clock)
        self.desk = InboxDesk(database, self.keys, clock=self.clock)

    def clock(self) -> datetime:
        return self.at

    def passes(self, **time: float) -> None:
        self.at += timedelta(**time)

    async def purge(self) -> int:
        """Drop what is old enough, as a gateway does every hour; how many events went."""
        return (await self.retention.drop())[KeptKind.EVENTS]

    async def keep(self, *deliveries: Delivery) -> None:
        await self.mine.keep(deliveries)

    async def claim(self, limit: int = 10) -> tuple[StoredDelivery, ...]:
        return await self.mine.claim(["main"], limit)

    def read(self, stored: StoredDelivery, *events: ProviderEvent, placement: Placement = UNMATCHED) -> ReadDelivery:
        placed = tuple(PlacedEvent(one, Sighting.of(one, self.keys, thread_may_tie=True), placement) for one in events)
        return ReadDelivery(stored, placed)

    async def placed(self, placement: Placement, *events: ProviderEvent) -> tuple[Kept, ...]:
        """Deliver, claim and store events with one placement."""
        await self.keep(delivery(*events, at=self.at))
        (claimed,) = await self.claim()
        return await self.mine.keep_events([self.read(claimed, *events, placement=placement)])
