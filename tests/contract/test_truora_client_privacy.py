"""No secret, number, name or answer of a person reaches an error or a log, however a call to Truora ends."""

import json
import logging
import traceback
from collections.abc import Awaitable, Callable

import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from domain.errors import SendError, SetupError
from providers.truora.client import truora_http
from providers.truora.settings import TruoraSettings
from tests.contract.truora_bench import (
    ACCOUNT,
    API_KEY,
    INTAKE,
    LINE_DIGITS,
    NAMES,
    NOTICE,
    PHONE,
    PROCESS,
    PROCESS_URL,
    SEND,
    Answering,
    Bench,
    plausible,
)

NATIONAL = "3140000001"
NAME = "Ada-Lovelace"
SECRET_THINGS = (API_KEY, PHONE, PHONE[1:], NATIONAL, LINE_DIGITS, NAME, "Lovelace", "line=")

NAMED = SEND.model_copy(update={"parameters": (("name", NAME), ("lastname", "Lovelace"))})
READING = TruoraSettings.model_validate({"process_url": PROCESS_URL})

ECHO_TEXT = f"conversation with {PHONE} (57 314 000 0001) named {NAME} refused; key {API_KEY}; line {LINE_DIGITS}"
ECHO = json.dumps({"code": PHONE, "http_code": 400, "message": ECHO_TEXT}).encode()

Step = Callable[[Bench], Awaitable[object]]

STEPS: dict[str, Step] = {
    "trigger a flow": lambda b: b.client.trigger_flow(NAMED, NAMES),
    "send a message": lambda b: b.client.send_message(NOTICE, NAMES),
    "read an outbound": lambda b: b.client.read_template(INTAKE, SEND.flow),
    "list outbounds": lambda b: b.client.list_outbounds("main"),
    "read a process": lambda b: b.client.read_flow_run(PROCESS),
}


def _status(status: int, body: bytes = ECHO) -> Answering:
    return lambda _request: httpx.Response(status, headers={"x-request-id": "req-9"}, content=body)


def _breaks(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError(f"broken at {request.url} with {request.headers}", request=request)


def everything_about(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


ENDINGS: dict[str, Answering] = {f"answered {n}": _status(n) for n in (200, 301, 400, 401, 422, 429, 500)} | {
    "answered in plain text": _status(400, ECHO_TEXT.encode()),
    "lost": _breaks,
}


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("step", STEPS)
async def test_whatever_truora_echoes_stays_out_of_errors_and_logs(
    step: str, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with capture_logs() as logs, pytest.raises(SendError) as caught:
        await STEPS[step](Bench(ENDINGS[ending], READING))

    told = everything_about(caught.value) + repr(logs) + caplog.text
    assert [thing for thing in SECRET_THINGS if thing in told] == []
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


async def test_an_error_tells_account_step_code_field_and_request_instead() -> None:
    body = json.dumps({"code": 10400, "http_code": 400, "message": "var.lastname is required, flow_id too"}).encode()
    with pytest.raises(SendError) as caught:
        await Bench(_status(400, body)).client.trigger_flow(SEND, NAMES)

    text = str(caught.value)
    wanted = (ACCOUNT, "trigger a flow", "400", "var.lastname is required, flow_id too", "req-9")
    assert [part for part in wanted if part not in text] == []
    assert (caught.value.code, caught.value.request_id) == ("10400", "req-9")


def test_an_api_key_that_cannot_be_sent_is_refused_without_being_shown() -> None:
    for key in ("", "secret\nkey", "sécret"):
        with pytest.raises(SetupError) as caught:
            truora_http(ACCOUNT, "https://api.connect.truora.com/v1/whatsapp", SecretStr(key))
        assert "cret" not in str(caught.value)


async def test_nothing_that_holds_a_secret_shows_it_when_printed() -> None:
    bench = Bench(plausible)
    await bench.client.trigger_flow(NAMED, NAMES)

    assert API_KEY not in repr(bench.client)
    assert API_KEY not in repr(vars(bench.client))
