"""The Meta webhook reader against the wire vectors: verdicts, and every distinct event once."""

from datetime import timedelta

import pytest
from pydantic import SecretStr

from domain.contacts import Alias, AliasKind, Candidate
from domain.engagements import Engagement, Route
from domain.errors import HandshakeRefused, WebhookRefused
from domain.events import (
    FlowChanged,
    FormAnswered,
    MessageStatus,
    MessageStatusChanged,
    NotUnderstood,
    OptInReceived,
    OptOutReceived,
    ProviderEvent,
    TemplateChanged,
    TextReceived,
)
from domain.model import JsonValue
from domain.plans import Opening, Plan, Silence
from domain.reading import Reader
from domain.send_record import SendRecord
from domain.sends import LedgerState
from domain.state import EngagementState
from providers.endings import Ending
from providers.meta.client import CAPABILITIES
from providers.meta.errors import TABLE
from providers.meta.webhook import MetaWebhookReader
from tests.contract.meta_bench import ACCOUNT, AT, DIGITS, INTAKE, PHONE, REFERENCE, SEND, SETTINGS
from tests.contract.vectors import ROOT, Delivery, JsonObject, requests_of, responses_of, vectors, webhooks_of

WEBHOOKS = webhooks_of("meta")
POSTED = sorted(name for name, vector in WEBHOOKS.items() if vector.secret)
SHAKEN = sorted(name for name, vector in WEBHOOKS.items() if vector.verify_token)

CLASSES = {Ending.REJECTED: "PERMANENT", Ending.UNAVAILABLE: "RETRYABLE", Ending.UNKNOWN: "OUTCOME_UNKNOWN"}


assert SEND.flow is not None
ENGAGEMENT = Engagement(
    tenant="acme",
    reference="app-1",
    contact_id="contact-1",
    candidate=Candidate(phone=PHONE),
    plan=Plan(
        name="intake",
        opening=Opening(template=INTAKE, flow=SEND.flow),
        silence=Silence(after=timedelta(days=2)),
    ),
    route=Route(account=ACCOUNT, line="main", provider="meta", capabilities=CAPABILITIES),
    requested_at=AT,
)

TOKEN = "a-verify-token"


def reader_for(secret: str, verify_token: str = TOKEN) -> MetaWebhookReader:
    secrets = (SecretStr("the-older-app-secret"), SecretStr(secret))
    return MetaWebhookReader(ACCOUNT, secrets, SETTINGS, lambda: AT, SecretStr(verify_token))


def verdict_on(reader: MetaWebhookReader, delivery: Delivery) -> tuple[str, tuple[ProviderEvent, ...]]:
    try:
        reader.verify(delivery.raw(), delivery.lower_headers())
    except WebhookRefused:
        return "reject", ()
    parsed = reader.parse(delivery.raw())
    if parsed.quarantine:
        return "quarantine", parsed.events
    known = tuple(e for e in parsed.events if not isinstance(e.body, NotUnderstood))
    return ("accept" if known else "ignore"), known


def distinct_events(name: str) -> list[ProviderEvent]:
    vector = WEBHOOKS[name]
    reader = reader_for(vector.secret)
    distinct: dict[str, ProviderEvent] = {}
    for delivery in vector.deliveries:
        for event in verdict_on(reader, delivery)[1]:
            distinct.setdefault(event.key, event)
    return list(distinct.values())


def sender_of(event: ProviderEvent) -> str:
    assert [alias.kind for alias in event.sender] == [AliasKind.WA_ID]
    return event.sender[0].value


def inbound_effect(event: ProviderEvent) -> JsonObject:
    """An event that a person made, in the words of the vectors."""
    answered: JsonObject = {"in_reply_to": event.ties.replied_to} if event.ties.replied_to else {}
    message_id: JsonObject = {"message_id": event.key.removeprefix("msg:")}
    effect: JsonObject = {"from": sender_of(event)}
    match event.body:
        case FormAnswered() as body:
            token: JsonValue = event.ties.flow_token or None
            answers: JsonValue = body.answers
            if body.answers is not None and event.ties.flow_token:
                assert "flow_token" not in body.answers
                answers = {"flow_token": event.ties.flow_token, **body.answers}
            facts: JsonObject = {"kind": "flow_reply", "flow_token": token, "answers": answers, "in_reply_to": None}
            return effect | facts | message_id | answered
        case TextReceived() as body:
            return effect | {"kind": "text", "text": body.text} | message_id | answered
        case OptOutReceived(scope="marketing") | OptInReceived(scope="marketing"):
            value = "stop" if isinstance(event.body, OptOutReceived) else "resume"
            return effect | {"kind": "marketing_preference", "value": value}
        case OptOutReceived() as body:
            return effect | {"kind": "opt_out", "scope": body.scope, "text": body.text} | answered
    raise AssertionError(f"an event that no vector knows: {event.body.kind}")


def status_effect(event: ProviderEvent, body: MessageStatusChanged) -> JsonObject:
    assert sender_of(event) == DIGITS
    effect: JsonObject = {
        "kind": "delivery_status",
        "message_id": event.ties.message_id,
        "status": body.message_status.value,
        "reference": event.ties.reference,
    }
    if body.message_status is not MessageStatus.FAILED:
        return effect
    row = TABLE[body.codes[0]]
    assert body.recipient_fault is (row.scope.value == "recipient")
    return effect | {"error_code": int(body.codes[0]), "class": CLASSES[row.ending], "scope": row.scope.value}


def as_effect(event: ProviderEvent) -> JsonObject:
    """An event of ours in the words of the vectors."""
    moment = event.occurred_at.isoformat().replace("+00:00", "Z")
    effect: JsonObject = {"dedupe_key": event.key, "occurred_at": moment}
    match event.body:
        case MessageStatusChanged() as body:
            return effect | status_effect(event, body)
        case FlowChanged() as body:
            return effect | {"kind": "flow_status", "flow_id": body.flow_id, "old": body.old, "new": body.new}
        case TemplateChanged() as body:
            why = {"PAUSED": "title", "REJECTED": "reason"}.get(body.event)
            told: JsonObject = {why: body.reason} if why else {}
            return (
                effect
                | told
                | {
                    "kind": "template_status",
                    "template_id": body.template_id,
                    "name": body.name,
                    "language": body.language,
                    "event": body.event,
                }
            )
    return effect | inbound_effect(event)


def test_every_vector_on_disk_is_of_a_kind_that_these_tests_consume() -> None:
    on_disk = {f"meta/{file.stem}" for file in (ROOT / "meta").iterdir()}
    consumed = {*requests_of("meta"), *responses_of("meta"), *POSTED, *SHAKEN}

    assert on_disk == set(vectors("meta")) == consumed
    assert POSTED
    assert SHAKEN


@pytest.mark.parametrize("name", POSTED)
def test_each_delivery_gets_the_verdict_of_the_vector(name: str) -> None:
    vector = WEBHOOKS[name]
    reader = reader_for(vector.secret)
    got = [verdict_on(reader, delivery)[0] for delivery in vector.deliveries]

    assert got == [delivery.expect["verdict"] for delivery in vector.deliveries]
    statuses = [401 if verdict == "reject" else 200 for verdict in got]
    assert statuses == [delivery.expect["http_status"] for delivery in vector.deliveries]


@pytest.mark.parametrize("name", POSTED)
def test_every_distinct_event_comes_out_once_in_order_of_arrival(name: str) -> None:
    assert [as_effect(event) for event in distinct_events(name)] == list(WEBHOOKS[name].effects)


@pytest.mark.parametrize("name", SHAKEN)
def test_a_handshake_echoes_the_challenge_to_the_right_token_and_mode_only(name: str) -> None:
    reader = reader_for("app-secret", WEBHOOKS[name].verify_token)
    for delivery in WEBHOOKS[name].deliveries:
        expect = delivery.expect
        if expect["verdict"] == "accept":
            assert reader.handshake(delivery.query) == expect["response_body"]
            continue
        with pytest.raises(HandshakeRefused) as caught:
            reader.handshake(delivery.query)
        assert caught.value.http_status == expect["http_status"]
        assert "test-verify-token" not in str(caught.value)


def record(state: LedgerState) -> SendRecord:
    return SendRecord(key="k", step="opening", template="intake_v1", with_flow=True, state=state, since=AT)


def test_statuses_in_any_order_end_where_the_vector_says() -> None:
    name = "meta/webhook-replayed-and-reordered-statuses"
    sent = record(LedgerState.SENT)
    for event in distinct_events(name):
        assert isinstance(event.body, MessageStatusChanged)
        sent.advance_message(event.body.message_status)

    assert sent.message_status is not None
    assert sent.message_status.value == WEBHOOKS[name].final_position


def test_a_status_that_overtakes_the_answer_settles_an_unknown_send() -> None:
    vector = WEBHOOKS["meta/webhook-status-before-send-answer"]
    assert vector.state_before == {"attempt": REFERENCE, "message_id": None, "outcome": "unknown"}
    state = EngagementState(started_at=AT, sends=[record(LedgerState.UNKNOWN)])
    reader = Reader(ENGAGEMENT, state, AT)
    for event in distinct_events("meta/webhook-status-before-send-answer"):
        reader.read_event(event.model_copy(update={"send_key": "k"}))

    (sent,) = state.sends
    assert vector.state_after == {
        "attempt": sent.receipt.reference,
        "message_id": sent.receipt.message_id,
        "outcome": sent.state.value,
    }


@pytest.mark.parametrize("name", POSTED)
def test_what_a_person_did_or_was_sent_tells_whom_it_is_about(name: str) -> None:
    for event in distinct_events(name):
        about_nobody = isinstance(event.body, TemplateChanged | FlowChanged)
        whom = () if about_nobody else (Alias(kind=AliasKind.WA_ID, value=DIGITS),)
        assert event.sender == whom
