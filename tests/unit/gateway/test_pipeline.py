"""From a provider's request on a real socket to the engagement's signal."""

import pytest

from domain.contacts import OptOutScope
from domain.events import TemplateChanged
from domain.plans import TemplateRef
from domain.sends import TemplateReading, TemplateStatus
from gateway.relay import Handover
from store.inbox_tables import EventState
from store.leave import Reach, opt_out_in_force
from store.stores import Stores
from tests.unit.gateway.world import (
    PHONE,
    FakeTemporal,
    World,
    delivered,
    event,
    finished,
    now,
    number,
    parts_of,
    receiving,
    running,
    stopped,
    thread,
    wrote,
)


async def test_an_answer_reaches_its_engagement_with_the_send_that_it_answers(
    world: World, temporal: FakeTemporal
) -> None:
    workflow = await world.sent("a-1", run_id="run-1")
    async with running(parts_of(world.stores, temporal)) as gateway:
        answer = await gateway.post(finished("run-1:finished", run_id="run-1"))
        await temporal.until(lambda: bool(temporal.heard[workflow]))
    assert answer.status_code == 200
    (heard,) = temporal.heard[workflow]
    assert heard.key == "run-1:finished"
    assert heard.send_key == f"{workflow}/opening/1"
    assert heard.body.kind == "flow-run"
    assert await world.states() == {EventState.RELAYED: 1}


async def test_a_delivery_of_many_events_for_many_people_reaches_each_of_them(
    world: World, temporal: FakeTemporal
) -> None:
    flows = {f"run-{n}": await world.sent(f"a-{n}", f"+3161234560{n}", run_id=f"run-{n}") for n in range(5)}
    async with running(parts_of(world.stores, temporal)) as gateway:
        await gateway.post(*(finished(f"{run}:finished", run_id=run) for run in flows))
        await temporal.until(lambda: len(temporal.batches) == 5)
    assert {workflow: temporal.keys(workflow) for workflow in flows.values()} == {
        workflow: [f"{run}:finished"] for run, workflow in flows.items()
    }


async def test_repeated_deliveries_are_taken_and_add_nothing(world: World, temporal: FakeTemporal) -> None:
    workflow = await world.sent("a-1", run_id="run-1")
    told = finished("run-1:finished", run_id="run-1")
    async with running(parts_of(world.stores, temporal)) as gateway:
        answers = [await gateway.post(told) for _ in range(5)]
        await world.until_read()
        await world.until_states({EventState.RELAYED: 1})
        duplicates = await gateway.metric("rapport_events_total", kind="flow-run", result="duplicate")
    assert [answer.status_code for answer in answers] == [200] * 5
    assert temporal.keys(workflow) == ["run-1:finished"]
    assert duplicates == 4


async def test_an_event_that_comes_before_its_sends_answer_waits_for_it(world: World, temporal: FakeTemporal) -> None:
    workflow = await world.engaged("a-1")
    claim = await world.claimed(workflow)
    async with running(parts_of(world.stores, temporal)) as gateway:
        await gateway.post(finished("run-1:finished", run_id="run-1"))
        await world.until_states({EventState.UNMATCHED: 1})
        assert temporal.heard[workflow] == []
        await world.settled(claim, run_id="run-1")
        await temporal.until(lambda: temporal.keys(workflow) == ["run-1:finished"])
    assert temporal.heard[workflow][0].send_key == claim.key


async def test_two_open_engagements_of_one_person_never_cross(world: World, temporal: FakeTemporal) -> None:
    first = await world.sent("a-1", run_id="run-1")
    second = await world.sent("a-2", run_id="run-2")
    async with running(parts_of(world.stores, temporal)) as gateway:
        await gateway.post(
            finished("run-2:finished", number(PHONE), run_id="run-2"),
            wrote("msg-1", "hello?", number(PHONE)),
            finished("run-1:finished", number(PHONE), run_id="run-1"),
        )
        await world.until_states({EventState.RELAYED: 2, EventState.UNMATCHED: 1})
    assert (temporal.keys(first), temporal.keys(second)) == (["run-1:finished"], ["run-2:finished"])


async def test_a_text_without_a_tie_goes_to_the_persons_only_open_engagement(
    world: World, temporal: FakeTemporal
) -> None:
    workflow = await world.sent("a-1", run_id="run-1")
    async with running(parts_of(world.stores, temporal)) as gateway:
        await gateway.post(wrote("msg-1", "yes, gladly", number(PHONE)))
        await temporal.until(lambda: temporal.keys(workflow) == ["msg-1"])
    contact = await world.stores.contacts.find([number(PHONE)])
    assert await world.stores.contacts.last_inbound(contact or "", "nl-1") is not None


@pytest.mark.parametrize("ending", [Handover.NOT_NOW, Handover.CLOSED])
async def test_an_engagement_that_cannot_be_reached_delays_nobody_else(
    world: World, temporal: FakeTemporal, ending: Handover
) -> None:
    poisoned = await world.sent("bad", "+31600000001", run_id="run-bad")
    healthy = await world.sent("good", "+31600000002", run_id="run-good")
    temporal.endings[poisoned] = ending
    async with running(parts_of(world.stores, temporal)) as gateway:
        await gateway.post(finished("bad:finished", run_id="run-bad"))
        await temporal.until(lambda: temporal.tries[poisoned] == 1)
        await gateway.post(finished("good:finished", run_id="run-good"))
        await temporal.until(lambda: temporal.keys(healthy) == ["good:finished"])
        left = EventState.PENDING if ending is Handover.NOT_NOW else EventState.LATE
        await world.until_states({EventState.RELAYED: 1, left: 1})


async def test_what_temporal_could_not_take_is_taken_when_it_is_back(world: World, temporal: FakeTemporal) -> None:
    workflow = await world.sent("a-1", run_id="run-1")
    temporal.endings[workflow] = Handover.NOT_NOW
    async with running(parts_of(world.stores, temporal)) as gateway:
        assert (await gateway.post(finished("run-1:finished", run_id="run-1"))).status_code == 200
        await temporal.until(lambda: temporal.tries[workflow] == 1)
        assert (await gateway.post(delivered("status-1", run_id="run-1"))).status_code == 200
        del temporal.endings[workflow]
        await temporal.until(lambda: len(temporal.heard[workflow]) == 2)
    assert temporal.keys(workflow) == ["run-1:finished", "status-1"]


async def test_what_the_last_gateway_left_behind_the_next_one_finishes(
    world: World, temporal: FakeTemporal, stores: Stores
) -> None:
    workflow = await world.sent("a-1", run_id="run-1")
    temporal.endings[workflow] = Handover.NOT_NOW
    async with running(parts_of(stores, temporal)) as gateway:
        await gateway.post(finished("run-1:finished", run_id="run-1"))
        await temporal.until(lambda: temporal.tries[workflow] == 1)
    del temporal.endings[workflow]
    async with running(parts_of(stores, temporal)):
        await temporal.until(lambda: temporal.keys(workflow) == ["run-1:finished"])


async def test_an_opt_out_stops_sends_and_reaches_every_open_engagement_of_the_person(
    world: World, temporal: FakeTemporal
) -> None:
    flows = [await world.sent("a-1", run_id="run-1"), await world.sent("a-2", run_id="run-2")]
    async with running(parts_of(world.stores, temporal)) as gateway:
        await gateway.post(stopped("msg-1", number(PHONE)))
        await temporal.until(lambda: all(temporal.keys(workflow) == ["msg-1"] for workflow in flows))
    contact = await world.stores.contacts.find([number(PHONE)]) or ""
    assert await _opted_out(world, contact) is OptOutScope.LINE


async def test_an_opt_out_of_a_person_unknown_so_far_is_remembered(world: World, temporal: FakeTemporal) -> None:
    async with running(parts_of(world.stores, temporal)) as gateway:
        await gateway.post(stopped("msg-1", number(PHONE)))
        await world.until_states({EventState.NO_EFFECT: 1})
    contact = await world.stores.contacts.resolve([number(PHONE)])
    assert await _opted_out(world, contact) is OptOutScope.LINE


async def test_an_opt_out_from_a_thread_that_is_known_only_later_counts_then(
    world: World, temporal: FakeTemporal
) -> None:
    async with running(parts_of(world.stores, temporal)) as gateway:
        await gateway.post(stopped("msg-1", thread("thread-1"), thread_id="thread-1"))
        await world.until_states({EventState.UNMATCHED: 1})
        contact = await world.stores.contacts.resolve([number(PHONE), thread("thread-1")])
        await world.until_states({EventState.NO_EFFECT: 1})
    assert await _opted_out(world, contact) is OptOutScope.LINE


async def test_a_template_event_makes_its_reading_stale(world: World, temporal: FakeTemporal) -> None:
    await world.stores.templates.write("main", _TEMPLATE, _APPROVED, now())
    assert await world.stores.templates.read("main", _TEMPLATE) is not None
    async with running(parts_of(world.stores, temporal)) as gateway:
        await gateway.post(event("tpl-9:paused", TemplateChanged(template_id="tpl-9", event="PAUSED")))
        await world.until_states({EventState.RELAYED: 1})
    assert await world.stores.templates.read("main", _TEMPLATE) is None


async def test_what_cannot_be_read_is_kept_once_and_stops_nothing(world: World, temporal: FakeTemporal) -> None:
    workflow = await world.sent("a-1", run_id="run-1")
    async with running(parts_of(world.stores, temporal)) as gateway:
        for _ in range(2):
            assert (await gateway.post_raw(b"{not json")).status_code == 200
        await gateway.post(finished("run-1:finished", run_id="run-1"))
        await temporal.until(lambda: temporal.keys(workflow) == ["run-1:finished"])
        await world.until_states({EventState.RELAYED: 1, EventState.QUARANTINED: 1})
    (kept,) = await world.review.list(EventState.QUARANTINED)
    assert kept.rule == "not JSON of ours"


async def test_ids_mean_something_only_within_their_account(world: World, temporal: FakeTemporal) -> None:
    workflow = await world.sent("a-1", run_id="run-1")
    accounts = (receiving(), receiving("other", ["es-1"]))
    async with running(parts_of(world.stores, temporal, *accounts)) as gateway:
        await gateway.post(finished("run-1:finished", run_id="run-1"), account="other")
        await world.until_states({EventState.UNMATCHED: 1})
        await gateway.post(finished("run-1:finished", run_id="run-1"), account="main")
        await temporal.until(lambda: temporal.keys(workflow) == ["run-1:finished"])


async def _opted_out(world: World, contact: str) -> OptOutScope | None:
    reach = Reach(tenant="acme", line="nl-1")
    return await world.stores.database.read(lambda connection: opt_out_in_force(connection, contact, reach))


_APPROVED = TemplateReading(template_status=TemplateStatus.APPROVED, provider_id="tpl-9")
_TEMPLATE = TemplateRef(name="hello", language="nl", id="tpl-9")
