"""The Recrubo client sends: complete or not at all, once, and with a receipt."""

import json

import pytest
from pydantic import SecretStr

from domain.contacts import Alias, AliasKind
from domain.errors import OutcomeUnknown, ProviderRejected, Scope
from domain.model import JsonValue
from domain.plans import FlowRef, TemplateRef
from domain.sends import Send
from providers.recrubo.client import RecruboClient, recrubo_http
from providers.recrubo.settings import RecruboSettings
from tests.contract.recrubo_bench import (
    ACCOUNT,
    NAMES,
    REFERENCE,
    RUN,
    SEND,
    TEMPLATE,
    THREAD,
    Bench,
    answer,
    in_turn,
    resource,
    run,
)
from tests.unit.providers.scripted_server import answers, serving

WITHOUT_ID: tuple[JsonValue, ...] = (
    None,
    [],
    {"data": []},
    {"data": {"type": "flowRuns"}},
    {"data": {"id": None}},
    {"data": {"id": ""}},
)


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"template": TemplateRef(name="intake_invite", language="en")}, ["initialMessage.template.id"]),
        ({"flow": FlowRef()}, ["flowId"]),
        ({"flow": None}, ["flowId"]),
        ({"thread_id": ""}, ["messageThreadId"]),
        ({"parameters": (("first_name", "Ada"), ("job_title", " "))}, ["parameter 2 (job_title)"]),
        (
            {"template": TemplateRef(name="a", language="en"), "flow": FlowRef(), "thread_id": ""},
            ["messageThreadId", "flowId", "initialMessage.template.id"],
        ),
    ],
)
async def test_an_incomplete_trigger_is_refused_before_the_call_with_every_field_named(
    changes: dict[str, object], fields: list[str]
) -> None:
    bench = Bench(in_turn())
    with pytest.raises(ProviderRejected) as caught:
        await bench.client.trigger_flow(SEND.model_copy(update=changes), NAMES)

    assert (caught.value.scope, caught.value.code) == (Scope.MESSAGE, "incomplete-send")
    assert all(field in str(caught.value) for field in fields)
    assert "Ada" not in str(caught.value)
    assert bench.requests == []


async def test_parameters_go_in_the_order_of_the_template_and_none_means_no_component() -> None:
    bench = Bench()
    two = SEND.model_copy(update={"parameters": (("first_name", "Ada"), ("job_title", "Nurse"))})
    await bench.client.trigger_flow(two, NAMES)
    await bench.client.trigger_flow(SEND.model_copy(update={"parameters": ()}), NAMES)

    messages = [json.loads(r.content)["data"]["attributes"]["initialMessage"] for r in bench.requests]
    texts = [{"type": "text", "text": "Ada"}, {"type": "text", "text": "Nurse"}]
    assert messages[0]["template"]["components"] == [{"type": "body", "parameters": texts}]
    assert messages[1]["template"]["components"] == []


async def test_a_receipt_tells_everything_that_later_events_can_be_tied_by() -> None:
    receipt = await Bench(in_turn(answer(201, {"data": run()}))).client.trigger_flow(SEND, NAMES)

    assert (receipt.reference, receipt.run_id, receipt.thread_id) == (REFERENCE, RUN, THREAD)
    assert receipt.aliases == (Alias(kind=AliasKind.THREAD, value=THREAD, scope=ACCOUNT),)


async def test_a_message_without_a_flow_is_one_post_into_the_thread() -> None:
    bench = Bench(in_turn(answer(201, {"data": resource("messages", "msg-1", deliveryStatus="accepted")})))
    receipt = await bench.client.send_message(SEND.model_copy(update={"flow": None}), NAMES)

    parameters = [{"type": "text", "text": "Ada"}]
    payload = {
        "type": "template",
        "template": {"id": TEMPLATE, "components": [{"type": "body", "parameters": parameters}]},
    }
    attributes = {"sendBy": "Recruiter", "messageThreadId": THREAD, "payload": payload}
    assert json.loads(bench.requests[0].content) == {"data": {"type": "messages", "attributes": attributes}}
    assert bench.asked() == ["POST /messages"]
    assert (receipt.message_id, receipt.run_id) == ("msg-1", "")


@pytest.mark.parametrize("send", [SEND, SEND.model_copy(update={"flow": None})])
async def test_a_send_whose_success_names_no_id_is_outcome_unknown_and_asked_once(send: Send) -> None:
    for body in WITHOUT_ID:
        bench = Bench(in_turn(answer(201, body)))
        with pytest.raises(OutcomeUnknown):
            await (bench.client.trigger_flow(send, NAMES) if send.flow else bench.client.send_message(send, NAMES))
        assert len(bench.requests) == 1


async def test_a_trigger_over_a_real_socket_carries_credential_and_media_type() -> None:
    created = json.dumps({"data": run()}).encode()
    async with serving(answers(201, created)) as server:
        http = recrubo_http(ACCOUNT, f"{server.url}/recrubo/public/v2/", SecretStr("test-org-token"))
        client = RecruboClient(ACCOUNT, http, RecruboSettings())
        assert (await client.trigger_flow(SEND, NAMES)).run_id == RUN
        await client.close()
        [exchange] = server.exchanges

    assert exchange.head.startswith("POST /recrubo/public/v2/flow-runs HTTP/1.1\r\n")
    assert exchange.header("authorization") == "Bearer test-org-token"
    assert exchange.header("content-type") == exchange.header("accept") == "application/vnd.api+json"
