"""Engagements with pending events, seen by two gateways."""

import pytest

from store.inbox_relay import Ending
from store.inbox_tables import EventState
from tests.unit.gateway.world import World, delivered, delivery, finished
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


async def test_long_queues_of_several_are_each_taken_from_their_beginning(bench: Bench) -> None:
    sizes = {"w1": 450, "w2": 90, "w3": 30}
    names = {queue: [f"{queue}-{n:03}" for n in range(size)] for queue, size in sizes.items()}
    for queue, its in names.items():
        await bench.placed(pending(queue), *map(finished, its))
    batches = (await bench.my_outbound.due(10)).batches
    taken = {batch.workflow_id: [one.key for one in batch.events] for batch in batches}
    assert taken == {queue: its[:100] for queue, its in names.items()}


async def test_what_became_of_several_is_recorded_together_but_only_the_own_ones_are_given_back(bench: Bench) -> None:
    for queue in ("w1", "w2", "w3"):
        await bench.placed(pending(queue), finished(queue))
    mine = (await bench.my_outbound.due(10)).batches
    bench.passes(seconds=30)
    (theirs,) = (await bench.their_outbound.due(1)).batches
    for queue in ("w1", "w2", "w3"):
        await bench.placed(pending(queue), finished(f"{queue}-again"))
    due = await bench.my_outbound.turn([Ending(one, EventState.RELAYED) for one in mine], 10)
    again = [(one.workflow_id, [event.key for event in one.events]) for one in due.batches]
    assert again == [(queue, [f"{queue}-again"]) for queue in ("w1", "w2", "w3") if queue != theirs.workflow_id]
    await bench.their_outbound.settle(theirs, EventState.RELAYED)
    assert [one.workflow_id for one in (await bench.their_outbound.due(10)).batches] == [theirs.workflow_id]


async def test_of_several_one_may_be_tried_again_later_while_the_others_are_done(bench: Bench) -> None:
    for queue in ("w1", "w2"):
        await bench.placed(pending(queue), finished(queue))
    first, second = (await bench.my_outbound.due(10)).batches
    endings = [Ending(first, None), Ending(second, EventState.LATE)]
    assert (await bench.my_outbound.turn(endings, 10)).batches == ()
    assert await bench.world.states() == {EventState.PENDING: 1, EventState.LATE: 1}
    bench.passes(seconds=2)
    (again,) = (await bench.my_outbound.due(10)).batches
    assert (again.event_ids, again.failures) == (first.event_ids, 1)


async def test_what_is_due_at_once_is_taken_as_it_is_stored(bench: Bench) -> None:
    await bench.keep(delivery(finished("e-1"), at=bench.at))
    (claimed,) = await bench.claim()
    taking = bench.my_outbound.taking(10)
    await bench.mine.keep_events([bench.read(claimed, finished("e-1"), placement=pending("w1"))], taking)
    assert [one.workflow_id for one in await bench.my_outbound.opened(taking)] == ["w1"]
    assert (await bench.their_outbound.due(10)).batches == ()


async def test_what_is_in_another_ones_hand_is_not_taken_with_what_is_stored(bench: Bench) -> None:
    await bench.placed(pending("w1"), finished("e-1"))
    await bench.their_outbound.due(10)
    await bench.keep(delivery(finished("e-2"), at=bench.at))
    (claimed,) = await bench.claim()
    taking = bench.my_outbound.taking(10)
    await bench.mine.keep_events([bench.read(claimed, finished("e-2"), placement=pending("w1"))], taking)
    assert await bench.my_outbound.opened(taking) == ()


async def test_mere_progress_takes_nothing_with_it(bench: Bench) -> None:
    await bench.placed(pending("w1"), finished("e-1"))
    await bench.keep(delivery(delivered("s-1"), at=bench.at))
    (claimed,) = await bench.claim()
    taking = bench.my_outbound.taking(10)
    await bench.mine.keep_events([bench.read(claimed, delivered("s-1"), placement=pending("w2"))], taking)
    assert await bench.my_outbound.opened(taking) == ()
