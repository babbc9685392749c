"""Whom nothing stands against is admitted by the transaction that registers; all else the engagement asks by itself."""

import asyncio
import itertools
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select

from domain.calls import Admission, TemplateQuestion
from domain.contacts import OptOut, OptOutScope
from domain.errors import Conflict, NotAllowed
from domain.plans import WhenBusy
from domain.sends import TemplateReading, TemplateStatus
from store.keys import KeyRing
from store.registry import Registered
from store.stores import Stores
from store.tables import consents
from tests.unit.store.samples import A_PHONE, CONSENT, HOUR, NOON, TEMPLATE, a_close, a_row, an_admission, an_engagement

MINUTE = timedelta(minutes=1)


async def register(stores: Stores, contact_id: str, reference: str = "a-1", /, **asked: object) -> Registered:
    request = an_admission(contact_id, reference=reference).model_copy(update=asked)
    row = a_row(contact_id, reference=reference)
    return await stores.registry.register(row, an_engagement(contact_id, reference=reference), request)


async def consents_of(stores: Stores, contact_id: str) -> int:
    wanted = select(consents.c.id).where(consents.c.contact_id == contact_id)
    return len(await stores.database.read(lambda connection: connection.execute(wanted).all()))


async def test_whom_nothing_stands_against_is_admitted_with_the_row(stores: Stores) -> None:
    contact_id = await stores.contacts.resolve([A_PHONE])
    row, created, engagement = await register(stores, contact_id)
    assert created
    assert row.admitted_at == NOON
    assert engagement is not None
    assert engagement.admission is not None
    assert engagement.admission.admitted
    assert await stores.registry.input_of(row.workflow_id) == engagement, "who starts it later starts it as admitted"
    assert await stores.registry.not_admitted(contact_id) == ()
    assert await consents_of(stores, contact_id) == 1


async def test_asked_once_more_by_its_engagement_the_answer_is_the_same(stores: Stores) -> None:
    contact_id = await stores.contacts.resolve([A_PHONE])
    await register(stores, contact_id)
    await stores.contacts.opt_out(contact_id, OptOut(scope=OptOutScope.ALL, source="word", at=NOON))
    assert (await stores.contacts.admit(an_admission(contact_id))).admitted


@pytest.mark.parametrize("against", ["no-consent", "opted-out", "already-busy", "queued", "unknown-contact"])
async def test_what_is_not_plain_is_left_for_the_engagement_to_ask(stores: Stores, against: str) -> None:
    contact_id = await stores.contacts.resolve([A_PHONE])
    asked: dict[str, object] = {}
    if against == "no-consent":
        asked["consent"] = None
    if against == "opted-out":
        await stores.contacts.opt_out(contact_id, OptOut(scope=OptOutScope.ALL, source="word", at=NOON))
    if against in ("already-busy", "queued"):
        await register(stores, contact_id, "earlier")
    if against == "queued":
        asked["when_busy"] = WhenBusy.QUEUE
    if against == "unknown-contact":
        contact_id = "ct_gone"
    row, created, engagement = await register(stores, contact_id, **asked)
    assert created
    assert row.admitted_at is None
    assert engagement is not None
    assert engagement.admission is None
    answer = await stores.contacts.admit(an_admission(contact_id).model_copy(update=asked))
    assert (answer.admitted, answer.rule) == (False, against)


async def test_of_two_registered_at_once_for_one_person_one_is_admitted(
    stores: Stores, url: str, keys: KeyRing
) -> None:
    contact_id = await stores.contacts.resolve([A_PHONE])
    async with Stores.open(url, keys) as elsewhere:
        rooms = itertools.cycle([stores, elsewhere])
        made = await asyncio.gather(*(register(next(rooms), contact_id, f"a-{n}") for n in range(12)))
    admitted = [one.row for one in made if one.row.admitted_at is not None]
    assert len(admitted) == 1
    others = [one.row.reference for one in made if one.row.reference != admitted[0].reference]
    assert not (await stores.contacts.admit(an_admission(contact_id, reference=others[0]))).admitted
    await stores.registry.close(a_close(contact_id, reference=admitted[0].reference))
    assert (await stores.contacts.admit(an_admission(contact_id, reference=others[1]))).admitted


async def test_the_same_request_again_decides_nothing_anew(stores: Stores) -> None:
    contact_id = await stores.contacts.resolve([A_PHONE])
    first = await register(stores, contact_id, consent=None)
    await stores.contacts.record_consent(contact_id, "acme", CONSENT)
    again = await register(stores, contact_id)
    assert (again.created, again.row, again.engagement) == (False, first.row, None)
    assert again.row.admitted_at is None


async def test_a_request_that_is_refused_leaves_no_evidence_behind(stores: Stores) -> None:
    contact_id = await stores.contacts.resolve([A_PHONE])
    await stores.registry.register(a_row(contact_id, candidate="another"))
    with pytest.raises(Conflict):
        await register(stores, contact_id)
    assert await consents_of(stores, contact_id) == 0


async def test_nobody_is_admitted_who_is_being_erased(stores: Stores) -> None:
    contact_id = await stores.contacts.resolve([A_PHONE])
    await stores.erasures.mark(contact_id, "olga", "asked for", NOON)
    with pytest.raises(NotAllowed):
        await register(stores, contact_id)


@pytest.mark.parametrize(
    ("status", "age", "is_told"),
    [
        (TemplateStatus.APPROVED, 59 * MINUTE, True),
        (TemplateStatus.APPROVED, 61 * MINUTE, False),
        (TemplateStatus.PAUSED, MINUTE, False),
        (TemplateStatus.PENDING, MINUTE, False),
    ],
)
async def test_the_opening_s_template_is_told_with_it_where_it_may_leave(
    stores: Stores, status: TemplateStatus, age: timedelta, *, is_told: bool
) -> None:
    contact_id = await stores.contacts.resolve([A_PHONE])
    reading = TemplateReading(template_status=status, provider_id=TEMPLATE.id)
    await stores.templates.write("main", TEMPLATE, reading, NOON - age)
    admission = await admission_of(stores, contact_id, NOON)
    assert (admission.template is not None) is is_told


async def test_a_template_to_which_something_happened_since_is_not_told(stores: Stores) -> None:
    contact_id = await stores.contacts.resolve([A_PHONE])
    reading = TemplateReading(template_status=TemplateStatus.APPROVED, provider_id=TEMPLATE.id)
    await stores.templates.write("main", TEMPLATE, reading, NOON - HOUR / 2)
    await stores.templates.mark_stale("main", TEMPLATE.id)
    assert (await admission_of(stores, contact_id, NOON)).template is None


async def admission_of(stores: Stores, contact_id: str, at: datetime) -> Admission:
    question = TemplateQuestion(account="main", line="nl-1", template=TEMPLATE, at=at)
    engagement = (await register(stores, contact_id, template=question)).engagement
    assert engagement is not None
    assert engagement.admission is not None
    return engagement.admission
