"""What a person sees of the inbox and can do with it, and what goes with age."""

from dataclasses import replace

import pytest

from store.inbox_review import forget_within
from store.inbox_tables import EventState
from tests.unit.gateway.world import World, delivery, finished, now
from tests.unit.store_inbox.bench import UNMATCHED, Bench, pending


@pytest.fixture
def bench(world: World) -> Bench:
    return Bench(world)


async def test_lists_are_newest_first_and_can_be_paged(bench: Bench) -> None:
    for n in range(3):
        await bench.placed(UNMATCHED, finished(f"e-{n}"))
    newest = await bench.review.list(EventState.UNMATCHED, limit=2)
    older = await bench.review.list(EventState.UNMATCHED, before=newest[-1].id)
    assert [one.id for one in (*newest, *older)] == sorted((one.id for one in (*newest, *older)), reverse=True)
    assert (len(newest), len(older)) == (2, 1)


async def test_only_what_is_still_unmatched_moves(bench: Bench) -> None:
    await bench.placed(UNMATCHED, finished("e-1"))
    (entry,) = await bench.review.unmatched(now().replace(year=2000), 0, 10)
    assert await bench.review.retry_unmatched([(entry.id, pending("w1"))]) == 1
    assert await bench.review.retry_unmatched([(entry.id, pending("w2"))]) == 0
    assert [one.workflow_id for one in (await bench.my_outbound.due(10)).batches] == ["w1"]


async def test_keys_are_remembered_for_eight_days_and_then_forgotten(bench: Bench) -> None:
    await bench.placed(pending("w1"), finished("e-1"))
    (batch,) = (await bench.my_outbound.due(10)).batches
    await bench.my_outbound.settle(batch, EventState.RELAYED)
    bench.passes(days=8)
    assert await bench.purge() == 0
    assert [one.result for one in await bench.placed(pending("w1"), finished("e-1"))] == ["duplicate"]
    bench.passes(days=2)
    assert await bench.purge() == 1


async def test_what_waits_is_never_purged_with_what_is_done(bench: Bench) -> None:
    await bench.placed(pending("w1"), finished("e-1"))
    await bench.placed(UNMATCHED, finished("e-2"))
    bench.passes(days=20)
    assert await bench.purge() == 0
    bench.passes(days=11)
    assert await bench.purge() == 1
    assert await bench.world.states() == {EventState.PENDING: 1}


async def test_a_delivery_that_nobody_has_read_is_never_purged_however_old_it_is(bench: Bench) -> None:
    await bench.keep(delivery(finished("e-1"), at=bench.at))
    bench.passes(days=400)
    assert await bench.purge() == 0
    assert (await bench.review.counts()).unread == 1
    assert [one.delivery.account for one in await bench.claim()] == ["main"]


async def test_an_event_that_could_not_be_handed_over_for_weeks_is_handed_over_still(bench: Bench) -> None:
    await bench.placed(pending("w1"), finished("e-1"))
    for _ in range(40):
        bench.passes(days=1)
        (batch,) = (await bench.my_outbound.due(10)).batches
        await bench.my_outbound.postpone(batch)
        await bench.purge()
    bench.passes(days=1)
    assert [one.events[0].key for one in (await bench.my_outbound.due(10)).batches] == ["e-1"]


async def test_an_erased_persons_events_hold_nothing_and_go_nowhere(bench: Bench) -> None:
    await bench.placed(replace(pending("w1"), contact_id="ct_1"), finished("e-1"))
    await bench.world.stores.database.write(lambda connection: forget_within(connection, "ct_1"))
    assert (await bench.my_outbound.due(10)).batches == ()
    assert await bench.world.states() == {EventState.LATE: 1}
