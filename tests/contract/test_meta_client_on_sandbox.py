"""The Meta client and reader against the Meta sandbox on a real socket: what ours sends is taken and understood."""

import pytest
from pydantic import SecretStr

from domain.errors import ProviderRejected, ProviderUnavailable
from domain.events import (
    FormAnswered,
    MessageStatus,
    MessageStatusChanged,
    OptOutReceived,
    ProviderEvent,
    TemplateChanged,
)
from domain.sends import TemplateStatus
from providers.meta.client import MetaClient, meta_http
from providers.meta.provisioning import MetaProvisioning
from providers.meta.template_spec import FlowButton, TemplateCategory, TemplateSpec
from providers.meta.webhook import MetaWebhookReader
from tests.contract.meta_bench import BUTTON, GREETING_SEND, INTAKE, INTERACTIVE, NAMES, SEND, SETTINGS, SPEC
from tests.unit.sandbox.meta_playground import (
    APP_SECRET,
    COLLECTED,
    LINE,
    PLAIN,
    SCREEN,
    TOKEN,
    MetaPlay,
    account,
    playing_meta,
)
from tests.unit.sandbox.playground import JsonObject

THIRD = SPEC.model_copy(update={"name": "intake_v3"})


def client(play: MetaPlay) -> MetaClient:
    http = meta_http("acme-meta", f"{play.url}/meta", SecretStr(TOKEN), SETTINGS)
    return MetaClient("acme-meta", http, SETTINGS, {"main": LINE})


def provisioning(play: MetaPlay) -> MetaProvisioning:
    return MetaProvisioning(
        "acme-meta", meta_http("acme-meta", f"{play.url}/meta", SecretStr(TOKEN), SETTINGS), SETTINGS
    )


async def test_what_the_client_sends_is_taken_and_what_comes_back_is_understood() -> None:
    reader = MetaWebhookReader("acme-meta", (SecretStr(APP_SECRET),), SETTINGS)
    async with playing_meta() as play:
        ours = client(play)
        await play.write()
        receipts = [
            await ours.trigger_flow(SEND, NAMES),
            await ours.trigger_flow(GREETING_SEND, NAMES),
            await ours.send_interactive_flow(INTERACTIVE, NAMES),
        ]
        await play.persona("15550100001", "stops")
        await ours.trigger_flow(SEND, NAMES)
        await play.tell(f"meta/templates/{PLAIN}/pause")
        await play.advance(minutes=1)
        events: list[ProviderEvent] = []
        for hook in play.meta.told:
            reader.verify(hook.raw, hook.headers)
            events += reader.parse(hook.raw).events
        ids = {event.ties.message_id for event in events if isinstance(event.body, MessageStatusChanged)}
        assert {receipt.message_id for receipt in receipts} < ids
        statuses = {e.body.message_status for e in events if isinstance(e.body, MessageStatusChanged)}
        assert statuses == {MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.READ}
        assert sum(isinstance(event.body, OptOutReceived) for event in events) == 4  # the persona at arrival decides
        assert sum(isinstance(event.body, TemplateChanged) for event in events) == 1
        assert await play.reasons() == []
        await ours.close()


async def test_a_form_reply_ties_by_token_and_message() -> None:
    reader = MetaWebhookReader("acme-meta", (SecretStr(APP_SECRET),), SETTINGS)
    async with playing_meta() as play:
        ours = client(play)
        receipt = await ours.trigger_flow(SEND, NAMES)
        await play.advance(minutes=1)
        [reply] = [
            event
            for hook in play.meta.told
            for event in reader.parse(hook.raw).events
            if isinstance(event.body, FormAnswered)
        ]
        assert isinstance(reply.body, FormAnswered)
        answers: JsonObject = {**COLLECTED}
        assert reply.body.answers == answers
        assert (reply.ties.flow_token, reply.ties.replied_to) == (NAMES.flow_token, receipt.message_id)
        await ours.close()


async def test_templates_are_made_found_edited_and_deleted() -> None:
    async with playing_meta(account(most_per_page=1, review_delay=10), told=False) as play:
        operator, ours = provisioning(play), client(play)
        made = await operator.create_template(THIRD)
        assert made.template_status is TemplateStatus.PENDING
        assert (await operator.create_template(THIRD)).provider_id == made.provider_id
        await play.advance(seconds=10)
        assert (await ours.read_template(INTAKE, None if SEND.flow is None else SEND.flow)).template_status.sends
        assert (await operator.read_template(made.provider_id)).reading.template_status is TemplateStatus.APPROVED
        await operator.edit_template(made.provider_id, THIRD.model_copy(update={"body": "Another text"}))
        assert (await operator.read_template(made.provider_id)).reading.template_status is TemplateStatus.PENDING
        named = TemplateSpec(
            name="named_v1",
            language="pt_BR",
            category=TemplateCategory.UTILITY,
            header="Intake",
            body="Hi {{first}}",
            footer="Reply STOP to opt out",
            named_examples={"first": "Ada"},
            button=FlowButton(text=BUTTON.text, flow_name="intake_flow", navigate_screen=SCREEN),
        )
        await operator.create_template(named)
        assert {listing.name for listing in await operator.list_templates()} == {
            "intake_v1",
            "intake_v2",
            "choice_v1",
            "intake_v3",
            "named_v1",
        }
        await operator.delete_template("intake_v3", made.provider_id)
        await operator.delete_template("intake_v3")
        await operator.close()
        await ours.close()


@pytest.mark.parametrize("status", [400, 403, 429])
async def test_refusals_keep_their_meaning(status: int) -> None:
    async with playing_meta(account(throttle_status=status), told=False) as play:
        ours = client(play)
        await play.fault("throttle", "message-send", provider="meta")
        with pytest.raises(ProviderUnavailable):
            await ours.trigger_flow(SEND, NAMES)
        with pytest.raises(ProviderRejected) as closed:
            await ours.send_interactive_flow(INTERACTIVE, NAMES)
        assert closed.value.code == "131047"
        await play.tell(f"meta/templates/{PLAIN}/pause")
        with pytest.raises(ProviderRejected) as paused:
            await ours.trigger_flow(SEND, NAMES)
        assert paused.value.code == "132015"
        await ours.close()
