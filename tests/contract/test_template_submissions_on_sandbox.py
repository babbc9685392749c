"""Both providers that take submissions, on real sockets: what is submitted reads back, and a second time is refused."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from domain.errors import OutcomeUnknown
from domain.ports import MessagingProvider
from domain.sends import TemplateStatus
from domain.templates import TemplateCategory, TemplateSpecification
from providers.meta.client import MetaClient, meta_http
from providers.recrubo.client import RecruboClient, recrubo_http
from providers.recrubo.settings import RecruboSettings
from tests.contract.meta_bench import SETTINGS
from tests.contract.specifications import FORM, INVITATION
from tests.unit.sandbox import meta_playground, playground
from tests.unit.sandbox.playground import Play

REVIEW = 60


@asynccontextmanager
async def on_meta(**changes: object) -> AsyncIterator[tuple[Play, MessagingProvider]]:
    account = meta_playground.account(review_delay=REVIEW, **changes)
    async with meta_playground.playing_meta(account, told=False) as play:
        http = meta_http("acme-meta", f"{play.url}/meta", SecretStr(meta_playground.TOKEN), SETTINGS)
        client = MetaClient("acme-meta", http, SETTINGS, {"main": meta_playground.LINE})
        yield play, client
        await client.close()


@asynccontextmanager
async def on_recrubo(**changes: object) -> AsyncIterator[tuple[Play, MessagingProvider]]:
    settings = playground.settings(playground.account(review_delay=REVIEW, **changes))
    async with playground.playing(settings, told=False) as play:
        http = recrubo_http("acme-recrubo", f"{play.url}/recrubo/public/v2", SecretStr(playground.TOKEN))
        client = RecruboClient("acme-recrubo", http, RecruboSettings())
        yield play, client
        await client.close()


WORLDS = {"meta": (on_meta, FORM), "recrubo": (on_recrubo, INVITATION)}


@pytest.mark.parametrize("provider", WORLDS)
@pytest.mark.parametrize("category", [TemplateCategory.UTILITY, TemplateCategory.MARKETING])
async def test_what_is_submitted_reads_back_pending_and_then_approved(
    provider: str, category: TemplateCategory
) -> None:
    world, specification = WORLDS[provider]
    wanted = specification.model_copy(update={"category": category})
    async with world() as (play, client):
        assert (await client.read_template(wanted.reference, wanted.flow)).template_status is TemplateStatus.MISSING
        submitted = await client.submit_template(wanted)
        pending = await client.read_template(wanted.reference, wanted.flow)
        await play.advance(seconds=REVIEW)
        approved = await client.read_template(wanted.reference, wanted.flow)

        assert [r.template_status for r in (submitted, pending, approved)] == [
            TemplateStatus.PENDING,
            TemplateStatus.PENDING,
            TemplateStatus.APPROVED,
        ]
        assert {r.provider_id for r in (submitted, pending, approved)} == {submitted.provider_id}
        assert {r.category for r in (submitted, pending, approved)} == {category.value}
        assert approved.variables == 2


@pytest.mark.parametrize("provider", WORLDS)
async def test_a_second_submission_makes_no_second_template_and_takes_up_the_first(provider: str) -> None:
    world, specification = WORLDS[provider]
    async with world() as (play, client):
        first = await client.submit_template(specification)
        assert await play.rules() == []
        second = await client.submit_template(specification)
        other = await client.submit_template(specification.model_copy(update={"language": "nl"}))

        assert await play.rules() == ["template-exists"]
        assert second.provider_id == first.provider_id != other.provider_id


@pytest.mark.parametrize("provider", WORLDS)
async def test_a_submission_whose_answer_was_cut_off_is_there_all_the_same(provider: str) -> None:
    world, specification = WORLDS[provider]
    async with world() as (play, client):
        await play.fault("cut-after", "template-create", provider=provider)
        with pytest.raises(OutcomeUnknown):
            await client.submit_template(specification)

        found = await client.read_template(specification.reference, specification.flow)
        assert found.template_status is TemplateStatus.PENDING


async def test_the_category_that_meta_chose_instead_is_told() -> None:
    async with on_meta(category_becomes="MARKETING") as (_, client):
        assert (await client.submit_template(FORM)).category == "MARKETING"


def by_other_flow_sources() -> list[TemplateSpecification]:
    button, reply = FORM.buttons
    named = button.model_copy(update={"flow_id": "", "flow_name": "intake_flow"})
    made = button.model_copy(
        update={"flow_id": "", "flow_json": '{"version":"5.0","screens":[{"id":"WELCOME_SCREEN"}]}'}
    )
    return [FORM.model_copy(update={"buttons": (one, reply)}) for one in (named, made)]


@pytest.mark.parametrize("specification", by_other_flow_sources(), ids=["by-name", "by-json"])
async def test_a_flow_may_be_named_or_brought_along(specification: TemplateSpecification) -> None:
    async with on_meta() as (play, client):
        submitted = await client.submit_template(specification)
        await play.advance(seconds=REVIEW)

        assert submitted.template_status is TemplateStatus.PENDING
        assert (await client.read_template(FORM.reference, specification.flow)).template_status.sends
