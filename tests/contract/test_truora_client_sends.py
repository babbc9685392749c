"""Sends through Truora: what leaves, what is refused before anything leaves, and how a send ends on a real socket."""

from collections.abc import Callable

import httpx
import pytest
from pydantic import SecretStr

from domain.calls import EndConversation
from domain.contacts import phone_alias
from domain.errors import NotSent, OutcomeUnknown, ProviderRejected, ProviderUnavailable, Scope
from domain.events import FlowRunStatus
from domain.plans import FlowRef
from domain.sends import FlowRunSearch, Send, SendNames
from providers.truora import client as client_module
from providers.truora.client import Doors, TruoraClient, truora_http
from providers.truora.settings import CountryCodeFormat, TruoraSettings
from tests.contract.truora_bench import (
    ACCOUNT,
    API_KEY,
    AT,
    FLOW,
    INTAKE,
    NAMES,
    NOTICE,
    NOTIFICATION,
    OTHER_FLOW,
    OUTBOUND,
    PHONE,
    PROCESS,
    PROCESS_URL,
    REFERENCE,
    REMINDER,
    SEND,
    SENDERS,
    SESSION,
    Bench,
    answer,
    in_turn,
    outbound,
    plausible,
    started,
)
from tests.unit.providers.scripted_server import (
    Reaction,
    answers,
    answers_half,
    hangs_up,
    refusing_port,
    resets,
    serving,
    stays_silent,
)

BY_DEFAULT = SEND.model_copy(update={"flow": FlowRef()})


def pairs_of(request: httpx.Request) -> dict[str, str]:
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    sent = httpx.QueryParams(request.content.decode()).multi_items()
    assert len(dict(sent)) == len(sent), "a field went twice"
    return dict(sent)


def changed(**members: object) -> Send:
    return SEND.model_copy(update=members)


async def refused(send: Send, settings: TruoraSettings | None = None, bench: Bench | None = None) -> str:
    """The text with which ``send`` is refused before any call."""
    there = bench or Bench(in_turn(), settings)
    before = len(there.requests)
    with pytest.raises(ProviderRejected) as caught:
        await (there.client.trigger_flow if send.flow else there.client.send_message)(send, NAMES)
    assert caught.value.scope is Scope.MESSAGE
    assert len(there.requests) == before, "it was refused before the call"
    return str(caught.value)


async def test_a_send_keeps_session_and_number_and_the_reference_as_names() -> None:
    receipt = await Bench().client.trigger_flow(SEND, NAMES)

    assert receipt.session_id == SESSION
    assert receipt.reference == REFERENCE
    assert (receipt.run_id, receipt.message_id, receipt.thread_id) == ("", "", "")
    assert receipt.aliases == (phone_alias(PHONE),)


@pytest.mark.parametrize("told", ["+57314XXXXXXX", "undefined", "", None, "12"])
async def test_a_masked_or_missing_number_in_the_answer_names_nobody(told: str | None) -> None:
    receipt = await Bench(in_turn(started(user_phone_number=told))).client.trigger_flow(SEND, NAMES)

    assert receipt.aliases == ()


@pytest.mark.parametrize("session", ["", None, "undefined", {}, [SESSION], True])
async def test_a_success_without_session_is_never_sent_again(session: str | None) -> None:
    with pytest.raises(OutcomeUnknown, match="session_id"):
        await Bench(in_turn(started(session_id=session))).client.trigger_flow(SEND, NAMES)


async def test_only_the_session_of_the_answer_decides() -> None:
    told = answer(201, {"session_id": SESSION, "flow_id": OTHER_FLOW, "outbound_message": "a text here", "new": 1})

    assert (await Bench(in_turn(told)).client.trigger_flow(SEND, NAMES)).session_id == SESSION


async def test_plus_and_letters_beyond_ascii_travel_escaped() -> None:
    bench = Bench()
    await bench.client.trigger_flow(changed(parameters=(("name", "A+B = 1&2%"), ("lastname", "李 😀\nx"))), NAMES)

    body = bench.requests[0].content
    assert b"country_code=%2B57&" in body
    assert b"+57" not in body
    assert b"var.name=A%2BB+%3D+1%262%25" in body
    assert pairs_of(bench.requests[0])["var.lastname"] == "李 😀\nx"


@pytest.mark.parametrize(
    ("how", "address", "code", "rest"),
    [
        (CountryCodeFormat.PLUS_AND_DIGITS, PHONE, "+57", "3140000001"),
        (CountryCodeFormat.DIGITS, PHONE, "57", "3140000001"),
        (CountryCodeFormat.REGION, PHONE, "CO", "3140000001"),
        (CountryCodeFormat.PLUS_AND_DIGITS, "+390612345678", "+39", "0612345678"),
        (CountryCodeFormat.PLUS_AND_DIGITS, "+5491123456789", "+54", "91123456789"),
        (CountryCodeFormat.REGION, "+14165550123", "CA", "4165550123"),
        (CountryCodeFormat.DIGITS, "+12025550123", "1", "2025550123"),
    ],
)
async def test_the_number_is_split_as_configured_and_loses_no_digit(
    how: CountryCodeFormat, address: str, code: str, rest: str
) -> None:
    bench = Bench(settings=TruoraSettings(country_code=how))
    await bench.client.trigger_flow(changed(address=address), NAMES)

    sent = pairs_of(bench.requests[0])
    assert (sent["country_code"], sent["phone_number"]) == (code, rest)


async def test_our_reference_travels_as_account_id_only_when_switched_on() -> None:
    off, on = Bench(), Bench(settings=TruoraSettings(send_reference=True))
    await off.client.trigger_flow(SEND, NAMES)
    await on.client.trigger_flow(SEND, NAMES)

    assert "account_id" not in pairs_of(off.requests[0])
    assert pairs_of(on.requests[0])["account_id"] == REFERENCE
    with pytest.raises(ProviderRejected, match="account_id"):
        await on.client.trigger_flow(SEND, SendNames(reference="a b", flow_token="x"))


REFUSALS: dict[str, tuple[Send, str]] = {
    "no outbound": (changed(template=INTAKE.model_copy(update={"id": ""})), "outbound_id"),
    "an outbound that is no id": (changed(template=INTAKE.model_copy(update={"id": "../x y"})), "outbound_id"),
    "a flow that is no id": (changed(flow=FlowRef(id="IPF 1")), "flow_id"),
    "a country that nobody has": (changed(address="+9991234567"), "country_code"),
    "a variable without value": (changed(parameters=(("name", " "), ("lastname", "B"))), "var.name: has no value"),
    "a variable left out": (changed(parameters=(("name", "A"),)), "var.lastname: has no value"),
    "a variable given twice": (changed(parameters=(*SEND.parameters, ("name", "B"))), "var.name: given twice"),
    "a name that is none": (changed(parameters=(*SEND.parameters, ("a=b&c", "B"))), "var. number 3"),
    "text that cannot be written": (changed(parameters=(("name", "\ud800"), ("lastname", "B"))), "var.name: holds"),
    "a line of somebody else": (changed(line="other"), "line: other"),
}


@pytest.mark.parametrize(("send", "field"), REFUSALS.values(), ids=REFUSALS)
async def test_what_truora_would_refuse_is_refused_before_the_call_and_named(send: Send, field: str) -> None:
    text = await refused(send)

    assert field in text
    assert ACCOUNT in text
    assert send.address.removeprefix("+") not in text
    for _, value in SEND.parameters:
        assert value not in text


async def test_every_mistake_of_a_send_is_told_at_once() -> None:
    send = changed(
        template=INTAKE.model_copy(update={"id": ""}), parameters=(("name", ""),), flow=FlowRef(id="a b"), line="x"
    )
    text = await refused(send)

    named = ("outbound_id", "var.name", "var.lastname", "flow_id", "line: x")
    assert [field for field in named if field not in text] == []


async def test_a_region_that_cannot_be_told_is_refused() -> None:
    settings = TruoraSettings(country_code=CountryCodeFormat.REGION)

    assert "country_code" in await refused(changed(address="+12001234567"), settings)


async def test_the_flow_of_the_outbound_is_used_where_the_plan_names_none() -> None:
    bench = Bench(in_turn(answer(200, outbound(default_flow_id=OTHER_FLOW)), started(), started()))
    await bench.client.read_template(INTAKE, FlowRef())
    await bench.client.trigger_flow(BY_DEFAULT, NAMES)
    await bench.client.trigger_flow(SEND, NAMES)

    assert bench.asked() == [f"GET /outbounds/{OUTBOUND}", "POST /outbounds/send", "POST /outbounds/send"]
    assert pairs_of(bench.requests[1])["flow_id"] == OTHER_FLOW
    assert pairs_of(bench.requests[2])["flow_id"] == FLOW, "the plan's own flow comes first"


async def test_a_process_that_has_not_read_the_outbound_yet_reads_it_first_and_sends_once() -> None:
    bench = Bench(in_turn(answer(200, outbound(default_flow_id=OTHER_FLOW)), started()))
    receipt = await bench.client.trigger_flow(BY_DEFAULT, NAMES)

    assert bench.asked() == [f"GET /outbounds/{OUTBOUND}", "POST /outbounds/send"]
    assert receipt.session_id == SESSION


@pytest.mark.parametrize(
    ("look", "error"),
    [
        (answer(404), ProviderRejected),
        (answer(500), ProviderUnavailable),
        (httpx.ReadTimeout("slow"), ProviderUnavailable),
        (answer(200, outbound()), ProviderRejected),
        (answer(200, outbound(default_flow_id="undefined")), ProviderRejected),
        (answer(200, outbound(is_notification=True)), ProviderRejected),
        (answer(200, outbound(default_flow_id=FLOW, waba_phone_number="+15550199999")), ProviderRejected),
    ],
)
async def test_a_look_that_brings_no_flow_sends_nothing(look: httpx.Response | Exception, error: type[NotSent]) -> None:
    bench = Bench(in_turn(look))
    with pytest.raises(error):
        await bench.client.trigger_flow(BY_DEFAULT, NAMES)

    assert bench.asked() == [f"GET /outbounds/{OUTBOUND}"]


async def test_a_look_that_takes_too_long_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "LOOK_FIRST_SECONDS", 0.05)
    async with serving(stays_silent) as server:
        client = socket_client(server.url)
        with pytest.raises(ProviderUnavailable, match="read an outbound"):
            await client.trigger_flow(BY_DEFAULT, NAMES)
        await client.close()

    assert "POST" not in "".join(exchange.head for exchange in server.exchanges)


async def test_a_notification_takes_no_flow_and_a_flow_outbound_no_plain_send() -> None:
    bench = Bench(
        in_turn(
            answer(200, outbound(NOTIFICATION, is_notification=True, outbound_message="x")), answer(200, outbound())
        )
    )
    await bench.client.read_template(REMINDER, None)
    await bench.client.read_template(INTAKE, SEND.flow)

    assert "is_notification" in await refused(changed(template=REMINDER, parameters=()), bench=bench)
    assert "flow_id" in await refused(
        NOTICE.model_copy(update={"template": INTAKE, "parameters": SEND.parameters}), bench=bench
    )


async def test_a_flow_send_without_flow_is_refused() -> None:
    bench = Bench(in_turn())
    with pytest.raises(ProviderRejected, match="flow_id"):
        await bench.client.trigger_flow(changed(flow=None), NAMES)


async def test_an_outbound_of_another_line_never_leaves_through_this_one() -> None:
    senders = {**SENDERS, "second": "15550199999"}
    bench = Bench(in_turn(answer(200, outbound()), started()), senders=senders)
    await bench.client.read_template(INTAKE, SEND.flow)

    assert "waba_phone_number" in await refused(changed(line="second"), bench=bench)
    await bench.client.trigger_flow(SEND, NAMES)


async def test_lines_are_not_compared_when_that_is_switched_off() -> None:
    bench = Bench(settings=TruoraSettings(check_sender=False), senders={"main": "15550199999"})
    await bench.client.read_template(INTAKE, SEND.flow)

    assert (await bench.client.trigger_flow(changed(line="elsewhere"), NAMES)).session_id == SESSION


SOCKET_ENDINGS: dict[str, tuple[Reaction, type[Exception]]] = {
    "the connection closes without a word": (hangs_up, OutcomeUnknown),
    "the connection is reset": (resets, OutcomeUnknown),
    "half an answer comes": (answers_half, OutcomeUnknown),
    "the server fails": (answers(503, b"", retry_after="10"), OutcomeUnknown),
    "a success without session": (answers(200, b'{"message":"ok"}'), OutcomeUnknown),
    "it is throttled": (answers(429), ProviderUnavailable),
    "it is refused": (answers(400, b'{"code":10400,"message":"flow_id is required"}'), ProviderRejected),
}


@pytest.mark.parametrize(("reaction", "ending"), SOCKET_ENDINGS.values(), ids=SOCKET_ENDINGS)
async def test_a_send_on_a_real_socket_ends_as_the_table_says_and_asks_once(
    reaction: Reaction, ending: type[Exception]
) -> None:
    async with serving(reaction) as server:
        client = socket_client(server.url)
        with pytest.raises(ending):
            await client.trigger_flow(SEND, NAMES)
        await client.close()

    assert len(server.exchanges) == 1
    exchange = server.exchanges[0]
    assert exchange.head.startswith("POST /outbounds/send HTTP/1.1")
    assert exchange.header("truora-api-key") == API_KEY
    assert exchange.header("content-type") == "application/x-www-form-urlencoded"
    assert exchange.body.startswith(b"phone_number=3140000001&country_code=%2B57&outbound_id=OTB")


async def test_a_port_that_nobody_listens_on_is_proven_unsent() -> None:
    client = socket_client(f"http://127.0.0.1:{refusing_port()}")
    with pytest.raises(ProviderUnavailable):
        await client.trigger_flow(SEND, NAMES)
    await client.close()


def socket_client(url: str) -> TruoraClient:
    return TruoraClient(ACCOUNT, Doors(truora_http(ACCOUNT, url, SecretStr(API_KEY))), TruoraSettings(), SENDERS)


async def test_what_truora_does_not_offer_is_refused_and_never_reads_as_nothing_found() -> None:
    client = Bench(in_turn()).client
    search = FlowRunSearch(thread_id="", reference=REFERENCE, flow_id=FLOW, template_id=OUTBOUND, not_before=AT)
    calls: list[Callable[[], object]] = [
        lambda: client.open_thread(PHONE),
        lambda: client.find_flow_runs(search),
        lambda: client.read_flow_run(PROCESS),
    ]
    for call in calls:
        with pytest.raises(ProviderRejected) as caught:
            await call()  # type: ignore[misc]  # each is a coroutine
        assert caught.value.code == "not-offered"
    assert await client.end_conversation(EndConversation(account=ACCOUNT, run_id=PROCESS, at=AT)) is None


def test_the_capabilities_say_what_truora_cannot_do() -> None:
    can = Bench().client.capabilities

    assert [name for name, able in can.model_dump().items() if able] == ["reads_templates_by_id", "tells_starts"]


READING = TruoraSettings.model_validate({"process_url": PROCESS_URL})


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("pending", FlowRunStatus.RUNNING),
        ("success", FlowRunStatus.FINISHED),
        ("failure", FlowRunStatus.FAILED),
        ("review", FlowRunStatus.UNKNOWN),
    ],
)
async def test_a_process_is_read_where_that_is_switched_on(word: str, status: FlowRunStatus) -> None:
    bench = Bench(in_turn(answer(200, {"process_id": PROCESS, "status": word})), READING)
    run = await bench.client.read_flow_run(PROCESS)

    assert (run.flow_run_status, run.raw_status, run.run_id) == (status, word, PROCESS)
    assert str(bench.requests[0].url) == f"{PROCESS_URL}/processes/{PROCESS}/result"
    assert bench.requests[0].headers["truora-api-key"] == API_KEY


async def test_a_process_that_cannot_be_read_says_so() -> None:
    unknown = Bench(in_turn(answer(404, {"message": "The process was not found"})), READING)
    with pytest.raises(ProviderRejected) as caught:
        await unknown.client.read_flow_run(PROCESS)
    assert caught.value.scope is Scope.MESSAGE

    for told in ({}, {"status": "success", "process_id": "another"}):
        with pytest.raises(ProviderUnavailable):
            await Bench(in_turn(answer(200, dict(told))), READING).client.read_flow_run(PROCESS)
    with pytest.raises(ProviderRejected, match="process_id"):
        await Bench(in_turn(), READING).client.read_flow_run("")
    await Bench(plausible, READING).client.close()
