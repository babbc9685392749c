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
    reason="",
    variables=2,
    flow_missing=True,
)
PAUSED = TemplateReading(template_status=TemplateStatus.PAUSED, reason="low quality")
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
