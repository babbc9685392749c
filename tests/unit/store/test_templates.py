"""The last reading of a template counts until a webhook, another id or nothing at all says otherwise."""

import pytest

from domain.plans import TemplateRef
from domain.sends import TemplateReading, TemplateStatus
from store.stores import Stores
from tests.unit.store.samples import HOUR, NOON, TEMPLATE

APPROVED = TemplateReading(
    template_status=TemplateStatus.APPROVED,
    raw_status="approved",
    provider_id="p-1",
    category="UTILITY",
    asked_category="UTILITY",
    reason="",
    variables=2,
    flow_missing=True,
)
PAUSED = TemplateReading(
    template_status=TemplateStatus.PAUSED, provider_id="p-1", asked_category="UTILITY", reason="low quality"
)
ENGLISH = TemplateRef(name=TEMPLATE.name, language="en", id="tpl-2")


async def test_a_reading_comes_back_whole(stores: Stores) -> None:
    assert await stores.templates.read("main", TEMPLATE) is None
    await stores.templates.write("main", TEMPLATE, APPROVED, NOON)
    assert await stores.templates.read("main", TEMPLATE) == (APPROVED, NOON)
    assert await stores.templates.read("other", TEMPLATE) is None
    assert await stores.templates.read("main", ENGLISH) is None


async def test_the_newest_reading_stays(stores: Stores) -> None:
    await stores.templates.write("main", TEMPLATE, APPROVED, NOON)
    await stores.templates.write("main", TEMPLATE, PAUSED, NOON + HOUR)
    await stores.templates.write("main", TEMPLATE, APPROVED, NOON)
    assert await stores.templates.read("main", TEMPLATE) == (PAUSED, NOON + HOUR)


async def test_a_reading_of_another_template_of_the_same_name_does_not_count(stores: Stores) -> None:
    await stores.templates.write("main", TEMPLATE, APPROVED, NOON)
    assert await stores.templates.read("main", TEMPLATE.model_copy(update={"id": "tpl-9"})) is None


@pytest.mark.parametrize(
    ("template_id", "name", "language", "dutch", "english"),
    [
        ("tpl-1", "", "", True, False),
        ("p-1", "", "", True, True),
        ("", TEMPLATE.name, "nl", True, False),
        ("", TEMPLATE.name, "", True, True),
        ("tpl-9", "other", "nl", False, False),
        ("", "", "", False, False),
    ],
)
async def test_a_webhook_makes_stale_what_it_names(
    stores: Stores, template_id: str, name: str, language: str, *, dutch: bool, english: bool
) -> None:
    for template in (TEMPLATE, ENGLISH):
        await stores.templates.write("main", template, APPROVED, NOON)
    await stores.templates.write("other", TEMPLATE, APPROVED, NOON)
    await stores.templates.mark_stale("main", template_id, name, language)
    assert (await stores.templates.read("main", TEMPLATE) is None) is dutch
    assert (await stores.templates.read("main", ENGLISH) is None) is english
    assert await stores.templates.read("other", TEMPLATE) is not None


async def test_a_new_reading_ends_staleness(stores: Stores) -> None:
    await stores.templates.write("main", TEMPLATE, APPROVED, NOON)
    await stores.templates.mark_stale("main", "tpl-1")
    await stores.templates.write("main", TEMPLATE, PAUSED, NOON)
    assert await stores.templates.read("main", TEMPLATE) == (PAUSED, NOON)


async def test_a_reading_from_before_a_webhook_leaves_the_template_stale(stores: Stores) -> None:
    """A reading that was under way when the webhook came may show what was before it."""
    await stores.templates.write("main", TEMPLATE, APPROVED, NOON)
    await stores.templates.mark_stale("main", "tpl-1", at=NOON + HOUR)
    await stores.templates.mark_stale("main", "tpl-1", at=NOON)
    await stores.templates.write("main", TEMPLATE, APPROVED, NOON + HOUR / 2)
    assert await stores.templates.read("main", TEMPLATE) is None
    (known,) = await stores.templates.all()
    assert (known.stale, known.read_at) == (True, NOON + HOUR / 2)
    await stores.templates.write("main", TEMPLATE, PAUSED, NOON + HOUR)
    assert await stores.templates.read("main", TEMPLATE) == (PAUSED, NOON + HOUR)


async def test_the_first_category_stays_the_one_that_was_asked_for_until_a_person_accepts_another(
    stores: Stores,
) -> None:
    marketing = TemplateReading(template_status=TemplateStatus.APPROVED, provider_id="p-1", category="MARKETING")
    bare = TemplateReading(template_status=TemplateStatus.PENDING)
    for n, (reading, asked, changed) in enumerate(
        [(bare, "", False), (APPROVED, "UTILITY", False), (marketing, "UTILITY", True), (bare, "UTILITY", False)]
    ):
        await stores.templates.write("main", TEMPLATE, reading, NOON + n * HOUR)
        known = await stores.templates.read("main", TEMPLATE)
        assert known is not None
        assert (known[0].asked_category, known[0].category_changed) == (asked, changed)
    await stores.templates.write("main", TEMPLATE, marketing, NOON + 9 * HOUR)
    await stores.templates.accept_category("other", TEMPLATE)
    await stores.templates.accept_category("main", TEMPLATE)
    known = await stores.templates.read("main", TEMPLATE)
    assert known is not None
    assert (known[0].asked_category, known[0].category_changed) == ("MARKETING", False)


async def test_the_category_of_a_submission_is_the_one_that_was_asked_for(stores: Stores) -> None:
    submitted = TemplateReading(
        template_status=TemplateStatus.PENDING, category="MARKETING", asked_category="UTILITY", provider_id="p-1"
    )
    await stores.templates.write("main", TEMPLATE, TemplateReading(template_status=TemplateStatus.MISSING), NOON)
    await stores.templates.write("main", TEMPLATE, submitted, NOON + HOUR)
    known = await stores.templates.read("main", TEMPLATE)
    assert known is not None
    assert known[0].category_changed


async def test_another_template_of_the_same_name_starts_afresh(stores: Stores) -> None:
    await stores.templates.write("main", TEMPLATE, APPROVED, NOON)
    other = TEMPLATE.model_copy(update={"id": "tpl-9"})
    reading = TemplateReading(template_status=TemplateStatus.APPROVED, category="MARKETING")
    await stores.templates.write("main", other, reading, NOON + HOUR)
    assert await stores.templates.read("main", other) == (
        reading.model_copy(update={"asked_category": "MARKETING"}),
        NOON + HOUR,
    )


async def test_a_reading_that_tells_no_id_leaves_the_one_by_which_webhooks_find_the_template(stores: Stores) -> None:
    await stores.templates.write("main", TEMPLATE, APPROVED, NOON)
    missing = TemplateReading(template_status=TemplateStatus.MISSING)
    await stores.templates.write("main", TEMPLATE, missing, NOON + HOUR)
    await stores.templates.mark_stale("main", "p-1")
    assert await stores.templates.read("main", TEMPLATE) is None


async def test_everything_that_is_known_is_listed_in_order(stores: Stores) -> None:
    assert await stores.templates.all() == ()
    for account, template in (("other", TEMPLATE), ("main", TEMPLATE), ("main", ENGLISH)):
        await stores.templates.write(account, template, APPROVED, NOON)
    await stores.templates.mark_stale("main", "tpl-2")
    listed = await stores.templates.all()
    assert [(one.account, one.name, one.language, one.stale) for one in listed] == [
        ("main", TEMPLATE.name, "en", True),
        ("main", TEMPLATE.name, "nl", False),
        ("other", TEMPLATE.name, "nl", False),
    ]
    assert {one.reading for one in listed} == {APPROVED}
    assert {one.read_at for one in listed} == {NOON}
