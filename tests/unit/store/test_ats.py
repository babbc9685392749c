"""What tenants' systems told and what they did not take, in the store."""

from datetime import timedelta

import pytest

from domain.ats import AtsDeliveryState, AtsTelling, AtsWord, NoticeState
from domain.calls import AtsNotice
from domain.errors import NotFound
from domain.retention import KeptKind, RetentionTerms
from domain.sends import SendFailure
from store.ats_inbox import HELD_FOR
from store.retention import Retention
from store.stores import Stores
from tests.unit.store.samples import HOUR, NOON, a_close, a_row

TELLING = AtsTelling(status=AtsWord.REQUISITION_CLOSED, job="job-88", reason="filled", actor="ats")


def a_notice(reference: str = "a-1") -> AtsNotice:
    result = a_close("ct_1", reference=reference).result
    return AtsNotice(event_id=f"e:{reference}:outcome", event_type="engagement.closed", result=result, at=NOON)


async def test_a_delivery_counts_once_per_tenant(stores: Stores) -> None:
    assert await stores.told.keep("acme", "m-1", b"{}", NOON)
    assert not await stores.told.keep("acme", "m-1", b"{}", NOON + HOUR)
    assert await stores.told.keep("globex", "m-1", b"{}", NOON)
    assert not await stores.told.tell("acme", "m-1", TELLING, NOON), "a key is one of its tenant, whoever uses it"
    assert len(await stores.told.list("acme")) == 1


async def test_what_one_took_up_nobody_else_gets_until_its_time_is_over(stores: Stores) -> None:
    await stores.told.keep("acme", "m-1", b"one", NOON)
    await stores.told.tell("acme", "m-2", TELLING, NOON)
    first, second = await stores.told.take(NOON, 10)
    assert (first.body, first.telling, second.body, second.telling) == (b"one", None, b"", TELLING)
    assert first.key != second.key
    assert await stores.told.take(NOON + HELD_FOR / 2, 10) == ()
    again = await stores.told.take(NOON + HELD_FOR, 10)
    assert [one.key for one in again] == [first.key, second.key]


async def test_progress_is_found_by_whoever_goes_on(stores: Stores) -> None:
    await stores.told.tell("acme", "m-1", TELLING, NOON)
    (one,) = await stores.told.take(NOON, 1)
    await stores.told.progress(one.number, "engagement:acme:a-9", 100, NOON + HOUR)
    assert await stores.told.next_due() == NOON + HOUR + HELD_FOR
    (again,) = await stores.told.take(NOON + 2 * HOUR, 1)
    assert (again.cursor, again.reached) == ("engagement:acme:a-9", 100)


async def test_what_is_settled_is_not_taken_up_again_and_a_postponed_one_is(stores: Stores) -> None:
    await stores.told.keep("acme", "m-1", b"{}", NOON)
    await stores.told.keep("acme", "m-2", b"{}", NOON)
    done, later = await stores.told.take(NOON, 10)
    await stores.told.settle(done.number, AtsDeliveryState.LATE, "it was over")
    await stores.told.postpone(later.number, NOON + HOUR, 1, "EngineUnavailable")
    (again,) = await stores.told.take(NOON + HOUR, 10)
    assert (again.number, again.failures) == (later.number, 1)
    (late,) = await stores.told.list("acme", states=[AtsDeliveryState.LATE])
    assert (late.number, late.reason) == (done.number, "it was over")


async def test_what_waits_is_never_forgotten(stores: Stores) -> None:
    await stores.told.keep("acme", "m-1", b"{}", NOON)
    await stores.told.keep("acme", "m-2", b"{}", NOON)
    (one,) = await stores.told.take(NOON, 1)
    await stores.told.settle(one.number, AtsDeliveryState.DONE, "")
    retention = Retention(stores.database, stores.keys, clock=lambda: NOON + HOUR + RetentionTerms().told)
    assert (await retention.drop())[KeptKind.TOLD] == 1
    assert [kept.state for kept in await stores.told.list("acme")] == [AtsDeliveryState.WAITING]


async def test_a_delivery_that_is_gone_cannot_be_settled(stores: Stores) -> None:
    with pytest.raises(NotFound):
        await stores.told.settle(7, AtsDeliveryState.DONE, "")


async def test_a_notice_is_kept_from_its_first_failure_until_it_is_delivered(stores: Stores) -> None:
    notice, failure = a_notice(), SendFailure(code="503", reason="ATS of tenant acme is down")
    for attempt in (1, 2):
        await stores.letters.failed(notice, failure, attempt=attempt, gives_up_at=NOON + HOUR, final=False)
    (letter,) = await stores.letters.list("acme", undelivered=True)
    assert (letter.state, letter.attempts, letter.code) == (NoticeState.FAILING, 2, "503")
    assert await stores.letters.open("acme", notice.event_id) == notice
    with pytest.raises(NotFound):
        await stores.letters.open("globex", notice.event_id)
    await stores.letters.delivered(notice.event_id)
    assert await stores.letters.list("acme", undelivered=True) == ()
    assert [one.state for one in await stores.letters.list("acme")] == [NoticeState.DELIVERED]
    with pytest.raises(NotFound):
        await stores.letters.open("acme", notice.event_id)


async def test_a_late_failure_does_not_undo_a_delivery(stores: Stores) -> None:
    notice, failure = a_notice(), SendFailure(reason="lost")
    await stores.letters.failed(notice, failure, attempt=1, gives_up_at=None, final=False)
    await stores.letters.delivered(notice.event_id)
    await stores.letters.failed(notice, failure, attempt=2, gives_up_at=None, final=True)
    assert [one.state for one in await stores.letters.list("acme")] == [NoticeState.DELIVERED]


async def test_what_was_never_kept_may_be_delivered_and_delivered_ones_are_forgotten(stores: Stores) -> None:
    await stores.letters.delivered("e:nobody:outcome")
    for reference in ("a-1", "a-2"):
        await stores.letters.failed(
            a_notice(reference), SendFailure(reason="x"), attempt=1, gives_up_at=None, final=True
        )
    await stores.letters.delivered("e:a-1:outcome")
    retention = Retention(stores.database, stores.keys, clock=lambda: NOON + HOUR + RetentionTerms().notices)
    assert (await retention.drop())[KeptKind.NOTICES] == 1
    assert [one.reference for one in await stores.letters.list("acme")] == ["a-2"]


async def test_the_open_engagements_of_a_job_come_in_pages_oldest_first(stores: Stores) -> None:
    for n, (tenant, job) in enumerate([("acme", "j"), ("acme", "j"), ("acme", "k"), ("globex", "j"), ("acme", "j")]):
        row = a_row("ct_1", reference=f"a-{n}", tenant=tenant, created_at=NOON + n // 2 * timedelta(seconds=1))
        await stores.registry.register(row.model_copy(update={"job": job}))
    await stores.registry.close(a_close("ct_1", reference="a-1"))
    first = await stores.registry.open_of_job("acme", "j", limit=1)
    rest = await stores.registry.open_of_job("acme", "j", after=first[0].workflow_id, limit=9)
    assert [row.reference for row in (*first, *rest)] == ["a-0", "a-4"]
