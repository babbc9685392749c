"""Every way in which one HTTP request can end, over real sockets."""

import asyncio
from datetime import timedelta
from urllib.parse import parse_qsl

import pytest
from pydantic import SecretStr

from domain.errors import OutcomeUnknown, ProviderRejected, ProviderUnavailable, Scope, SendError, SetupError
from providers.endings import Answer, Ending, Verdict
from providers.http import FormBody, JsonBody, Limits, ProviderHttp, Request
from tests.unit.providers.scripted_server import (
    Exchange,
    Reaction,
    accepting_in_silence,
    answers,
    answers_half,
    hangs_up,
    refusing_port,
    resets,
    serving,
    stays_silent,
    talks_nonsense,
    trickles,
)

SEND = Request("trigger a flow", "POST", "/flow-runs", body=JsonBody({"to": "31600000001"}))
READ = Request("read a flow run", "GET", "/flow-runs/1")

QUICK = Limits(connect=2, pool=2, write=2, read=2, total=10)


def http_to(url: str, limits: Limits = QUICK) -> ProviderHttp:
    return ProviderHttp("account acme", url, {"authorization": SecretStr("Bearer secret-token")}, limits=limits)


async def ending_of(
    reaction: Reaction, *, is_send: bool, limits: Limits = QUICK, request: Request | None = None
) -> tuple[SendError, int]:
    """The error of one request, and how many requests arrived."""
    async with serving(reaction) as server:
        http = http_to(server.url, limits)
        with pytest.raises(SendError) as caught:
            await (http.send(request or SEND) if is_send else http.call(request or READ))
        await http.close()
        return caught.value, len(server.exchanges)


LOST = [
    pytest.param(hangs_up, QUICK, id="closed without an answer"),
    pytest.param(resets, QUICK, id="reset"),
    pytest.param(answers_half, QUICK, id="half an answer"),
    pytest.param(talks_nonsense, QUICK, id="no protocol"),
    pytest.param(stays_silent, Limits(read=0.2), id="read timeout"),
    pytest.param(trickles, Limits(total=0.3), id="slower than the whole call may take"),
]


@pytest.mark.parametrize(("reaction", "limits"), LOST)
async def test_a_lost_answer_to_a_send_is_outcome_unknown_and_asked_once(reaction: Reaction, limits: Limits) -> None:
    error, arrived = await ending_of(reaction, is_send=True, limits=limits)

    assert type(error) is OutcomeUnknown
    assert error.scope is Scope.MESSAGE
    assert arrived == 1


@pytest.mark.parametrize(("reaction", "limits"), LOST)
async def test_a_lost_answer_to_a_read_may_be_asked_again_but_not_by_us(reaction: Reaction, limits: Limits) -> None:
    error, arrived = await ending_of(reaction, is_send=False, limits=limits)

    assert type(error) is ProviderUnavailable
    assert error.scope is Scope.ACCOUNT
    assert arrived == 1


async def test_a_body_that_cannot_be_written_to_its_end_is_outcome_unknown() -> None:
    async def refuse_to_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(10)
        writer.transport.abort()

    server = await asyncio.start_server(refuse_to_read, "127.0.0.1", 0)
    http = http_to(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    huge = Request("trigger a flow", "POST", "/", body=JsonBody("x" * 30_000_000))
    with pytest.raises(OutcomeUnknown):
        await http.send(huge)
    await http.close()
    server.close()
    await server.wait_closed()


async def test_a_refused_connection_is_known_not_sent() -> None:
    http = http_to(f"http://127.0.0.1:{refusing_port()}")
    with pytest.raises(ProviderUnavailable) as caught:
        await http.send(SEND)
    await http.close()

    assert (caught.value.scope, caught.value.code) == (Scope.ACCOUNT, "connect-error")


async def test_a_failed_tls_handshake_is_known_not_sent() -> None:
    async def greet_in_plain_text(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail ready\r\n")
        writer.close()

    server = await asyncio.start_server(greet_in_plain_text, "127.0.0.1", 0)
    http = http_to(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    with pytest.raises(ProviderUnavailable) as caught:
        await http.send(SEND)
    await http.close()
    server.close()
    await server.wait_closed()

    assert caught.value.code == "connect-error"


async def test_a_tls_handshake_that_takes_too_long_is_known_not_sent() -> None:
    async with accepting_in_silence() as port:
        http = http_to(f"https://127.0.0.1:{port}", Limits(connect=0.2))
        with pytest.raises(ProviderUnavailable) as caught:
            await http.send(SEND)
        await http.close()

    assert caught.value.code == "connect-timeout"


async def test_no_free_connection_is_known_not_sent() -> None:
    arrived = asyncio.Event()

    async def hold(exchange: Exchange) -> None:
        arrived.set()
        await stays_silent(exchange)

    async with serving(hold) as server:
        http = http_to(server.url, Limits(connections=1, pool=0.1, read=5))
        first = asyncio.create_task(http.send(SEND))
        await arrived.wait()
        with pytest.raises(ProviderUnavailable) as caught:
            await http.send(SEND)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await http.close()

        assert caught.value.code == "pool-timeout"
        assert len(server.exchanges) == 1


BY_STATUS = [
    (301, ProviderRejected, Scope.ACCOUNT, ProviderRejected, Scope.ACCOUNT),
    (307, ProviderRejected, Scope.ACCOUNT, ProviderRejected, Scope.ACCOUNT),
    (400, ProviderRejected, Scope.MESSAGE, ProviderRejected, Scope.MESSAGE),
    (401, ProviderRejected, Scope.ACCOUNT, ProviderRejected, Scope.ACCOUNT),
    (403, ProviderRejected, Scope.ACCOUNT, ProviderRejected, Scope.ACCOUNT),
    (404, ProviderRejected, Scope.MESSAGE, ProviderRejected, Scope.MESSAGE),
    (408, OutcomeUnknown, Scope.MESSAGE, ProviderUnavailable, Scope.ACCOUNT),
    (422, ProviderRejected, Scope.MESSAGE, ProviderRejected, Scope.MESSAGE),
    (429, ProviderUnavailable, Scope.ACCOUNT, ProviderUnavailable, Scope.ACCOUNT),
    (500, OutcomeUnknown, Scope.MESSAGE, ProviderUnavailable, Scope.ACCOUNT),
    (503, OutcomeUnknown, Scope.MESSAGE, ProviderUnavailable, Scope.ACCOUNT),
    (599, OutcomeUnknown, Scope.MESSAGE, ProviderUnavailable, Scope.ACCOUNT),
    (700, OutcomeUnknown, Scope.MESSAGE, ProviderUnavailable, Scope.ACCOUNT),
]


@pytest.mark.parametrize(("status", "on_send", "send_scope", "on_read", "read_scope"), BY_STATUS)
async def test_the_status_decides_when_nothing_better_does(
    status: int, on_send: type[SendError], send_scope: Scope, on_read: type[SendError], read_scope: Scope
) -> None:
    sent, _ = await ending_of(answers(status, x_request_id="req-7"), is_send=True)
    read, _ = await ending_of(answers(status, x_request_id="req-7"), is_send=False)

    assert (type(sent), sent.scope, sent.request_id) == (on_send, send_scope, "req-7")
    assert (type(read), read.scope, read.request_id) == (on_read, read_scope, "req-7")


async def test_the_wait_that_a_throttle_asks_for_is_kept() -> None:
    error, _ = await ending_of(answers(429, retry_after="30"), is_send=True)

    assert isinstance(error, ProviderUnavailable)
    assert error.retry_after == timedelta(seconds=30)


async def test_a_failing_server_that_names_a_wait_leaves_a_send_unknown_all_the_same() -> None:
    error, _ = await ending_of(answers(503, retry_after="5"), is_send=True)

    assert type(error) is OutcomeUnknown


async def test_a_redirect_is_never_followed() -> None:
    async with serving(answers(302, location="/elsewhere")) as server:
        http = http_to(server.url)
        with pytest.raises(ProviderRejected):
            await http.call(READ)
        await http.close()

        assert len(server.exchanges) == 1


async def test_cookies_are_not_kept() -> None:
    async with serving(answers(200, b"{}", set_cookie="session=abc; Path=/")) as server:
        http = http_to(server.url)
        await http.call(READ)
        await http.call(READ)
        await http.close()

        assert [exchange.header("cookie") for exchange in server.exchanges] == ["", ""]


async def test_the_environments_proxy_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{refusing_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{refusing_port()}")
    monkeypatch.setenv("NO_PROXY", "")
    async with serving(answers(200, b"{}")) as server:
        http = http_to(server.url)
        assert (await http.call(READ)).status == 200
        await http.close()


async def test_an_answer_beyond_the_limit_is_cut_off_and_no_json() -> None:
    body = b'{"data":"' + b"x" * 5000 + b'"}'
    async with serving(answers(201, body)) as server:
        http = http_to(server.url, Limits(answer_bytes=1000))
        answer = await http.send(SEND)
        await http.close()

    assert (len(answer.body), answer.cut_off, answer.json()) == (1000, True, None)
    assert type(answer.unusable("without an id")) is OutcomeUnknown


async def test_a_refusal_with_a_body_beyond_the_limit_is_still_a_refusal() -> None:
    error, _ = await ending_of(answers(422, b"x" * 5000), is_send=True, limits=Limits(answer_bytes=1000))

    assert type(error) is ProviderRejected


async def test_a_status_that_the_step_expects_is_an_answer() -> None:
    async with serving(answers(404, b"no")) as server:
        http = http_to(server.url)
        answer = await http.call(READ, also=frozenset({404}))
        await http.close()

    assert (answer.status, answer.body) == (404, b"no")
    assert type(answer.unusable("without an id")) is ProviderUnavailable


async def test_a_provider_may_class_an_answer_by_its_own_code() -> None:
    def by_code(answer: Answer, verdict: Verdict) -> Verdict:
        if answer.json() == {"code": 131016}:
            return Verdict(Ending.UNAVAILABLE, Scope.LINE, "131016", "in maintenance")
        return verdict

    async with serving(answers(500, b'{"code":131016}')) as server:
        http = ProviderHttp("account acme", server.url, {}, refine=by_code)
        with pytest.raises(ProviderUnavailable) as caught:
            await http.send(SEND)
        await http.close()

    assert (caught.value.scope, caught.value.code) == (Scope.LINE, "131016")


async def test_a_form_keeps_the_order_of_its_fields_and_a_plus_sign() -> None:
    pairs = (("country_code", "+31"), ("phone_number", "600000001"), ("var.name", "Ada Ö & co"), ("country_code", "x"))
    async with serving(answers(200, b"{}")) as server:
        http = http_to(server.url)
        await http.send(Request("send", "POST", "/send", body=FormBody(pairs)))
        await http.close()

        [exchange] = server.exchanges
        assert exchange.header("content-type") == "application/x-www-form-urlencoded"
        assert tuple(parse_qsl(exchange.body.decode())) == pairs
        assert b"country_code=%2B31" in exchange.body


@pytest.mark.parametrize("url", ["ftp://host/x", "http://", "http://user:pw@host/", "http://[::1", "nothing"])
def test_a_base_url_that_cannot_be_asked_is_refused_at_once_without_being_shown(url: str) -> None:
    with pytest.raises(SetupError) as caught:
        ProviderHttp("account acme", url, {})
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("value", ["", "two\nlines", " padded", "ünicode", "nul\x00"])
def test_a_header_that_cannot_be_sent_is_refused_at_once_without_being_shown(value: str) -> None:
    with pytest.raises(SetupError) as caught:
        ProviderHttp("account acme", "http://127.0.0.1", {"authorization": SecretStr(value)})
    assert "authorization" in str(caught.value)
    assert not value.strip() or value.strip() not in str(caught.value)
