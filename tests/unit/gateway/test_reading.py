"""Where deliveries are read: what is small where it is, what is large beside those who wait for their 200."""

import threading

from prometheus_client import CollectorRegistry

from domain.events import ParsedDelivery
from gateway.metrics import GatewayMetrics
from gateway.reading import Reading, Receiving
from store.correlations import Correlations
from store.inbox import Inbox
from tests.unit.gateway.plain_reader import PlainReader
from tests.unit.gateway.world import ACCOUNT, LINE, World, delivery, finished


class Watched(PlainReader):
    """Notes on which thread it reads."""

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []

    def parse(self, body: bytes) -> ParsedDelivery:
        self.threads.append(threading.current_thread())
        return super().parse(body)


async def test_a_small_delivery_is_read_without_a_thread_of_its_own_and_many_at_once_are_not(world: World) -> None:
    inbox, reader = Inbox(world.stores.database, world.stores.keys), Watched()
    reading = Reading(
        inbox,
        Correlations(world.stores.database),
        world.stores.keys,
        {ACCOUNT: Receiving("plain", ACCOUNT, (LINE,), reader)},
        metrics=GatewayMetrics(CollectorRegistry()),
        on_kept=lambda _: None,
    )
    await inbox.keep([delivery(finished("one"))])
    await reading.round()
    assert reader.threads == [threading.current_thread()]
    await inbox.keep([delivery(finished(f"of-many-{n}")) for n in range(20)])
    await reading.round()
    assert len(reader.threads) == 21
    assert threading.current_thread() not in reader.threads[1:]
