"""Each persona end to end at Meta: what the client is told, and what the phone shows."""

import json

import pytest

from tests.unit.sandbox.meta_playground import (
    COLLECTED,
    FLOW_TOKEN,
    LINE_NUMBER,
    NUMBER,
    REFERENCE,
    account,
    flow_message,
    message_id,
    playing_meta,
    template_message,
)
from tests.unit.sandbox.playground import JsonObject, at

BEGIN = ["sent", "delivered"]


def answers_in(reply: JsonObject) -> JsonObject:
    """The form of a reply, parsed a second time."""
    form = at(reply, "interactive", "nfm_reply")
    assert (form["name"], form["body"]) == ("flow", "Sent")
    return at(json.loads(str(form["response_json"])))


async def test_who_answers_reads_and_sends_the_form_with_token_and_context() -> None:
    async with playing_meta() as play:
        sent = message_id(await play.send(template_message()))
        assert play.meta.words == []
        await play.advance(minutes=1)
        assert play.meta.words == [*BEGIN, "read", "nfm_reply"]
        [reply] = play.meta.values("nfm_reply")
        assert answers_in(reply) == {"flow_token": FLOW_TOKEN, **COLLECTED}
        assert reply["context"] == {"from": LINE_NUMBER, "id": sent}
        assert reply["from"] == NUMBER
        assert isinstance(reply["timestamp"], str)
        for word in (*BEGIN, "read"):
            [status] = play.meta.values(word)
            assert (status["id"], status["biz_opaque_callback_data"]) == (sent, REFERENCE)
        assert REFERENCE not in json.dumps(reply)
        phone = await play.ask(f"phones/{NUMBER}")
        assert phone["count"] == 1
        assert isinstance(phone["messages"], list)
        shown = at(phone["messages"][0])
        assert (shown["text"], shown["template"], shown["kind"]) == (
            "Please fill in the intake form",
            "intake_v1",
            "template",
        )
        assert (shown["reference"], shown["message"]) == (REFERENCE, sent)


async def test_an_interactive_message_is_answered_like_a_template() -> None:
    async with playing_meta() as play:
        await play.write()
        sent = message_id(await play.send(flow_message()))
        await play.advance(minutes=1)
        assert play.meta.words == ["text Hello", *BEGIN, "read", "nfm_reply"]
        [reply] = play.meta.values("nfm_reply")
        assert answers_in(reply)["flow_token"] == FLOW_TOKEN
        assert await play.count("phones", kind="interactive") == 1
        assert await play.count("meta/messages", status="read", reference=REFERENCE) == 1
        assert sent.startswith("wamid.")


async def test_a_send_without_a_token_comes_back_as_unused() -> None:
    async with playing_meta() as play:
        message = template_message()
        components = at(message, "template")["components"]
        assert isinstance(components, list)
        at(components[0])["parameters"] = [{"type": "action", "action": {}}]
        message_id(await play.send(message))
        await play.advance(minutes=1)
        assert answers_in(play.meta.values("nfm_reply")[0])["flow_token"] == "unused"


async def test_a_form_can_come_without_token_as_on_ios_and_without_context() -> None:
    async with playing_meta() as play:
        await play.persona(NUMBER, "answers", leaves_token_out=True)
        sent = message_id(await play.send(template_message()))
        await play.advance(minutes=1)
        [reply] = play.meta.values("nfm_reply")
        assert answers_in(reply) == COLLECTED
        assert at(reply, "context")["id"] == sent
        await play.persona(NUMBER, "answers", leaves_token_out=True, leaves_context_out=True)
        await play.send(template_message())
        await play.advance(minutes=1)
        assert "context" not in play.meta.values("nfm_reply")[1]


async def test_who_declines_answers_no_or_taps_the_button_for_it() -> None:
    async with playing_meta() as play:
        await play.send(template_message(to="15550100092"))
        await play.advance(minutes=1)
        assert answers_in(play.meta.values("nfm_reply")[0])["available"] == "no"
        await play.persona(NUMBER, "declines", by_button=True, text="Not now")
        sent = message_id(await play.send(template_message("choice_v1")))
        await play.advance(minutes=1)
        assert play.meta.words[-2:] == ["read", "button Not now"]
        [tap] = play.meta.values("button")
        assert (at(tap, "button"), at(tap, "context")["id"]) == ({"payload": "Not now", "text": "Not now"}, sent)


async def test_who_declines_without_a_button_says_so() -> None:
    async with playing_meta() as play:
        await play.persona(NUMBER, "declines", by_button=True)
        await play.send(template_message())
        await play.advance(minutes=1)
        assert play.meta.words[-1] == "text No, thanks"


async def test_who_changes_an_answer_sends_the_form_twice() -> None:
    async with playing_meta() as play:
        await play.persona(NUMBER, "changes-answer", changed={"city": "Quito"})
        await play.send(template_message())
        await play.advance(minutes=5)
        assert play.meta.words == [*BEGIN, "read", "nfm_reply", "nfm_reply"]
        first, second = play.meta.values("nfm_reply")
        assert (answers_in(first)["city"], answers_in(second)["city"]) == ("São Paulo", "Quito")
        assert first["id"] != second["id"]
        assert answers_in(first)["flow_token"] == answers_in(second)["flow_token"] == FLOW_TOKEN


async def test_who_answers_late_needs_no_session() -> None:
    async with playing_meta() as play:
        await play.persona(NUMBER, "answers-later")
        await play.send(template_message())
        await play.advance(hours=5)
        assert play.meta.words == BEGIN
        await play.advance(hours=2)
        assert play.meta.words == [*BEGIN, "read", "nfm_reply"]


async def test_who_needs_a_follow_up_answers_the_second_message() -> None:
    async with playing_meta() as play:
        await play.persona(NUMBER, "answers-after-follow-up")
        await play.send(template_message())
        await play.advance(hours=1)
        assert play.meta.words == BEGIN
        second = message_id(await play.send(template_message()))
        await play.advance(hours=1)
        assert play.meta.words == [*BEGIN, *BEGIN, "read", "nfm_reply"]
        assert at(play.meta.values("nfm_reply")[0], "context")["id"] == second


@pytest.mark.parametrize(("reads", "told"), [(False, BEGIN), (True, [*BEGIN, "read"])])
async def test_silence_is_delivered_and_at_most_read(reads: bool, told: list[str]) -> None:  # noqa: FBT001 - a case
    async with playing_meta() as play:
        await play.persona(NUMBER, "silent", reads=reads)
        await play.send(template_message())
        after = await play.advance(days=40)
        assert play.meta.words == told
        assert after["next_due"] is None


async def test_who_abandons_the_form_has_only_read_the_message() -> None:
    async with playing_meta() as play:
        await play.send(template_message(to="15550100097"))
        await play.advance(days=3)
        assert play.meta.words == [*BEGIN, "read"]


@pytest.mark.parametrize(
    ("number", "said"), [("15550100095", "text Can you call me instead?"), ("15550100096", "text STOP")]
)
async def test_who_writes_instead_opens_the_window(number: str, said: str) -> None:
    async with playing_meta() as play:
        await play.send(template_message(to=number))
        await play.advance(minutes=1)
        assert play.meta.words == [*BEGIN, "read", said]
        assert (await play.send(flow_message(to=number))).status_code == 200


async def test_a_number_that_is_not_on_whatsapp_fails_later_with_its_code() -> None:
    async with playing_meta() as play:
        sent = message_id(await play.send(template_message(to="15550100094")))
        await play.advance(days=1)
        assert play.meta.words == ["failed"]
        [failed] = play.meta.values("failed")
        assert isinstance(failed["errors"], list)
        error = at(failed["errors"][0])
        assert (error["code"], at(error, "error_data")["details"]) == (131026, "Message Undeliverable.")
        assert (failed["id"], failed["biz_opaque_callback_data"]) == (sent, REFERENCE)
        assert await play.count("phones/15550100094") == 0
        assert await play.count("phones/15550100094", arrived=False) == 1


@pytest.mark.parametrize(("fails", "then"), [(False, "sent"), (True, "failed")])
async def test_who_blocks_the_line_gets_nothing_more(fails: bool, then: str) -> None:  # noqa: FBT001 - a case
    async with playing_meta(account(blocked_fails=fails)) as play:
        await play.persona(NUMBER, "blocks")
        await play.send(template_message())
        await play.advance(minutes=1)
        assert play.meta.words == [*BEGIN, "read"]
        await play.send(template_message())
        await play.advance(days=1)
        assert play.meta.words == [*BEGIN, "read", then]
        assert await play.count(f"phones/{NUMBER}") == 1


async def test_webhooks_speak_of_the_whatsapp_id_and_the_phone_of_what_was_dialled() -> None:
    async with playing_meta(account(wa_ids={"5215550100001": "525550100001"})) as play:
        answer = await play.send(template_message(to="5215550100001"))
        assert answer.json()["contacts"] == [{"input": "5215550100001", "wa_id": "525550100001"}]
        await play.advance(minutes=1)
        assert play.meta.values("sent")[0]["recipient_id"] == "525550100001"
        assert play.meta.values("nfm_reply")[0]["from"] == "525550100001"
        assert await play.count("phones/5215550100001") == 1


async def test_delivered_may_be_skipped() -> None:
    async with playing_meta(account(skips_delivered=True)) as play:
        await play.send(template_message())
        await play.advance(minutes=1)
        assert play.meta.words == ["sent", "read", "nfm_reply"]


async def test_prices_are_optional() -> None:
    async with playing_meta() as play:
        await play.send(template_message())
        await play.advance(minutes=1)
        [status] = play.meta.values("sent")
        assert at(status, "pricing")["category"] == "marketing"
        assert isinstance(at(status, "conversation")["expiration_timestamp"], str)
    async with playing_meta(account(prices=False)) as play:
        await play.send(template_message())
        await play.advance(minutes=1)
        assert not {"pricing", "conversation"} & set(play.meta.values("sent")[0])
