"""Truora's bad days for requests, its pace, and the settings of an account."""

from pathlib import Path

import httpx
import pytest
from pydantic import JsonValue

from sandbox.settings import BadSandboxSettings, load
from tests.unit.sandbox.playground import JsonObject
from tests.unit.sandbox.truora_playground import LINE, NUMBER, TruoraPlay, account, form, playing, settings


async def sent(play: TruoraPlay) -> int:
    """How many messages are on the phone in the end."""
    await play.advance(minutes=1)
    return await play.count(f"phones/{NUMBER}")


@pytest.mark.parametrize(
    ("kind", "options", "status", "effect"),
    [
        ("throttle", {"retry_after": 7}, 429, 0),
        ("error-before", {"status": 503, "retry_after": 7}, 503, 0),
        ("error-after", {"status": 502, "body": "<html></html>", "retry_after": 7}, 502, 1),
        ("unauthorized", {"retry_after": 7}, 401, 0),
        ("slow", {"seconds": 0.01}, 200, 1),
    ],
)
async def test_a_request_fails_before_or_after_its_effect(
    kind: str, options: dict[str, JsonValue], status: int, effect: int
) -> None:
    async with playing(heard=False) as play:
        wanted: JsonObject = {"options": options}
        await play.fault(kind, "outbound-send", number=NUMBER, **wanted)
        answer = await play.send()
        assert answer.status_code == status
        assert answer.headers.get("retry-after") == ("7" if status in (429, 502, 503) else None)
        assert await sent(play) == effect
        assert (await play.send()).status_code == 200


@pytest.mark.parametrize(("kind", "effect"), [("cut-before", 0), ("cut-after", 1)])
async def test_an_answer_can_be_lost(kind: str, effect: int) -> None:
    async with playing(heard=False) as play:
        await play.fault(kind, "outbound-send")
        with pytest.raises(httpx.RemoteProtocolError):
            await play.send()
        assert await sent(play) == effect
        calls = (await play.ask("calls", provider="truora"))["calls"]
        assert isinstance(calls, list)
        assert [call["status"] for call in calls if isinstance(call, dict)] == [None]


async def test_a_fault_can_be_about_one_number_and_one_operation_only() -> None:
    async with playing(heard=False) as play:
        await play.fault("throttle", "outbound-send", number="573140000009")
        assert (await play.api.get("whatsapp/outbounds", params={"line": LINE})).status_code == 200
        assert (await play.send()).status_code == 200
        assert (await play.send(form("3140000009"))).status_code == 429


async def test_more_requests_than_the_account_allows_are_refused_until_a_second_has_passed() -> None:
    async with playing(settings(account(requests_per_second=2)), heard=False) as play:
        assert [(await play.send()).status_code for _ in range(3)] == [200, 200, 429]
        late = await play.send()
        assert (late.headers["retry-after"], late.json()["message"]) == ("1", "Too many requests")
        assert await play.rules() == ["rate", "rate"]
        await play.advance(seconds=1)
        assert (await play.send()).status_code == 200
        assert await sent(play) == 3


@pytest.mark.parametrize(
    ("method", "path", "status", "rule"),
    [
        ("PUT", "whatsapp/outbounds/send", 405, "method"),
        ("GET", "whatsapp/outbounds/send", 405, "method"),
        ("GET", "whatsapp/outbound", 404, "unknown-path"),
        ("GET", "whatsapp/sessions/WDIS1", 404, "unknown-path"),
    ],
)
async def test_what_no_page_shows_is_refused_in_the_envelope(method: str, path: str, status: int, rule: str) -> None:
    async with playing(heard=False) as play:
        answer = await play.api.request(method, path)
        assert (answer.status_code, answer.json()["code"]) == (status, 10000 + status)
        assert await play.rules() == [rule]


async def test_what_no_page_shows_can_be_let_through() -> None:
    async with playing(settings(account(strict=False)), heard=False) as play:
        assert (await play.send({**form(), "priority": "high"})).status_code == 200
        assert (await play.api.get("whatsapp/outbounds", params={"line": LINE, "page": "2"})).status_code == 200
        assert (await play.send({**form(), "user_authorized": "yes"})).status_code == 400


async def test_a_key_opens_its_own_account_only() -> None:
    other = account(name="other", api_key="other-key", lines=(), outbounds=())
    chosen = settings(account(), other.model_validate(other.model_dump()))
    async with playing(chosen, heard=False) as play:
        theirs = {"Truora-API-Key": "other-key"}
        assert (await play.api.get("whatsapp/outbounds", params={"line": LINE}, headers=theirs)).json() == []
        refused = await play.api.post("whatsapp/outbounds/send", data=form(), headers=theirs)
        assert refused.status_code == 404
        both = [("Truora-API-Key", "test-truora-api-key"), ("Truora-API-Key", "other-key")]
        async with httpx.AsyncClient(trust_env=False) as client:
            url = f"{play.url}/truora/v1/whatsapp/outbounds"
            assert (await client.get(url, params={"line": LINE}, headers=both)).status_code == 401


GOOD = """
accounts:
  truora:
    - api_key: a-secret-key
      webhook_url: http://127.0.0.1:1/hooks
      signing_key: another-secret
      lines: ["15550100000"]
      flows: [{id: IPF1, collects: [available], session_hours: 2}]
      outbounds: [{id: OTB1, name: intake, body: "Hi {{.name}}", line: "15550100000", default_flow_id: IPF1}]
"""
WRONG = """
accounts:
  truora:
    - api_key: hidden-value
      webhook_url: http://127.0.0.1:1/hooks
      lines: ["15550100000"]
      outbounds: [{id: OTB1, name: intake, body: Hi, line: "15550100009", default_flow_id: IPF9}]
"""


def test_an_account_is_read_from_a_file(tmp_path: Path) -> None:
    written = tmp_path / "sandbox.yaml"
    written.write_text(GOOD)
    found = load(written)
    [truora] = found.accounts.truora
    assert truora.flows[0].collects == {"available": "yes"}
    assert truora.outbounds[0].status == "APPROVED"
    assert "secret" not in repr(found)


def test_every_mistake_of_an_account_is_named_and_no_value_is_shown(tmp_path: Path) -> None:
    written = tmp_path / "sandbox.yaml"
    written.write_text(WRONG)
    with pytest.raises(BadSandboxSettings) as wrong:
        load(written)
    for mistake in ("signing_key", "its line", "default_flow_id"):
        assert mistake in str(wrong.value)
    assert "hidden-value" not in str(wrong.value)


def test_two_accounts_share_neither_name_nor_key_nor_line_nor_outbound(tmp_path: Path) -> None:
    written = tmp_path / "sandbox.yaml"
    written.write_text(GOOD + GOOD.partition("truora:\n")[2])
    with pytest.raises(BadSandboxSettings) as wrong:
        load(written)
    for mistake in ("account truora", "same api_key", "line 15550100000", "outbound OTB1"):
        assert mistake in str(wrong.value)
