"""The Recrubo webhook reader against the wire vectors: verdicts, and every distinct event once."""

import pytest
from pydantic import SecretStr

from domain.contacts import Alias, AliasKind
from domain.errors import WebhookRefused
from domain.events import (
    FlowRunChanged,
    FlowRunStatus,
    MessageStatusChanged,
    NotUnderstood,
    OptOutReceived,
    ProviderEvent,
    TemplateChanged,
)
from domain.model import JsonValue
from providers.recrubo.settings import RecruboSettings
from providers.recrubo.webhook import RecruboWebhookReader
from tests.contract.recrubo_bench import ACCOUNT
from tests.contract.vectors import ROOT, Delivery, JsonObject, requests_of, responses_of, vectors, webhooks_of

WEBHOOKS = webhooks_of("recrubo")

STATUS_WORDS = {
    "running": FlowRunStatus.RUNNING,
    "finished": FlowRunStatus.FINISHED,
    "timeout": FlowRunStatus.TIMED_OUT,
    "exception": FlowRunStatus.FAILED,
}


def reader_for(secret: str) -> RecruboWebhookReader:
    return RecruboWebhookReader(ACCOUNT, (SecretStr("the-older-secret"), SecretStr(secret)), RecruboSettings())


def verdict_on(reader: RecruboWebhookReader, delivery: Delivery) -> tuple[str, tuple[ProviderEvent, ...]]:
    try:
        reader.verify(delivery.raw(), delivery.lower_headers())
    except WebhookRefused:
        return "reject", ()
    parsed = reader.parse(delivery.raw())
    if parsed.quarantine:
        return "quarantine", parsed.events
    known = tuple(e for e in parsed.events if not isinstance(e.body, NotUnderstood))
    return ("accept" if known else "ignore"), known


def as_effect(event: ProviderEvent) -> JsonObject:
    """An event of ours in the words of the vectors."""
    moment = event.occurred_at.isoformat().replace("+00:00", "Z")
    effect: JsonObject = {"dedupe_key": event.key, "occurred_at": moment}
    match event.body:
        case FlowRunChanged() as body:
            assert STATUS_WORDS[body.raw_status] is body.flow_run_status
            facts: JsonObject = {
                "kind": "flow_run",
                "run_id": event.ties.run_id,
                "status": body.raw_status,
                "reference": event.ties.reference,
            }
            state: JsonObject = {"state": {"clientReference": event.ties.reference, **body.answers}}
            return effect | facts | (state if body.flow_run_status is FlowRunStatus.FINISHED else {})
        case OptOutReceived() as body:
            return effect | {
                "kind": "opt_out",
                "scope": body.scope,
                "thread_id": event.ties.thread_id,
                "text": body.text,
            }
        case MessageStatusChanged() as body:
            errors: list[JsonValue] = list(body.codes)
            return effect | {
                "kind": "delivery_status",
                "thread_id": event.ties.thread_id,
                "message_id": event.ties.message_id,
                "status": body.message_status.value,
                "errors": errors,
            }
        case TemplateChanged() as body:
            return effect | {
                "kind": "template_status",
                "template_id": body.template_id,
                "name": body.name,
                "language": body.language,
                "event": body.event,
            }
    raise AssertionError(f"an event that no vector knows: {event.body.kind}")


def test_every_vector_on_disk_is_of_a_kind_that_these_tests_consume() -> None:
    on_disk = {f"recrubo/{file.stem}" for file in (ROOT / "recrubo").iterdir()}
    consumed = {*requests_of("recrubo"), *responses_of("recrubo"), *WEBHOOKS}

    assert on_disk == set(vectors("recrubo")) == consumed
    assert len(WEBHOOKS) > 0


@pytest.mark.parametrize("name", sorted(WEBHOOKS))
def test_each_delivery_gets_the_verdict_of_the_vector(name: str) -> None:
    vector = WEBHOOKS[name]
    reader = reader_for(vector.secret)
    got = [verdict_on(reader, delivery)[0] for delivery in vector.deliveries]

    assert got == [delivery.expect["verdict"] for delivery in vector.deliveries]
    statuses = [401 if verdict == "reject" else 200 for verdict in got]
    assert statuses == [delivery.expect["http_status"] for delivery in vector.deliveries]


@pytest.mark.parametrize("name", sorted(WEBHOOKS))
def test_every_distinct_event_comes_out_once_in_order_of_arrival(name: str) -> None:
    vector = WEBHOOKS[name]
    reader = reader_for(vector.secret)
    distinct: dict[str, ProviderEvent] = {}
    for delivery in vector.deliveries:
        for event in verdict_on(reader, delivery)[1]:
            distinct.setdefault(event.key, event)

    assert [as_effect(event) for event in distinct.values()] == list(vector.effects)
    runs = [e.body.flow_run_status for e in distinct.values() if isinstance(e.body, FlowRunChanged)]
    if vector.final_position is not None:
        assert max(runs, key=lambda status: status.rank).value == vector.final_position


@pytest.mark.parametrize("name", sorted(WEBHOOKS))
def test_an_event_that_tells_the_thread_tells_whom_it_is_about(name: str) -> None:
    vector = WEBHOOKS[name]
    reader = reader_for(vector.secret)
    for delivery in vector.deliveries:
        for event in verdict_on(reader, delivery)[1]:
            thread = event.ties.thread_id
            whom = (Alias(kind=AliasKind.THREAD, value=thread, scope=ACCOUNT),) if thread else ()
            assert event.sender == whom
