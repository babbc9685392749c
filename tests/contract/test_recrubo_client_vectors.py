"""The Recrubo client against the wire vectors: what it asks, and what it makes of every answer."""

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta

import httpx
import pytest

from domain.calls import EndConversation
from domain.errors import OutcomeUnknown, ProviderRejected, ProviderUnavailable, SendError
from domain.events import FlowRunStatus
from domain.sends import FlowRun, MessageThread, SendReceipt, TemplateReading
from providers.recrubo.errors import TEMPLATE_EXISTS
from providers.recrubo.settings import RecruboSettings
from tests.contract.recrubo_bench import (
    AT,
    INTAKE,
    INTAKE_TEXT,
    NAMES,
    PHONE,
    RUN,
    SEARCH,
    SEND,
    THREAD,
    Answering,
    Bench,
    answer,
    in_turn,
)
from tests.contract.vectors import Case, requests_of, responses_of

REQUESTS = requests_of("recrubo")
RESPONSES = responses_of("recrubo")

Step = Callable[[Bench], Awaitable[object]]

STEPS: dict[str, Step] = {
    "recrubo/request-flow-run-cancel": lambda b: b.client.end_conversation(
        EndConversation(account="acme-recrubo", run_id=RUN, at=AT)
    ),
    "recrubo/request-flow-run-find-by-thread": lambda b: b.client.find_flow_runs(SEARCH),
    "recrubo/request-flow-run-trigger-empty-state": lambda b: b.client.trigger_flow(SEND, NAMES),
    "recrubo/request-flow-run-trigger-with-template": lambda b: b.client.trigger_flow(SEND, NAMES),
    "recrubo/request-template-create": lambda b: b.provisioning.create_template(INTAKE_TEXT),
    "recrubo/request-template-get": lambda b: b.client.read_template(INTAKE, None),
    "recrubo/request-thread-create": lambda b: b.client.open_thread(PHONE),
    "recrubo/request-thread-find-by-identifier": lambda b: b.client.open_thread(PHONE),
    "recrubo/request-thread-pause-chatbot": lambda b: b.client.end_conversation(
        EndConversation(account="acme-recrubo", thread_id=THREAD, pause_thread=True, at=AT)
    ),
}
"""The step of ours that makes each request."""

SETTINGS = {"recrubo/request-flow-run-trigger-empty-state": RecruboSettings(send_reference=False)}

READS: dict[str, Step] = {"read": lambda b: b.client.read_flow_run(RUN)}
"""The step behind an ``operation`` that is not the request's own."""

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

ADVICE = {"then", "reason"}
"""Members of ``expect`` that are words for people."""

CASES = [
    pytest.param(name, case, id=f"{name.removeprefix('recrubo/')}-{n}")
    for name, vector in RESPONSES.items()
    for n, case in enumerate(vector.all_cases("send"))
]


def bench_of(request_vector: str, answering: Answering | None = None) -> Bench:
    settings = SETTINGS.get(request_vector)
    return Bench(answering, settings) if answering else Bench(settings=settings)


def test_every_request_vector_has_a_step_and_every_answer_a_request() -> None:
    assert set(STEPS) == set(REQUESTS)
    assert {v.request for v in RESPONSES.values()} <= set(REQUESTS)
    assert len(CASES) >= len(RESPONSES) > 0


@pytest.mark.parametrize("name", sorted(REQUESTS))
async def test_the_client_asks_exactly_what_the_vector_shows(name: str) -> None:
    expected, bench = REQUESTS[name], bench_of(name)
    await STEPS[name](bench)

    asked = [r for r in bench.requests if r.method == expected.method]
    assert len(asked) == 1
    request = asked[0]
    assert str(request.url.copy_with(query=None)) == expected.base_url + expected.path
    assert list(request.url.params.multi_items()) == list(expected.query.items())
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

    def wire(request: httpx.Request) -> httpx.Response:
        if case.transport_error:
            raise BROKEN[case.transport_error]("broken", request=request)
        assert case.status is not None
        return httpx.Response(case.status, headers=case.headers, content=(case.body or "").encode())

    def handle(request: httpx.Request) -> httpx.Response:
        looks_up = request.method == "GET" and request_vector in (
            "recrubo/request-thread-create",
            "recrubo/request-template-create",
        )
        return answer(200, {"data": []}) if looks_up else wire(request)

    return handle


@pytest.mark.parametrize(("name", "case"), CASES)
async def test_an_answer_is_classed_as_the_vector_says(name: str, case: Case) -> None:
    request_vector = RESPONSES[name].request
    bench = bench_of(request_vector, answering_with(case, request_vector))
    step = STEPS[request_vector] if case.operation == "send" else READS[case.operation]
    expect: dict[str, object] = {key: value for key, value in case.expect.items() if key not in ADVICE}

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
    if "relayed_meta" in expect:
        assert expect.pop("relayed_meta") == {"code": 100, "error_subcode": 2388024}
        assert error.code == TEMPLATE_EXISTS
    assert expect == {}, "a member of the vector that no test looks at"


def check_facts(result: object, expect: dict[str, object]) -> None:
    """Compare what the client gives back with every member that the vector expects."""
    if isinstance(result, SendReceipt):
        assert result.run_id == expect.pop("run_id")
        assert expect.pop("stage") == "accepted_not_started"
    elif isinstance(result, MessageThread):
        assert result.thread_id == expect.pop("thread_id")
        assert result.chatbot_paused is False
    elif isinstance(result, TemplateReading):
        assert result.template_status.sends is expect.pop("sendable")
    elif isinstance(result, list):
        reconciled = expect.pop("reconciled")
        assert isinstance(reconciled, dict)
        assert SEARCH.not_before.isoformat().replace("+00:00", "Z") == reconciled["attempt_started_at"]
        assert (SEARCH.flow_id, SEARCH.reference) == (reconciled["flow_id"], reconciled["reference"])
        assert [run.run_id for run in result if isinstance(run, FlowRun)] == [reconciled["adopt_run_id"]]
    assert expect == {}, "a member of the vector that no test looks at"


@pytest.mark.parametrize("name", ["recrubo/response-flow-run-created", "recrubo/response-flow-run-created-as-queued"])
async def test_created_and_queued_are_the_same_stage(name: str) -> None:
    run = await Bench(in_turn(answer(200, RESPONSES[name].json_body))).client.read_flow_run(RUN)

    assert run.flow_run_status is FlowRunStatus.ACCEPTED
    assert run.answers == {}
    assert run.reference == NAMES.reference
