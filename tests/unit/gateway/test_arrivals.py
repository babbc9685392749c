"""What is told of a message stands in the ledger as soon as it is stored: what failed uses no cap of a person."""

from datetime import timedelta

import pytest

from domain.caps import Caps
from domain.contacts import phone_alias
from domain.errors import PolicyRefused
from domain.events import MessageStatus as Status
from domain.events import MessageStatusChanged, ProviderEvent
from domain.ids import send_key
from domain.sends import Send
from store.inbox_tables import EventState
from tests.unit.gateway.world import PHONE, FakeTemporal, World, event, now, parts_of, running
from tests.unit.store.samples import a_send

OF_THE_PERSON, OF_THE_TENANT = Caps(candidate_per_week=1), Caps(tenant_per_day=1)


def told(status: Status, **ties: str) -> ProviderEvent:
    body = MessageStatusChanged(message_status=status, codes=("131047",) if status is Status.FAILED else ())
    return event(f"status:{status}", body, at=now() + timedelta(seconds=1), **ties)


async def arrived_of(world: World, key: str) -> bool | None:
    """What stands in the ledger."""
    found = await world.stores.ledger.find(key)
    assert found is not None
    return found.arrived


async def another(world: World) -> Send:
    contact = await world.stores.contacts.find([phone_alias(PHONE)]) or ""
    return a_send(contact, reference="another", at=now())


async def passes(world: World, caps: Caps) -> bool:
    """Whether one more message to this person may leave under these caps."""
    try:
        await world.stores.ledger.claim(await another(world), now(), caps)
    except PolicyRefused as refused:
        if refused.code != "capped":
            raise
        return False
    return True


@pytest.mark.parametrize(
    ("statuses", "at_once", "arrived"),
    [
        ((Status.ACCEPTED, Status.SENT), True, None),
        ((Status.READ,), True, True),
        ((Status.SENT, Status.FAILED), False, False),
        ((Status.DELIVERED, Status.FAILED), True, True),
        ((Status.DELIVERED, Status.FAILED), False, True),
        ((Status.FAILED, Status.READ), True, True),
        ((Status.FAILED, Status.DELIVERED), False, True),
    ],
)
async def test_a_message_that_is_known_as_failed_and_never_as_delivered_uses_no_cap_of_the_person(
    world: World, temporal: FakeTemporal, statuses: tuple[Status, ...], *, at_once: bool, arrived: bool | None
) -> None:
    workflow = await world.sent("a-1", message_id="wamid-1")
    events = [told(status, message_id="wamid-1") for status in statuses]
    async with running(parts_of(world.stores, temporal)) as gateway:
        for some in [events] if at_once else [[one] for one in events]:
            await gateway.post(*some)
            await world.until_read()
        assert await arrived_of(world, send_key(workflow, "opening", 1)) is arrived
        assert await passes(world, OF_THE_TENANT) is False, "it was sent, and counts among all that a tenant sends"
        assert await passes(world, OF_THE_PERSON) is (arrived is False)


async def test_a_failure_that_came_before_the_ids_of_its_send_is_written_when_they_are_known(
    world: World, temporal: FakeTemporal
) -> None:
    claim = await world.claimed(await world.engaged("a-1"))
    async with running(parts_of(world.stores, temporal)) as gateway:
        await gateway.post(told(Status.FAILED, message_id="wamid-1"))
        await world.until_states({EventState.UNMATCHED: 1})
        assert await passes(world, OF_THE_PERSON) is False
        await world.settled(claim, message_id="wamid-1")
        await world.until_states({EventState.RELAYED: 1})
        assert await arrived_of(world, claim.key) is False
        assert await passes(world, OF_THE_PERSON) is True


async def test_a_status_of_another_persons_message_changes_nothing_here(world: World, temporal: FakeTemporal) -> None:
    await world.sent("a-1", message_id="wamid-1")
    await world.sent("b-1", "+31687654321", message_id="wamid-2")
    async with running(parts_of(world.stores, temporal)) as gateway:
        await gateway.post(told(Status.FAILED, message_id="wamid-2"))
        await world.until_read()
    assert {one.message_id: one.arrived for one in await world.stores.ledger.list()} == {
        "wamid-1": None,
        "wamid-2": False,
    }
    assert await passes(world, OF_THE_PERSON) is False


async def test_a_status_that_only_its_thread_ties_is_of_the_latest_message_there_without_an_id(
    world: World, temporal: FakeTemporal
) -> None:
    workflow = await world.sent("a-1", thread_id="thread-1", run_id="run-1")
    await world.settled(await world.claimed(workflow, n=2, thread_id="thread-1"), run_id="run-2")
    await world.settled(await world.claimed(workflow, n=3, thread_id="thread-1"), message_id="wamid-3")
    async with running(parts_of(world.stores, temporal)) as gateway:
        await gateway.post(told(Status.FAILED, message_id="wamid-9", thread_id="thread-1"))
        await temporal.until(lambda: len(temporal.keys(workflow)) == 1)
    arrived = [await arrived_of(world, send_key(workflow, "opening", n)) for n in (1, 2, 3)]
    assert arrived == [None, False, None]


async def test_somebody_elses_message_in_the_thread_says_nothing_of_ours(world: World, temporal: FakeTemporal) -> None:
    workflow = await world.sent("a-1", thread_id="thread-1", message_id="wamid-1")
    async with running(parts_of(world.stores, temporal)) as gateway:
        await gateway.post(told(Status.FAILED, message_id="wamid-9", thread_id="thread-1"))
        await temporal.until(lambda: len(temporal.keys(workflow)) == 1)
    assert await arrived_of(world, send_key(workflow, "opening", 1)) is None
