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


async def test_a_stop_of_marketing_by_somebody_unknown_is_not_forgotten(world: World, temporal: FakeTemporal) -> None:
    async with running(parts_of(world.stores, temporal)) as gateway:
        await gateway.post(event("pref:1", OptOutReceived(scope="marketing"), number(PHONE), at=now()))
        await world.until_states({EventState.NO_EFFECT: 1})
    assert await _in_force(world, "MARKETING") is OptOutScope.MARKETING
    assert await _in_force(world, "UTILITY") is None
