"""Where `pywa` 4.5 and Meta's pages differ, so that our simulator refuses one or our parser reads more than the other.

No warning of pywa's needs a filter: what it warns about here is part of the difference, and is asserted.
"""

import asyncio

import httpx
import pytest
from pywa.errors import PywaUnknownEnumMemberWarning, WhatsAppError
from pywa.types.message import Message
from pywa.types.message_status import MessageStatus
from pywa.types.sent_update import SentTemplateStatus
from pywa.types.templates import (
    TemplateLanguage,
    TemplateRejectionReason,
    TemplateStatus,
    TemplateStatusUpdate,
)

from domain.errors import HandshakeRefused
from domain.events import FormAnswered, OptOutReceived, TemplateChanged
from tests.contract.meta_peer import (
    BUTTON,
    READER,
    Peer,
    agreed,
    as_event,
    filled,
    peering,
    send,
    the,
    understood,
    with_user_ids,
)
from tests.unit.sandbox.meta_playground import (
    GREETING,
    LINE,
    NUMBER,
    PLAIN,
    VERIFY_TOKEN,
    account,
    playing_meta,
)
from tests.unit.sandbox.playground import JsonObject, at


async def refusal(peer: Peer, params: dict[str, object]) -> WhatsAppError:
    with pytest.raises(WhatsAppError) as refused:
        await asyncio.to_thread(
            peer.wa.send_template, to=NUMBER, name="intake_v1", language=TemplateLanguage.ENGLISH_US, params=[params]
        )
    return refused.value


def construction_failure(caplog: pytest.LogCaptureFixture) -> str:
    """Why pywa's types did not take the last delivery: it logs that and drops the delivery."""
    [record] = [
        record for record in caplog.records if record.message.endswith("Failed to construct update (field=messages)")
    ]
    caplog.clear()
    assert record.exc_info is not None
    return repr(record.exc_info[1])


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


async def test_pywa_asks_for_members_and_a_summary_of_templates_that_no_page_knows() -> None:
    async with playing_meta(told=False) as play:
        with peering(play) as peer:
            with pytest.raises(WhatsAppError) as read:
                await asyncio.to_thread(peer.wa.get_template, PLAIN)
            assert (read.value.code, read.value.user_msg) == (100, "Tried accessing nonexisting field")
            with pytest.raises(WhatsAppError) as found:
                await asyncio.to_thread(peer.wa.get_templates, name="intake")
            assert found.value.code == 100
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


async def test_pywa_takes_nobody_without_a_user_id_and_no_status_without_contacts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Meta's pages: a user id may accompany the phone number, and statuses are shown without contacts."""
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


async def test_pywa_answers_a_handshake_without_a_challenge_and_we_refuse_it_with_400() -> None:
    async with playing_meta(told=False) as play:
        with peering(play) as peer:
            assert peer.wa.webhook_challenge_handler(VERIFY_TOKEN, None) == (None, 200)
    with pytest.raises(HandshakeRefused) as empty:
        READER.handshake({"hub.mode": "subscribe", "hub.verify_token": VERIFY_TOKEN})
    assert empty.value.http_status == 400
