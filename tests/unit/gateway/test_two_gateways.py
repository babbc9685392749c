"""Several gateways share one PostgreSQL inbox."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from store.inbox_tables import EventState
from store.keys import KeyRing
from store.stores import Stores
from tests.unit.gateway.world import FakeTemporal, World, finished, parts_of, running


@pytest.fixture
async def two_stores(postgres_url: str, keys: KeyRing) -> AsyncIterator[tuple[Stores, Stores]]:
    async with Stores.open(postgres_url, keys) as one, Stores.open(postgres_url, keys) as other:
        yield one, other


async def test_two_gateways_on_one_inbox_relay_every_event_to_its_engagement_once(
    two_stores: tuple[Stores, Stores], temporal: FakeTemporal
) -> None:
    world = World(two_stores[0])
    flows = [await world.sent(f"a-{n}", f"+3161234567{n}", run_id=f"run-{n}") for n in range(4)]
    async with running(parts_of(two_stores[0], temporal)) as one, running(parts_of(two_stores[1], temporal)) as other:
        posts = [
            gateway.post(finished(f"{run}/{n}", run_id=f"run-{run}"))
            for n in range(8)
            for run in range(4)
            for gateway in (one, other)  # the same delivery at both, as after a retry
        ]
        answers = await asyncio.gather(*posts)
        await world.until_read()
        await world.until_states({EventState.RELAYED: 32})
    assert {answer.status_code for answer in answers} == {200}
    for run, workflow in enumerate(flows):
        assert Counter(temporal.keys(workflow)) == {f"{run}/{n}": 1 for n in range(8)}
