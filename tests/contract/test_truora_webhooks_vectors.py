"""The Truora webhook reader against the wire vectors: verdicts, and every distinct event once."""

import pytest
from pydantic import SecretStr

from domain.contacts import phone_alias
from domain.errors import WebhookRefused
from domain.events import (
    FlowRunChanged,
    FlowRunStatus,
    MessageStatus,
    MessageStatusChanged,
    NotUnderstood,
    ProviderEvent,
)
from domain.model import JsonValue
from providers.truora.settings import TruoraSettings
from providers.truora.tokens import payload_of
from providers.truora.webhook import TruoraWebhookReader
from providers.wire import Read, read_json
from tests.contract.truora_bench import ACCOUNT, PHONE
from tests.contract.vectors import Delivery, JsonObject, webhooks_of

WEBHOOKS = webhooks_of("truora")

OUTCOMES = {
    ("outbound", "approved"): "accepted",
    ("outbound", "canceled"): "canceled",
    ("process", "started"): "started",
    ("process", "succeeded"): "succeeded",
    ("process", "success"): "succeeded",
    ("process", "failed"): "failed",
    ("session", "expired"): "expired",
}
"""What the vectors call what our events keep as raw words."""

STATUSES = {
    "accepted": FlowRunStatus.RUNNING,
    "started": FlowRunStatus.RUNNING,
    "succeeded": FlowRunStatus.FINISHED,
    "failed": FlowRunStatus.FAILED,
    "expired": FlowRunStatus.TIMED_OUT,
    "canceled": FlowRunStatus.CANCELLED,
}


def reader_for(secret: str) -> TruoraWebhookReader:
    older = SecretStr("the-older-signing-key-0123456789-abc")
    return TruoraWebhookReader(ACCOUNT, (older, SecretStr(secret)), TruoraSettings())


def verdict_on(reader: TruoraWebhookReader, delivery: Delivery) -> tuple[str, tuple[ProviderEvent, ...]]:
    try:
        reader.verify(delivery.raw(), delivery.lower_headers())
    except WebhookRefused:
        return "reject", ()
    parsed = reader.parse(delivery.raw())
    if parsed.quarantine:
        return "quarantine", parsed.events
    known = tuple(e for e in parsed.events if not isinstance(e.body, NotUnderstood))
    return ("accept" if known else "ignore"), known


def as_effect(kind: JsonValue, event: ProviderEvent) -> JsonObject:
    """An event of ours in the words of the vectors; its family is told by the vector, everything else by the event."""
    event_id = event.key.removeprefix("event:")
    effect: JsonObject = {
        "kind": kind,
        "event_id": event_id,
        "dedupe_key": event.key,
        "session_id": event.ties.session_id or None,
        "process_id": event.ties.run_id,
        "flow_id": event.ties.flow_id,
        "reference": event.ties.reference,
        "occurred_at": event.occurred_at.isoformat().replace("+00:00", "Z"),
    }
    if isinstance(event.body, MessageStatusChanged):
        assert event.body.message_status is MessageStatus.SENT
        return effect | {"outcome": "sent"}
    assert isinstance(event.body, FlowRunChanged)
    word, _, why = event.body.raw_status.partition("/")
    outcome = OUTCOMES[(str(kind), word)]
    assert event.body.flow_run_status is STATUSES[outcome]
    assert event.body.cancelled_by_candidate is (outcome == "canceled")
    effect |= {"outcome": outcome}
    if event.body.answers:
        effect |= {"answers": event.body.answers}
    return effect | ({"failure_status": why} if why else {})


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

    kinds = [effect["kind"] for effect in vector.effects]
    assert len(distinct) == len(kinds)
    got = [as_effect(kind, event) for kind, event in zip(kinds, distinct.values(), strict=True)]
    assert got == list(vector.effects)
    for event in distinct.values():
        assert event.sender == (phone_alias(PHONE),)
    if vector.final_position is not None:
        first_end = next(str(e["outcome"]) for e in vector.effects if STATUSES[str(e["outcome"])].is_end)
        assert first_end == vector.final_position


@pytest.mark.parametrize("name", sorted(WEBHOOKS))
def test_a_token_holds_what_the_vector_shows_decoded(name: str) -> None:
    vector = WEBHOOKS[name]
    shown = [delivery for delivery in vector.deliveries if delivery.decoded_payload is not None]
    for delivery in shown:
        assert read_json(payload_of(delivery.raw()) or b"") == Read(delivery.decoded_payload)


def test_an_event_before_the_answer_carries_what_settles_the_lost_send() -> None:
    vector = WEBHOOKS["truora/webhook-before-send-answer"]
    assert isinstance(vector.state_before, dict)
    assert isinstance(vector.state_after, dict)
    (event,) = verdict_on(reader_for(vector.secret), vector.deliveries[0])[1]

    assert vector.state_before["outcome"] == "unknown"
    assert event.ties.reference == vector.state_before["attempt"] == vector.state_after["attempt"]
    assert event.ties.session_id == vector.state_after["session_id"]
    assert isinstance(event.body, MessageStatusChanged)
    assert event.body.message_status.value == vector.state_after["outcome"]
