"""The Meta client sends: right or not at all, once, from the right line, and with a receipt."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from pydantic import SecretStr
from pywa.types.templates import FlowButton as PywaFlowButton
from structlog.testing import capture_logs

from domain.calls import EndConversation
from domain.contacts import Alias, AliasKind
from domain.errors import OutcomeUnknown, ProviderRejected, ProviderUnavailable, Scope, SendError
from domain.model import JsonValue
from domain.plans import FlowRef
from domain.sends import FlowRunSearch, Send, SendNames
from providers.http import Limits
from providers.meta.client import MetaClient, meta_http
from providers.meta.messages import FlowAction
from tests.contract.meta_bench import (
    ACCOUNT,
    AT,
    DIGITS,
    FLOW,
    GREETING_SEND,
    INTERACTIVE,
    NAMES,
    PHONE,
    REFERENCE,
    SCREEN,
    SEND,
    SENDER,
    SETTINGS,
    TOKEN,
    WAMID,
    Bench,
    answer,
    in_turn,
    inside,
    refusal,
    taken,
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

Sending = Callable[[MetaClient], Awaitable[object]]

SENDS: dict[str, Sending] = {
    "trigger_flow": lambda c: c.trigger_flow(SEND, NAMES),
    "send_message": lambda c: c.send_message(SEND.model_copy(update={"flow": None}), NAMES),
    "send_interactive_flow": lambda c: c.send_interactive_flow(INTERACTIVE, NAMES),
}

BODY = "template.components body"
BUTTON = "template.components button"
PARAMETERS = "interactive.action.parameters"


async def refused(sending: Sending) -> str:
    """The text of a refusal that came before any request."""
    bench = Bench(in_turn())
    with pytest.raises(ProviderRejected) as caught:
        await sending(bench.client)
    assert (caught.value.scope, caught.value.code) == (Scope.MESSAGE, "incomplete-send")
    assert "Ada" not in str(caught.value)
    assert DIGITS not in str(caught.value)
    assert bench.requests == []
    return str(caught.value)


def greeting(**changes: object) -> Send:
    return GREETING_SEND.model_copy(update=changes)


@pytest.mark.parametrize(
    ("send", "names", "fields"),
    [
        (greeting(parameters=()), NAMES, [f"{BODY} parameters: 0, the template takes 1"]),
        (greeting(parameters=(("first_name", " "),)), NAMES, [f"{BODY} parameter 1 (first_name): is empty"]),
        (greeting(parameters=(("first_name", "Ada\nB"),)), NAMES, [f"{BODY} parameter 1 (first_name): holds a line"]),
        (greeting(parameters=(("first_name", "A     a"),)), NAMES, [f"{BODY} parameter 1 (first_name): holds"]),
        (greeting(parameters=(("first_name", "x" * 1025),)), NAMES, ["(first_name): 1025 characters, at most 1024"]),
        (greeting(flow=None), NAMES, [f"{BUTTON}: the send has no flow"]),
        (greeting(flow=FlowRef(data={"n": float("nan")})), NAMES, [f"{BUTTON} flow_action_data: holds a number"]),
        (greeting(flow=FlowRef(prefill=("city",))), NAMES, [f"{BUTTON} flow_action_data city: no parameter"]),
        (SEND, SendNames(reference=REFERENCE, flow_token="unused"), [f"{BUTTON} flow_token: must be unique"]),
        (SEND, SendNames(reference=REFERENCE, flow_token=""), [f"{BUTTON} flow_token: must be unique"]),
        (SEND, SendNames(reference="x" * 513, flow_token="ft_1"), ["biz_opaque_callback_data: 513 characters"]),
        (
            greeting(parameters=(("first_name", ""),)),
            SendNames(reference="", flow_token=""),
            ["biz_opaque_callback_data: is empty", "(first_name): is empty", "flow_token"],
        ),
    ],
)
async def test_a_template_that_meta_would_refuse_is_refused_before_the_call_with_every_field_named(
    send: Send, names: SendNames, fields: list[str]
) -> None:
    text = await refused(lambda client: client.trigger_flow(send, names))
    assert all(field in text for field in fields), text


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"body": " "}, ["interactive.body.text: is empty"]),
        ({"body": "x" * 1025}, ["interactive.body.text: 1025 characters, at most 1024"]),
        ({"header": "x" * 61}, ["interactive.header.text: 61 characters, at most 60"]),
        ({"footer": "x" * 61}, ["interactive.footer.text: 61 characters, at most 60"]),
        ({"cta": ""}, [f"{PARAMETERS}.flow_cta: is empty"]),
        ({"cta": "x" * 31}, [f"{PARAMETERS}.flow_cta: 31 characters, at most 30"]),
        ({"cta": "Start 🚀"}, [f"{PARAMETERS}.flow_cta: holds an emoji"]),
        ({"cta": "1\ufe0f\u20e3"}, [f"{PARAMETERS}.flow_cta: holds an emoji"]),
        ({"flow_id": ""}, [f"{PARAMETERS}: exactly one of flow_id and flow_name"]),
        ({"flow_name": "intake_flow"}, [f"{PARAMETERS}: exactly one of flow_id and flow_name"]),
        ({"data": {}}, [f"{PARAMETERS}.flow_action_payload.data: is empty"]),
        ({"data": {"n": float("inf")}}, [f"{PARAMETERS}.flow_action_payload.data: holds a number"]),
        (
            {"flow_action": FlowAction.DATA_EXCHANGE},
            [f"{PARAMETERS}.flow_action: data_exchange", f"{PARAMETERS}.flow_action_payload: only with navigate"],
        ),
        ({"body": "", "cta": "", "flow_id": ""}, ["interactive.body.text", "flow_cta", "flow_id and flow_name"]),
    ],
)
async def test_a_flow_message_that_meta_would_refuse_is_refused_before_the_call_with_every_field_named(
    changes: dict[str, object], fields: list[str]
) -> None:
    message = INTERACTIVE.model_copy(update=changes)
    text = await refused(lambda client: client.send_interactive_flow(message, NAMES))
    assert all(field in text for field in fields), text


async def test_texts_of_exactly_the_allowed_length_leave() -> None:
    longest: dict[str, object] = {"body": "x" * 1024, "header": "é" * 60, "footer": "x" * 60, "cta": "x" * 30}
    bench = Bench()
    await bench.client.send_interactive_flow(INTERACTIVE.model_copy(update=longest), NAMES)
    await bench.client.trigger_flow(greeting(parameters=(("first_name", "x" * 1024),)), NAMES)

    assert len(bench.requests) == 2


async def test_a_flow_message_may_leave_out_header_footer_screen_and_data() -> None:
    bench = Bench()
    bare: dict[str, object] = {"header": "", "footer": "", "screen": "", "data": None}
    await bench.client.send_interactive_flow(INTERACTIVE.model_copy(update=bare), NAMES)

    interactive = inside(bench.bodies()[0], "interactive")
    assert isinstance(interactive, dict)
    assert set(interactive) == {"type", "body", "action"}
    assert "flow_action_payload" not in json.dumps(interactive)


async def test_data_exchange_leaves_where_it_is_switched_on() -> None:
    bench = Bench(settings=SETTINGS.model_copy(update={"allow_data_exchange": True}))
    exchange: dict[str, object] = {"flow_action": FlowAction.DATA_EXCHANGE, "screen": "", "data": None}
    await bench.client.send_interactive_flow(INTERACTIVE.model_copy(update=exchange), NAMES)

    assert '"flow_action": "data_exchange"' in json.dumps(bench.bodies())


async def test_the_flow_button_is_what_another_client_of_meta_sends_too() -> None:
    bench = Bench()
    assert SEND.flow is not None
    await bench.client.trigger_flow(SEND.model_copy(update={"flow": SEND.flow.model_copy(update={"button": 2})}), NAMES)
    theirs = PywaFlowButton(text="Open form", flow_id=FLOW, navigate_screen=SCREEN).params(
        index=2, flow_token=NAMES.flow_token, flow_action_data={"first_name": "Ada"}
    )

    expected: dict[str, JsonValue] = {**theirs.to_dict(), "sub_type": "flow", "index": "2"}
    assert theirs.to_dict()["sub_type"].lower() == "flow"
    assert inside(bench.bodies()[0], "template", "components") == [expected]


async def test_named_parameters_tell_their_names_and_prefilled_ones_go_to_the_screen_too() -> None:
    bench = Bench()
    flow = FlowRef(id=FLOW, data={"rate": 100}, prefill=("first_name",))
    named = GREETING_SEND.template.model_copy(update={"named": True})
    await bench.client.trigger_flow(greeting(template=named, flow=flow), NAMES)

    wire = json.dumps(bench.bodies())
    assert '{"type": "text", "parameter_name": "first_name", "text": "Ada"}' in wire
    assert '"flow_action_data": {"rate": 100, "first_name": "Ada"}' in wire


async def test_a_template_without_flow_has_no_button_component() -> None:
    bench = Bench()
    await bench.client.send_message(greeting(flow=None), NAMES)
    await bench.client.send_message(SEND.model_copy(update={"flow": None}), NAMES)

    first, second = (inside(body, "template") for body in bench.bodies())
    assert inside(first, "components") == [{"type": "body", "parameters": [{"type": "text", "text": "Ada"}]}]
    assert second == {"name": "intake_v1", "language": {"code": "en_US"}}


async def test_each_line_sends_from_its_own_number() -> None:
    bench = Bench()
    await bench.client.trigger_flow(SEND, NAMES)
    await bench.client.trigger_flow(SEND.model_copy(update={"line": "second"}), NAMES)

    assert bench.asked() == [f"POST /{SENDER}/messages", "POST /106540000000002/messages"]


async def test_a_line_without_a_number_id_is_held_and_not_failed_one_by_one() -> None:
    bench = Bench(in_turn())
    with pytest.raises(ProviderRejected, match="line other has no phone number id") as caught:
        await bench.client.trigger_flow(SEND.model_copy(update={"line": "other"}), NAMES)

    assert (caught.value.scope, caught.value.code) == (Scope.LINE, "no-sender")


async def test_a_whatsapp_id_that_differs_from_the_number_and_a_user_id_are_aliases() -> None:
    bench = Bench(in_turn(taken(wa_id="5491100000001", user_id="US.1")))
    receipt = await bench.client.trigger_flow(SEND, NAMES)

    assert receipt.aliases == (
        Alias(kind=AliasKind.WA_ID, value="5491100000001"),
        Alias(kind=AliasKind.BSUID, value="US.1", scope=ACCOUNT),
    )
    assert (receipt.reference, receipt.message_id, receipt.thread_id) == (REFERENCE, WAMID, "")


async def test_an_answer_with_several_contacts_names_nobody() -> None:
    several: JsonValue = {"contacts": [{"wa_id": "1"}, {"wa_id": "2"}], "messages": [{"id": WAMID}]}
    receipt = await Bench(in_turn(answer(200, several))).client.trigger_flow(SEND, NAMES)

    assert (receipt.message_id, receipt.aliases) == (WAMID, ())


@pytest.mark.parametrize(
    "body",
    [None, [], "ok", {"messages": []}, {"messages": None}, {"messages": [{}]}, {"messages": [{"id": None}]},
     {"messages": {"id": "x"}}, {"error": {"code": 131026}}],
)  # fmt: skip
@pytest.mark.parametrize("send", sorted(SENDS))
async def test_a_success_without_a_message_id_may_have_been_sent(send: str, body: JsonValue) -> None:
    with pytest.raises(OutcomeUnknown):
        await SENDS[send](Bench(in_turn(answer(200, body))).client)


async def connected(reaction: Reaction, sending: Sending) -> tuple[SendError, int]:
    async with serving(reaction) as server:
        http = meta_http(ACCOUNT, server.url, SecretStr(TOKEN), SETTINGS, limits=Limits(read=0.3, total=10))
        with pytest.raises(SendError) as caught:
            await sending(MetaClient(ACCOUNT, http, SETTINGS, {"main": SENDER}))
        await http.close()
        return caught.value, len(server.exchanges)


@pytest.mark.parametrize("reaction", [hangs_up, resets, answers_half, stays_silent])
@pytest.mark.parametrize("send", sorted(SENDS))
async def test_a_lost_answer_on_a_real_connection_is_outcome_unknown_and_asked_once(
    send: str, reaction: Reaction
) -> None:
    error, arrived = await connected(reaction, SENDS[send])

    assert type(error) is OutcomeUnknown
    assert arrived == 1


async def test_a_throttle_on_a_real_connection_is_known_not_sent_and_says_how_long() -> None:
    body = json.dumps({"error": {"code": 130429, "message": "(#130429)"}}).encode()
    error, arrived = await connected(answers(400, body, retry_after="7"), SENDS["trigger_flow"])

    assert isinstance(error, ProviderUnavailable)
    assert error.retry_after is not None
    assert (error.scope, error.retry_after.total_seconds(), arrived) == (Scope.LINE, 7, 1)


async def test_a_redirect_on_a_real_connection_is_never_followed() -> None:
    async with serving(answers(200)) as elsewhere:
        error, _ = await connected(answers(307, location=elsewhere.url), SENDS["trigger_flow"])

    assert (type(error), error.scope) == (ProviderRejected, Scope.ACCOUNT)
    assert elsewhere.exchanges == []


async def test_nobody_listening_is_known_not_sent() -> None:
    http = meta_http(ACCOUNT, f"http://127.0.0.1:{refusing_port()}", SecretStr(TOKEN), SETTINGS)
    with pytest.raises(ProviderUnavailable) as caught:
        await MetaClient(ACCOUNT, http, SETTINGS, {"main": SENDER}).trigger_flow(SEND, NAMES)
    await http.close()

    assert caught.value.scope is Scope.ACCOUNT


@pytest.mark.parametrize(("status", "code"), [(400, 131026), (500, 1), (429, 130429), (400, 999999), (401, 190)])
async def test_neither_the_number_nor_the_token_nor_a_value_reaches_an_error_or_a_log(status: int, code: int) -> None:
    details: JsonValue = {"messaging_product": "whatsapp", "details": f"Ada at {PHONE}, {TOKEN}"}
    bench = Bench(in_turn(refusal(status, code, error_data=details, error_user_msg=f"Ada {DIGITS}")))
    with capture_logs() as logs, pytest.raises(SendError) as caught:
        await bench.client.trigger_flow(GREETING_SEND, NAMES)

    told = f"{caught.value} {caught.value!r} {caught.value.__dict__} {logs}"
    for secret in (DIGITS, TOKEN, "Ada", WAMID, NAMES.flow_token):
        assert secret not in told
    assert str(code) in caught.value.code
    assert logs


async def test_a_message_that_is_kept_back_is_told_in_the_log_without_its_id() -> None:
    held: JsonValue = {"messages": [{"id": WAMID, "message_status": "held_for_quality_assessment"}]}
    with capture_logs() as logs:
        receipt = await Bench(in_turn(answer(200, held))).client.trigger_flow(SEND, NAMES)

    assert receipt.held
    assert [(entry["event"], entry["word"]) for entry in logs] == [
        ("message_held_by_provider", "held_for_quality_assessment")
    ]
    assert WAMID not in str(logs)


async def test_what_meta_has_no_call_for_is_refused_and_never_read_as_nothing_sent() -> None:
    client = Bench(in_turn()).client
    search = FlowRunSearch(thread_id="", reference=REFERENCE, flow_id="", template_id="", not_before=AT)
    for call in (client.find_flow_runs(search), client.read_flow_run("run-1"), client.open_thread(PHONE)):
        with pytest.raises(ProviderRejected, match="Meta has no such call"):
            await call

    assert await client.end_conversation(EndConversation(account=ACCOUNT, run_id="run-1", at=AT)) is None


async def test_what_a_client_cannot_do_is_told_as_data() -> None:
    can = Bench().client.capabilities

    assert {name for name, value in can.model_dump().items() if value} == {
        "can_create_templates",
        "free_form_window",
        "free_form_flows",
        "tells_arrivals",
    }


async def test_sends_of_one_client_may_overlap() -> None:
    bench = Bench()
    receipts = await asyncio.gather(*(bench.client.trigger_flow(SEND, NAMES) for _ in range(20)))

    assert {receipt.message_id for receipt in receipts} == {WAMID}
    assert len(bench.requests) == 20
