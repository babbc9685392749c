"""People are found by any alias, opt-outs hold until something newer lifts them, and admission is decided once."""

import asyncio
import itertools
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, create_engine, func, insert, make_url, select, text

from domain.calls import LearnedAliases
from domain.contacts import Alias, AliasKind, Consent, OptOut, OptOutScope, phone_alias
from domain.errors import BadInput, NotFound
from store.contacts import Reach, opt_in_within, opt_out_in_force, opt_out_within
from store.database import Database, migration
from store.keys import KeyRing
from store.stores import Stores
from store.tables import contact_aliases, contacts, engagements, metadata, opt_ins, opt_outs
from tests.postgres import fresh_database
from tests.unit.store.samples import A_PHONE, CONSENT, HOUR, NOON, a_close, a_row, an_admission

BSUID = Alias(kind=AliasKind.BSUID, value="b-1", scope="main")
OTHER_PHONE = phone_alias("+4915112345678")


async def _registered(stores: Stores, *references: str, line: str = "nl-1") -> str:
    contact_id = await stores.contacts.resolve([A_PHONE])
    for reference in references:
        await stores.registry.register(a_row(contact_id, reference=reference, line=line))
    return contact_id


# who it is


async def test_a_contact_is_made_once_and_found_by_every_alias_it_was_seen_with(stores: Stores) -> None:
    assert await stores.contacts.find([A_PHONE]) is None
    made = await stores.contacts.resolve([A_PHONE, BSUID])
    assert await stores.contacts.resolve([BSUID]) == made
    assert await stores.contacts.find([Alias(kind=AliasKind.WA_ID, value="31612345678", scope="x")]) == made
    assert await stores.contacts.find([OTHER_PHONE]) is None


async def test_two_that_resolve_one_person_at_once_get_the_same_contact(
    stores: Stores, url: str, keys: KeyRing
) -> None:
    async with Stores.open(url, keys) as elsewhere:
        orders = itertools.cycle(itertools.permutations([A_PHONE, BSUID, OTHER_PHONE]))
        rooms = itertools.cycle([stores, elsewhere])
        found = await asyncio.gather(*(next(rooms).contacts.resolve(next(orders)) for _ in range(16)))
    assert len(set(found)) == 1
    count = select(func.count()).select_from(contacts)
    assert await stores.database.read(lambda connection: connection.execute(count).scalar_one()) == 1


async def test_people_who_overlap_in_part_never_leave_a_contact_without_aliases(
    stores: Stores, url: str, keys: KeyRing
) -> None:
    async with Stores.open(url, keys) as elsewhere:
        rooms = itertools.cycle([stores, elsewhere])
        pairs = [[A_PHONE, BSUID], [BSUID, OTHER_PHONE], [OTHER_PHONE, A_PHONE]] * 4
        found = await asyncio.gather(*(next(rooms).contacts.resolve(pair) for pair in pairs))
    kept = await stores.database.read(lambda c: set(c.execute(select(contacts.c.id)).scalars()))
    owners = await stores.database.read(lambda c: set(c.execute(select(contact_aliases.c.contact_id)).scalars()))
    assert kept == owners
    assert set(found) <= kept


async def test_a_contact_needs_an_alias(stores: Stores) -> None:
    with pytest.raises(BadInput):
        await stores.contacts.resolve([])


async def test_an_alias_that_names_somebody_else_is_left_alone(stores: Stores) -> None:
    one, other = await stores.contacts.resolve([A_PHONE]), await stores.contacts.resolve([OTHER_PHONE])
    await stores.contacts.learn(LearnedAliases(contact_id=one, aliases=(OTHER_PHONE, BSUID)))
    assert await stores.contacts.find([OTHER_PHONE]) == other
    assert await stores.contacts.find([BSUID]) == one


async def test_nothing_is_learned_of_a_contact_that_is_gone(stores: Stores) -> None:
    await stores.contacts.learn(LearnedAliases(contact_id="ct_gone", aliases=(BSUID,)))
    assert await stores.contacts.find([BSUID]) is None


async def test_no_alias_is_kept_as_text(stores: Stores) -> None:
    await stores.contacts.resolve([A_PHONE, BSUID])
    rows = await stores.database.read(lambda connection: connection.execute(select(contact_aliases)).all())
    assert len(rows) == 2
    assert "31612345678" not in repr(rows)
    assert "b-1" not in repr(rows)


# when they wrote


async def test_the_last_inbound_never_goes_back(stores: Stores) -> None:
    contact_id = await stores.contacts.resolve([A_PHONE])
    for at in (NOON, NOON + HOUR, NOON - HOUR):
        await stores.contacts.record_inbound(contact_id, "nl-1", at)
    assert await stores.contacts.last_inbound(contact_id, "nl-1") == NOON + HOUR
    assert await stores.contacts.last_inbound(contact_id, "be-1") is None


# leave to write


@pytest.mark.parametrize(
    ("scope", "value", "refused"),
    [
        (OptOutScope.ALL, "", True),
        (OptOutScope.TENANT, "acme", True),
        (OptOutScope.TENANT, "other", False),
        (OptOutScope.LINE, "nl-1", True),
        (OptOutScope.LINE, "be-1", False),
        (OptOutScope.JOB, "acme:nurse", True),
        (OptOutScope.JOB, "acme:cook", False),
        (OptOutScope.JOB, "globex:nurse", False),
        (OptOutScope.MARKETING, "nl-1", False),
    ],
)
async def test_an_opt_out_reaches_as_far_as_its_scope(
    stores: Stores, scope: OptOutScope, value: str, *, refused: bool
) -> None:
    contact_id = await _registered(stores, "a-1")
    await stores.contacts.opt_out(contact_id, OptOut(scope=scope, scope_value=value, source="word", at=NOON))
    answer = await stores.contacts.admit(an_admission(contact_id, job="nurse"))
    assert answer.admitted is not refused
    assert answer.rule == ("opted-out" if refused else "")


async def test_engagements_without_a_job_do_not_share_one(stores: Stores) -> None:
    contact_id = await _registered(stores, "a-1")
    await stores.contacts.opt_out(contact_id, OptOut(scope=OptOutScope.JOB, scope_value="", source="word", at=NOON))
    assert (await stores.contacts.admit(an_admission(contact_id))).admitted


async def test_an_opt_out_of_nobody_is_refused_loudly(stores: Stores) -> None:
    with pytest.raises(NotFound):
        await stores.contacts.opt_out("ct_gone", OptOut(scope=OptOutScope.ALL, source="word", at=NOON))


_STEPS = st.lists(st.tuples(st.sampled_from(["stop", "start"]), st.integers(0, 6)), max_size=8)


@settings(max_examples=80, deadline=None)
@given(_STEPS)
def test_leave_depends_on_what_was_said_when_and_not_on_the_order_of_arrival(steps: list[tuple[str, int]]) -> None:
    stops = [minute for word, minute in steps if word == "stop"]
    starts = [minute for word, minute in steps if word == "start"]
    out = any(not any(start > stop for start in starts) for stop in stops)  # a tie leaves the person out
    assert _leave_after(steps) is out
    assert _leave_after(sorted(steps, reverse=True)) is out
    assert _leave_after(steps + steps) is out


def _leave_after(steps: list[tuple[str, int]]) -> bool:
    engine = create_engine("sqlite://")
    metadata.create_all(engine, tables=[contacts, opt_outs, opt_ins])
    with engine.begin() as connection:
        connection.execute(insert(contacts).values(id="c", created_at=NOON))
        for word, minute in steps:
            _say(connection, word, minute)
        found = opt_out_in_force(connection, "c", Reach(tenant="acme", line="nl-1"))
    engine.dispose()
    return found is not None


def _say(connection: Connection, word: str, minute: int) -> None:
    at = NOON + timedelta(minutes=minute)
    if word == "stop":
        opt_out_within(connection, "c", OptOut(scope=OptOutScope.LINE, scope_value="nl-1", source="word", at=at))
    else:
        opt_in_within(connection, "c", OptOutScope.LINE, "nl-1", at, "word")


async def test_an_opt_in_lifts_its_own_scope_only(stores: Stores) -> None:
    contact_id = await _registered(stores, "a-1")
    await stores.contacts.opt_out(contact_id, OptOut(scope=OptOutScope.ALL, source="word", at=NOON))
    await stores.contacts.opt_in(contact_id, OptOutScope.LINE, "nl-1", NOON + HOUR)
    assert (await stores.contacts.admit(an_admission(contact_id))).rule == "opted-out"


# admission


async def test_without_consent_nobody_is_admitted(stores: Stores) -> None:
    contact_id = await _registered(stores, "a-1")
    assert (await stores.contacts.admit(an_admission(contact_id, consent=None))).rule == "no-consent"


async def test_consent_that_the_tenant_recorded_before_counts_and_another_tenant_s_does_not(stores: Stores) -> None:
    contact_id = await _registered(stores, "a-1", "a-2")
    await stores.contacts.record_consent(contact_id, "other", CONSENT)
    assert not (await stores.contacts.admit(an_admission(contact_id, reference="a-1", consent=None))).admitted
    await stores.contacts.record_consent(contact_id, "acme", CONSENT)
    await stores.contacts.record_consent(contact_id, "acme", CONSENT)
    assert (await stores.contacts.admit(an_admission(contact_id, reference="a-2", consent=None))).admitted


async def test_consent_after_an_opt_out_does_not_lift_it(stores: Stores) -> None:
    contact_id = await _registered(stores, "a-1")
    await stores.contacts.opt_out(contact_id, OptOut(scope=OptOutScope.ALL, source="word", at=NOON - HOUR))
    newer = Consent(source="form", obtained_at=NOON)
    assert (await stores.contacts.admit(an_admission(contact_id, consent=newer))).rule == "opted-out"


async def test_a_decision_stays_what_it_was(stores: Stores) -> None:
    contact_id = await _registered(stores, "a-1", "a-2")
    first = await stores.contacts.admit(an_admission(contact_id, reference="a-1"))
    refused = await stores.contacts.admit(an_admission(contact_id, reference="a-2"))
    assert first.admitted
    assert refused.rule == "already-busy"
    await stores.registry.close(a_close(contact_id, reference="a-1"))
    await stores.contacts.opt_out(contact_id, OptOut(scope=OptOutScope.ALL, source="word", at=NOON))
    assert await stores.contacts.admit(an_admission(contact_id, reference="a-1")) == first
    assert await stores.contacts.admit(an_admission(contact_id, reference="a-2")) == refused


async def test_a_person_is_free_again_once_the_engagement_is_closed(stores: Stores) -> None:
    contact_id = await _registered(stores, "a-1", "a-2")
    await stores.contacts.admit(an_admission(contact_id, reference="a-1"))
    await stores.registry.close(a_close(contact_id, reference="a-1"))
    assert (await stores.contacts.admit(an_admission(contact_id, reference="a-2"))).admitted


async def test_two_engagements_share_a_person_where_the_provider_allows_it_or_the_lines_differ(stores: Stores) -> None:
    contact_id = await _registered(stores, "a-1", "a-2")
    await _registered(stores, "a-3", line="be-1")
    await stores.contacts.admit(an_admission(contact_id, reference="a-1"))
    assert (await stores.contacts.admit(an_admission(contact_id, reference="a-2", exclusive=False))).admitted
    assert (await stores.contacts.admit(an_admission(contact_id, reference="a-3", line="be-1"))).admitted


async def test_of_many_that_want_one_person_at_once_one_is_admitted(stores: Stores, url: str, keys: KeyRing) -> None:
    references = [f"a-{number}" for number in range(8)]
    contact_id = await _registered(stores, *references)
    await stores.contacts.record_consent(contact_id, "acme", CONSENT)
    async with Stores.open(url, keys) as elsewhere:
        rooms = itertools.cycle([stores, elsewhere])
        answers = await asyncio.gather(
            *(
                next(rooms).contacts.admit(an_admission(contact_id, reference=reference, consent=None))
                for reference in references
            )
        )
    assert sorted(answer.rule for answer in answers) == [""] + ["already-busy"] * 7


async def test_one_is_admitted_even_when_all_of_them_read_at_the_same_moment(
    server: str, migrated_database: str
) -> None:
    """SQLite lets one transaction write at a time; on PostgreSQL a lock of ours must."""
    references = [f"a-{number}" for number in range(6)]
    with fresh_database(server, template=migrated_database) as url:
        async with Stores.open(url, KeyRing.generate()) as stores:
            contact_id = await _registered(stores, *references)
            await stores.contacts.record_consent(contact_id, "acme", CONSENT)
            with migration(url) as gate:  # any transaction that holds the table back
                gate.execute(text("LOCK TABLE engagements IN ACCESS EXCLUSIVE MODE"))
                requests = [an_admission(contact_id, reference=reference, consent=None) for reference in references]
                waiting = [asyncio.create_task(stores.contacts.admit(request)) for request in requests]
                await _until_all_wait(server, url, len(references))
            answers = await asyncio.gather(*waiting)
    assert sorted(answer.rule for answer in answers) == [""] + ["already-busy"] * 5


async def _until_all_wait(server: str, url: str, count: int) -> None:
    blocked = text(
        "SELECT count(*) FROM pg_sleep(0.02), pg_stat_activity WHERE datname = :name AND wait_event_type = 'Lock'",
    ).bindparams(name=make_url(url).database)
    watcher = await Database.open(server)
    while await watcher.read(lambda connection: connection.execute(blocked).scalar_one()) < count:
        continue
    await watcher.close()


async def test_what_cannot_be_checked_is_refused(stores: Stores) -> None:
    contact_id = await stores.contacts.resolve([A_PHONE])
    assert (await stores.contacts.admit(an_admission(contact_id))).rule == "not-registered"
    await stores.registry.register(a_row("ct_gone"))
    assert (await stores.contacts.admit(an_admission("ct_gone"))).rule == "unknown-contact"


async def test_open_engagements_are_those_that_were_not_refused_and_not_closed(stores: Stores) -> None:
    contact_id = await _registered(stores, "a-1", "a-2", "a-3")
    await _registered(stores, "a-4", line="be-1")
    await stores.contacts.admit(an_admission(contact_id, reference="a-1"))
    await stores.contacts.admit(an_admission(contact_id, reference="a-2"))  # refused: already busy
    assert await stores.contacts.open_engagements(contact_id, "nl-1") == ("engagement:acme:a-1", "engagement:acme:a-3")
    await stores.registry.close(a_close(contact_id, reference="a-1"))
    assert await stores.contacts.open_engagements(contact_id, "nl-1") == ("engagement:acme:a-3",)
    assert await stores.contacts.open_engagements(contact_id) == ("engagement:acme:a-3", "engagement:acme:a-4")


async def test_the_instant_of_admission_is_the_workflow_s(stores: Stores) -> None:
    contact_id = await _registered(stores, "a-1")
    await stores.contacts.admit(an_admission(contact_id))
    kept = await stores.database.read(lambda c: c.execute(select(engagements.c.admitted_at)).scalar_one())
    assert kept == NOON
