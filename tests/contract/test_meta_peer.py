"""Our simulator of Meta and our webhook parser against `pywa`, which read the same pages on its own.

Every place where pywa and the handbook differ is a test of its own, whose name begins with `pywa`.
"""

import asyncio
import json

import httpx
import pytest
from pydantic import SecretStr
from pywa.errors import PywaUnknownEnumMemberWarning, WhatsAppError
from pywa.types.base_update import BaseUpdate
from pywa.types.callback import CallbackButton, CallbackSelection
from pywa.types.flows import FlowActionType, FlowCompletion
from pywa.types.message import Message
from pywa.types.message_status import MessageStatus
from pywa.types.sent_update import SentTemplate, SentTemplateStatus
from pywa.types.templates import (
    BodyText,
    Buttons,
    FlowButton,
    Template,
    TemplateCategory,
    TemplateDetails,
    TemplateLanguage,
    TemplateRejectionReason,
    TemplateStatus,
    TemplateStatusUpdate,
)
from pywa.types.user_preferences import UserMarketingPreferences

from domain.contacts import AliasKind
from domain.errors import HandshakeRefused, WebhookRefused
from domain.events import FormAnswered, MessageStatusChanged, OptOutReceived, ProviderEvent, TemplateChanged
from providers.meta.schemas import Template as OurTemplate
from providers.meta.webhook import SIGNATURE_HEADER, MetaWebhookReader
from tests.contract.meta_bench import ACCOUNT, SETTINGS
from tests.contract.meta_peer import UNDELIVERABLE, USER_ID, Peer, as_event, peering, with_user_ids
from tests.unit.sandbox.meta_playground import (
    APP_SECRET,
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
    MetaHook,
    MetaPlay,
    account,
    new_template,
    playing_meta,
    template_message,
)
from tests.unit.sandbox.playground import NOW, JsonObject, at

READER = MetaWebhookReader(
    ACCOUNT, (SecretStr(APP_SECRET),), SETTINGS, clock=lambda: NOW, verify_token=SecretStr(VERIFY_TOKEN)
)

BUTTON = FlowButton(text="Open form", flow_id=FLOW, flow_action=FlowActionType.NAVIGATE, navigate_screen=SCREEN)
ACTION: JsonObject = {"first_name": "Ada"}


def filled(**changes: object) -> dict[str, object]:
    """The parameters of a FLOW button as pywa writes them; `changes` are laid over."""
    return BUTTON.params(index=0, flow_token=FLOW_TOKEN, flow_action_data=ACTION).to_dict() | changes


async def send(peer: Peer, name: str = "intake_v1", to: str = NUMBER) -> SentTemplate:
    """Let pywa send a template; the button's index is text, see `test_pywa_writes_the_index_…`."""
    return await asyncio.to_thread(
        peer.wa.send_template,
        to=to,
        name=name,
        language=TemplateLanguage.ENGLISH_US,
        params=[filled(index="0")],
        tracker=REFERENCE,
    )


async def agreed(play: MetaPlay, peer: Peer, hook: MetaHook, *, recipient_fault: bool = False) -> BaseUpdate:
    """Both read the delivery, and what pywa read, in our words, is what we read, member by member.

    The delivery is read as Meta writes it today, with user ids; without them we read the same but for the user id.
    """
    named = await with_user_ids(play, hook)
    update = peer.read(named)
    assert update is not None
    [event] = understood(named)
    assert event == as_event(update, event.key, recipient_fault=recipient_fault)
    [plain] = understood(hook)
    anonymous = tuple(alias for alias in event.sender if alias.kind is not AliasKind.BSUID)
    assert plain == event.model_copy(update={"sender": anonymous})
    return update


def understood(hook: MetaHook) -> tuple[ProviderEvent, ...]:
    READER.verify(hook.raw, hook.headers)
    parsed = READER.parse(hook.raw)
    assert parsed.quarantine == ""
    return parsed.events


def the(play: MetaPlay, name: str) -> MetaHook:
    """The one delivery of this short name."""
    [hook] = [hook for hook in play.meta.told if hook.name == name]
    return hook


def construction_failure(caplog: pytest.LogCaptureFixture) -> str:
    """Why pywa's types did not take the last delivery: it logs that and drops the delivery."""
    [record] = [
        record for record in caplog.records if record.message.endswith("Failed to construct update (field=messages)")
    ]
    caplog.clear()
    assert record.exc_info is not None
    return repr(record.exc_info[1])


# -- requests


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
            asked["components"][0]["type"] = "body"  # in either case, says the handbook; pywa writes BODY
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


async def test_a_send_is_the_handbooks_and_its_answer_is_read_alike() -> None:
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


async def refusal(peer: Peer, params: dict[str, object]) -> WhatsAppError:
    with pytest.raises(WhatsAppError) as refused:
        await asyncio.to_thread(
            peer.wa.send_template, to=NUMBER, name="intake_v1", language=TemplateLanguage.ENGLISH_US, params=[params]
        )
    return refused.value


async def test_pywa_writes_the_index_of_a_button_as_a_number_and_a_missing_token_as_null() -> None:
    """The guide writes the index as text and leaves out what is not given; whether Meta takes pywa's way is untold."""
    async with playing_meta(told=False) as play:
        with peering(play) as peer:
            numbered = filled()
            assert numbered["index"] == 0
            assert (await refusal(peer, numbered)).code == 131009
            without: JsonObject = BUTTON.params(index=0).to_dict() | {"index": "0"}
            [parameter] = without["parameters"] if isinstance(without["parameters"], list) else []
            assert at(parameter, "action") == {"flow_token": None, "flow_action_data": None}
            refused = await refusal(peer, {**without})
            assert (refused.code, refused.is_transient) == (131009, None)
            assert "flow_token" in str(refused.details)
            assert await play.reasons() == [("invalid-member", "131009")] * 2
            assert peer.last_asked().url == httpx.URL(f"https://graph.facebook.com/v23.0/{LINE}/messages")


async def test_pywa_asks_for_members_and_a_summary_of_templates_that_the_handbook_does_not_know() -> None:
    async with playing_meta(told=False) as play:
        with peering(play) as peer:
            with pytest.raises(WhatsAppError) as read:
                await asyncio.to_thread(peer.wa.get_template, PLAIN)
            assert (read.value.code, read.value.user_msg) == (100, "Tried accessing nonexisting field")
            with pytest.raises(WhatsAppError) as listed:
                await asyncio.to_thread(peer.wa.get_templates, name="intake")
            assert listed.value.code == 100
            assert "summary" in peer.last_asked().url.params
            assert ("query-parameter", "100") in await play.reasons()


async def test_pywa_does_not_know_that_an_accepted_message_may_be_paused() -> None:
    async with playing_meta(account(message_status="paused"), told=False) as play:
        with peering(play) as peer:
            with pytest.warns(PywaUnknownEnumMemberWarning, match="paused"):
                sent = await send(peer)
            assert sent.status is SentTemplateStatus.UNKNOWN
    async with playing_meta(account(message_status=None), told=False) as play:
        with peering(play) as peer:
            assert (await send(peer)).status is None


# -- deliveries


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
            update = await agreed(play, peer, the(play, "failed"), recipient_fault=recipient_fault)
            assert isinstance(update, MessageStatus)
            assert update.error is not None
            assert (update.error.code, update.error.details) == (code, "For a reason.")
            [event] = understood(the(play, "failed"))
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


async def test_who_stopped_marketing_is_one_failure_to_pywa_and_an_opt_out_besides_to_us() -> None:
    async with playing_meta() as play:
        with peering(play) as peer:
            sent = await send(peer)
            await play.tell(f"meta/messages/{sent.id}/status", status="failed", code=131050)
            named = await with_user_ids(play, the(play, "failed"))
            update = peer.read(named)
            assert isinstance(update, MessageStatus)
            failed, stopped = understood(named)
            assert failed == as_event(update, failed.key, recipient_fault=True)
            assert stopped == failed.model_copy(update={"key": stopped.key, "body": OptOutReceived(scope="marketing")})


async def test_texts_and_tapped_buttons_are_read_alike() -> None:
    async with playing_meta() as play:
        with peering(play) as peer:
            sent = await send(peer)
            contents: list[JsonObject] = [
                {"type": "text", "content": {"text": {"body": "Is it remote? ¿Sí/no?"}}},
                {"type": "text", "content": {"text": {"body": "Yes"}}, "context": sent.id},
                {"type": "button", "content": {"button": {"payload": "later", "text": "Not now"}}, "context": sent.id},
                {"type": "button", "content": {"button": {"payload": "later", "text": "Not now"}}},
                *(
                    {
                        "type": "interactive",
                        "content": {"interactive": {"type": kind, kind: {"id": "b1", "title": "Mornings"}}},
                        "context": sent.id,
                    }
                    for kind in ("button_reply", "list_reply")
                ),
            ]
            read: list[type[BaseUpdate]] = []
            for content in contents:
                await play.tell("meta/inbound", number=NUMBER, **content)
                read.append(type(await agreed(play, peer, play.meta.told[-1])))
            assert read == [Message, Message, CallbackButton, CallbackButton, CallbackButton, CallbackSelection]


async def test_a_stop_word_is_a_text_to_pywa_and_an_opt_out_to_us() -> None:
    async with playing_meta() as play:
        with peering(play) as peer:
            await play.write(text="STOP")
            named = await with_user_ids(play, the(play, "text STOP"))
            update = peer.read(named)
            assert isinstance(update, Message)
            [event] = understood(named)
            as_text = as_event(update, event.key, recipient_fault=False)
            assert event == as_text.model_copy(update={"body": OptOutReceived(scope="line", text="STOP")})


async def test_a_choice_about_marketing_is_read_alike() -> None:
    async with playing_meta() as play:
        with peering(play) as peer:
            for value in ("stop", "resume"):
                await play.tell("meta/preferences", number=NUMBER, value=value)
                update = await agreed(play, peer, play.meta.told[-1])
                assert isinstance(update, UserMarketingPreferences)
                assert (str(update.value), update.timestamp) == (value, NOW)


async def test_a_form_without_its_token_is_tied_by_what_it_answers() -> None:
    async with playing_meta() as play:
        with peering(play) as peer:
            sent = await send(peer)
            await play.tell(f"meta/messages/{sent.id}/submit", answers={"city": "Quito"}, token=False)
            update = await agreed(play, peer, the(play, "nfm_reply"))
            assert isinstance(update, FlowCompletion)
            assert update.token is None
            [event] = understood(the(play, "nfm_reply"))
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
            assert wrong.value.status == 403
            # Without a challenge the handbook wants 400; pywa answers 200 with nothing.
            assert peer.wa.webhook_challenge_handler(VERIFY_TOKEN, None) == (None, 200)
            with pytest.raises(HandshakeRefused) as empty:
                READER.handshake({name: value for name, value in query.items() if name != "hub.challenge"})
            assert empty.value.status == 400


# -- deliveries that pywa does not take


async def test_pywa_takes_nobody_without_a_user_id_and_no_status_without_contacts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The handbook: a user id may accompany the phone number, and statuses are shown without contacts."""
    async with playing_meta() as play:
        with peering(play) as peer:
            await send(peer)
            await play.advance(seconds=1)
            await play.write(text="Hello")
            sent, text = play.meta.told
            assert (sent.name, text.name) == ("sent", "text Hello")
            assert peer.read(sent) is None
            assert construction_failure(caplog) == "KeyError('contacts')"
            assert peer.read(text) is None
            assert construction_failure(caplog) == "KeyError('user_id')"
            assert [len(understood(hook)) for hook in (sent, text)] == [1, 1]


async def test_pywa_drops_a_form_that_is_no_object_and_we_keep_its_text(caplog: pytest.LogCaptureFixture) -> None:
    async with playing_meta() as play:
        with peering(play) as peer:
            sent = await send(peer)
            for raw, why in (("not JSON", "JSONDecodeError"), ('"text"', "AttributeError"), ("[1]", "TypeError")):
                await play.tell(f"meta/messages/{sent.id}/submit", raw=raw)
                named = await with_user_ids(play, play.meta.told[-1])
                assert peer.read(named) is None
                assert construction_failure(caplog).startswith(why)
                [event] = understood(named)
                assert event.body == FormAnswered(answers=None, raw=raw)
                assert event.ties.replied_to == sent.id


async def test_pywa_does_not_know_every_reason_of_a_rejection() -> None:
    async with playing_meta() as play:
        with peering(play) as peer:
            await play.tell(f"meta/templates/{PLAIN}", status="REJECTED", reason="CATEGORY_NOT_AVAILABLE")
            hook = play.meta.told[-1]
            with pytest.warns(PywaUnknownEnumMemberWarning, match="CATEGORY_NOT_AVAILABLE"):
                update = peer.read(hook)
            assert isinstance(update, TemplateStatusUpdate)
            assert update.reason is TemplateRejectionReason.UNKNOWN
            [event] = understood(hook)
            assert isinstance(event.body, TemplateChanged)
            assert event.body.reason == "CATEGORY_NOT_AVAILABLE"
            theirs = as_event(update, event.key, recipient_fault=False)
            assert isinstance(theirs.body, TemplateChanged)
            assert event.body == theirs.body.model_copy(update={"reason": event.body.reason})


async def test_pywa_calls_flagged_a_status_although_the_template_stays_approved() -> None:
    async with playing_meta() as play:
        with peering(play) as peer:
            await play.tell(f"meta/templates/{PLAIN}", event="FLAGGED")
            update = await agreed(play, peer, play.meta.told[-1])
            assert isinstance(update, TemplateStatusUpdate)
            assert update.new_status is TemplateStatus.FLAGGED
            assert await play.status(PLAIN) == "APPROVED"
            assert (await send(peer)).status is SentTemplateStatus.ACCEPTED


async def test_pywa_reads_the_first_element_of_a_delivery_and_we_read_all() -> None:
    async with playing_meta() as play:
        with peering(play) as peer:
            await play.tell("meta/batching", seconds=60)
            await send(peer)
            await play.tell(f"meta/templates/{GREETING}", status="REJECTED")
            await play.advance(minutes=2)
            [batch] = play.meta.told
            assert batch.names[0] == "message_template_status_update REJECTED"
            assert batch.names[1:] == ["sent", "delivered", "read", "nfm_reply"]
            update = peer.read(batch)
            assert isinstance(update, TemplateStatusUpdate)
            events = understood(batch)
            assert events[0] == as_event(update, events[0].key, recipient_fault=False)
            assert [event.body.kind for event in events[1:]] == [*["message-status"] * 3, "form-answer"]
