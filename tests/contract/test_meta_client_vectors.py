"""The Meta client against the wire vectors: what it asks, and what it makes of every answer."""

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta

import httpx
import pytest

from domain.contacts import Alias, AliasKind
from domain.errors import OutcomeUnknown, ProviderRejected, ProviderUnavailable, SendError
from domain.sends import SendReceipt, TemplateReading
from providers.meta.errors import TABLE
from providers.meta.messages import FlowMode
from tests.contract.meta_bench import (
    BUTTON,
    FLOW_JSON,
    GREETING_SEND,
    INTAKE,
    INTERACTIVE,
    NAMES,
    SEND,
    SPEC,
    TEMPLATE_ID,
    Answering,
    Bench,
    listing,
    template,
)
from tests.contract.vectors import Case, requests_of, responses_of

REQUESTS = requests_of("meta")
RESPONSES = responses_of("meta")

Step = Callable[[Bench], Awaitable[object]]

CREATE = "meta/request-template-create-flow-id"

BY_NAME = INTERACTIVE.model_copy(update={"flow_id": "", "flow_name": "intake_flow", "mode": FlowMode.DRAFT})
NAMED_FLOW = SPEC.model_copy(update={"button": BUTTON.model_copy(update={"flow_id": "", "flow_name": "intake_flow"})})
WRITTEN_FLOW = SPEC.model_copy(update={"button": BUTTON.model_copy(update={"flow_id": "", "flow_json": FLOW_JSON})})

STEPS: dict[str, Step] = {
    "meta/request-send-template-flow-button": lambda b: b.client.trigger_flow(SEND, NAMES),
    "meta/request-send-template-body-variable": lambda b: b.client.trigger_flow(GREETING_SEND, NAMES),
    "meta/request-send-interactive-flow": lambda b: b.client.send_interactive_flow(INTERACTIVE, NAMES),
    "meta/request-send-interactive-flow-name-draft": lambda b: b.client.send_interactive_flow(BY_NAME, NAMES),
    CREATE: lambda b: b.provisioning.create_template(SPEC),
    "meta/request-template-create-flow-name": lambda b: b.provisioning.create_template(NAMED_FLOW),
    "meta/request-template-create-flow-json": lambda b: b.provisioning.create_template(WRITTEN_FLOW),
    "meta/request-template-list-by-name": lambda b: b.client.read_template(INTAKE, SEND.flow),
}
"""The step of ours that makes each request."""

OPERATIONS: dict[str, str] = {"read": "meta/request-template-list-by-name", "template_create": CREATE}
"""The request behind an ``operation`` that is not the vector's own."""

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

THEN: dict[str, Callable[[SendError], bool]] = {
    "hold until the template reads APPROVED": lambda e: e.scope.is_shared,
    "alert, wait at least an hour": lambda e: (
        TABLE[e.code].alert and isinstance(e, ProviderUnavailable) and e.retry_after == timedelta(hours=1)
    ),
    "window closed: use a template": lambda e: "use a template" in str(e),
    "suppress marketing": lambda e: isinstance(e, ProviderRejected) and e.suppress,
}
"""What ``then`` asks for, where the error itself can show it."""

ELSEWHERE = {
    "template already exists in this language: read it and use it",
    "list by name before creating again",
    "2xx without messages[0].id",
}
"""Words of ``then`` and ``reason`` that other tests are about."""

MORE_ASKED = {
    "meta/request-template-list-by-name": {
        "fields": f"{REQUESTS['meta/request-template-list-by-name'].query['fields']},rejected_reason"
    }
}
"""What we ask for beyond a vector: why a template was rejected is told only to who asks."""

CASES = [
    pytest.param(name, case, id=f"{name.removeprefix('meta/')}-{n}")
    for name, vector in RESPONSES.items()
    for n, case in enumerate(vector.all_cases("send"))
]


def test_every_request_vector_has_a_step_and_every_answer_a_request() -> None:
    assert set(STEPS) == set(REQUESTS)
    assert {v.request for v in RESPONSES.values()} <= set(REQUESTS)
    assert len(CASES) > len(RESPONSES) > 0


@pytest.mark.parametrize("name", sorted(REQUESTS))
async def test_the_client_asks_exactly_what_the_vector_shows(name: str) -> None:
    expected, bench = REQUESTS[name], Bench()
    await STEPS[name](bench)

    asked = [r for r in bench.requests if r.method == expected.method]
    assert len(asked) == 1
    request = asked[0]
    assert str(request.url.copy_with(query=None)) == expected.base_url + expected.path
    assert dict(request.url.params) == expected.query | MORE_ASKED.get(name, {})
    for header, value in expected.headers.items():
        assert request.headers[header] == value
    assert expected.body_kind in ("json", "none")
    if expected.body_kind == "none":
        assert request.content == b""
        assert "content-type" not in request.headers
    else:
        assert json.loads(request.content) == expected.json_body


def answering_with(case: Case, request_vector: str) -> Answering:
    """The vector's answer to the vector's request, and what comes before and after it."""
    method, answered = REQUESTS[request_vector].method, 0

    def handle(request: httpx.Request) -> httpx.Response:
        nonlocal answered
        if request.method != method or answered:
            return listing()
        answered += 1
        if case.transport_error:
            raise BROKEN[case.transport_error]("broken", request=request)
        assert case.status is not None
        return httpx.Response(case.status, headers=case.headers, content=(case.body or "").encode())

    return handle


@pytest.mark.parametrize(("name", "case"), CASES)
async def test_an_answer_is_classed_as_the_vector_says(name: str, case: Case) -> None:
    request_vector = OPERATIONS.get(case.operation, RESPONSES[name].request)
    bench = Bench(answering_with(case, request_vector))
    expect: dict[str, object] = dict(case.expect)

    if expect.pop("class") == "OK":
        check_facts(await STEPS[request_vector](bench), expect, bench)
        return
    with pytest.raises(SendError) as caught:
        await STEPS[request_vector](bench)
    error = caught.value
    assert type(error) is CLASSES[str(case.expect["class"])]
    assert error.scope.value == expect.pop("scope")
    if "code" in expect:
        assert error.code.split("/")[0] == str(expect.pop("code"))
    if "retry_after_s" in expect:
        assert isinstance(error, ProviderUnavailable)
        assert error.retry_after == timedelta(seconds=float(str(expect.pop("retry_after_s"))))
    if "not_before_s" in expect:
        assert TABLE[error.code].not_again_for == timedelta(seconds=float(str(expect.pop("not_before_s"))))
        assert "not again within 24 hours" in str(error)
    for words in ("then", "reason"):
        told = str(expect.pop(words, ""))
        assert not told or told in ELSEWHERE or THEN[told](error)
    assert expect == {}, "a member of the vector that no test looks at"


def check_facts(result: object, expect: dict[str, object], bench: Bench) -> None:
    """Compare what the client gives back with every member that the vector expects."""
    if isinstance(result, SendReceipt):
        assert result.reference == NAMES.reference
        assert result.message_id == expect.pop("message_id")
        assert ("held" if result.held else "accepted") == expect.pop("stage")
        assert result.aliases == (Alias(kind=AliasKind.WA_ID, value=str(expect.pop("wa_id"))),)
    elif isinstance(result, TemplateReading):
        assert result.provider_id == expect.pop("template_id") == TEMPLATE_ID
        assert result.template_status.sends is expect.pop("sendable")
        if "status" in expect:
            assert result.template_status.value == expect.pop("status")
            pages = [r.url.params.get("after") for r in bench.requests]
            assert pages == ([None, "MjQZD"] if expect.pop("has_next_page") else [None])
    assert expect == {}, "a member of the vector that no test looks at"


async def test_the_category_that_comes_back_is_kept_not_the_one_that_was_sent() -> None:
    def changed(request: httpx.Request) -> httpx.Response:
        other = {"id": TEMPLATE_ID, "status": "PENDING", "category": "UTILITY"}
        return listing() if request.method == "GET" else httpx.Response(200, json=other)

    assert (await Bench(changed).provisioning.create_template(SPEC)).category == "UTILITY"


async def test_a_template_on_a_later_page_is_found() -> None:
    pages = iter([listing(template("1", name="intake_v10"), after="next"), listing(template("2"))])
    reading = await Bench(lambda _request: next(pages)).client.read_template(INTAKE, SEND.flow)

    assert reading.provider_id == "2"
