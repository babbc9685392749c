"""Recrubo's guide *Triggering flows*, statement by statement: R1 to R32 of docs/seed-coverage.md.

The real client speaks to the strict sandbox over a socket wherever the statement is about what happens; where it is
about one member of a request or an answer, that member is looked at.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx
import pytest
from pydantic import SecretStr

from domain.errors import OutcomeUnknown, ProviderRejected, Scope
from domain.events import FlowRunChanged, FlowRunStatus
from domain.model import JsonValue
from domain.plans import FlowRef
from domain.sends import Send
from providers.recrubo.client import RecruboClient, recrubo_http
from providers.recrubo.provisioning import RecruboProvisioning
from providers.recrubo.settings import RecruboSettings
from providers.recrubo.webhook import RecruboWebhookReader
from tests.contract.meta_bench import inside
from tests.contract.recrubo_bench import (
    ACCOUNT,
    BASE_URL,
    DIGITS,
    FLOW,
    INTAKE,
    NAMES,
    PHONE,
    REFERENCE,
    RUN,
    SEND,
    TEMPLATE,
    THREAD,
    TOKEN,
    Bench,
    answer,
    in_turn,
    run,
    thread,
)
from tests.unit.sandbox.playground import SECRET, Play, account, playing, settings

MEDIA_TYPE = "application/vnd.api+json"


@asynccontextmanager
async def client_of(play: Play) -> AsyncIterator[RecruboClient]:
    """The real client of the sandbox's organisation."""
    client = RecruboClient(
        ACCOUNT, recrubo_http(ACCOUNT, f"{play.url}/recrubo/public/v2", SecretStr(TOKEN)), RecruboSettings()
    )
    try:
        yield client
    finally:
        await client.close()


async def ready(client: RecruboClient, **changes: object) -> Send:
    """A send on an open thread."""
    opened = await client.open_thread(PHONE)
    return SEND.model_copy(update={"thread_id": opened.thread_id, **changes})


# -- what happens


async def test_r1_a_flow_is_triggered_by_one_flow_run_for_the_thread() -> None:
    async with playing(told=False) as play, client_of(play) as client:
        send = await ready(client)
        receipt = await client.trigger_flow(send, NAMES)

        assert await play.count("calls", operation="run-create") == 1
        assert (await play.run(receipt.run_id))["messageThreadId"] == send.thread_id == receipt.thread_id


async def test_r2_the_chat_starts_in_the_background_after_the_answer() -> None:
    async with playing(told=False) as play, client_of(play) as client:
        await client.trigger_flow(await ready(client), NAMES)
        assert await play.count("phones") == 0

        await play.advance(seconds=5)
        assert await play.count(f"phones/{DIGITS}") == 1


@pytest.mark.parametrize("word", [pytest.param("queued", id="R3"), pytest.param("created", id="R4")])
async def test_a_new_run_is_accepted_by_either_word_and_not_started(word: str) -> None:
    async with playing(settings(account(first_status=word)), told=False) as play, client_of(play) as client:
        receipt = await client.trigger_flow(await ready(client), NAMES)
        read = await client.read_flow_run(receipt.run_id)

        assert (read.flow_run_status, read.raw_status) == (FlowRunStatus.ACCEPTED, word)
        assert not read.flow_run_status.is_end


async def test_r5_a_run_that_started_is_running() -> None:
    async with playing(told=False) as play, client_of(play) as client:
        receipt = await client.trigger_flow(await ready(client), NAMES)
        await play.advance(seconds=5)

        assert (await client.read_flow_run(receipt.run_id)).flow_run_status is FlowRunStatus.RUNNING


async def test_r6_and_r30_a_run_costs_nothing_until_it_is_running() -> None:
    async with playing(told=False) as play, client_of(play) as client:
        receipt = await client.trigger_flow(await ready(client), NAMES)
        assert (await client.read_flow_run(receipt.run_id)).cost == "0"

        await play.advance(seconds=5)
        assert (await client.read_flow_run(receipt.run_id)).cost == "1"


async def test_r7_without_a_flow_of_the_account_nothing_is_sent_and_the_field_is_named() -> None:
    async with playing(told=False) as play, client_of(play) as client:
        for flow in (FlowRef(), FlowRef(id="nobodys-flow")):
            send = await ready(client, flow=flow)
            with pytest.raises(ProviderRejected, match="flowId") as refused:
                await client.trigger_flow(send, NAMES)
            assert refused.value.scope is Scope.MESSAGE

        await play.advance(minutes=5)
        assert await play.count("phones") == 0


async def test_r8_a_start_that_the_number_cannot_deliver_ends_as_failed() -> None:
    async with playing(told=False) as play, client_of(play) as client:
        await play.persona(DIGITS, "unreachable")
        receipt = await client.trigger_flow(await ready(client), NAMES)
        await play.advance(seconds=5)

        read = await client.read_flow_run(receipt.run_id)
        assert (read.flow_run_status, read.raw_status) == (FlowRunStatus.FAILED, "exception")


async def test_r9_and_r32_the_subscription_that_we_make_announces_the_start() -> None:
    async with playing(settings(account(subscriptions=())), told=False) as play:
        http = recrubo_http(ACCOUNT, f"{play.url}/recrubo/public/v2", SecretStr(TOKEN))
        provisioning = RecruboProvisioning(ACCOUNT, http, RecruboSettings())
        await provisioning.set_webhook(play.receiver.url, SecretStr(SECRET))
        assert await provisioning.subscribe() == 4
        await provisioning.close()
        async with client_of(play) as client:
            receipt = await client.trigger_flow(await ready(client), NAMES)
            await play.advance(seconds=2)

        [hook] = [hook for hook in play.receiver.hooks if hook.name == "run running"]
        body = json.dumps(hook.body).encode()
        reader = RecruboWebhookReader(ACCOUNT, (SecretStr(SECRET),), RecruboSettings())
        reader.verify(body, hook.headers)
        [event] = reader.parse(body).events
        assert isinstance(event.body, FlowRunChanged)
        assert event.body.flow_run_status is FlowRunStatus.RUNNING
        assert (event.ties.run_id, event.ties.reference) == (receipt.run_id, REFERENCE)


async def test_r17_a_start_without_a_template_never_leaves() -> None:
    bench = Bench(in_turn())
    bare = SEND.model_copy(update={"template": INTAKE.model_copy(update={"id": ""})})
    with pytest.raises(ProviderRejected, match=r"initialMessage\.template\.id"):
        await bench.client.trigger_flow(bare, NAMES)

    assert bench.requests == []


# -- what is asked


async def thread_request() -> httpx.Request:
    bench = Bench()
    await bench.client.open_thread(PHONE)
    [request] = [request for request in bench.requests if request.method == "POST"]
    return request


async def trigger_request(settings_of_account: RecruboSettings | None = None) -> httpx.Request:
    bench = Bench(settings=settings_of_account)
    await bench.client.trigger_flow(SEND, NAMES)
    [request] = bench.requests
    return request


async def test_r10_the_base_is_that_of_the_guide_where_the_account_names_none() -> None:
    assert RecruboSettings().base_url == BASE_URL == "https://api.recrubo.com/public/v2"
    assert str((await trigger_request()).url) == "https://api.recrubo.com/public/v2/flow-runs"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        pytest.param("authorization", f"Bearer {TOKEN}", id="R11"),
        pytest.param("content-type", MEDIA_TYPE, id="R12"),
    ],
)
async def test_both_writes_carry_the_header(header: str, value: str) -> None:
    for request in (await thread_request(), await trigger_request()):
        assert request.headers[header] == value


async def test_r13_a_thread_is_opened_by_post() -> None:
    request = await thread_request()

    assert (request.method, request.url.path) == ("POST", "/public/v2/message-threads")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param(("data", "type"), "messageThreads", id="R14"),
        pytest.param(("data", "attributes", "channel"), "whatsapp", id="R15"),
        pytest.param(("data", "attributes", "identifier"), "31600000001", id="R16"),
    ],
)
async def test_a_thread_request_says(path: tuple[str, ...], value: JsonValue) -> None:
    assert inside(json.loads((await thread_request()).content), *path) == value


ATTRIBUTES = ("data", "attributes")
MESSAGE = (*ATTRIBUTES, "initialMessage")
COMPONENT = (*MESSAGE, "template", "components", 0)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param(("data", "type"), "flowRuns", id="R18"),
        pytest.param((*ATTRIBUTES, "flowId"), FLOW, id="R19"),
        pytest.param((*ATTRIBUTES, "messageThreadId"), THREAD, id="R20"),
        pytest.param((*MESSAGE, "type"), "template", id="R22"),
        pytest.param((*MESSAGE, "template", "id"), TEMPLATE, id="R23"),
        pytest.param((*COMPONENT, "type"), "body", id="R24"),
        pytest.param((*COMPONENT, "parameters"), [{"type": "text", "text": "Ada"}], id="R25"),
    ],
)
async def test_a_trigger_says(path: tuple[str | int, ...], value: JsonValue) -> None:
    request = await trigger_request()

    assert (request.method, request.url.path) == ("POST", "/public/v2/flow-runs")
    assert inside(json.loads(request.content), *path) == value


async def test_r21_the_state_is_empty_as_in_the_guide_where_our_reference_is_switched_off() -> None:
    ours, bare = await trigger_request(), await trigger_request(RecruboSettings(send_reference=False))

    assert inside(json.loads(bare.content), *ATTRIBUTES, "state") == {}
    assert inside(json.loads(ours.content), *ATTRIBUTES, "state") == {"clientReference": REFERENCE}


# -- what is answered


async def test_r26_the_id_of_the_answer_decides_and_its_type_is_not_compared() -> None:
    told: JsonValue = {"id": RUN, "type": "anything", "attributes": {}}
    assert (await Bench(in_turn(answer(201, {"data": told}))).client.trigger_flow(SEND, NAMES)).run_id == RUN

    with pytest.raises(OutcomeUnknown):
        await Bench(in_turn(answer(201, {"data": {"type": "flowRuns"}}))).client.trigger_flow(SEND, NAMES)


async def test_r27_instants_with_an_offset_are_read_as_utc() -> None:
    dated = run(createdAt="2024-04-16T07:05:39+00:00", updatedAt="2024-04-16T07:05:40+00:00")
    read = await Bench(in_turn(answer(200, {"data": dated}))).client.read_flow_run(RUN)
    assert read.created_at == datetime(2024, 4, 16, 7, 5, 39, tzinfo=UTC)

    reader = RecruboWebhookReader(ACCOUNT, (SecretStr(SECRET),), RecruboSettings())
    hook = {"data": {"type": "webhookPayload", "attributes": {"event": "update", "resource": dated}}}
    [event] = reader.parse(json.dumps(hook).encode()).events
    assert event.occurred_at == datetime(2024, 4, 16, 7, 5, 40, tzinfo=UTC)


async def test_r28_an_answer_with_other_ids_than_were_sent_is_taken_all_the_same() -> None:
    odd = account(answers_other_ids=True)
    async with playing(settings(odd), told=False) as play, client_of(play) as client:
        receipt = await client.trigger_flow(await ready(client), NAMES)
        await play.advance(seconds=5)

        assert await play.count(f"phones/{DIGITS}") == 1
        read = await client.read_flow_run(receipt.run_id)
        assert (read.flow_id, read.template_id, read.thread_id, read.reference) == (
            FLOW,
            TEMPLATE,
            receipt.thread_id,
            REFERENCE,
        )


async def test_r29_whatever_the_context_holds_changes_nothing() -> None:
    contexts: tuple[JsonValue, ...] = ({}, {"anything": [1]}, None)
    reads = [
        await Bench(in_turn(answer(200, {"data": run(context=context)}))).client.read_flow_run(RUN)
        for context in contexts
    ]

    assert reads[0] == reads[1] == reads[2]
    assert "anything" not in reads[1].answers


async def test_r31_ids_are_opaque_and_need_be_no_uuids() -> None:
    odd = SEND.model_copy(
        update={
            "thread_id": "7q!/x",
            "flow": FlowRef(id="eb432e9-0000"),
            "template": INTAKE.model_copy(update={"id": "7fqa9715-q"}),
        }
    )
    bench = Bench(in_turn(answer(200, {"data": [thread("7q!/x")]}), answer(201, {"data": run("no uuid")})))
    assert (await bench.client.open_thread(PHONE)).thread_id == "7q!/x"
    assert (await bench.client.trigger_flow(odd, NAMES)).run_id == "no uuid"

    body = json.loads(bench.requests[1].content)
    assert inside(body, *ATTRIBUTES, "messageThreadId") == "7q!/x"
    assert inside(body, *ATTRIBUTES, "flowId") == "eb432e9-0000"
    assert inside(body, *MESSAGE, "template", "id") == "7fqa9715-q"
