"""Meta's deliveries: signature and handshake, then every element by itself, whatever the others hold."""

import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from domain.contacts import Alias, AliasKind
from domain.errors import HandshakeRefused, SetupError, WebhookRefused
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
from domain.stop_words import StopWords
from providers.meta.settings import MetaSettings
from providers.meta.webhook import MetaWebhookReader

SETTINGS = MetaSettings(waba_id="1", verify_token="env:T")
NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SECRETS = (SecretStr("older"), SecretStr("newer"))
READER = MetaWebhookReader("acme", SECRETS, SETTINGS, lambda: NOW, SecretStr("the-verify-token"))

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["object", "entry", "changes", "field", "value", "messages", "statuses", "errors", "contacts", "id", "from",
             "type", "interactive", "nfm_reply", "response_json", "text", "body", "timestamp", "status", "code",
             "user_preferences", "metadata", "phone_number_id", "event", "message_template_id", "flow_id", "new_status",
             "time"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip
FIELDS = st.sampled_from(
    ["messages", "flows", "user_preferences", "message_template_status_update", "template_category_update", "other"]
)


def delivered(body: JsonValue) -> bytes:
    return json.dumps(body).encode()


def changed(field: str, value: JsonValue, time: JsonValue = None) -> bytes:
    entry: JsonValue = {"id": "1", "time": time, "changes": [{"field": field, "value": value}]}
    return delivered({"object": "whatsapp_business_account", "entry": [entry]})


def events_of(body: bytes, reader: MetaWebhookReader = READER) -> tuple[ProviderEvent, ...]:
    parsed = reader.parse(body)
    assert parsed.quarantine == ""
    return parsed.events


def message(**members: JsonValue) -> JsonValue:
    told: dict[str, JsonValue] = {"id": "wamid.1", "from": "15550100001", "timestamp": "1772442000"}
    return told | members


def inbound(*messages: JsonValue, contacts: JsonValue = None) -> tuple[ProviderEvent, ...]:
    return events_of(changed("messages", {"messages": list(messages), "contacts": contacts}))


def status(**members: JsonValue) -> tuple[ProviderEvent, ...]:
    told: dict[str, JsonValue] = {"id": "wamid.1", "recipient_id": "15550100001", "timestamp": 1772442000}
    return events_of(changed("messages", {"statuses": [told | members]}))


def signed(secret: str, body: bytes) -> dict[str, str]:
    return {"x-hub-signature-256": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


@given(st.binary(), st.text())
def test_no_bytes_make_verification_raise_anything_but_its_refusal(body: bytes, header: str) -> None:
    with pytest.raises(WebhookRefused):
        READER.verify(body, {"x-hub-signature-256": header})
    with pytest.raises(WebhookRefused):
        READER.verify(body, {})


@given(st.binary(), st.sampled_from(["older", "newer"]))
def test_each_of_several_secrets_verifies_the_very_bytes_and_no_others(body: bytes, secret: str) -> None:
    READER.verify(body, signed(secret, body))
    with pytest.raises(WebhookRefused):
        READER.verify(body + b" ", signed(secret, body))
    with pytest.raises(WebhookRefused):
        READER.verify(body, signed("another", body))


@given(st.binary())
def test_no_bytes_make_parsing_raise(body: bytes) -> None:
    READER.parse(body)


@given(ANY_JSON)
def test_no_json_makes_parsing_raise(value: JsonValue) -> None:
    READER.parse(delivered(value))


@given(FIELDS, st.lists(ANY_JSON, max_size=3))
def test_no_element_makes_parsing_raise_or_drops_the_others(field: str, elements: list[JsonValue]) -> None:
    value: JsonValue = {"messages": [*elements, message(type="text", text={"body": "hello"})]}
    good: JsonValue = {"field": "messages", "value": value}
    bad: list[JsonValue] = [{"field": field, "value": element} for element in elements]
    entry: JsonValue = {"changes": [*bad, *elements, good]}
    parsed = READER.parse(delivered({"object": "whatsapp_business_account", "entry": [*elements, entry]}))

    assert parsed.quarantine == ""
    assert "msg:wamid.1" in [event.key for event in parsed.events]
    assert all(event.key for event in parsed.events)


@given(st.dictionaries(st.text(), st.text()))
def test_no_query_makes_a_handshake_raise_anything_but_its_refusal(query: dict[str, str]) -> None:
    with pytest.raises(HandshakeRefused):
        READER.handshake(query)


@given(ANY_JSON)
def test_equal_deliveries_have_equal_keys(value: JsonValue) -> None:
    body = changed("messages", value, 1772442000)
    assert [e.key for e in READER.parse(body).events] == [e.key for e in READER.parse(body).events]


@pytest.mark.parametrize("token", ["", "wrong", "the-verify-token "])
def test_a_handshake_with_a_wrong_token_is_refused(token: str) -> None:
    query = {"hub.mode": "subscribe", "hub.challenge": "1", "hub.verify_token": token}
    with pytest.raises(HandshakeRefused) as caught:
        READER.handshake(query)
    assert caught.value.http_status == 403


def test_without_a_verify_token_every_handshake_is_refused_and_deliveries_are_read() -> None:
    reader = MetaWebhookReader("acme", SECRETS, SETTINGS)
    with pytest.raises(HandshakeRefused):
        reader.handshake({"hub.mode": "subscribe", "hub.challenge": "1", "hub.verify_token": ""})
    reader.verify(b"x", signed("newer", b"x"))


@pytest.mark.parametrize("secrets", [(), (SecretStr(""),), (SecretStr("good"), SecretStr(""))])
def test_a_reader_without_a_usable_app_secret_does_not_start(secrets: tuple[SecretStr, ...]) -> None:
    with pytest.raises(SetupError, match="account acme"):
        MetaWebhookReader("acme", secrets, SETTINGS)


@pytest.mark.parametrize(
    ("body", "why"),
    [(b"", "empty body"), (b"{", "not JSON"), (b"\xff", "not UTF-8"), (b"[]", "not an object"),
     (b"{}", "no object or no entries"), (b'{"object":"whatsapp_business_account","entry":{}}', "no object or no"),
     (b'{"object":1,"entry":[]}', "no object or no entries")],
)  # fmt: skip
def test_what_cannot_be_used_is_quarantined_with_a_reason(body: bytes, why: str) -> None:
    parsed = READER.parse(body)
    assert parsed.quarantine.startswith(why)
    assert parsed.events == ()


@pytest.mark.parametrize(
    ("told", "body"),
    [
        ({"type": "text", "text": {"body": "Hi"}}, TextReceived(text="Hi")),
        ({"type": "button", "button": {"payload": "p", "text": "Yes"}}, TextReceived(text="Yes", payload="p")),
        (
            {"type": "interactive", "interactive": {"type": "button_reply", "button_reply": {"id": "b", "title": "B"}}},
            TextReceived(text="B", payload="b"),
        ),
        (
            {"type": "interactive", "interactive": {"type": "list_reply", "list_reply": {"id": "r", "title": "R"}}},
            TextReceived(text="R", payload="r"),
        ),
        ({"type": "text", "text": {"body": " ¡BAJA! "}}, OptOutReceived(scope="line", text=" ¡BAJA! ")),
        ({"type": "button", "button": {"payload": "STOP", "text": "No"}}, OptOutReceived(scope="line", text="No")),
        (
            {
                "type": "interactive",
                "interactive": {"type": "button_reply", "button_reply": {"id": "x", "title": "Stop"}},
            },
            OptOutReceived(scope="line", text="Stop"),
        ),
        ({"type": "text", "text": {"body": "Start"}}, OptInReceived(scope="line", text="Start")),
        ({"type": "text", "text": {"body": "stop calling"}}, TextReceived(text="stop calling")),
        ({"type": "image", "image": {}}, NotUnderstood(what="messages/image")),
        ({"type": "unsupported", "errors": [{"code": 131051}]}, NotUnderstood(what="messages/unsupported 131051")),
        (
            {"type": "system", "system": {"type": "user_changed_number", "wa_id": "15550100009"}},
            NotUnderstood(what="messages/system user_changed_number"),
        ),
        ({"type": "interactive", "interactive": {"type": "new"}}, NotUnderstood(what="messages/interactive new")),
        ({"type": None}, NotUnderstood(what="messages/")),
    ],
)  # fmt: skip
def test_what_a_person_wrote_or_tapped(told: dict[str, JsonValue], body: object) -> None:
    (event,) = inbound(message(**told))

    assert event.body == body
    assert event.key == "msg:wamid.1"
    assert event.sender == (Alias(kind=AliasKind.WA_ID, value="15550100001"),)


def form(response: JsonValue) -> ProviderEvent:
    reply: JsonValue = {"type": "nfm_reply", "nfm_reply": {"name": "flow", "response_json": response}}
    (event,) = inbound(message(type="interactive", interactive=reply, context={"id": "wamid.ours"}))
    assert event.ties.replied_to == "wamid.ours"
    return event


@pytest.mark.parametrize(
    ("response", "token", "body"),
    [
        ('{"flow_token":"ft_1","a":1}', "ft_1", FormAnswered(answers={"a": 1})),
        ('{"a":[1,{"b":null}]}', "", FormAnswered(answers={"a": [1, {"b": None}]})),
        ('{"flow_token":"unused","a":1}', "", FormAnswered(answers={"a": 1})),
        ('{"flow_token":7}', "", FormAnswered(answers={})),
        ('"text"', "", FormAnswered(answers=None, raw='"text"')),
        ("{oops", "", FormAnswered(answers=None, raw="{oops")),
        ("", "", FormAnswered(answers=None, raw="")),
        (None, "", FormAnswered(answers=None, raw="")),
        ({"flow_token": "ft_1", "a": 1}, "ft_1", FormAnswered(answers={"a": 1})),
        ([1], "", FormAnswered(answers=None, raw="[1]")),
    ],
)
def test_a_form_is_an_answer_whatever_it_holds(response: JsonValue, token: str, body: FormAnswered) -> None:
    event = form(response)

    assert event.ties.flow_token == token
    assert event.body == body


BSUID = Alias(kind=AliasKind.BSUID, value="US.1", scope="acme")
NUMBER = Alias(kind=AliasKind.WA_ID, value="15550100001")


@pytest.mark.parametrize(
    ("told", "contacts", "whom"),
    [
        ({}, [{"wa_id": "15550100001", "user_id": "US.1"}], (NUMBER, BSUID)),
        ({}, [{"wa_id": "15550100002", "user_id": "US.2"}], (NUMBER,)),
        ({"from": None, "from_user_id": "US.1"}, [], (BSUID,)),
        ({"from": "", "from_user_id": "US.1"}, [{"user_id": "US.1", "wa_id": "15550100001"}], (NUMBER, BSUID)),
        ({"from": None}, [{"user_id": "US.1"}], (BSUID,)),
        ({"from": None}, [{"user_id": "US.1"}, {"user_id": "US.2"}], ()),
        ({"from": 15550100001}, None, (NUMBER,)),
        ({"from": "+15550100001"}, None, (NUMBER,)),
        ({"from": "somebody"}, None, ()),
    ],
)
def test_who_wrote_is_known_by_number_or_by_user_id(
    told: dict[str, JsonValue], contacts: JsonValue, whom: tuple[Alias, ...]
) -> None:
    (event,) = inbound(message(type="text", text={"body": "Hi"}, **told), contacts=contacts)
    assert event.sender == whom


@pytest.mark.parametrize("metadata", ["text", [], 7, None, {"phone_number_id": {}}])
def test_metadata_of_wrong_shape_drops_nothing(metadata: JsonValue) -> None:
    message: JsonValue = {"id": "wamid.1", "from": "31600000001", "type": "text", "text": {"body": "hello"}}
    (event,) = READER.parse(changed("messages", {"metadata": metadata, "messages": [message]})).events
    assert (event.body, event.ties.line_sender) == (TextReceived(text="hello"), "")


def test_every_event_says_to_which_number_of_ours_it_came() -> None:
    value: JsonValue = {
        "metadata": {"phone_number_id": 106540352242922},
        "messages": [{"id": "wamid.1", "from": "31600000001", "type": "text", "text": {"body": "hello"}}],
        "statuses": [{"id": "wamid.2", "status": "read", "recipient_id": "31600000001"}],
    }
    events = READER.parse(changed("messages", value)).events
    assert [event.ties.line_sender for event in events] == ["106540352242922"] * 2


def test_a_message_without_an_id_is_read_and_keyed_by_what_it_holds() -> None:
    stop: dict[str, JsonValue] = {"id": None, "type": "text", "text": {"body": "stop"}}
    first, same, other = inbound(message(**stop), message(**stop), message(**stop, timestamp="1772442001"))

    assert isinstance(first.body, OptOutReceived)
    assert first.key == same.key != other.key


@pytest.mark.parametrize(
    ("word", "known"),
    [("sent", MessageStatus.SENT), ("Delivered", MessageStatus.DELIVERED), ("read", MessageStatus.READ),
     ("played", MessageStatus.READ), ("accepted", MessageStatus.ACCEPTED), ("failed", MessageStatus.FAILED)],
)  # fmt: skip
def test_how_far_a_message_got(word: str, known: MessageStatus) -> None:
    (event,) = status(status=word, biz_opaque_callback_data="att_1")

    assert isinstance(event.body, MessageStatusChanged)
    assert event.body.message_status is known
    assert (event.ties.reference, event.ties.message_id) == ("att_1", "wamid.1")
    assert event.key == f"status:wamid.1:{word.lower()}"


def test_a_failure_because_marketing_was_stopped_is_an_opt_out_too() -> None:
    failed, stopped = status(status="failed", errors=[{"code": 131050}])

    assert isinstance(failed.body, MessageStatusChanged)
    assert (failed.body.codes, failed.body.recipient_fault) == (("131050",), True)
    assert stopped.body == OptOutReceived(scope="marketing")
    assert stopped.key != failed.key
    assert stopped.sender == failed.sender == (NUMBER,)


def test_a_throttle_in_a_status_is_nobodys_fault() -> None:
    (event,) = status(status="failed", errors=[{"code": 131056}])
    assert isinstance(event.body, MessageStatusChanged)
    assert not event.body.recipient_fault


def test_a_group_is_no_person_and_a_user_id_is() -> None:
    (group,) = status(status="sent", recipient_type="group")
    (hidden,) = status(status="sent", recipient_id=None, recipient_user_id="US.1")

    assert group.sender == ()
    assert hidden.sender == (BSUID,)


@pytest.mark.parametrize(
    ("field", "value", "event", "reason"),
    [
        ("message_template_status_update", {"event": "FLAGGED", "reason": None}, "FLAGGED", ""),
        ("message_template_status_update", {"event": "APPROVED", "reason": "NONE"}, "APPROVED", ""),
        ("message_template_status_update", {"event": "REJECTED", "reason": "SCAM"}, "REJECTED", "SCAM"),
        ("message_template_quality_update", {"new_quality_score": "RED"}, "QUALITY_RED", ""),
        ("template_category_update", {"new_category": "UTILITY"}, "CATEGORY_UTILITY", ""),
        ("message_template_components_update", {}, "COMPONENTS_UPDATED", ""),
    ],
)
def test_whatever_happens_to_a_template_makes_it_be_read_again(
    field: str, value: dict[str, JsonValue], event: str, reason: str
) -> None:
    names: dict[str, JsonValue] = {
        "message_template_id": 1689550000000001,
        "message_template_name": "intake_v1",
        "message_template_language": "en_US",
    }
    (found,) = events_of(changed(field, value | names, 1772442100))

    assert found.body == TemplateChanged(
        template_id="1689550000000001", name="intake_v1", language="en_US", event=event, reason=reason
    )
    assert found.key == f"template:1689550000000001:{event}:1772442100"
    assert found.occurred_at == datetime(2026, 3, 2, 9, 1, 40, tzinfo=UTC)


def test_metas_explanation_of_a_rejection_is_kept_for_people() -> None:
    value: JsonValue = {
        "event": "DISABLED",
        "message_template_id": 1,
        "rejection_info": {"reason": "Two parameters touch.", "recommendation": "Put text between."},
        "other_info": {"title": "DISABLED", "description": "For good."},
        "disable_info": {"disable_date": "1772442100"},
    }
    (found,) = events_of(changed("message_template_status_update", value, 1))

    assert isinstance(found.body, TemplateChanged)
    assert found.body.reason == "DISABLED"
    assert found.body.detail == "Two parameters touch. Put text between. For good. disabled on 1772442100"


def test_events_without_a_time_are_told_apart_by_what_they_hold() -> None:
    def paused(title: str) -> ProviderEvent:
        value: JsonValue = {"event": "PAUSED", "message_template_id": 1, "other_info": {"title": title}}
        return events_of(changed("message_template_status_update", value))[0]

    assert paused("FIRST_PAUSE").key == paused("FIRST_PAUSE").key != paused("SECOND_PAUSE").key
    assert paused("FIRST_PAUSE").occurred_at == NOW


def test_only_a_change_of_status_of_a_flow_is_understood() -> None:
    value: dict[str, JsonValue] = {"event": "FLOW_STATUS_CHANGE", "flow_id": 9, "new_status": "BLOCKED"}
    (blocked,) = events_of(changed("flows", value, 5))
    (other,) = events_of(changed("flows", value | {"event": "ENDPOINT_LATENCY"}, 5))

    assert blocked.body == FlowChanged(flow_id="9", old="", new="BLOCKED")
    assert blocked.key == "flow:9:BLOCKED:5"
    assert other.body == NotUnderstood(what="flows ENDPOINT_LATENCY")


@pytest.mark.parametrize(
    ("told", "body"),
    [
        ({"value": "stop", "category": "marketing_messages"}, OptOutReceived(scope="marketing")),
        ({"value": "resume", "category": "marketing_messages"}, OptInReceived(scope="marketing")),
        ({"value": "stop", "category": "all_messages"}, OptOutReceived(scope="marketing")),
        ({"value": "resume", "category": "all_messages"}, NotUnderstood(what="user_preferences resume")),
        ({"value": "snooze"}, NotUnderstood(what="user_preferences snooze")),
    ],
)
def test_a_preference_stops_more_readily_than_it_resumes(told: dict[str, JsonValue], body: object) -> None:
    preference: JsonValue = {"wa_id": "15550100001", "timestamp": 1772442060, **told}
    (event,) = events_of(changed("user_preferences", {"user_preferences": [preference]}))

    assert event.body == body


def test_errors_of_the_account_and_unknown_fields_are_kept_without_effect() -> None:
    found = [
        *events_of(changed("messages", {"errors": [{"code": 131031}]})),
        *events_of(changed("messages", {})),
        *events_of(changed("account_update", {"event": "X"})),
        *events_of(delivered({"object": "instagram", "entry": []})),
        *events_of(delivered({"object": "whatsapp_business_account", "entry": [3, {"changes": [4]}]})),
    ]

    assert [e.body.what for e in found if isinstance(e.body, NotUnderstood)] == [
        "messages/errors",
        "messages without any",
        "field account_update",
        "object instagram",
        "entry without changes",
        "field ",
    ]


def test_stop_words_are_a_setting() -> None:
    words = StopWords(stop={"it": frozenset({"Basta"})})
    reader = MetaWebhookReader("acme", SECRETS, MetaSettings(waba_id="1", verify_token="env:T", stop_words=words))
    body = changed("messages", {"messages": [message(type="text", text={"body": "BASTA!"})]})

    assert isinstance(events_of(body, reader)[0].body, OptOutReceived)


def test_a_thousand_updates_in_one_delivery_are_all_read() -> None:
    many: list[JsonValue] = [{"id": f"wamid.{n}", "status": "sent", "timestamp": "1772442000"} for n in range(1000)]
    assert len({e.key for e in events_of(changed("messages", {"statuses": many}))}) == 1000
