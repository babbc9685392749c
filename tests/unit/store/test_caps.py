"""Caps and send windows at the claim: what is counted, by whose calendar, and that two at once do not both pass."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from domain.caps import Caps
from domain.contacts import Alias, AliasKind, OptOut, OptOutScope
from domain.errors import PolicyRefused, ProviderRejected, Scope
from domain.events import MessageStatus, MessageStatusChanged, ProviderEvent
from domain.sends import LedgerState, Send, SendClaim
from store.arrivals import record_within
from store.keys import KeyRing
from store.stores import Stores
from tests.unit.store.samples import A_PHONE, HOUR, NOON, a_send

A_DAY, A_WEEK = Caps(candidate_per_day=1), Caps(candidate_per_week=2)
DAY = timedelta(days=1)


@pytest.fixture
async def contact_id(stores: Stores) -> str:
    return await stores.contacts.resolve([A_PHONE])


def sends_of(contact_id: str, zone: str = "UTC") -> list[Send]:
    return [a_send(contact_id, reference=f"a-{n}").model_copy(update={"zone": zone}) for n in range(1, 8)]


async def refusal(stores: Stores, send: Send, at: datetime, caps: Caps | None) -> PolicyRefused:
    with pytest.raises(PolicyRefused) as raised:
        await stores.ledger.claim(send, at, caps)
    return raised.value


async def test_the_days_messages_are_counted_until_midnight_where_the_person_is(
    stores: Stores, contact_id: str
) -> None:
    first, second, *_ = sends_of(contact_id, "America/Bogota")
    await stores.ledger.claim(first, NOON, A_DAY)
    evening = datetime(2026, 3, 3, 4, 59, tzinfo=UTC)
    refused = await refusal(stores, second, evening, A_DAY)
    midnight = datetime(2026, 3, 3, 5, tzinfo=UTC)
    assert (refused.code, refused.scope, refused.until) == ("capped", Scope.RECIPIENT, midnight)
    assert (await stores.ledger.claim(second, midnight, A_DAY)).attempt == 1


async def test_the_weeks_messages_are_counted_until_monday(stores: Stores, contact_id: str) -> None:
    first, second, third, *_ = sends_of(contact_id)
    await stores.ledger.claim(first, NOON, A_WEEK)  # a Monday
    await stores.ledger.claim(second, NOON + 5 * DAY, A_WEEK)
    assert (await refusal(stores, third, NOON + 6 * DAY, A_WEEK)).until == datetime(2026, 3, 9, tzinfo=UTC)
    assert (await stores.ledger.claim(third, datetime(2026, 3, 9, tzinfo=UTC), A_WEEK)).attempt == 1


async def test_of_two_caps_the_one_that_frees_last_is_told(stores: Stores, contact_id: str) -> None:
    both = Caps(candidate_per_day=1, candidate_per_week=1, tenant_per_day=1)
    first, second, *_ = sends_of(contact_id)
    await stores.ledger.claim(first, NOON, both)
    assert (await refusal(stores, second, NOON, both)).until == datetime(2026, 3, 9, tzinfo=UTC)


async def test_a_message_counts_on_the_day_it_left_and_not_on_the_day_it_was_wanted(
    stores: Stores, contact_id: str
) -> None:
    first, second, *_ = sends_of(contact_id)
    await stores.ledger.claim(first, NOON + DAY, A_DAY)  # it was wanted at noon, and its queue took a day
    assert (await stores.ledger.claim(second, NOON + HOUR, A_DAY)).attempt == 1


@pytest.mark.parametrize(
    ("ending", "counts"),
    [
        (None, True),
        (LedgerState.SENT, True),
        (LedgerState.UNKNOWN, True),
        (LedgerState.NOT_SENT, False),
        (LedgerState.REJECTED, False),
    ],
)
async def test_what_left_or_may_have_left_counts_and_nothing_else(
    stores: Stores, contact_id: str, ending: LedgerState | None, *, counts: bool
) -> None:
    first, second, *_ = sends_of(contact_id)
    claim = await stores.ledger.claim(first, NOON, A_DAY)
    if ending is not None:
        await stores.ledger.settle(claim, ending, None, None, NOON)
    if counts:
        assert (await refusal(stores, second, NOON, A_DAY)).code == "capped"
    else:
        assert (await stores.ledger.claim(second, NOON, A_DAY)).attempt == 1


@pytest.mark.parametrize("status", [MessageStatus.DELIVERED, MessageStatus.FAILED])
async def test_what_is_told_as_failed_later_uses_no_cap_of_the_person_any_more(
    stores: Stores, contact_id: str, status: MessageStatus
) -> None:
    first, second, *_ = sends_of(contact_id)
    await stores.ledger.claim(first, NOON, A_DAY)
    told = ProviderEvent(key="e-1", occurred_at=NOON, body=MessageStatusChanged(message_status=status))
    await stores.database.write(lambda connection: record_within(connection, [(first.key, told)]))
    if status is MessageStatus.FAILED:
        assert (await stores.ledger.claim(second, NOON, A_DAY)).attempt == 1
    else:
        assert (await refusal(stores, second, NOON, A_DAY)).code == "capped"


async def test_what_was_refused_by_a_cap_uses_none_and_may_be_claimed_when_it_frees(
    stores: Stores, contact_id: str
) -> None:
    first, second, *_ = sends_of(contact_id)
    claim = await stores.ledger.claim(first, NOON, A_DAY)
    for _ in range(3):
        await refusal(stores, second, NOON, A_DAY)
    entry = await stores.ledger.find(second.key)
    assert entry is not None
    assert (entry.state, entry.code) == (LedgerState.FREE, "capped")
    await stores.ledger.settle(claim, LedgerState.NOT_SENT, None, None, NOON)
    assert (await stores.ledger.claim(second, NOON, A_DAY)).attempt == 1
    assert (await refusal(stores, first, NOON, A_DAY)).code == "capped", "the other one has used it"


async def test_messages_of_another_tenant_and_to_another_person_do_not_count(stores: Stores, contact_id: str) -> None:
    first, second, third, *_ = sends_of(contact_id)
    await stores.ledger.claim(first.model_copy(update={"tenant": "other"}), NOON, A_DAY)
    else_id = await stores.contacts.resolve([Alias(kind=AliasKind.PHONE, value="31600000009")])
    await stores.ledger.claim(second.model_copy(update={"contact_id": else_id}), NOON, A_DAY)
    assert (await stores.ledger.claim(third, NOON, A_DAY)).attempt == 1


async def test_a_tenants_own_day_counts_everybody_by_the_tenants_clock(stores: Stores, contact_id: str) -> None:
    caps = Caps(tenant_per_day=2, zone="Asia/Kolkata")
    else_id = await stores.contacts.resolve([Alias(kind=AliasKind.PHONE, value="31600000009")])
    first, second, third, *_ = sends_of(contact_id)
    await stores.ledger.claim(first, NOON, caps)
    await stores.ledger.claim(second.model_copy(update={"contact_id": else_id}), NOON, caps)
    refused = await refusal(stores, third, NOON, caps)
    assert (refused.code, refused.until) == ("capped", datetime(2026, 3, 2, 18, 30, tzinfo=UTC))


@pytest.mark.parametrize(
    "caps", [Caps(candidate_per_day=3), Caps(tenant_per_day=3)], ids=["of a person", "of a tenant"]
)
async def test_of_many_at_once_in_several_rooms_no_more_than_the_cap_pass(
    stores: Stores, url: str, keys: KeyRing, contact_id: str, caps: Caps
) -> None:
    async with Stores.open(url, keys) as elsewhere:
        answers = await asyncio.gather(
            *(
                room.ledger.claim(send, NOON, caps)
                for send, room in zip(sends_of(contact_id), [stores, elsewhere] * 4, strict=False)
            ),
            return_exceptions=True,
        )
    assert sum(isinstance(answer, SendClaim) for answer in answers) == 3
    assert {answer.code for answer in answers if isinstance(answer, PolicyRefused)} == {"capped"}


async def test_what_its_queue_brings_at_the_close_of_its_window_or_later_does_not_leave(
    stores: Stores, contact_id: str
) -> None:
    closes = NOON + HOUR
    send = a_send(contact_id).model_copy(update={"not_after": closes})
    refused = await refusal(stores, send, closes, None)
    assert (refused.code, refused.until) == ("outside-window", closes)
    assert (await stores.ledger.claim(send, closes - timedelta(seconds=1))).attempt == 1


async def test_what_stands_in_the_row_and_an_opt_out_are_told_before_window_and_cap(
    stores: Stores, contact_id: str
) -> None:
    first, second, third, *_ = (one.model_copy(update={"not_after": NOON}) for one in sends_of(contact_id))
    claim = await stores.ledger.claim(first, NOON - HOUR, A_DAY)
    await stores.ledger.settle(claim, LedgerState.SENT, None, None, NOON)
    assert (await stores.ledger.claim(first, NOON + HOUR, A_DAY)).earlier is not None
    claim = await stores.ledger.claim(second, NOON - HOUR)
    await stores.ledger.settle(claim, LedgerState.REJECTED, None, None, NOON)
    with pytest.raises(ProviderRejected):
        await stores.ledger.claim(second, NOON + HOUR, A_DAY)
    await stores.contacts.opt_out(contact_id, OptOut(scope=OptOutScope.ALL, source="stop-word", at=NOON))
    assert (await refusal(stores, third, NOON + HOUR, A_DAY)).code == "opted-out"
