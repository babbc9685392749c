"""Two gateways that store or move the same events in opposite orders never wait for each other. PostgreSQL only:
SQLite has one writer at a time.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from domain.contacts import phone_alias
from domain.events import ProviderEvent
from store.inbox import Placement
from store.inbox_effects import ContactEffects
from store.inbox_tables import EventState
from store.keys import KeyRing
from store.stores import Stores
from tests.unit.gateway.world import World, delivery, finished, wrote
from tests.unit.store_inbox.bench import UNMATCHED, Bench, pending

MANY = 150
"""Enough that two transactions are certain to meet in the middle."""


@pytest.fixture
async def bench(postgres_url: str, keys: KeyRing) -> AsyncIterator[Bench]:
    async with Stores.open(postgres_url, keys) as opened:
        yield Bench(World(opened))


async def both(
    bench: Bench, first: list[ProviderEvent], second: list[ProviderEvent], placement: Placement
) -> list[str]:
    """Two gateways store a delivery each, at the same time; gives what became of the events."""
    await bench.keep(delivery(*first, at=bench.at), delivery(*second, at=bench.at))
    (mine,) = await bench.mine.claim(["main"], 1)
    (theirs,) = await bench.theirs.claim(["main"], 1)
    kept = await asyncio.gather(
        bench.mine.keep_events([bench.read(mine, *first, placement=placement)]),
        bench.theirs.keep_events([bench.read(theirs, *second, placement=placement)]),
    )
    return [one.result for some in kept for one in some]


async def test_the_same_events_in_opposite_orders_are_stored_once_and_nobody_waits_for_ever(bench: Bench) -> None:
    for round_ in range(3):
        events = [finished(f"{round_}/{n}") for n in range(MANY)]
        results = await both(bench, events, events[::-1], pending("w1", "w2"))
        assert sorted(results) == ["duplicate"] * MANY + ["pending"] * MANY
    assert (await bench.review.counts()).events[EventState.PENDING] == 3 * MANY * 2


async def test_events_of_the_same_people_in_opposite_orders_change_them_without_waiting_for_ever(bench: Bench) -> None:
    phones = [f"+316{n:08}" for n in range(MANY)]
    people = [await bench.world.stores.contacts.resolve([phone_alias(phone)]) for phone in phones]

    def of(person: str) -> Placement:
        effects = ContactEffects(at=bench.at, contact_ids=(person,), opted_out_of=("nl-1",), source="whatsapp-opt-out")
        return replace(UNMATCHED, effects=effects)

    mine = [(wrote(f"mine/{n}", "STOP"), of(person)) for n, person in enumerate(people)]
    theirs = [(wrote(f"theirs/{n}", "STOP"), of(person)) for n, person in enumerate(people)][::-1]
    await bench.keep(*(delivery(event, at=bench.at) for event, _ in (*mine, *theirs)))
    claimed = [await gateway.claim(["main"], MANY) for gateway in (bench.mine, bench.theirs)]
    read = [
        [bench.read(stored, event, placement=placement) for stored, (event, placement) in zip(some, told, strict=True)]
        for some, told in zip(claimed, (mine, theirs), strict=True)
    ]
    kept = await asyncio.gather(bench.mine.keep_events(read[0]), bench.theirs.keep_events(read[1]))
    assert [len(some) for some in kept] == [MANY, MANY]


async def test_unmatched_events_moved_in_opposite_orders_move_once(bench: Bench) -> None:
    await bench.placed(UNMATCHED, *(finished(f"e-{n}") for n in range(MANY)))
    waiting = [one.id for one in await bench.review.list(EventState.UNMATCHED, limit=MANY)]
    moves = [(event_id, pending(f"w{n}")) for n, event_id in enumerate(waiting)]
    moved = await asyncio.gather(bench.review.retry_unmatched(moves), bench.review.retry_unmatched(moves[::-1]))
    assert sum(moved) == MANY
    assert await bench.world.states() == {EventState.PENDING: MANY}
