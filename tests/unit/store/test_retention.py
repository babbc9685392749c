"""What goes with age and what stays: by the terms, page by page, on both databases."""

from datetime import datetime, timedelta

import pytest
from pydantic import ValidationError
from sqlalchemy import select, update

from domain.contacts import Consent, OptOut, OptOutScope, phone_alias
from domain.errors import NotAllowed, SetupError
from domain.retention import BY_THEMSELVES, KeptKind, RetentionTerms
from domain.sends import LedgerState
from store.inbox_tables import EventState, inbox_events
from store.keys import KeyRing
from store.leave import Reach, opt_out_in_force
from store.quiet_people import QuietPeople
from store.registry import ArchivedEngagement
from store.retention import Retention
from store.stores import Stores
from store.tables import engagements, idempotency_keys, sends
from tests.unit.gateway.world import World, finished
from tests.unit.store.samples import HOUR, NOON, PHONE, a_close, a_row, a_send, an_engagement
from tests.unit.store.test_erasure import OTHER, a_person
from tests.unit.store_inbox.bench import UNMATCHED, Bench, pending

DAY = timedelta(days=1)
TERMS = RetentionTerms()
LAST = max(TERMS.decisions, TERMS.contacts)


def retention(stores: Stores, at: datetime) -> Retention:
    return Retention(stores.database, stores.keys, clock=lambda: at)


async def a_quiet_person(stores: Stores) -> str:
    """Somebody of whom the store has everything, and whose engagement has taken all that came."""
    contact_id = await a_person(stores)
    taken = update(inbox_events).where(inbox_events.c.state == EventState.PENDING.value)
    relayed = {"state": EventState.RELAYED.value, "due_at": None}
    await stores.database.write(lambda connection: connection.execute(taken.values(**relayed)))
    return contact_id


async def ages_to(stores: Stores, at: datetime) -> dict[KeptKind, int]:
    """Drop everything but people as of an instant; what was counted before is what goes."""
    its = retention(stores, at)
    kinds = [kind for kind in KeptKind if kind is not KeptKind.PEOPLE]
    expected = {kind: await its.count(kind) for kind in kinds}
    gone = await its.drop(kinds)
    assert gone == expected, "a dry run counts what goes"
    assert set((await its.drop(kinds)).values()) == {0}, "a repeat finds nothing"
    return gone


async def test_what_an_engagement_held_goes_step_by_step_after_its_end(stores: Stores) -> None:
    contact_id = await a_person(stores)
    row = await stores.registry.get("acme", "a-1")
    assert (await ages_to(stores, NOON + TERMS.handles))[KeptKind.SENDS] == 0
    assert (await ages_to(stores, NOON + TERMS.handles + HOUR))[KeptKind.SENDS] == 1
    (kept,) = await stores.ledger.list()
    assert (kept.message_id, kept.run_id, kept.thread_id, kept.state) == ("", "", "", LedgerState.SENT)
    assert (await ages_to(stores, NOON + TERMS.contents))[KeptKind.CONTENTS] == 0
    assert await stores.registry.input_of("engagement:acme:a-1") is not None
    assert (await ages_to(stores, NOON + TERMS.contents + HOUR))[KeptKind.CONTENTS] == 1
    assert await stores.registry.input_of("engagement:acme:a-1") is None
    archive = ArchivedEngagement.model_validate_json(await stores.registry.archive_of("acme", "a-1") or "")
    assert [one.text for one in archive.decisions] == ["the flow run finished"]
    assert (archive.result.settlement.answers, archive.snapshot) == ({}, "")
    assert (await ages_to(stores, NOON + TERMS.decisions))[KeptKind.DECISIONS] == 0
    assert (await ages_to(stores, NOON + TERMS.decisions + HOUR))[KeptKind.DECISIONS] == 1
    assert await stores.registry.archive_of("acme", "a-1") is None
    assert await stores.registry.get("acme", "a-1") == row, "that it was, when, and how it ended"
    assert (await stores.contacts.record(contact_id)).consents, "the person is another matter"


async def test_nothing_of_an_open_engagement_goes_however_old_it_is(stores: Stores) -> None:
    contact_id = await a_person(stores)
    await stores.registry.register(a_row(contact_id, reference="a-2"), an_engagement(contact_id, reference="a-2"))
    claim = await stores.ledger.claim(a_send(contact_id, reference="a-2"))
    await stores.database.write(
        lambda connection: connection.execute(
            update(sends).where(sends.c.key == claim.key).values(message_id="wamid.open", state="sent")
        )
    )
    bench = Bench(World(stores))
    bench.at = NOON
    await bench.placed(pending("engagement:acme:a-2"), finished("e-open"))
    await stores.told.keep("acme", "m-1", b"{}", NOON)
    await ages_to(stores, NOON + 10 * LAST)
    assert await stores.registry.input_of("engagement:acme:a-2") is not None
    assert [one.message_id for one in await stores.ledger.list()].count("wamid.open") == 1
    assert (await bench.review.counts()).events[EventState.PENDING] >= 1
    assert await stores.told.next_due() == NOON
    quiet = QuietPeople(stores.database)
    assert await quiet.count(NOON + 10 * LAST) == 0
    assert not await quiet.mark(contact_id, NOON + 10 * LAST, "retention", "r", NOON)


async def test_notices_go_when_they_were_taken_and_else_with_what_their_engagement_held(stores: Stores) -> None:
    await a_person(stores)  # with a notice that nobody took
    assert (await ages_to(stores, NOON + TERMS.notices + HOUR))[KeptKind.NOTICES] == 0
    assert (await ages_to(stores, NOON + TERMS.contents + HOUR))[KeptKind.NOTICES] == 1


async def test_a_gateway_drops_only_what_is_nobodys_any_more(stores: Stores) -> None:
    await a_person(stores)
    bench = Bench(World(stores))
    bench.at = NOON
    await bench.placed(UNMATCHED, finished("e-9"))
    gone = await retention(stores, NOON + LAST + HOUR).drop()
    assert set(gone) == set(BY_THEMSELVES)
    assert gone[KeptKind.REQUESTS] == 1
    assert await stores.registry.input_of("engagement:acme:a-1") is not None


async def test_it_works_in_pages_and_may_be_stopped_between_them(stores: Stores) -> None:
    rows = [
        {"tenant": "acme", "key": f"k-{n}", "fingerprint": "f", "status": 200, "response": "{}", "created_at": NOON}
        for n in range(7)
    ]
    await stores.database.write(lambda connection: connection.execute(idempotency_keys.insert(), rows))
    its = retention(stores, NOON + LAST)
    assert [await its.page(KeptKind.REQUESTS, 3) for _ in range(2)] == [3, 3]
    assert await its.count(KeptKind.REQUESTS) == 1
    assert [await its.page(KeptKind.REQUESTS, 3) for _ in range(2)] == [1, 0]


async def test_a_master_key_that_is_not_given_costs_no_decision_log(stores: Stores) -> None:
    await a_person(stores)
    stranger = Retention(stores.database, KeyRing(b"x" * 32, bytes(range(32))), clock=lambda: NOON + LAST)
    with pytest.raises(SetupError):
        await stranger.page(KeptKind.CONTENTS)
    assert await stores.registry.archive_of("acme", "a-1") is not None
    assert await stores.registry.input_of("engagement:acme:a-1") is not None


async def test_people_are_quiet_only_when_nothing_was_heard_of_them_since(stores: Stores) -> None:
    quiet = QuietPeople(stores.database)
    contact_id = await a_quiet_person(stores)
    idle = await stores.contacts.resolve([phone_alias(OTHER)])  # never engaged, and nothing else either
    learned = (await stores.contacts.record(contact_id)).created_at
    long_after = max(learned, NOON) + DAY

    async def who(before: datetime) -> set[str]:
        page = await quiet.page(before, "", 10)
        assert len(page) == await quiet.count(before)
        return {one.contact_id for one in page}

    assert await who(NOON - DAY) == set()
    assert await who(long_after) == {contact_id, idle}
    await stores.contacts.record_inbound(contact_id, "nl-1", long_after + HOUR)
    await stores.contacts.record_consent(idle, "acme", Consent(source="form", obtained_at=long_after + HOUR))
    assert await who(long_after) == set()
    assert not await quiet.mark(idle, long_after, "retention", "r", long_after), "looked at again when it is marked"
    assert await who(long_after + 2 * HOUR) == {contact_id, idle}
    await stores.contacts.opt_out(contact_id, OptOut(scope=OptOutScope.ALL, source="s", at=long_after + 3 * HOUR))
    await stores.registry.register(a_row(idle, reference="b-1"), an_engagement(idle, reference="b-1"))
    assert await who(long_after + 2 * HOUR) == set()
    await stores.registry.close(a_close(idle, reference="b-1", at=long_after + 3 * HOUR))
    assert await who(long_after + 4 * HOUR) == {contact_id, idle}


async def test_what_its_engagement_has_not_taken_yet_keeps_a_person(stores: Stores) -> None:
    contact_id = await a_person(stores)
    later = (await stores.contacts.record(contact_id)).created_at + DAY
    assert not await QuietPeople(stores.database).mark(contact_id, later, "retention", "r", NOON)


async def test_from_the_mark_on_nothing_begins_and_an_erasure_that_broke_off_is_found(stores: Stores) -> None:
    quiet, contact_id = QuietPeople(stores.database), await a_quiet_person(stores)
    later = (await stores.contacts.record(contact_id)).created_at + DAY
    assert await quiet.mark(contact_id, later, "retention", "nothing was heard", NOON)
    with pytest.raises(NotAllowed, match="being erased"):
        await stores.registry.register(a_row(contact_id, reference="a-2"))
    (found,) = await quiet.broken_off("", 10)
    assert (found.contact_id, found.workflow_ids) == (contact_id, ("engagement:acme:a-1",))
    assert await quiet.broken_off(contact_id, 10) == ()
    await stores.erasures.erase(contact_id, NOON)
    assert await quiet.broken_off("", 10) == (found,), "the bytes are not overwritten yet"
    assert await stores.erasures.clear_many([contact_id])
    assert await quiet.broken_off("", 10) == ()


async def test_an_opt_out_and_the_decision_log_outlive_the_person(stores: Stores) -> None:
    contact_id = await a_quiet_person(stores)
    everywhere = OptOut(scope=OptOutScope.ALL, source="wrote STOP", at=NOON)
    await stores.contacts.opt_out(contact_id, everywhere)
    later = (await stores.contacts.record(contact_id)).created_at + DAY
    assert await QuietPeople(stores.database).mark(contact_id, later, "retention", "r", NOON)
    await stores.erasures.erase(contact_id, NOON)
    again = await stores.contacts.resolve([phone_alias(PHONE)])
    reach = Reach(tenant="acme", line="nl-1")
    assert await stores.database.read(lambda c: opt_out_in_force(c, again, reach)) is OptOutScope.ALL
    assert (await ages_to(stores, NOON + TERMS.contents + HOUR))[KeptKind.CONTENTS] == 0, "it went with the person"
    assert await stores.registry.archive_of("acme", "a-1") is not None
    assert (await ages_to(stores, NOON + TERMS.decisions + HOUR))[KeptKind.DECISIONS] == 1
    wanted = select(engagements.c.outcome, engagements.c.archive)
    assert (await stores.database.read(lambda c: c.execute(wanted).one())) == ("COMPLETED", None)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"contacts": "30s"}, "at least 1d"),
        ({"unreadable": "2d"}, "at least 8d"),
        ({"decisions": "100d"}, "at least as long"),
        ({"contact": "90d"}, "Extra inputs"),
    ],
)
def test_terms_that_make_no_sense_are_refused(given: dict[str, str], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        RetentionTerms.model_validate(given)
