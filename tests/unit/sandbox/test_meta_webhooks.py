"""Meta's deliveries on good and bad days, the handshake, and what a script can let candidates do."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import datetime
from itertools import pairwise
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.unit.sandbox.meta_playground import (
    LINE_NUMBER,
    NUMBER,
    PLAIN,
    SECOND_LINE,
    TEMPLATES,
    VERIFY_TOKEN,
    MetaPlay,
    account,
    message_id,
    playing_meta,
    refused,
    signed,
    template_message,
)
from tests.unit.sandbox.playground import JsonObject, at

SENT = "webhook:statuses:sent"


async def arm(play: MetaPlay, kind: str, operation: str, **options: str | float | bool) -> None:
    await play.fault(kind, operation, provider="meta", options=dict(options))


# -- deliveries


async def test_only_200_ends_the_attempts_and_every_attempt_has_the_same_bytes() -> None:
    async with playing_meta() as play:
        play.receiver.statuses = [503, 204, 302, 401, 200]
        await play.persona(NUMBER, "silent")
        await play.send(template_message())
        await play.advance(seconds=1)
        await play.advance(days=7)
        attempts = (await play.ask("webhooks", event="statuses:sent"))["attempts"]
        assert isinstance(attempts, list)
        assert [at(one)["status"] for one in attempts][-1] == 200
        raw = [hook.raw for hook in play.meta.told if hook.names == ["sent"]]
        assert len(raw) == len(attempts) > 2
        assert len(set(raw)) == 1
        assert {hook.headers["x-hub-signature-256"] for hook in play.meta.told if hook.raw == raw[0]} == {
            signed(raw[0])
        }


async def test_a_receiver_that_stays_away_is_asked_ever_more_rarely_for_up_to_seven_days() -> None:
    away = account(webhook_url="http://127.0.0.1:9/hooks")
    async with playing_meta(away, told=False) as play:
        await play.tell("meta/inbound", number=NUMBER, text="Hello")
        await play.advance(days=8)
        attempts = (await play.ask("webhooks", event="messages:text"))["attempts"]
        assert isinstance(attempts, list)
        times = [datetime.fromisoformat(str(at(one)["at"])) for one in attempts]
        gaps = [(later - earlier).total_seconds() for earlier, later in pairwise(times)]
        assert len(gaps) >= 5
        assert gaps == sorted(gaps)
        assert sum(gaps) <= 7 * 86400


async def test_a_status_can_come_before_the_answer() -> None:
    async with playing_meta() as play:
        await arm(play, "before-answer", SENT)
        answer = await play.send(template_message())
        assert play.meta.words == ["sent"]
        assert play.meta.values("sent")[0]["id"] == message_id(answer)
        await play.advance(minutes=1)
        assert play.meta.words.count("sent") == 1


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("duplicate", {}, ["sent", "sent", "delivered"]),
        ("reorder", {"until": "statuses:delivered"}, ["delivered", "sent"]),
        ("drop", {}, ["delivered"]),
        ("late", {"seconds": 86400}, ["delivered", "sent"]),
    ],
)
async def test_statuses_come_twice_swapped_late_or_never(kind: str, options: JsonObject, words: list[str]) -> None:
    async with playing_meta() as play:
        await play.persona(NUMBER, "silent")
        await play.fault(kind, SENT, provider="meta", options=options)
        await play.send(template_message())
        await play.advance(days=2)
        assert play.meta.words == words
        late = play.meta.values("sent")
        assert {status["timestamp"] for status in late} <= {"1772442001"}


@pytest.mark.parametrize(("kind", "effects"), [("cut-after", 1), ("cut-before", 0)])
async def test_a_cut_connection_leaves_the_message_sent_or_not(kind: str, effects: int) -> None:
    async with playing_meta() as play:
        await arm(play, kind, "message-send")
        with pytest.raises(httpx.RemoteProtocolError):
            await play.send(template_message())
        await play.advance(seconds=2)
        assert await play.count(f"phones/{NUMBER}") == effects
        assert play.meta.words == ["sent", "delivered"] * effects
        calls = await play.ask("calls", provider="meta", number=NUMBER)
        assert calls["count"] == 1


async def test_a_fault_answers_with_any_error_and_a_token_can_end_out_of_the_blue() -> None:
    async with playing_meta(account(throttle_status=403), told=False) as play:
        body = json.dumps({"error": {"message": "(#131016) Service unavailable", "type": "X", "code": 131016}})
        await arm(play, "error-before", "message-send", status=503, body=body, content_type="application/json")
        answer = await play.send(template_message())
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, 131016)
        await arm(play, "unauthorized", "*")
        assert refused(await play.api.get(PLAIN)) == (401, 190, None)
        await arm(play, "throttle", "message-send", retry_after=30)
        throttled = await play.send(template_message())
        assert (refused(throttled), throttled.headers["retry-after"]) == ((403, 130429, None), "30")
        message_id(await play.send(template_message()))
        assert await play.count("phones", arrived=True) == 0


async def test_a_reset_forgets_messages_and_verdicts() -> None:
    async with playing_meta() as play:
        await play.tell(f"meta/templates/{PLAIN}", status="DISABLED")
        await play.write()
        assert (await play.control.post("reset")).status_code == 204
        assert await play.count("meta/messages") == 0
        assert await play.status(PLAIN) == "APPROVED"


# -- the handshake


@contextlib.asynccontextmanager
async def subscriber(status: int, body: str) -> AsyncIterator[tuple[str, list[dict[str, list[str]]]]]:
    """A receiver that answers GET in one way; yields its address and the queries that it saw."""
    asked: list[dict[str, list[str]]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            assert "x-hub-signature" not in head.lower()
            method, target, _ = head.split("\r\n")[0].split(" ")
            assert method == "GET"
            asked.append(parse_qs(urlsplit(target).query))
            answer = f"HTTP/1.1 {status} X\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
            writer.write(f"{answer}Connection: close\r\n\r\n{body}".encode())
            await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hooks", asked
    finally:
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("status", "body", "verified"),
    [(200, "1158201444", True), (200, '"1158201444"', False), (403, "1158201444", False)],
)
async def test_a_handshake_is_right_only_with_the_challenge_and_nothing_else(
    status: int,
    body: str,
    verified: bool,  # noqa: FBT001 - a case
) -> None:
    async with playing_meta(told=False) as play, subscriber(status, body) as (url, asked):
        answer = await play.tell("meta/handshake", url=url)
        assert answer == {"verified": verified, "status": status, "body": body, "content_type": "text/plain"}
        assert asked == [
            {"hub.mode": ["subscribe"], "hub.verify_token": [VERIFY_TOKEN], "hub.challenge": ["1158201444"]}
        ]
        await play.tell("meta/handshake", url=url, mode="unsubscribe", token="wrong", challenge=None)
        assert asked[1] == {"hub.mode": ["unsubscribe"], "hub.verify_token": ["wrong"]}


async def test_a_handshake_with_nobody_is_not_verified() -> None:
    async with playing_meta(told=False) as play:
        answer = await play.tell("meta/handshake", url="http://127.0.0.1:9/")
        assert (answer["verified"], answer["status"]) == (False, None)
        assert (await play.control.post("meta/handshake", json={})).status_code == 422


# -- the script


@pytest.mark.parametrize(
    ("said", "member"),
    [
        ({"text": "  STOP. "}, "text"),
        ({"type": "interactive", "content": {"interactive": {"type": "button_reply"}}}, "interactive"),
        ({"type": "interactive", "content": {"interactive": {"type": "list_reply"}}}, "interactive"),
        ({"type": "hologram", "content": {"hologram": {}}}, "hologram"),
        ({"type": "unsupported", "content": {"errors": [{"code": 131051}]}}, "errors"),
        ({"type": "system", "content": {"system": {"type": "user_changed_number"}}, "contact": False}, "system"),
    ],
)
async def test_a_candidate_can_send_anything_at_any_time(said: JsonObject, member: str) -> None:
    async with playing_meta() as play:
        made = await play.tell("meta/inbound", number=NUMBER, line=SECOND_LINE, context="wamid.ours", **said)
        [hook] = play.meta.told
        [(changed, value)] = hook.changes
        assert changed == "messages"
        assert at(value, "metadata") == {"display_phone_number": "15550100009", "phone_number_id": SECOND_LINE}
        assert ("contacts" in value) is said.get("contact", True)
        messages = value["messages"]
        assert isinstance(messages, list)
        message = at(messages[0])
        assert (message["id"], message["from"], message["timestamp"]) == (made["id"], NUMBER, "1772442000")
        assert at(message, "context") == {"from": "15550100009", "id": "wamid.ours"}
        assert member in message


async def test_a_form_can_hold_anything_and_come_without_ties() -> None:
    async with playing_meta() as play:
        await play.persona(NUMBER, "silent")
        sent = message_id(await play.send(template_message()))
        await play.advance(minutes=1)
        await play.tell(f"meta/messages/{sent}/submit", raw="{not json")
        await play.tell(f"meta/messages/{sent}/submit", answers={"a": 1}, token=False, context=False)
        first, second = play.meta.values("nfm_reply")
        assert at(first, "interactive", "nfm_reply")["response_json"] == "{not json"
        assert at(first, "context") == {"from": LINE_NUMBER, "id": sent}
        assert at(second, "interactive", "nfm_reply")["response_json"] == '{"a":1}'
        assert "context" not in second
        assert (await play.control.post("meta/messages/wamid.none/submit", json={})).status_code == 404


async def test_any_status_can_be_told_at_any_time() -> None:
    async with playing_meta() as play:
        await play.persona(NUMBER, "silent")
        sent = message_id(await play.send(template_message()))
        await play.advance(minutes=1)
        await play.tell(f"meta/messages/{sent}/status", status="failed", code=131049, details="Held back.")
        await play.tell(f"meta/messages/{sent}/status", status="teleported")
        assert play.meta.words == ["sent", "delivered", "failed", "teleported"]
        [failed] = play.meta.values("failed")
        assert failed["errors"][0]["code"] == 131049  # type: ignore[index,call-overload] # JSON


async def test_bytes_that_are_no_json_are_signed_all_the_same() -> None:
    async with playing_meta() as play:
        for body in ("{", "null", ""):
            await play.tell("meta/bytes", text=body)
        assert play.meta.bodies == [b"{", b"null", b""]


async def test_a_preference_is_told_with_a_number_as_its_time() -> None:
    async with playing_meta() as play:
        await play.tell("meta/preferences", number=NUMBER, value="resume")
        [(changed, value)] = play.meta.told[0].changes
        assert changed == "user_preferences"
        preferences = value["user_preferences"]
        assert isinstance(preferences, list)
        assert at(preferences[0]) == {
            "wa_id": NUMBER,
            "detail": "User requested to resume marketing messages",
            "category": "marketing_messages",
            "value": "resume",
            "timestamp": 1772442000,
        }


async def test_a_number_can_be_renumbered_by_the_script() -> None:
    async with playing_meta(told=False) as play:
        await play.tell("meta/wa-ids", number=NUMBER, wa_id="15550100077")
        answer = await play.send(template_message())
        assert answer.json()["contacts"] == [{"input": NUMBER, "wa_id": "15550100077"}]
        await play.advance(minutes=1)
        assert await play.count(f"phones/{NUMBER}") == 1


def test_an_account_that_makes_no_sense_is_refused_with_every_mistake() -> None:
    whole = account().model_dump()
    line = whole["lines"][0]
    whole |= {"lines": [line, line], "flows": [], "templates": [TEMPLATES[0].model_dump()], "token": ""}
    with pytest.raises(ValueError) as wrong:
        type(account()).model_validate(whole)
    for said in ("named twice", "no flow 900000000000001", "must not be empty"):
        assert said in str(wrong.value)
