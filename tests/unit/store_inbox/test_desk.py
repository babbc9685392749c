"""What a person does with one event of the inbox, and what stays written of it."""

import pytest

from domain.errors import NotAllowed, NotFound
from store.inbox import Delivery, Placement, ReadDelivery
from store.inbox_desk import Wanted
from store.inbox_tables import EventState
from tests.unit.gateway.world import World, finished
from tests.unit.store_inbox.bench import UNMATCHED, Bench, pending

PARKED = Placement(EventState.PARKED, "ties-disagree")


@pytest.fixture
def bench(world: World) -> Bench:
    return Bench(world)


async def only(bench: Bench, *states: EventState) -> int:
    (entry,) = await bench.desk.list(Wanted(states=states))
    return entry.id


async def test_an_assigned_event_is_handed_over_and_says_who_assigned_it_and_why(bench: Bench) -> None:
    await bench.placed(UNMATCHED, finished("e-1"))
    event_id = await only(bench, EventState.UNMATCHED)
    await bench.desk.assign(event_id, "w1", "ada", "seen in the conversation")
    entry = await bench.desk.get(event_id)
    assert entry.rule == "assigned by ada: seen in the conversation (was: no-tie)"
    (batch,) = (await bench.my_outbound.due(10)).batches
    assert (batch.workflow_id, batch.events[0].key) == ("w1", "e-1")
    with pytest.raises(NotAllowed):
        await bench.desk.assign(event_id, "w2", "ada", "once more")
    with pytest.raises(NotFound):
        await bench.desk.assign(event_id + 999, "w2", "ada", "none")


async def test_a_discarded_event_stays_visible_is_tried_no_more_and_goes_with_age(bench: Bench) -> None:
    await bench.placed(PARKED, finished("e-1"))
    event_id = await only(bench, EventState.PARKED)
    await bench.desk.discard(event_id, "ada", "a test message")
    entry = await bench.desk.get(event_id)
    assert (entry.state, entry.rule) == (
        EventState.DISCARDED,
        "discarded by ada: a test message (was: ties-disagree)",
    )
    assert await bench.review.unmatched(bench.at.replace(year=2000), 0, 10) == ()
    assert [one.result for one in await bench.placed(UNMATCHED, finished("e-1"))] == ["duplicate"]
    bench.passes(days=10)
    assert await bench.purge() == 1


async def test_what_an_engagement_has_taken_cannot_be_discarded(bench: Bench) -> None:
    await bench.placed(pending("w1"), finished("e-1"))
    with pytest.raises(NotAllowed):
        await bench.desk.discard(await only(bench, EventState.PENDING), "ada", "not wanted")


async def test_a_quarantined_delivery_can_be_read_again(bench: Bench) -> None:
    await bench.keep(Delivery("plain", "main", b"one day readable", bench.at))
    (claimed,) = await bench.claim()
    await bench.mine.keep_events([ReadDelivery(claimed, quarantine="not JSON")])
    event_id = await only(bench, EventState.QUARANTINED)
    await bench.desk.reread(event_id)
    (again,) = await bench.claim()
    assert again.delivery.body == b"one day readable"
    with pytest.raises(NotFound):
        await bench.desk.reread(event_id)


async def test_lists_are_filtered_by_state_account_and_reason(bench: Bench) -> None:
    await bench.placed(UNMATCHED, finished("e-1"))
    await bench.placed(PARKED, finished("e-2"))
    everything = await bench.desk.list(Wanted())
    assert [one.state for one in everything] == [EventState.PARKED, EventState.UNMATCHED]
    assert await bench.desk.list(Wanted(rule="DISAGREE")) == everything[:1]
    assert await bench.desk.list(Wanted(rule="%")) == ()
    assert await bench.desk.list(Wanted(account="other")) == ()
    assert await bench.desk.list(Wanted(before=everything[0].id, limit=1)) == everything[1:]


async def test_an_event_whose_signals_fail_says_how_often_and_when_the_next_one_leaves(bench: Bench) -> None:
    await bench.placed(pending("w1"), finished("e-1"))
    (batch,) = (await bench.my_outbound.due(10)).batches
    await bench.my_outbound.postpone(batch)
    (entry,) = await bench.desk.list(Wanted())
    assert entry.failures == 1
    assert entry.not_before is not None
    assert entry.not_before > bench.at
