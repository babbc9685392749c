"""No secret, number, name or answer of a person reaches an error or a log, however a call ends."""

import json
import logging
import traceback
from collections.abc import Awaitable, Callable

import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from domain.calls import EndConversation
from domain.errors import SendError, SetupError
from providers.recrubo.client import RecruboClient, recrubo_http
from providers.recrubo.settings import RecruboSettings
from tests.contract.recrubo_bench import (
    ACCOUNT,
    AT,
    DIGITS,
    INTAKE_TEXT,
    NAMES,
    PHONE,
    RUN,
    SEARCH,
    SEND,
    THREAD,
    TOKEN,
    Answering,
    Bench,
    plausible,
)
from tests.unit.providers.scripted_server import Reaction, answers, hangs_up, serving, talks_nonsense

NAME = "Ada-Lovelace"
ANSWER = "allergic-to-nuts"
HOOK_SECRET = "hook-secret-value"
SECRET_THINGS = (TOKEN, DIGITS, PHONE, NAME, ANSWER, HOOK_SECRET, "filter%5B", "filter[")

NAMED = SEND.model_copy(update={"parameters": (("first_name", NAME),)})

ECHO = json.dumps(
    {
        "errors": [
            {
                "code": DIGITS,
                "title": f"Refused for {PHONE}",
                "detail": f"{NAME} at {PHONE} said {ANSWER}; token {TOKEN}",
                "source": {"pointer": f"/data/attributes/{DIGITS}"},
            }
        ]
    }
).encode()

Step = Callable[[Bench], Awaitable[object]]

STEPS: dict[str, Step] = {
    "open a thread": lambda b: b.client.open_thread(PHONE),
    "trigger a flow": lambda b: b.client.trigger_flow(NAMED, NAMES),
    "send a message": lambda b: b.client.send_message(NAMED, NAMES),
    "read a run": lambda b: b.client.read_flow_run(RUN),
    "find runs": lambda b: b.client.find_flow_runs(SEARCH),
    "end": lambda b: b.client.end_conversation(EndConversation(account=ACCOUNT, run_id=RUN, thread_id=THREAD, at=AT)),
    "create a template": lambda b: b.provisioning.create_template(INTAKE_TEXT),
    "set the webhook": lambda b: b.provisioning.set_webhook("https://us.example/hook", SecretStr(HOOK_SECRET)),
}

WITHOUT_RESOURCE_FINE = {"end", "set the webhook"}
"""Steps that take any 2xx for a success."""


def _status(status: int) -> Answering:
    return lambda _request: httpx.Response(status, headers={"x-request-id": "req-9"}, content=ECHO)


def _breaks(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError(f"broken at {request.url} with {request.headers}", request=request)


def everything_about(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


ENDINGS: dict[str, Answering] = {f"answered {n}": _status(n) for n in (200, 301, 400, 401, 422, 429, 500)} | {
    "lost": _breaks
}


@pytest.mark.parametrize(
    ("step", "ending"),
    [(s, e) for s in STEPS for e in ENDINGS if not (s in WITHOUT_RESOURCE_FINE and e == "answered 200")],
)
async def test_whatever_a_provider_echoes_stays_out_of_errors_and_logs(
    step: str, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with capture_logs() as logs, pytest.raises(SendError) as caught:
        await STEPS[step](Bench(ENDINGS[ending]))

    told = everything_about(caught.value) + repr(logs) + caplog.text
    assert [thing for thing in SECRET_THINGS if thing in told] == []
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("reaction", [answers(200, b'{"data":[]}'), answers(500, ECHO), hangs_up, talks_nonsense])
async def test_the_http_library_itself_logs_nothing_of_a_request(
    reaction: Reaction, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    async with serving(reaction) as server:
        http = recrubo_http(ACCOUNT, server.url, SecretStr(TOKEN))
        client = RecruboClient(ACCOUNT, http, RecruboSettings())
        with pytest.raises(SendError) as caught:
            await client.open_thread(PHONE)
        await client.close()
        assert DIGITS in server.exchanges[0].head, "the request did hold the number"

    captured = capsys.readouterr()
    told = everything_about(caught.value) + caplog.text + captured.out + captured.err
    assert [thing for thing in SECRET_THINGS if thing in told] == []


async def test_an_error_tells_account_step_field_and_request_instead() -> None:
    body = {
        "errors": [{"code": "invalid", "title": "Invalid attribute", "source": {"pointer": "/data/attributes/flowId"}}]
    }
    headers = {"x-request-id": "req-9"}
    with pytest.raises(SendError) as caught:
        await Bench(lambda _r: httpx.Response(422, headers=headers, json=body)).client.trigger_flow(SEND, NAMES)

    text = str(caught.value)
    assert [
        part for part in (ACCOUNT, "trigger a flow", "422", "Invalid attribute", "flowId", "req-9") if part not in text
    ] == []
    assert (caught.value.code, caught.value.request_id) == ("invalid", "req-9")


def test_a_token_that_cannot_be_sent_is_refused_without_being_shown() -> None:
    for token in ("", "secret\ntoken", "sécret"):
        with pytest.raises(SetupError) as caught:
            recrubo_http(ACCOUNT, "https://api.recrubo.com", SecretStr(token))
        assert "cret" not in str(caught.value)


async def test_nothing_that_holds_a_person_shows_it_when_printed() -> None:
    bench = Bench(plausible)
    await bench.client.trigger_flow(NAMED, NAMES)

    assert TOKEN not in repr(bench.client)
    assert TOKEN not in repr(vars(bench.client))
