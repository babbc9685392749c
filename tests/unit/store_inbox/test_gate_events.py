"""Two gateways that store events about the same templates and flows in opposite orders never wait for each other.
PostgreSQL only: SQLite has one writer at a time.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from domain.events import EventBody, FlowChanged, TemplateChanged
from domain.plans import TemplateRef
from domain.sends import TemplateReading, TemplateStatus
from store.inbox import Placement
from store.inbox_tables import EventState
from store.keys import KeyRing
from store.stores import Stores
from tests.unit.gateway.world import World, delivery, event
from tests.unit.store_inbox.bench import Bench

MANY = 100
"""Enough that two transactions are certain to meet in the middle."""
BY_KIND = Placement(EventState.NO_EFFECT, "by-kind")


@pytest.fixture
async def bench(postgres_url: str, keys: KeyRing) -> AsyncIterator[Bench]:
    async with Stores.open(postgres_url, keys) as opened:
        yield Bench(World(opened))


@pytest.mark.parametrize("kind", ["template", "flow"])
async def test_events_about_the_same_things_in_opposite_orders_are_all_kept(bench: Bench, kind: str) -> None:
    reading = TemplateReading(template_status=TemplateStatus.APPROVED)
    for n in range(MANY if kind == "template" else 0):
        await bench.world.stores.templates.write("main", TemplateRef(name=f"t{n:03}", language="nl"), reading, bench.at)

    def of(n: int) -> EventBody:
        if kind == "flow":
            return FlowChanged(flow_id=f"f{n:03}", new="BLOCKED")
        return TemplateChanged(template_id="", name=f"t{n:03}", language="nl", event="PAUSED")

    mine = [event(f"mine/{n}", of(n), at=bench.at) for n in range(MANY)]
    theirs = [event(f"theirs/{n}", of(n), at=bench.at) for n in reversed(range(MANY))]
    await bench.keep(delivery(*mine, at=bench.at), delivery(*theirs, at=bench.at))
    (my,) = await bench.mine.claim(["main"], 1)
    (their,) = await bench.theirs.claim(["main"], 1)
    kept = await asyncio.gather(
        bench.mine.keep_events([bench.read(my, *mine, placement=BY_KIND)]),
        bench.theirs.keep_events([bench.read(their, *theirs, placement=BY_KIND)]),
    )
    assert [one.result for some in kept for one in some] == ["pending"] * 2 * MANY
    if kind == "flow":
        assert len(await bench.world.stores.holds.active(bench.at)) == MANY
    else:
        assert all(one.stale for one in await bench.world.stores.templates.all())
