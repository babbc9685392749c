"""Messages without a template: against the vector, on the strict simulators, and where a provider has no call."""

import copy
import json
from typing import Literal

import pytest
from pydantic import SecretStr

from domain.engagements import Capabilities
from domain.errors import ProviderRejected, Scope
from domain.events import MessageStatus, MessageStatusChanged, ProviderEvent
from domain.free_form import FreeFormMessage
from domain.model import JsonValue
from domain.plans import FlowRef
from domain.sends import Send
from providers.meta.client import CAPABILITIES as META
from providers.meta.client import MetaClient, meta_http
from providers.meta.webhook import MetaWebhookReader
from providers.recrubo.client import CAPABILITIES as RECRUBO
from providers.recrubo.client import RecruboClient, recrubo_http
from providers.recrubo.settings import RecruboSettings
from providers.recrubo.webhook import RecruboWebhookReader
from providers.truora.client import CAPABILITIES as TRUORA
from tests.contract import meta_bench, recrubo_bench, truora_bench
from tests.contract.vectors import requests_of
from tests.unit.sandbox import meta_playground, playground

TEXT = FreeFormMessage(text="Two minutes, promise")
FORM = FreeFormMessage(text="Two minutes, promise", button="Start")
NUDGE = meta_bench.SEND.model_copy(update={"flow": None, "free_form": TEXT})
OFFER = meta_bench.SEND.model_copy(
    update={
        "free_form": FORM,
        "parameters": (("first_name", "Ada"),),
        "flow": FlowRef(
            id=meta_bench.FLOW, screen=meta_bench.SCREEN, data={"vacancy_rate": 100}, prefill=("first_name",)
        ),
    }
)
Moment = Literal["at-once", "as-failed"]


async def body_of(send: Send) -> JsonValue:
    bench = meta_bench.Bench()
    await bench.client.send_free_form(send, meta_bench.NAMES)
    (body,) = bench.bodies()
    return body


def statuses(events: list[ProviderEvent]) -> list[tuple[MessageStatus, bool]]:
    told = [event.body for event in events if isinstance(event.body, MessageStatusChanged)]
    return [(body.message_status, body.window_closed) for body in told]


async def test_meta_is_sent_the_flow_message_of_the_vector_with_the_flow_of_the_step() -> None:
    vector = copy.deepcopy(requests_of("meta")["meta/request-send-interactive-flow"].json_body)
    assert isinstance(vector, dict)
    assert isinstance(vector["interactive"], dict)
    del vector["interactive"]["header"], vector["interactive"]["footer"]  # which a plan does not have
    assert await body_of(OFFER) == vector


async def test_meta_is_sent_a_text_where_the_step_has_no_flow() -> None:
    assert await body_of(NUDGE) == {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": meta_bench.DIGITS,
        "type": "text",
        "biz_opaque_callback_data": meta_bench.REFERENCE,
        "text": {"body": "Two minutes, promise"},
    }


@pytest.mark.parametrize("written", ["", "x" * 4097])
async def test_what_meta_would_refuse_is_not_even_asked(written: str) -> None:
    bench = meta_bench.Bench()
    send = NUDGE.model_copy(update={"free_form": FreeFormMessage(text=written)})
    with pytest.raises(ProviderRejected) as refused:
        await bench.client.send_free_form(send, meta_bench.NAMES)
    assert (refused.value.scope, bench.requests) == (Scope.MESSAGE, [])


@pytest.mark.parametrize("send", [NUDGE, OFFER], ids=["text", "flow"])
@pytest.mark.parametrize("moment", ["at-once", "as-failed"])
async def test_outside_the_window_meta_refuses_it_at_once_or_later_and_inside_it_arrives(
    moment: Moment, send: Send
) -> None:
    reader = MetaWebhookReader("acme-meta", (SecretStr(meta_playground.APP_SECRET),), meta_bench.SETTINGS)
    async with meta_playground.playing_meta(meta_playground.account(window_closed=moment)) as play:
        http = meta_http("acme-meta", f"{play.url}/meta", SecretStr(meta_playground.TOKEN), meta_bench.SETTINGS)
        ours = MetaClient("acme-meta", http, meta_bench.SETTINGS, {"main": meta_playground.LINE})
        if moment == "at-once":
            with pytest.raises(ProviderRejected) as refused:
                await ours.send_free_form(send, meta_bench.NAMES)
            assert (refused.value.code, refused.value.scope) == ("131047", Scope.MESSAGE)
        else:
            await ours.send_free_form(send, meta_bench.NAMES)
            await play.advance(minutes=1)
            events = [event for hook in play.meta.told for event in reader.parse(hook.raw).events]
            assert statuses(events) == [(MessageStatus.FAILED, True)]
        await play.write()
        play.meta.told.clear()
        await ours.send_free_form(send, meta_bench.NAMES)
        await play.advance(seconds=3)
        events = [event for hook in play.meta.told for event in reader.parse(hook.raw).events]
        assert (MessageStatus.DELIVERED, False) in statuses(events)
        await ours.close()


async def test_recrubo_is_sent_a_text_into_the_thread() -> None:
    bench = recrubo_bench.Bench()
    send = recrubo_bench.SEND.model_copy(update={"flow": None, "free_form": TEXT})
    receipt = await bench.client.send_free_form(send, recrubo_bench.NAMES)
    assert (bench.asked(), receipt.message_id, receipt.run_id) == (["POST /messages"], "id-1", "")
    assert json.loads(bench.requests[0].content) == {
        "data": {
            "type": "messages",
            "attributes": {
                "sendBy": "Recruiter",
                "messageThreadId": recrubo_bench.THREAD,
                "payload": {"type": "text", "text": {"value": "Two minutes, promise"}},
            },
        }
    }


@pytest.mark.parametrize("wrote", [True, False])
async def test_recrubo_takes_a_text_at_any_time_and_tells_when_it_failed_for_the_window(*, wrote: bool) -> None:
    reader = RecruboWebhookReader("acme", (SecretStr(playground.SECRET),), RecruboSettings())
    async with playground.playing() as play:
        thread = await play.open_thread("31600000099")
        if wrote:
            await play.tell("recrubo/inbound", number="31600000099", text="Hello?")
        url = f"{play.url}/recrubo/public/v2"
        ours = RecruboClient("acme", recrubo_http("acme", url, SecretStr(playground.TOKEN)), RecruboSettings())
        send = recrubo_bench.SEND.model_copy(update={"flow": None, "free_form": TEXT, "thread_id": thread})
        await ours.send_free_form(send, recrubo_bench.NAMES)
        await play.advance(minutes=1)
        events = [
            event for hook in play.receiver.hooks for event in reader.parse(json.dumps(hook.body).encode()).events
        ]
        last = (MessageStatus.DELIVERED, False) if wrote else (MessageStatus.FAILED, True)
        assert statuses(events)[-1] == last
        await ours.close()


@pytest.mark.parametrize(
    ("errors", "kind", "closed"),
    [
        ([{"code": 131047}], "text", True),
        ([{"code": 131026}], "text", False),
        ([{"code": 131047}], "template", False),
    ],
)
def test_recrubos_failure_of_a_text_is_the_windows_unless_a_code_says_otherwise(
    errors: list[JsonValue], kind: str, *, closed: bool
) -> None:
    attributes: JsonValue = {
        "origin": "outbound",
        "messageThreadId": "t-1",
        "deliveryStatus": "failed",
        "errorMessages": errors,
        "payload": {"type": kind, "text": {"value": "Hi"}},
    }
    resource: JsonValue = {"id": "m-1", "type": "messages", "attributes": attributes}
    told = {"event": "update", "fields": ["deliveryStatus"], "resource": resource}
    body = json.dumps({"data": {"type": "webhookPayload", "id": "w-1", "attributes": told}}).encode()
    reader = RecruboWebhookReader("acme", (SecretStr(playground.SECRET),), RecruboSettings())
    assert statuses(list(reader.parse(body).events)) == [(MessageStatus.FAILED, closed)]


async def test_what_a_provider_has_no_call_for_is_refused_before_anything_is_asked() -> None:
    truora, recrubo = truora_bench.Bench(), recrubo_bench.Bench()
    for sending in (
        truora.client.send_free_form(truora_bench.SEND, truora_bench.NAMES),
        recrubo.client.send_free_form(recrubo_bench.SEND.model_copy(update={"free_form": FORM}), recrubo_bench.NAMES),
    ):
        with pytest.raises(ProviderRejected) as refused:
            await sending
        assert refused.value.scope is Scope.MESSAGE
    assert (truora.asked(), recrubo.asked()) == ([], [])


def test_the_capabilities_say_the_same() -> None:
    def told(capabilities: Capabilities) -> tuple[bool, bool]:
        return capabilities.free_form_window, capabilities.free_form_flows

    assert (told(META), told(RECRUBO), told(TRUORA)) == ((True, True), (True, False), (False, False))
