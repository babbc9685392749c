"""The Truora client against the wire vectors: what it asks, and what it makes of every answer."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import httpx
import pytest

from domain.contacts import phone_alias
from domain.errors import OutcomeUnknown, ProviderRejected, ProviderUnavailable, SendError
from domain.sends import SendReceipt
from providers.truora.mapping import template_reading, variables_of
from providers.truora.schemas import Outbound, SendAnswer
from providers.truora.settings import TruoraSettings
from tests.contract.truora_bench import INTAKE, LINE_DIGITS, NAMES, NOTICE, OUTBOUND, SEND, Answering, Bench
from tests.contract.vectors import ROOT, Case, requests_of, responses_of, vectors, webhooks_of

REQUESTS = requests_of("truora")
RESPONSES = responses_of("truora")

Step = Callable[[Bench], Awaitable[object]]

STEPS: dict[str, Step] = {
    "truora/request-outbound-get": lambda b: b.client.read_template(INTAKE, SEND.flow),
    "truora/request-outbounds-list": lambda b: b.client.list_outbounds("main"),
    "truora/request-send-flow-with-variables": lambda b: b.client.trigger_flow(SEND, NAMES),
    "truora/request-send-notification-without-flow": lambda b: b.client.send_message(NOTICE, NAMES),
}
"""The step of ours that makes each request."""

ANSWERED: dict[str, Step] = STEPS | {"truora/request-outbound-get": lambda b: b.outbounds.one(OUTBOUND)}
"""The step whose answer is judged: the reading below the port, where what does not exist is still a refusal."""

CLASSES: dict[str, type[SendError]] = {
    "RETRYABLE": ProviderUnavailable,
    "PERMANENT": ProviderRejected,
    "OUTCOME_UNKNOWN": OutcomeUnknown,
}

BROKEN: dict[str, type[httpx.TransportError]] = {
    "connect_error": httpx.ConnectError,
    "connect_timeout": httpx.ConnectTimeout,
    "write_error": httpx.WriteError,
    "write_timeout": httpx.WriteTimeout,
    "read_timeout": httpx.ReadTimeout,
    "remote_protocol_error": httpx.RemoteProtocolError,
}

CASES = [
    pytest.param(name, case, id=f"{name.removeprefix('truora/')}-{n}")
    for name, vector in RESPONSES.items()
    for n, case in enumerate(vector.all_cases("send"))
]


def test_every_vector_on_disk_is_of_a_kind_that_these_tests_consume() -> None:
    on_disk = {f"truora/{file.stem}" for file in (ROOT / "truora").iterdir()}

    assert on_disk == set(vectors("truora")) == {*REQUESTS, *RESPONSES, *webhooks_of("truora")}
    assert set(STEPS) == set(REQUESTS)
    assert {v.request for v in RESPONSES.values()} <= set(REQUESTS)
    assert len(CASES) >= len(RESPONSES) > 0


@pytest.mark.parametrize("name", sorted(REQUESTS))
async def test_the_client_asks_exactly_what_the_vector_shows(name: str) -> None:
    expected, bench = REQUESTS[name], Bench()
    await STEPS[name](bench)

    assert len(bench.requests) == 1
    request = bench.requests[0]
    assert request.method == expected.method
    assert str(request.url.copy_with(query=None)) == expected.base_url + expected.path
    assert list(request.url.params.multi_items()) == list(expected.query.items())
    for header, value in expected.headers.items():
        assert request.headers[header] == value
    assert expected.body_kind in ("form", "none")
    if expected.body_kind == "none":
        assert request.content == b""
        assert "content-type" not in request.headers
    else:
        assert expected.body is not None
        assert request.content == expected.body.encode()
        assert httpx.QueryParams(request.content.decode()).multi_items() == list(expected.form)


def answering_with(case: Case) -> Answering:
    def wire(request: httpx.Request) -> httpx.Response:
        if case.transport_error:
            raise BROKEN[case.transport_error]("broken", request=request)
        assert case.status is not None
        return httpx.Response(case.status, headers=case.headers, content=(case.body or "").encode())

    return wire


@pytest.mark.parametrize(("name", "case"), CASES)
async def test_an_answer_is_classed_as_the_vector_says(name: str, case: Case) -> None:
    bench = Bench(answering_with(case))
    request_vector = RESPONSES[name].request
    step = ANSWERED["truora/request-outbound-get" if case.operation == "read" else request_vector]
    if name.startswith("truora/response-outbound-notification"):
        step = lambda b: b.outbounds.one("OTB00000000000000000000000000000002")  # noqa: E731 - the vector's own outbound
    expect: dict[str, object] = {key: value for key, value in case.expect.items() if key != "reason"}

    if expect.pop("class") == "OK":
        check_facts(await step(bench), expect)
        return
    with pytest.raises(SendError) as caught:
        await step(bench)
    error = caught.value
    assert type(error) is CLASSES[str(case.expect["class"])]
    assert error.scope.value == expect.pop("scope")
    if "retry_after_s" in expect:
        assert isinstance(error, ProviderUnavailable)
        assert error.retry_after == timedelta(seconds=float(str(expect.pop("retry_after_s"))))
    if "message" in expect:
        assert str(expect.pop("message")) in str(error)
    assert expect == {}, "a member of the vector that no test looks at"


def check_facts(result: object, expect: dict[str, object]) -> None:
    """Compare what the client gives back with every member that the vector expects."""
    if isinstance(result, Outbound):
        reading = template_reading(result, None, TruoraSettings())
        assert reading.template_status.sends is expect.pop("sendable")
        if "status" in expect:
            assert reading.raw_status == expect.pop("status")
        if "needs_flow_id" in expect:
            assert reading.flow_missing is expect.pop("needs_flow_id")
        if "variables" in expect:
            assert list(variables_of(result, TruoraSettings()) or ()) == expect.pop("variables")
    elif isinstance(result, tuple):
        listed = [item for item in result if isinstance(item, Outbound)]
        assert len(listed) == expect.pop("count")
        assert [item.media_url or None for item in listed] == expect.pop("media_url")
        assert [item.default_flow_id or None for item in listed] == expect.pop("default_flow_id")
    elif isinstance(result, SendReceipt):
        assert result.session_id == expect.pop("session_id")
        assert result.aliases == (phone_alias(str(expect.pop("user_phone_number"))),)
        assert expect.pop("flow_id") == (SEND.flow.id if SEND.flow else "")
    assert expect == {}, "a member of the vector that no test looks at"


def test_every_member_that_the_guide_shows_is_read() -> None:
    shown = RESPONSES["truora/response-outbounds-list-bare-array"].json_body
    assert isinstance(shown, list)
    for item in shown:
        assert isinstance(item, dict)
        read = Outbound.model_validate(item).model_dump(mode="json")
        assert set(item) <= set(read)
        assert {k: read[k] for k in item} == {k: "" if v == "undefined" else v for k, v in item.items()}

    answered = RESPONSES["truora/response-send-started"].json_body
    assert isinstance(answered, dict)
    told = SendAnswer.model_validate(answered)
    assert set(answered) <= set(SendAnswer.model_fields)
    assert told.outbound_message.outbound_id == OUTBOUND
    assert told.outbound_message.waba_phone_number == f"+{LINE_DIGITS}"
    assert told.message == "conversation started with +573140000001"
