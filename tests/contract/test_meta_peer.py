"""Our simulator of Meta and our webhook parser against `pywa`, which read the same pages on its own: where they agree.

pywa creates a template with a FLOW button, sends it, and reads the simulator's deliveries with its own types; what it
read, in our words, is what our parser reads of the same bytes. Where they differ: `test_meta_peer_differences.py`.
"""

import asyncio
import json

import pytest
from pywa.errors import WhatsAppError
from pywa.types.base_update import BaseUpdate, BaseUserUpdate
from pywa.types.callback import CallbackButton, CallbackSelection
from pywa.types.flows import FlowCompletion
from pywa.types.message import Message
from pywa.types.message_status import MessageStatus
from pywa.types.sent_update import SentTemplateStatus
from pywa.types.templates import (
    BodyText,
    Buttons,
    FlowButton,
    Template,
    TemplateCategory,
    TemplateDetails,
    TemplateLanguage,
    TemplateStatus,
    TemplateStatusUpdate,
)
from pywa.types.user_preferences import UserMarketingPreferences

from domain.contacts import AliasKind
from domain.errors import HandshakeRefused, WebhookRefused
from domain.events import MessageStatusChanged, TemplateChanged
from providers.meta.schemas import Template as OurTemplate
from providers.meta.webhook import SIGNATURE_HEADER
from tests.contract.meta_peer import (
    ACTION,
    BUTTON,
    READER,
    UNDELIVERABLE,
    USER_ID,
    agreed,
    as_event,
    peering,
    send,
    the,
    understood,
    with_user_ids,
)
from tests.unit.sandbox.meta_playground import (
    CHOICE,
    COLLECTED,
    FLOW,
    FLOW_TOKEN,
    GREETING,
    LINE,
    LINE_NUMBER,
    NUMBER,
    PLAIN,
    REFERENCE,
    SCREEN,
    VERIFY_TOKEN,
    WABA,
    account,
    listed,
    new_template,
    playing_meta,
    template_message,
)
from tests.unit.sandbox.playground import NOW, JsonObject


async def test_a_template_with_a_flow_button_goes_from_creation_to_approval() -> None:
    async with playing_meta() as play:
        with peering(play) as peer:
            template = Template(
                name="intake_v3",
                language=TemplateLanguage.ENGLISH_US,
                category=TemplateCategory.MARKETING,
                components=[BodyText("Please fill in the intake form"), Buttons(buttons=[BUTTON])],
            )
            created = await asyncio.to_thread(peer.wa.create_template, template)
            assert (created.status, created.category) == (TemplateStatus.PENDING, TemplateCategory.MARKETING)
            asked = json.loads(peer.last_asked().content)
            asked["components"][0]["type"] = "body"  # in either case, say Meta's pages; pywa writes BODY
            assert asked == new_template()

            with pytest.raises(WhatsAppError) as early:
                await send(peer, "intake_v3")
            assert (early.value.code, early.value.status_code) == (132001, 404)

            await play.tell(f"meta/templates/{created.id}", status="APPROVED")
            update = await agreed(play, peer, the(play, "message_template_status_update APPROVED"))
            assert isinstance(update, TemplateStatusUpdate)
            assert (update.template_id, update.id) == (created.id, WABA)
            assert update.timestamp == NOW
            sent = await send(peer, "intake_v3")
            assert sent.status is SentTemplateStatus.ACCEPTED


async def test_a_send_is_as_documented_and_its_answer_is_read_alike() -> None:
    renumbered = account(wa_ids={NUMBER: "15550199999"})
    async with playing_meta(renumbered) as play:
        with peering(play) as peer:
            sent = await send(peer)
            asked = json.loads(peer.last_asked().content)
            asked["template"]["components"][0]["sub_type"] = "flow"  # the guide's case; pywa writes FLOW
            assert asked == template_message(flow_token=FLOW_TOKEN, flow_action_data=ACTION)
            assert (sent.input, sent.to, sent.from_phone_id) == (NUMBER, "15550199999", LINE)
            await play.advance(seconds=1)
            update = await agreed(play, peer, the(play, "sent"))
            assert isinstance(update, MessageStatus)
            assert (update.id, update.from_user.wa_id, update.tracker) == (sent.id, "15550199999", REFERENCE)


async def test_a_template_is_read_alike() -> None:
    async with playing_meta() as play:
        with peering(play) as peer:
            answer = (await play.api.get(PLAIN)).json()
            theirs, ours = TemplateDetails.from_dict(answer, peer.wa), OurTemplate.model_validate(answer)
            assert (theirs.id, theirs.name) == (ours.id, ours.name)
            assert (theirs.language, theirs.status, theirs.category) == (ours.language, ours.status, ours.category)
            [ours_button] = [button for part in ours.components for button in part.buttons]
            their_button = theirs.get_component(FlowButton)
            assert their_button is not None
            assert their_button.navigate_screen == ours_button.navigate_screen == SCREEN
            # Ids inside of components come as numbers too: we read text, pywa keeps what came.
            assert (str(their_button.flow_id), ours_button.flow_id) == (FLOW, FLOW)


async def test_the_life_of_a_message_is_read_alike_up_to_its_form() -> None:
    async with playing_meta() as play:
        with peering(play) as peer:
            sent = await send(peer)
            await play.advance(minutes=1)
            hooks = list(play.meta.told)
            assert [hook.name for hook in hooks] == ["sent", "delivered", "read", "nfm_reply"]
            updates = [await agreed(play, peer, hook) for hook in hooks]
            statuses = [update for update in updates if isinstance(update, MessageStatus)]
            assert [str(update.status) for update in statuses] == ["sent", "delivered", "read"]
            assert {(update.id, update.tracker, update.waba_id) for update in statuses} == {(sent.id, REFERENCE, WABA)}
            assert [update.timestamp for update in updates] == sorted(update.timestamp for update in updates)
            form = updates[-1]
            assert isinstance(form, FlowCompletion)
            assert (form.token, form.response) == (FLOW_TOKEN, COLLECTED)
            assert form.reply_to_message is not None
            assert (form.reply_to_message.id, form.reply_to_message.from_user_id) == (sent.id, LINE_NUMBER)
            assert (form.from_user.wa_id, form.from_user.bsuid, form.from_user.name) == (NUMBER, USER_ID, "Zoë")
            assert form.metadata.phone_number_id == LINE


@pytest.mark.parametrize(
    ("code", "recipient_fault"),
    [(UNDELIVERABLE, True), (131049, True), (131047, False), (130429, False), (131000, False), (999999, False)],
)
async def test_a_failure_is_read_alike_with_its_code(code: int, recipient_fault: bool) -> None:  # noqa: FBT001 - a row
    async with playing_meta() as play:
        with peering(play) as peer:
            sent = await send(peer)
            await play.tell(f"meta/messages/{sent.id}/status", status="failed", code=code, details="For a reason.")
            failed = the(play, "failed")
            update = await agreed(play, peer, failed, recipient_fault=recipient_fault)
            assert isinstance(update, MessageStatus)
            assert update.error is not None
            assert (update.error.code, update.error.details) == (code, "For a reason.")
            [event] = understood(failed)
            assert isinstance(event.body, MessageStatusChanged)
            assert event.body.codes == (str(code),)


async def test_a_recipient_who_is_not_on_whatsapp_is_read_alike() -> None:
    """Such a contact has no user id even today, and pywa takes that for statuses."""
    async with playing_meta() as play:
        with peering(play) as peer:
            await send(peer, to="15550100094")
            await play.advance(minutes=1)
            update = await agreed(play, peer, the(play, "failed"), recipient_fault=True)
            assert isinstance(update, MessageStatus)
            assert (update.from_user.wa_id, update.from_user.bsuid) == ("15550100094", None)


def chosen(kind: str) -> JsonObject:
    """The content of a choice in an interactive message."""
    return {"interactive": {"type": kind, kind: {"id": "b1", "title": "Mornings"}}}


async def test_texts_and_tapped_buttons_are_read_alike() -> None:
    async with playing_meta() as play:
        with peering(play) as peer:
            sent = await send(peer)
            later: JsonObject = {"button": {"payload": "later", "text": "Not now"}}
            contents: list[JsonObject] = [
                {"type": "text", "text": "Is it remote? ¿Sí/no?"},
                {"type": "text", "text": "Yes", "context": sent.id},
                {"type": "button", "content": later, "context": sent.id},
                {"type": "button", "content": later},
                {"type": "interactive", "content": chosen("button_reply"), "context": sent.id},
                {"type": "interactive", "content": chosen("list_reply"), "context": sent.id},
            ]
            read: list[type[BaseUpdate]] = []
            for content in contents:
                await play.tell("meta/inbound", number=NUMBER, **content)
                read.append(type(await agreed(play, peer, play.meta.told[-1])))
            assert read == [Message, Message, CallbackButton, CallbackButton, CallbackButton, CallbackSelection]


async def test_a_choice_about_marketing_is_read_alike() -> None:
    async with playing_meta() as play:
        with peering(play) as peer:
            for value in ("stop", "resume"):
                await play.tell("meta/preferences", number=NUMBER, value=value)
                update = await agreed(play, peer, play.meta.told[-1])
                assert isinstance(update, UserMarketingPreferences)
                assert (str(update.value), update.timestamp) == (value, NOW)


@pytest.mark.parametrize("kind", ["text", "status", "preference"])
async def test_a_person_whose_number_is_hidden_is_recognised_alike(kind: str) -> None:
    """Meta's pages: a user id may one day replace the number. A preference then has it in its contact only."""
    hidden: JsonObject = {"profile": {"name": "Zoë"}, "user_id": USER_ID}
    async with playing_meta() as play:
        with peering(play) as peer:
            match kind:
                case "text":
                    await play.write(text="Hello")
                case "status":
                    await send(peer)
                    await play.advance(seconds=1)
                case _:
                    await play.tell("meta/preferences", number=NUMBER, value="stop")
            [(change_field, value)] = (await with_user_ids(play, play.meta.told[0])).changes
            [array] = value.keys() & {"messages", "statuses", "user_preferences"}
            [element] = listed(value[array])
            for number in element.keys() & {"from", "recipient_id", "wa_id"}:
                del element[number]
            await play.tell("meta/changes", field=change_field, value=value | {array: [element], "contacts": [hidden]})
            update = peer.read(play.meta.told[-1])
            assert isinstance(update, BaseUserUpdate)
            assert (update.from_user.wa_id, update.from_user.bsuid) == (None, USER_ID)
            [event] = understood(play.meta.told[-1])
            assert event == as_event(update, event.key, recipient_fault=False)
            assert [alias.kind for alias in event.sender] == [AliasKind.BSUID]


async def test_a_form_without_its_token_is_tied_by_what_it_answers() -> None:
    async with playing_meta() as play:
        with peering(play) as peer:
            sent = await send(peer)
            await play.tell(f"meta/messages/{sent.id}/submit", answers={"city": "Quito"}, token=False)
            form = the(play, "nfm_reply")
            update = await agreed(play, peer, form)
            assert isinstance(update, FlowCompletion)
            assert update.token is None
            [event] = understood(form)
            assert (event.ties.flow_token, event.ties.replied_to) == ("", sent.id)


@pytest.mark.parametrize(
    ("verdict", "event"),
    [
        ({"status": "REJECTED", "reason": "INVALID_FORMAT"}, "REJECTED"),
        ({"status": "DISABLED", "more": {"disable_info": {"disable_date": 1772442000}}}, "DISABLED"),
        ({"status": "APPROVED", "reason": None}, "APPROVED"),
        ({"event": "FLAGGED"}, "FLAGGED"),
        ({"event": "REINSTATED"}, "REINSTATED"),
        *(({"status": status}, status) for status in ("IN_APPEAL", "PENDING_DELETION", "ARCHIVED", "LIMIT_EXCEEDED")),
    ],
)
async def test_what_happens_to_a_template_is_read_alike(verdict: JsonObject, event: str) -> None:
    async with playing_meta() as play:
        with peering(play) as peer:
            await play.tell(f"meta/templates/{GREETING}", **verdict)
            update = await agreed(play, peer, play.meta.told[-1])
            assert isinstance(update, TemplateStatusUpdate)
            assert (update.template_id, update.template_name) == (GREETING, "intake_v2")
            assert str(update.new_status) == event


async def test_pauses_quality_and_category_are_read_alike() -> None:
    async with playing_meta() as play:
        with peering(play) as peer:
            await play.tell(f"meta/templates/{PLAIN}/pause")
            await play.tell(f"meta/templates/{CHOICE}/quality", score="RED")
            await play.tell(f"meta/templates/{GREETING}/category", category="UTILITY")
            events = []
            for hook in list(play.meta.told):
                await agreed(play, peer, hook)
                [told] = understood(hook)
                assert isinstance(told.body, TemplateChanged)
                events.append((told.body.template_id, told.body.event, told.body.reason))
            assert events == [
                (PLAIN, "PAUSED", "FIRST_PAUSE"),
                (CHOICE, "QUALITY_RED", ""),
                (CHOICE, "PAUSED", "FIRST_PAUSE"),
                (GREETING, "CATEGORY_UTILITY", ""),
            ]


async def test_who_changed_the_bytes_is_refused_alike_and_so_is_a_wrong_verify_token() -> None:
    async with playing_meta() as play:
        with peering(play) as peer:
            await play.write(text="né/e")
            hook = play.meta.told[-1]
            again = json.dumps(json.loads(hook.raw)).encode()
            shown = hook.headers[SIGNATURE_HEADER]
            assert peer.wa.webhook_update_validator(hook.raw, shown) is None
            assert peer.wa.webhook_update_validator(again, shown) == ("Forbidden", 403)
            assert peer.wa.webhook_challenge_handler(VERIFY_TOKEN, "1158201444") == ("1158201444", 200)
            assert peer.wa.webhook_challenge_handler("wrong", "1158201444") == ("Forbidden", 403)
            with pytest.raises(WebhookRefused):
                READER.verify(again, hook.headers)
            query = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": VERIFY_TOKEN}
            assert READER.handshake(query) == "1158201444"
            with pytest.raises(HandshakeRefused) as wrong:
                READER.handshake(query | {"hub.verify_token": "wrong"})
            assert wrong.value.http_status == 403
