"""A switch against marketing stops marketing alone, and a word stops the whole line."""

from datetime import timedelta

from domain.contacts import OptOutScope, phone_alias
from domain.events import OptInReceived, OptOutReceived
from store.inbox_tables import EventState
from store.leave import Reach, opt_out_in_force
from tests.unit.gateway.world import PHONE, FakeTemporal, World, event, now, number, parts_of, running


async def _in_force(world: World, category: str) -> OptOutScope | None:
    contact = await world.stores.contacts.find([phone_alias(PHONE)]) or ""
    reach = Reach(tenant="acme", line="nl-1", category=category)
    return await world.stores.database.read(lambda connection: opt_out_in_force(connection, contact, reach))


async def test_the_switch_stops_marketing_until_it_is_turned_back(world: World, temporal: FakeTemporal) -> None:
    workflow = await world.engaged("a-1")
    stop, resume = OptOutReceived(scope="marketing"), OptInReceived(scope="marketing")
    async with running(parts_of(world.stores, temporal)) as gateway:
        await gateway.post(event("pref:1", stop, number(PHONE), at=now()))
        await temporal.until(lambda: temporal.keys(workflow) == ["pref:1"])
        stopped = [await _in_force(world, category) for category in ("MARKETING", "UTILITY")]
        await gateway.post(event("pref:2", resume, number(PHONE), at=now() + timedelta(seconds=2)))
        await world.until_states({EventState.RELAYED: 1, EventState.NO_EFFECT: 1})
    assert stopped == [OptOutScope.MARKETING, None]
    assert await _in_force(world, "MARKETING") is None


async def test_a_typed_stop_outlives_the_switch(world: World, temporal: FakeTemporal) -> None:
    workflow = await world.engaged("a-1")
    async with running(parts_of(world.stores, temporal)) as gateway:
        await gateway.post(event("m-1", OptOutReceived(scope="line", text="STOP"), number(PHONE), at=now()))
        resume = event("pref:1", OptInReceived(scope="marketing"), number(PHONE), at=now() + timedelta(seconds=2))
        await gateway.post(resume)
        await world.until_states({EventState.RELAYED: 1, EventState.NO_EFFECT: 1})
    assert temporal.keys(workflow) == ["m-1"]
    assert await _in_force(world, "UTILITY") is OptOutScope.LINE


async def test_a_typed_start_lifts_a_typed_stop_and_not_the_switch(world: World, temporal: FakeTemporal) -> None:
    workflow = await world.engaged("a-1")
    switch, stop = OptOutReceived(scope="marketing"), OptOutReceived(scope="line", text="STOP")
    async with running(parts_of(world.stores, temporal)) as gateway:
        await gateway.post(event("pref:1", switch, number(PHONE), at=now()))
        await gateway.post(event("m-1", stop, number(PHONE), at=now()))
        await temporal.until(lambda: sorted(temporal.keys(workflow)) == ["m-1", "pref:1"])
        stopped = await _in_force(world, "UTILITY")
        start = OptInReceived(scope="line", text="START")
        await gateway.post(event("m-2", start, number(PHONE), at=now() + timedelta(seconds=2)))
        await world.until_states({EventState.RELAYED: 2, EventState.NO_EFFECT: 1})
    assert stopped is OptOutScope.LINE
    assert await _in_force(world, "UTILITY") is None, "what is not marketing may leave again"
    assert await _in_force(world, "MARKETING") is OptOutScope.MARKETING
    contact = await world.stores.contacts.find([phone_alias(PHONE)]) or ""
    record = await world.stores.contacts.record(contact)
    kept = {(out.scope, out.source, out.lifted_at is None) for out in record.opt_outs}
    assert kept == {
        (OptOutScope.MARKETING, "whatsapp-opt-out", True),
        (OptOutScope.LINE, "whatsapp-opt-out", False),
    }, "the evidence of both is kept"


async def test_a_stop_of_marketing_by_somebody_unknown_is_not_forgotten(world: World, temporal: FakeTemporal) -> None:
    async with running(parts_of(world.stores, temporal)) as gateway:
        await gateway.post(event("pref:1", OptOutReceived(scope="marketing"), number(PHONE), at=now()))
        await world.until_states({EventState.NO_EFFECT: 1})
    assert await _in_force(world, "MARKETING") is OptOutScope.MARKETING
    assert await _in_force(world, "UTILITY") is None
