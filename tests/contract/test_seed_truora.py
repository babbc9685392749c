"""Truora's guide *Start Conversations via API*, statement by statement: T1 to T45 of docs/seed-coverage.md.

The real client speaks to the strict sandbox over a socket wherever the statement is about what happens; where it is
about one member of a request or an answer, that member is looked at.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from pydantic import SecretStr

from domain.contacts import phone_alias
from domain.errors import ProviderRejected, Scope, SetupError
from domain.events import FlowRunChanged, FlowRunStatus
from domain.model import JsonValue
from domain.plans import FlowRef, TemplateRef
from domain.sends import Send, TemplateStatus
from domain.topology import Account, Line
from providers.truora.client import Doors, TruoraClient, truora_http
from providers.truora.kind import senders_of
from providers.truora.settings import BASE_URL, TruoraSettings
from providers.truora.webhook import TruoraWebhookReader
from tests.contract.truora_bench import (
    ACCOUNT,
    API_KEY,
    FLOW,
    INTAKE,
    LINE_DIGITS,
    NAMES,
    NOTICE,
    NOTIFICATION,
    OUTBOUND,
    PHONE,
    SEND,
    SENDERS,
    SESSION,
    SIGNING_KEY,
    Bench,
    answer,
    in_turn,
    outbound,
    started,
)
from tests.contract.vectors import responses_of
from tests.unit.sandbox.truora_playground import DEFAULT_FLOW, KEY, NUMBER, OTHER_LINE, PENDING, TruoraPlay, playing

LISTED = responses_of("truora")["truora/response-outbounds-list-bare-array"].json_body
STARTED = responses_of("truora")["truora/response-send-started"].json_body
BOTH_LINES = {"main": LINE_DIGITS, "other": OTHER_LINE}


@asynccontextmanager
async def client_of(play: TruoraPlay, key: str = KEY) -> AsyncIterator[TruoraClient]:
    """The real client of the sandbox's account."""
    http = truora_http(ACCOUNT, f"{play.url}/truora/v1/whatsapp", SecretStr(key))
    client = TruoraClient(ACCOUNT, Doors(http), TruoraSettings(), BOTH_LINES)
    try:
        yield client
    finally:
        await client.close()


def changed(**members: object) -> Send:
    return SEND.model_copy(update=members)


# -- prerequisites


async def test_t1_a_wrong_key_holds_the_account_and_a_line_without_digits_does_not_start() -> None:
    async with playing(heard=False) as play, client_of(play, "another-key") as client:
        with pytest.raises(ProviderRejected) as refused:
            await client.trigger_flow(SEND, NAMES)
        assert refused.value.scope is Scope.ACCOUNT
        assert await play.rules() == ["authentication"]

    account = Account.model_validate(
        {"slug": "acme", "provider": "truora", "credential": "env:KEY", "webhook_secrets": ["env:SIGNING"]}
    )
    nameless = Line.model_validate({"slug": "main", "account": "acme", "tenants": ["acme"]})
    with pytest.raises(SetupError, match="line main: sender must be"):
        senders_of(account, (nameless,))


async def test_t2_and_t5_a_flow_that_the_account_does_not_have_is_refused() -> None:
    async with playing(heard=False) as play, client_of(play) as client:
        with pytest.raises(ProviderRejected, match=r"flow_id: .*dashboard"):
            await client.trigger_flow(changed(flow=FlowRef()), NAMES)
        with pytest.raises(ProviderRejected) as refused:
            await client.trigger_flow(changed(flow=FlowRef(id="IPF9")), NAMES)
        assert (refused.value.scope, await play.rules()) == (Scope.MESSAGE, ["unknown-flow"])
        assert await play.count("truora/sessions") == 0


async def test_t3_and_t25_only_an_approved_outbound_of_type_flow_is_sent() -> None:
    bonjour = TemplateRef(name="intake", language="fr", id=PENDING)
    async with playing(heard=False) as play, client_of(play) as client:
        assert (await client.read_template(bonjour, FlowRef(id=FLOW))).template_status is TemplateStatus.PENDING
        send = changed(template=bonjour, parameters=(), line="other")
        with pytest.raises(ProviderRejected):
            await client.trigger_flow(send, NAMES)
        assert await play.rules() == ["not-approved"]

        await play.tell(f"truora/outbounds/{PENDING}", status="APPROVED")
        assert (await client.read_template(bonjour, FlowRef(id=FLOW))).template_status.sends
        assert (await client.trigger_flow(send, NAMES)).session_id

        with pytest.raises(ProviderRejected, match="is_notification"):
            await client.read_template(TemplateRef(name="reminder", language="en", id=NOTIFICATION), FlowRef(id=FLOW))


async def test_t4_the_outbound_reaches_the_candidate_and_the_flow_follows_on_acceptance() -> None:
    async with playing() as play, client_of(play) as client:
        receipt = await client.trigger_flow(SEND, NAMES)
        await play.advance(seconds=1)
        assert await play.count(f"phones/{NUMBER}") == 1
        assert await play.status(receipt.session_id) == "sent"

        await play.advance(minutes=5)
        reader = TruoraWebhookReader(ACCOUNT, (SecretStr(SIGNING_KEY),), TruoraSettings())
        events = [event for raw in play.tokens.raw for event in reader.parse(raw).events]
        runs = [event.body.flow_run_status for event in events if isinstance(event.body, FlowRunChanged)]
        assert runs == [FlowRunStatus.RUNNING, FlowRunStatus.RUNNING, FlowRunStatus.FINISHED]
        assert {event.ties.session_id for event in events} == {receipt.session_id}


async def test_t6_an_outbound_id_that_nobody_has_holds_the_template_and_none_is_refused_before_the_call() -> None:
    async with playing(heard=False) as play, client_of(play) as client:
        stranger = changed(template=INTAKE.model_copy(update={"id": "OTB9"}))
        with pytest.raises(ProviderRejected) as refused:
            await client.trigger_flow(stranger, NAMES)
        assert (refused.value.scope, await play.rules()) == (Scope.TEMPLATE, ["unknown-outbound"])
        nameless = changed(template=INTAKE.model_copy(update={"id": ""}))
        with pytest.raises(ProviderRejected, match=r"outbound_id: .*dashboard"):
            await client.trigger_flow(nameless, NAMES)


# -- reading outbounds


async def test_t7_and_t9_the_list_is_asked_for_by_the_digits_of_the_line() -> None:
    bench = Bench()
    await bench.client.list_outbounds("main")

    [request] = bench.requests
    assert request.method == "GET"
    assert str(request.url) == f"https://api.connect.truora.com/v1/whatsapp/outbounds?line={LINE_DIGITS}"
    assert TruoraSettings().base_url == BASE_URL == "https://api.connect.truora.com/v1/whatsapp"
    for wrong in (f"+{LINE_DIGITS}", ""):
        with pytest.raises(ProviderRejected, match="line: must be"):
            await Bench(in_turn()).outbounds.of_line(wrong)


async def test_t8_all_three_calls_carry_the_key() -> None:
    bench = Bench()
    await bench.client.list_outbounds("main")
    await bench.client.read_template(INTAKE, SEND.flow)
    await bench.client.trigger_flow(SEND, NAMES)

    assert [request.headers["truora-api-key"] for request in bench.requests] == [API_KEY] * 3


async def test_t10_the_sandboxs_bare_array_is_read_whole() -> None:
    async with playing(heard=False) as play, client_of(play) as client:
        found = await client.list_outbounds("main")

        assert [item.outbound_id for item in found][:1] == [OUTBOUND]
        assert DEFAULT_FLOW in [item.outbound_id for item in found]
        assert [item.outbound_id for item in await client.list_outbounds("other")] == [NOTIFICATION, PENDING]


MESSAGE_TEXT = "Hi {{.name}} {{.lastname}}! Select “Continue” to start. | [Continue] | [Cancel]"


@pytest.mark.parametrize(
    ("member", "values"),
    [
        pytest.param("client_id", ["TCI00000000000000000000000000000001"] * 3, id="T11"),
        pytest.param("outbound_id", [OUTBOUND, f"{OUTBOUND[:-1]}3", f"{OUTBOUND[:-1]}4"], id="T12"),
        pytest.param("default_flow_id", ["", "", FLOW], id="T13"),
        pytest.param("outbound_name", ["Intake EN", "Intake PT", "Intake ES"], id="T14"),
        pytest.param("outbound_status", ["APPROVED"] * 3, id="T15"),
        pytest.param("failure_reason", [""] * 3, id="T16"),
        pytest.param("is_notification", [False] * 3, id="T17"),
        pytest.param(
            "outbound_message",
            [
                MESSAGE_TEXT,
                "Olá! Selecione “Continuar” para começar. | [Continuar] | [Cancelar]",
                "¡Hola! Seleccione “Continuar” y empiece. | [Continuar] | [Cancelar]",
            ],
            id="T18",
        ),
        pytest.param("waba_phone_number", [f"+{LINE_DIGITS}"] * 3, id="T21"),
        pytest.param("media_url", [""] * 3, id="T22"),
        pytest.param("outbound_type", ["text"] * 3, id="T23"),
        pytest.param("media_id", [""] * 3, id="T24"),
    ],
)
async def test_a_listed_outbound_tells(member: str, values: list[JsonValue]) -> None:
    found = await Bench(in_turn(answer(200, LISTED))).client.list_outbounds("main")

    assert [item.model_dump()[member] for item in found] == values


async def test_t19_and_t20_the_buttons_continue_or_cancel() -> None:
    found = await Bench(in_turn(answer(200, LISTED))).client.list_outbounds("main")

    assert [(button.message, button.action) for button in found[1].outbound_answers] == [
        ("Continuar", "continue_process"),
        ("Cancelar", "cancel_process"),
    ]


async def test_t20_a_candidate_who_taps_cancel_declines() -> None:
    async with playing() as play, client_of(play) as client:
        await play.persona(NUMBER, "declines", by_button=True)
        await client.trigger_flow(SEND, NAMES)
        await play.advance(minutes=5)

        reader = TruoraWebhookReader(ACCOUNT, (SecretStr(SIGNING_KEY),), TruoraSettings())
        bodies = [event.body for raw in play.tokens.raw for event in reader.parse(raw).events]
        runs = [body.flow_run_status for body in bodies if isinstance(body, FlowRunChanged)]
        assert runs == [FlowRunStatus.CANCELLED]


async def test_t26_one_outbound_is_read_by_its_id() -> None:
    async with playing(heard=False) as play, client_of(play) as client:
        read = await client.read_template(INTAKE, FlowRef(id=FLOW))

        assert (read.provider_id, read.template_status, read.variables) == (OUTBOUND, TemplateStatus.APPROVED, 2)
        assert await play.count("calls", operation="outbound-read") == 1


async def test_t27_an_outbound_that_is_no_notification_starts_a_flow_and_another_starts_none() -> None:
    async with playing() as play, client_of(play) as client:
        await client.send_message(NOTICE.model_copy(update={"line": "other"}), NAMES)
        await play.advance(days=2)
        assert [told for told in play.tokens.told if told.startswith("whatsapp_process")] == []

        await client.trigger_flow(SEND, NAMES)
        await play.advance(days=2)
        assert "whatsapp_process started" in play.tokens.told


@pytest.mark.parametrize("word", ["PENDING", "REJECTED"])
async def test_t28_the_other_statuses_are_read_and_do_not_send(word: str) -> None:
    async with playing(heard=False) as play, client_of(play) as client:
        await play.tell(f"truora/outbounds/{OUTBOUND}", status=word, reason="")
        read = await client.read_template(INTAKE, FlowRef(id=FLOW))

        assert (read.raw_status, read.template_status.value, read.template_status.sends) == (word, word, False)


# -- sending


async def sent() -> httpx.Request:
    bench = Bench()
    await bench.client.trigger_flow(SEND, NAMES)
    [request] = bench.requests
    return request


async def test_t29_a_conversation_starts_by_one_post() -> None:
    request = await sent()

    assert (request.method, str(request.url)) == ("POST", f"{BASE_URL}/outbounds/send")


async def test_t30_a_send_is_a_form_and_the_sandbox_takes_no_json() -> None:
    assert (await sent()).headers["content-type"] == "application/x-www-form-urlencoded"
    async with playing(heard=False) as play:
        json_body = json.dumps({"phone_number": "3140000001"})
        refused = await play.api.post(
            "whatsapp/outbounds/send", content=json_body, headers={"Content-Type": "application/json"}
        )
        assert (refused.status_code, await play.rules()) == (415, ["content-type"])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("phone_number", "3140000001", id="T31"),
        pytest.param("country_code", "+57", id="T32"),
        pytest.param("outbound_id", OUTBOUND, id="T33"),
        pytest.param("user_authorized", "true", id="T34"),
        pytest.param("flow_id", FLOW, id="T35"),
        pytest.param("var.name", "Ana & José", id="T36"),
        pytest.param("var.lastname", "Pérez", id="T37"),
    ],
)
async def test_a_send_says_and_the_sandbox_misses_it(name: str, value: str) -> None:
    pairs = httpx.QueryParams((await sent()).content.decode()).multi_items()
    assert [given for field, given in pairs if field == name] == [value]

    async with playing(heard=False) as play:
        whole = await play.send(dict(pairs))
        lacking = await play.send({field: given for field, given in pairs if field != name})
        assert (whole.status_code, lacking.status_code) == (200, 400)
        assert name.removeprefix("var.") in lacking.json()["message"]


async def test_t32_a_number_whose_country_nobody_knows_is_refused_before_the_call() -> None:
    with pytest.raises(ProviderRejected, match="country_code"):
        await Bench(in_turn()).client.trigger_flow(changed(address="+9991234567"), NAMES)


async def test_t36_and_t37_every_variable_of_the_message_needs_a_value() -> None:
    read = await Bench(in_turn(answer(200, outbound()))).client.read_template(INTAKE, FlowRef(id=FLOW))
    assert read.variables == 2

    with pytest.raises(ProviderRejected, match=r"var\.lastname: has no value"):
        await Bench(in_turn()).client.trigger_flow(changed(parameters=(("name", "Ada"),)), NAMES)


# -- the answer to a send


async def test_t38_the_number_of_the_answer_recognises_the_candidate() -> None:
    receipt = await Bench(in_turn(answer(200, STARTED))).client.trigger_flow(SEND, NAMES)

    assert receipt.aliases == (phone_alias(PHONE),)


@pytest.mark.parametrize(
    "members",
    [
        pytest.param({"message": "something else was said"}, id="T39"),
        pytest.param({"outbound_message": {**outbound(), "outbound_name": "renamed"}}, id="T41-object"),
        pytest.param({"outbound_message": MESSAGE_TEXT}, id="T41-text"),
        pytest.param({"flow_id": "IPF9"}, id="T42"),
    ],
)
async def test_of_the_answer_nothing_but_the_session_decides(members: dict[str, JsonValue]) -> None:
    assert isinstance(STARTED, dict)
    receipt = await Bench(in_turn(answer(200, {**STARTED, **members}))).client.trigger_flow(SEND, NAMES)

    assert receipt.session_id == SESSION


async def test_t40_the_session_of_the_answer_is_the_sandboxs_own() -> None:
    async with playing(heard=False) as play, client_of(play) as client:
        receipt = await client.trigger_flow(SEND, NAMES)

        assert receipt.session_id.startswith("WDIS")
        assert (await play.session(receipt.session_id))["status"] == "queued"


async def test_t43_ids_are_opaque_whatever_their_prefix() -> None:
    strange = changed(template=INTAKE.model_copy(update={"id": "7"}), flow=FlowRef(id="my-flow"))
    bench = Bench(in_turn(answer(200, outbound("7")), started(session_id=42)))
    assert (await bench.client.read_template(strange.template, strange.flow)).provider_id == "7"

    assert (await bench.client.trigger_flow(strange, NAMES)).session_id == "42"


async def test_t44_a_masked_number_is_compared_with_nothing_and_names_nobody() -> None:
    for masked in ("+194XXXXXXXX", "+19XXXXXXXX"):
        told = in_turn(answer(200, outbound(waba_phone_number=masked)), started(user_phone_number=masked))
        bench = Bench(told, senders=SENDERS)
        assert (await bench.client.read_template(INTAKE, SEND.flow)).template_status.sends
        assert (await bench.client.trigger_flow(SEND, NAMES)).aliases == ()
