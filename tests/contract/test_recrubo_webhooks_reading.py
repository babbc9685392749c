"""The Recrubo webhook reader where one vector does not tell the whole: words, secrets, and hostile bytes."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr

from domain.errors import SetupError, WebhookRefused
from domain.events import (
    EventBody,
    FlowRunChanged,
    FlowRunStatus,
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
from domain.stop_words import StopWords
from providers.recrubo.settings import RecruboSettings
from providers.recrubo.webhook import SECRET_HEADER, RecruboWebhookReader
from tests.contract.recrubo_bench import ACCOUNT, FLOW, REFERENCE, RUN, TEMPLATE, THREAD, resource

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SECRET = "test-value-9f3c"

READER = RecruboWebhookReader(ACCOUNT, (SecretStr(SECRET),), RecruboSettings(), clock=lambda: NOW)


def delivery(event: JsonValue, changed: JsonValue, **members: JsonValue) -> bytes:
    told: dict[str, JsonValue] = {"event": event, "resource": changed}
    payload: JsonValue = {"type": "webhookPayload", "id": "log-1", "attributes": told | members}
    return json.dumps({"data": payload}).encode()


def events(event: JsonValue, changed: JsonValue, reader: RecruboWebhookReader = READER) -> tuple[ProviderEvent, ...]:
    parsed = reader.parse(delivery(event, changed))
    assert parsed.quarantine == ""
    return parsed.events


def only(event: JsonValue, changed: JsonValue, reader: RecruboWebhookReader = READER) -> ProviderEvent:
    [one] = events(event, changed, reader)
    return one


def message(**attributes: JsonValue) -> JsonValue:
    told: dict[str, JsonValue] = {
        "createdAt": "2026-03-02T09:05:00+00:00",
        "updatedAt": "2026-03-02T09:05:00+00:00",
        "origin": "inbound",
        "messageThreadId": THREAD,
        "payload": {"type": "text", "text": {"value": "hello"}},
    }
    return resource("messages", "msg-1", **(told | attributes))


def text(value: JsonValue) -> JsonValue:
    return message(payload={"type": "text", "text": {"value": value}})


def outbound(word: JsonValue, *errors: JsonValue) -> JsonValue:
    return message(origin="outbound", deliveryStatus=word, errorMessages=list(errors))


# what the candidate writes


@pytest.mark.parametrize(
    ("written", "body"),
    [
        ("hello", TextReceived(text="hello")),
        (" ¡BAJA! ", OptOutReceived(scope="line", text=" ¡BAJA! ")),
        ("Stop.", OptOutReceived(scope="line", text="Stop.")),
        ("please stop", TextReceived(text="please stop")),
        ("Unstop", OptInReceived(scope="line", text="Unstop")),
        ("START", OptInReceived(scope="line", text="START")),
        ("", TextReceived(text="")),
    ],
)
def test_whole_messages_that_are_stop_words_withdraw_consent(written: str, body: EventBody) -> None:
    event = only("create", text(written))

    assert event.body == body
    assert event.key == "messages:msg-1:create"
    assert event.ties.thread_id == THREAD
    assert event.may_fall_back


def test_an_inbound_message_is_not_mistaken_for_one_of_ours() -> None:
    assert only("create", text("hello")).ties.message_id == ""


def test_stop_words_and_the_word_for_inbound_can_be_set() -> None:
    settings = RecruboSettings.model_validate(
        {"inbound_origin": "Candidate", "stop_words": {"stop": {"de": [" HALT "]}, "start": {"de": ["Los"]}}}
    )
    reader = RecruboWebhookReader(ACCOUNT, (SecretStr(SECRET),), settings)
    halt = message(origin="candidate", payload={"type": "text", "text": {"value": "halt!"}})

    assert settings.stop_words == StopWords(stop={"de": frozenset({"halt"})}, start={"de": frozenset({"los"})})
    assert isinstance(only("create", halt, reader).body, OptOutReceived)
    assert isinstance(only("create", text("halt"), reader).body, NotUnderstood)


# what becomes of our messages

FIVE = ("error a", "error an", "error in", "error to", "error too")


@pytest.mark.parametrize(
    ("errors", "codes", "recipient_fault"),
    [
        ((), (), True),
        (("Message undeliverable",), ("Message undeliverable",), True),
        (("(#131026) Message undeliverable",), ("131026",), True),
        (({"code": 131026, "title": "Message undeliverable"},), ("131026",), True),
        (({"code": "132015"},), ("132015",), False),
        (("(#130429) Rate limit hit",), ("130429",), False),
        (("Failed for +31 6 0000 0001",), ("Failed for …",), True),
        ((None, 5, [], {}), (), True),
        (("Failed for Ada Lovelace",), ("Failed for …",), True),
        (("Ada Lovelace",), (), True),
        (tuple(f"error {n}" for n in ("a", "an", "in", "to", "too", "of")), FIVE, True),
    ],
)
def test_a_failed_message_tells_codes_without_numbers_of_people_and_whose_fault_it_is(
    errors: tuple[JsonValue, ...],
    codes: tuple[str, ...],
    recipient_fault: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    body = only("update", outbound("failed", *errors)).body

    assert isinstance(body, MessageStatusChanged)
    assert (body.message_status, body.codes) == (MessageStatus.FAILED, codes)
    assert body.recipient_fault is recipient_fault


def test_a_failure_because_the_candidate_stopped_marketing_is_an_opt_out_as_well() -> None:
    failed, stopped = events("update", outbound("failed", "(#131050) User stopped marketing"))

    assert isinstance(failed.body, MessageStatusChanged)
    assert stopped.body == OptOutReceived(scope="marketing")
    assert failed.key != stopped.key


@pytest.mark.parametrize("word", ["sent", "Delivered", "READ", "accepted"])
def test_every_delivery_word_has_its_own_key(word: str) -> None:
    event = only("update", outbound(word))

    assert isinstance(event.body, MessageStatusChanged)
    assert event.body.message_status.value == word.lower()
    assert event.key == f"messages:msg-1:deliveryStatus:{word.lower()}"
    assert event.ties.message_id == "msg-1"


# runs and templates


def test_a_run_tells_every_tie_and_its_answers_without_our_reference() -> None:
    state: JsonValue = {"clientReference": REFERENCE, "city": "Utrecht"}
    event = only(
        "update", resource("flowRuns", RUN, status="Finished", state=state, flowId=FLOW, messageThreadId=THREAD, cost=1)
    )

    assert event.key == f"flowRuns:{RUN}:finished"
    assert (event.ties.run_id, event.ties.reference, event.ties.thread_id, event.ties.flow_id) == (
        RUN,
        REFERENCE,
        THREAD,
        FLOW,
    )
    assert event.body == FlowRunChanged(
        flow_run_status=FlowRunStatus.FINISHED, raw_status="Finished", answers={"city": "Utrecht"}, cost="1"
    )


def test_a_reference_that_is_no_text_is_no_tie() -> None:
    event = only("update", resource("flowRuns", RUN, status="running", state={"clientReference": {"a": 1}}))

    assert event.ties.reference == ""


def test_an_event_without_an_instant_is_dated_by_its_arrival() -> None:
    assert only("update", resource("flowRuns", RUN, status="running", updatedAt="soon")).occurred_at == NOW


def test_each_change_of_a_template_has_its_own_key_and_a_deletion_counts() -> None:
    paused = resource("messageTemplates", TEMPLATE, status="PAUSED", updatedAt="2026-03-01T00:00:00+00:00")
    again = resource("messageTemplates", TEMPLATE, status="PAUSED", updatedAt="2026-03-02T00:00:00+00:00")
    deleted = only("delete", paused)

    assert len({only("update", paused).key, only("update", again).key, deleted.key}) == 3
    assert isinstance(deleted.body, TemplateChanged)
    assert deleted.body.event == "DELETED"


# what we do not know


@pytest.mark.parametrize(
    ("event", "changed"),
    [
        ("create", resource("vacancies", "v-1", title="Nurse")),
        ("archive", resource("flowRuns", RUN, status="running")),
        ("update", resource("flowRuns", RUN, status="hibernating")),
        ("update", resource("flowRuns", RUN)),
        ("update", resource("flowRuns", "", status="running")),
        ("create", message(payload={"type": "image"})),
        ("create", message(payload=None)),
        ("create", message(origin="sideways")),
        ("create", message(origin=None)),
        ("update", outbound("teleported")),
        ("update", message(deliveryStatus=None)),
        ("update", resource("messageTemplates", TEMPLATE)),
        ("delete", resource("messages", "msg-1")),
        (None, {}),
        ({"a": 1}, {"id": 5, "type": ["x"], "attributes": "none"}),
    ],
)
def test_what_we_do_not_know_is_kept_once_and_has_no_effect(event: JsonValue, changed: JsonValue) -> None:
    first, again = only(event, changed), only(event, changed)

    assert isinstance(first.body, NotUnderstood)
    assert first.key == again.key
    assert not first.may_fall_back
    assert first.ties.run_id == ""


def test_two_unknown_things_have_two_keys() -> None:
    one = only("create", resource("vacancies", "v-1", title="Nurse"))
    other = only("create", resource("vacancies", "v-1", title="Cook"))

    assert one.key != other.key


def test_words_of_an_unknown_thing_are_short_and_hold_no_number() -> None:
    body = only("31600000001", resource("x" * 500, "1")).body

    assert isinstance(body, NotUnderstood)
    assert "31600000001" not in body.what
    assert len(body.what) < 120


# hostile bytes and headers

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = st.sampled_from(
    [
        "status",
        "state",
        "origin",
        "payload",
        "deliveryStatus",
        "errorMessages",
        "messageThreadId",
        "updatedAt",
        "flowId",
    ]
)


@given(st.binary())
def test_no_bytes_make_parse_raise(body: bytes) -> None:
    READER.parse(body)


@given(
    st.sampled_from(["create", "update", "delete"]) | JSON,
    st.sampled_from(["flowRuns", "messages", "messageTemplates"]) | JSON,
    JSON,
    st.dictionaries(MEMBERS, JSON) | JSON,
)
def test_no_shape_of_a_delivery_makes_parse_raise(
    event: JsonValue, kind: JsonValue, identity: JsonValue, attributes: JsonValue
) -> None:
    body = delivery(event, {"id": identity, "type": kind, "attributes": attributes})
    parsed = READER.parse(body)

    assert parsed.quarantine or len(parsed.events) >= 1
    assert READER.parse(body) == parsed
    parsed.model_dump_json().encode()


@given(st.sampled_from(["inbound", "outbound"]), st.text(), st.text(), st.sampled_from(["failed", "sent"]))
def test_no_text_of_a_person_makes_parse_raise(origin: str, written: str, thread: str, word: str) -> None:
    payload: JsonValue = {"type": "text", "text": {"value": written}}
    changed = message(
        origin=origin, payload=payload, messageThreadId=thread, deliveryStatus=word, errorMessages=[written]
    )
    for event in ("create", "update"):
        parsed = READER.parse(delivery(event, changed))
        assert parsed.events
        parsed.model_dump_json().encode()


@given(st.binary(), st.dictionaries(st.text() | st.just(SECRET_HEADER), st.text(alphabet=st.characters())))
def test_no_header_makes_verify_raise_anything_but_a_refusal(body: bytes, headers: dict[str, str]) -> None:
    assume(headers.get(SECRET_HEADER) != SECRET)
    with pytest.raises(WebhookRefused) as caught:
        READER.verify(body, headers)
    assert SECRET not in str(caught.value)


def test_half_a_character_in_a_header_is_a_refusal() -> None:
    with pytest.raises(WebhookRefused):
        READER.verify(b"", {SECRET_HEADER: "\ud800"})


def test_during_a_rotation_both_secrets_are_right_and_a_third_is_wrong() -> None:
    reader = RecruboWebhookReader(ACCOUNT, (SecretStr("old"), SecretStr("new")), RecruboSettings())
    for secret in ("old", "new"):
        reader.verify(b"anything", {SECRET_HEADER: secret})
    for wrong in ("older", "ne", "oldnew", ""):
        with pytest.raises(WebhookRefused):
            reader.verify(b"anything", {SECRET_HEADER: wrong})


@pytest.mark.parametrize("secrets", [(), ("",), ("good", ""), (" padded",), ("two\nlines",), ("ünicode",)])
def test_a_reader_without_usable_secrets_does_not_start(secrets: tuple[str, ...]) -> None:
    with pytest.raises(SetupError, match=ACCOUNT):
        RecruboWebhookReader(ACCOUNT, tuple(SecretStr(s) for s in secrets), RecruboSettings())
