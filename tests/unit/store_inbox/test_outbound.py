"""Engagements with pending events, seen by two gateways."""

import pytest

from store.inbox_tables import EventState
from tests.unit.gateway.world import World, delivered, finished
from tests.unit.store_inbox.bench import Bench, pending


@pytest.fixture
def bench(world: World) -> Bench:
    return Bench(world)


async def test_an_engagement_is_in_one_gateways_hand_at_a_time(bench: Bench) -> None:
    await bench.placed(pending("w1"), finished("e-1"))
    assert [one.workflow_id for one in (await bench.my_outbound.due(10)).batches] == ["w1"]
    await bench.placed(pending("w1"), finished("e-2"))
    assert (await bench.their_outbound.due(10)).batches == ()


async def test_events_that_came_meanwhile_follow_in_the_next_batch(bench: Bench) -> None:
    await bench.placed(pending("w1"), finished("e-1"))
    (first,) = (await bench.my_outbound.due(10)).batches
    await bench.placed(pending("w1"), finished("e-2"))
    await bench.my_outbound.settle(first, EventState.RELAYED)
    (second,) = (await bench.their_outbound.due(10)).batches
    assert [[one.key for one in batch.events] for batch in (first, second)] == [["e-1"], ["e-2"]]


async def test_a_gateway_that_lost_its_hand_still_records_what_was_taken(bench: Bench) -> None:
    await bench.placed(pending("w1"), finished("e-1"))
    (mine,) = (await bench.my_outbound.due(10)).batches
    bench.passes(seconds=30)
    (theirs,) = (await bench.their_outbound.due(10)).batches
    await bench.my_outbound.settle(mine, EventState.RELAYED)
    assert (await bench.my_outbound.due(10)).batches == ()  # it is in their hand still
    await bench.their_outbound.settle(theirs, EventState.RELAYED)
    assert await bench.world.states() == {EventState.RELAYED: 1}


async def test_progress_tells_when_it_will_be_due(bench: Bench) -> None:
    await bench.placed(pending("w1"), delivered("s-1"))
    due = await bench.my_outbound.due(10)
    assert due.batches == ()
    assert due.next_at is not None
    bench.at = due.next_at
    assert len((await bench.my_outbound.due(10)).batches) == 1


async def test_a_fact_for_several_engagements_is_due_for_each(bench: Bench) -> None:
    await bench.placed(pending("w1", "w2"), finished("e-1"))
    batches = (await bench.my_outbound.due(10)).batches
    assert {(one.workflow_id, one.events[0].key) for one in batches} == {("w1", "e-1"), ("w2", "e-1")}


async def test_the_longest_waiting_engagements_come_first(bench: Bench) -> None:
    for name in ("w3", "w1", "w2"):
        await bench.placed(pending(name), finished(name))
        bench.passes(seconds=1)
    assert [one.workflow_id for one in (await bench.my_outbound.due(2)).batches] == ["w3", "w1"]
