"""One row per engagement: the same request finds it, another one under its reference is told what differs."""

import asyncio
import itertools
from datetime import timedelta

import pytest
from sqlalchemy import select

from domain.errors import Conflict, NotFound
from domain.outcomes import EngagementOutcome
from store.keys import KeyRing
from store.registry import ArchivedEngagement
from store.stores import Stores
from store.tables import engagements
from tests.unit.store.samples import HOUR, NOON, PHONE, a_close, a_row, an_engagement


async def test_the_same_request_finds_the_engagement_that_it_made(stores: Stores) -> None:
    made, created, _ = await stores.registry.register(a_row("ct"))
    again, created_again, _ = await stores.registry.register(a_row("ct", created_at=NOON + HOUR))
    assert (created, created_again) == (True, False)
    assert again == made
    assert made.key_id == stores.keys.current_id


async def test_another_request_under_the_same_reference_is_told_what_differs(stores: Stores) -> None:
    await stores.registry.register(a_row("ct", candidate="f1"))
    with pytest.raises(Conflict) as raised:
        await stores.registry.register(a_row("ct", candidate="other"))
    assert raised.value.fields == ("candidate",)


async def test_of_many_at_once_one_registers_and_the_others_find_it(stores: Stores, url: str, keys: KeyRing) -> None:
    async with Stores.open(url, keys) as elsewhere:
        rooms = itertools.cycle([stores, elsewhere])
        answers = await asyncio.gather(*(next(rooms).registry.register(a_row("ct")) for _ in range(16)))
    assert [one.created for one in answers].count(True) == 1
    assert len(await stores.registry.list("acme")) == 1


async def test_a_reference_belongs_to_its_tenant(stores: Stores) -> None:
    await stores.registry.register(a_row("ct", tenant="acme"))
    await stores.registry.register(a_row("ct", tenant="other", candidate="f9"))
    assert (await stores.registry.get("other", "a-1")) is not None
    assert (await stores.registry.get("third", "a-1")) is None
    found = await stores.registry.find("engagement:other:a-1")
    assert found is not None
    assert found.tenant == "other"


async def test_pages_hold_every_row_once_even_when_instants_tie(stores: Stores) -> None:
    for number in range(7):
        created = NOON + timedelta(minutes=number // 3)
        await stores.registry.register(a_row("ct", reference=f"a-{number}", created_at=created))
    await stores.registry.register(a_row("ct", tenant="other"))
    seen: list[str] = []
    before = ""
    while page := await stores.registry.list("acme", before=before, limit=2):
        seen += [row.reference for row in page]
        before = page[-1].workflow_id
    assert seen == ["a-6", "a-5", "a-4", "a-3", "a-2", "a-1", "a-0"]
    assert await stores.registry.list("acme", before="engagement:other:a-1") == ()


async def test_rows_are_listed_by_line_and_by_whether_they_are_open(stores: Stores) -> None:
    await stores.registry.register(a_row("ct", reference="a-1"))
    await stores.registry.register(a_row("ct", reference="a-2", line="be-1"))
    await stores.registry.close(a_close("ct", reference="a-1"))
    assert [row.reference for row in await stores.registry.list("acme", is_open=True)] == ["a-2"]
    assert [row.reference for row in await stores.registry.list("acme", is_open=False)] == ["a-1"]
    assert [row.reference for row in await stores.registry.list("acme", line="be-1")] == ["a-2"]


async def test_the_first_outcome_stays(stores: Stores) -> None:
    await stores.registry.register(a_row("ct"))
    await stores.registry.close(a_close("ct", outcome=EngagementOutcome.COMPLETED, at=NOON))
    await stores.registry.close(a_close("ct", outcome=EngagementOutcome.COMPLETED, at=NOON))
    await stores.registry.close(a_close("ct", outcome=EngagementOutcome.NO_REPLY, at=NOON + HOUR))
    kept = await stores.registry.get("acme", "a-1")
    assert kept is not None
    assert (kept.outcome, kept.closed_at) == (EngagementOutcome.COMPLETED, NOON)
    archive = await stores.registry.archive_of("acme", "a-1")
    assert archive is not None
    assert ArchivedEngagement.model_validate_json(archive).result.settlement.outcome is EngagementOutcome.COMPLETED


async def test_the_archive_gives_back_the_whole_story_and_lies_there_sealed(stores: Stores) -> None:
    await stores.registry.register(a_row("ct"))
    assert await stores.registry.archive_of("acme", "a-1") is None
    request = a_close("ct")
    await stores.registry.close(request)
    text = await stores.registry.archive_of("acme", "a-1")
    assert text is not None
    story = ArchivedEngagement.model_validate_json(text)
    assert (story.result, story.decisions, story.snapshot) == (request.result, request.decisions, request.snapshot)
    assert await stores.registry.archive_of("other", "a-1") is None
    sealed = await stores.database.read(lambda c: c.execute(select(engagements.c.archive)).scalar_one())
    assert b"nights" not in sealed


async def test_what_was_never_registered_cannot_be_closed(stores: Stores) -> None:
    with pytest.raises(NotFound):
        await stores.registry.close(a_close("ct"))


async def test_the_input_comes_back_as_it_was_and_lies_there_sealed(stores: Stores) -> None:
    engagement = an_engagement("ct")
    await stores.registry.register(a_row("ct"), engagement)
    assert await stores.registry.input_of("engagement:acme:a-1") == engagement
    assert await stores.registry.input_of("engagement:acme:a-2") is None
    row = await stores.database.read(lambda c: c.execute(select(engagements)).one())
    assert PHONE.removeprefix("+") not in repr(row)
    assert "Sanne" not in repr(row)


async def test_rows_that_temporal_has_not_confirmed_are_found_oldest_first(stores: Stores) -> None:
    for number in range(4):
        await stores.registry.register(
            a_row("ct", reference=f"a-{number}", created_at=NOON + timedelta(minutes=number))
        )
    await stores.registry.mark_started("engagement:acme:a-1")
    await stores.registry.mark_started("engagement:acme:a-1")
    late = NOON + timedelta(minutes=3)
    assert await stores.registry.unstarted(registered_before=late, limit=10) == (
        "engagement:acme:a-0",
        "engagement:acme:a-2",
    )
    assert await stores.registry.unstarted(registered_before=late, limit=1) == ("engagement:acme:a-0",)
