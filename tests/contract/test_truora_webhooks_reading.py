"""What Truora's deliveries mean, which are authentic, and that nothing whatsoever breaks the reader."""

import json
from datetime import UTC, datetime

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from domain.contacts import phone_alias
from domain.errors import SetupError, WebhookRefused
from domain.events import (
    FlowRunChanged,
    FlowRunStatus,
    MessageStatus,
    MessageStatusChanged,
    NotUnderstood,
    OptOutReceived,
    ProviderEvent,
    TemplateChanged,
)
from domain.model import JsonValue
from providers.truora.settings import TruoraSettings
from providers.truora.webhook import TruoraWebhookReader
from tests.contract.truora_bench import (
    ACCOUNT,
    FLOW,
    OUTBOUND,
    PHONE,
    PROCESS,
    REFERENCE,
    SESSION,
    SIGNING_KEY,
    delivery,
    event,
    handmade,
    signed,
)

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
EMPTY = b'{"iss":"Truora","events":[]}'
OLDER_KEY = "an-older-signing-key-still-accepted-0001"


def reader(settings: TruoraSettings | None = None, *keys: str) -> TruoraWebhookReader:
    secrets = tuple(SecretStr(key) for key in (keys or (OLDER_KEY, SIGNING_KEY)))
    return TruoraWebhookReader(ACCOUNT, secrets, settings or TruoraSettings(), clock=lambda: NOW)


def read(*events: JsonValue, settings: TruoraSettings | None = None) -> tuple[ProviderEvent, ...]:
    """The events of an authentic delivery."""
    body, there = delivery(events), reader(settings)
    there.verify(body, {})
    parsed = there.parse(body)
    assert parsed.quarantine == ""
    return parsed.events


def one(event_type: str, action: str, settings: TruoraSettings | None = None, /, **members: JsonValue) -> ProviderEvent:
    (found,) = read(event(event_type, action, **members), settings=settings)
    return found


def is_accepted(body: bytes, there: TruoraWebhookReader | None = None) -> bool:
    try:
        (there or reader()).verify(body, {})
    except WebhookRefused:
        return False
    return True


def test_the_message_left() -> None:
    found = one("whatsapp_outbound", "started")

    assert isinstance(found.body, MessageStatusChanged)
    assert found.body.message_status is MessageStatus.SENT
    assert not found.is_urgent


@pytest.mark.parametrize("action", ["approved", "accepted", " Approved "])
def test_an_acceptance_that_names_one_send_starts_its_run(action: str) -> None:
    for tie in ({"session_id": SESSION}, {"process_id": PROCESS}, {"account_id": REFERENCE}):
        bare: dict[str, JsonValue] = {"session_id": None, "process_id": None, **tie}
        found = one("whatsapp_outbound", action, **bare)
        assert isinstance(found.body, FlowRunChanged)
        assert found.body.flow_run_status is FlowRunStatus.RUNNING


@pytest.mark.parametrize("action", ["approved", "accepted"])
def test_an_approval_that_names_no_send_only_makes_the_outbound_be_read_again(action: str) -> None:
    bare: dict[str, JsonValue] = {"session_id": None, "process_id": "undefined", "account_id": "somebody-else"}
    found = one("whatsapp_outbound", action, **bare)
    nothing = one("whatsapp_outbound", action, outbound_id=None, **bare)

    assert found.body == TemplateChanged(template_id=OUTBOUND, event=action)
    assert isinstance(nothing.body, NotUnderstood)


@pytest.mark.parametrize("action", ["canceled", "cancelled"])
def test_cancel_on_the_outbound_is_the_candidates_no(action: str) -> None:
    found = one("whatsapp_outbound", action)

    assert isinstance(found.body, FlowRunChanged)
    assert found.body.flow_run_status is FlowRunStatus.CANCELLED
    assert found.body.cancelled_by_candidate


@pytest.mark.parametrize("action", ["canceled", "cancelled"])
def test_exit_ends_this_engagement_only_and_is_tied_by_the_session(action: str) -> None:
    found = one("whatsapp_session", action)
    without = one("whatsapp_session", action, session_id=None)

    assert found.body == without.body == OptOutReceived(scope="engagement")
    assert (found.ties.session_id, found.ties.run_id) == (SESSION, "")
    assert without.ties.run_id == PROCESS
    assert found.may_fall_back


@pytest.mark.parametrize(
    ("event_type", "action", "status"),
    [
        ("whatsapp_process", "started", FlowRunStatus.RUNNING),
        ("whatsapp_process", "succeeded", FlowRunStatus.FINISHED),
        ("WhatsApp_Process", "Success", FlowRunStatus.FINISHED),
        ("whatsapp_process", "failed", FlowRunStatus.FAILED),
        ("whatsapp_process", "failure", FlowRunStatus.FAILED),
        ("whatsapp_session", "expired", FlowRunStatus.TIMED_OUT),
    ],
)
def test_runs_move_by_the_words_of_the_table(event_type: str, action: str, status: FlowRunStatus) -> None:
    found = one(event_type, action)

    assert isinstance(found.body, FlowRunChanged)
    assert found.body.flow_run_status is status
    assert not found.body.cancelled_by_candidate
    assert (found.ties.session_id, found.ties.run_id, found.ties.flow_id) == (SESSION, PROCESS, FLOW)


@pytest.mark.parametrize(
    ("event_type", "action"),
    [
        ("whatsapp_session", "started"),
        ("whatsapp_session", "restarted"),
        ("whatsapp_inbound", "started"),
        ("whatsapp_process", "expired"),
        ("whatsapp_outbound", ""),
        ("", ""),
        ("check", "finished"),
    ],
)
def test_a_word_that_is_not_in_the_table_is_kept_without_effect(event_type: str, action: str) -> None:
    found = one(event_type, action)

    assert isinstance(found.body, NotUnderstood)
    assert found.key == "event:HKE1"


def test_the_table_of_words_and_the_names_of_members_can_be_put_right() -> None:
    settings = TruoraSettings.model_validate(
        {
            "event_words": {"Conversation": {"Done": "succeeded"}},
            "members": {"session_id": ["sid", "session_id"], "answers": ["data"], "phone": ["msisdn"]},
        }
    )
    members: dict[str, JsonValue] = {"sid": "S9", "data": {"a": 1}, "msisdn": "573140000001"}
    found = one("conversation", "done", settings, **members)

    assert isinstance(found.body, FlowRunChanged)
    assert found.body.answers == {"a": 1}
    assert found.ties.session_id == "S9"
    assert found.sender == (phone_alias(PHONE),)
    assert isinstance(one("whatsapp_process", "succeeded", settings).body, NotUnderstood)


def test_references_of_ours_are_no_answers() -> None:
    told: dict[str, JsonValue] = {"city": "Bogotá", "ref": REFERENCE, "account_id": "x", "n": 3, "deep": {"a": [1]}}
    found = one("whatsapp_process", "succeeded", variables=told)

    assert isinstance(found.body, FlowRunChanged)
    assert found.body.answers == {"city": "Bogotá", "n": 3, "deep": {"a": [1]}}


@pytest.mark.parametrize("variables", [None, [], "text", 3, [{"name": "a"}]])
def test_answers_of_another_shape_lose_no_end(variables: JsonValue) -> None:
    found = one("whatsapp_process", "succeeded", variables=variables)

    assert isinstance(found.body, FlowRunChanged)
    assert (found.body.flow_run_status, found.body.answers) == (FlowRunStatus.FINISHED, {})


def test_a_failure_keeps_its_reason_as_a_word() -> None:
    reasons = [
        one("whatsapp_process", "failed", failure_status="expired", declined_reason="x"),
        one("whatsapp_process", "failure", failure_status="", declined_reason="no_match"),
        one("whatsapp_process", "failed"),
    ]

    bodies = [found.body for found in reasons]
    assert [b.raw_status for b in bodies if isinstance(b, FlowRunChanged)] == [
        "failed/expired",
        "failure/no_match",
        "failed",
    ]


def test_an_account_id_of_somebody_else_ties_nothing() -> None:
    assert one("whatsapp_process", "started", account_id="their-own").ties.reference == ""
    assert one("whatsapp_process", "started", account_id=REFERENCE).ties.reference == REFERENCE


@pytest.mark.parametrize("phone", ["+194XXXXXXXX", "undefined", "", None, 12, True, "+57 314 000 0001"])
def test_a_number_that_is_masked_or_none_names_nobody(phone: JsonValue) -> None:
    found = one("whatsapp_process", "started", phone_number=phone)

    assert found.sender == ()


def test_the_other_name_of_the_number_counts_where_the_first_says_nothing() -> None:
    found = one("whatsapp_process", "started", phone_number="undefined", user_phone_number=PHONE)

    assert found.sender == (phone_alias(PHONE),)


def test_the_instant_is_the_events_own_then_the_objects_then_the_tokens_then_ours() -> None:
    told = event("whatsapp_process", "started", update_date="2026-03-02T09:02:00.680937413Z")
    timeless = {**told, "timestamp": ""}
    bare = {**event("whatsapp_process", "started"), "timestamp": "yesterday"}
    undated = reader().parse(delivery([bare], iat="soon")).events

    instants = [found.occurred_at for found in (*read(told, timeless, bare), *undated)]
    assert instants == [
        datetime(2026, 3, 2, 9, 10, tzinfo=UTC),
        datetime(2026, 3, 2, 9, 2, 0, 680937, tzinfo=UTC),
        datetime.fromtimestamp(1772442601, UTC),
        NOW,
    ]


def test_the_same_event_has_the_same_key_however_it_is_wrapped() -> None:
    told = event("whatsapp_process", "started")
    nameless = {**told, "id": ""}
    turned = dict(reversed(list(nameless.items())))
    other = {**nameless, "event_action": "failed"}

    first = reader().parse(delivery([told], iat=1)).events[0].key
    again = reader().parse(delivery([told], iat=2)).events[0].key
    assert first == again == "event:HKE1"
    keys = [found.key for found in read(nameless, turned, other)]
    assert keys[0] == keys[1] != keys[2]
    assert keys[0].startswith("event:sha256:")


def test_one_bad_element_drops_no_other() -> None:
    good = event("whatsapp_process", "started")
    bodies = [found.body.kind for found in read("text", None, 3, [], {}, {"object": 5, "id": {}}, good)]

    assert bodies == ["not-understood"] * 6 + ["flow-run"]
    assert len({found.key for found in read("text", None, 3, [])}) == 4


def test_what_is_not_understood_holds_no_number() -> None:
    found = one("whatsapp_573140000001", "+57 314 000 0001")

    assert isinstance(found.body, NotUnderstood)
    assert "314" not in found.body.what


def test_every_key_counts_during_a_rotation_and_white_space_does_not() -> None:
    body = delivery([event("whatsapp_process", "started")])

    assert is_accepted(b"\r\n  " + body + b"\n")
    assert reader().parse(b"\n" + body + b" ").events
    assert is_accepted(delivery([], OLDER_KEY))
    assert not is_accepted(delivery([], "another-key-that-nobody-configured-01"))
    assert is_accepted(body, reader(None, SIGNING_KEY))


def test_neither_age_nor_clock_skew_nor_content_type_refuses_a_token() -> None:
    strange: list[dict[str, JsonValue]] = [
        {"iat": 1},
        {"iat": 99999999999},
        {"iat": "x"},
        {"exp": 1},
        {"nbf": 99999999999},
        {"aud": "y", "sub": 5, "jti": []},
    ]
    for claims in strange:
        assert is_accepted(delivery([], **claims))


def test_a_key_that_looks_like_hex_is_text() -> None:
    key = "deadbeef" * 5
    body = delivery([], key)

    assert is_accepted(body, reader(None, key))
    assert not is_accepted(delivery([], "other-" + key), reader(None, key))
    as_bytes = jwt.api_jws.encode(b'{"iss":"Truora","events":[]}', bytes.fromhex(key * 2)).encode()
    assert not is_accepted(as_bytes, reader(None, key))


def test_a_short_key_works_without_a_warning() -> None:
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        body = delivery([], "short")

    assert is_accepted(body, reader(None, "short"))


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS512", "HS384", "RS256", "hs256", "", None, 5])
def test_the_token_never_chooses_its_algorithm(algorithm: JsonValue) -> None:
    for stripped in (False, True):
        assert not is_accepted(handmade({"alg": algorithm, "typ": "JWT"}, EMPTY, stripped=stripped))
    assert is_accepted(handmade({"alg": "HS256"}, EMPTY)), "the helper signs well"


def test_an_extension_that_we_do_not_know_is_refused() -> None:
    assert is_accepted(handmade({"alg": "HS256", "kid": "k", "x": [1]}, EMPTY))
    assert not is_accepted(handmade({"alg": "HS256", "crit": ["b64"], "b64": False}, EMPTY))
    assert not is_accepted(handmade({"alg": "HS256", "crit": ["exp"]}, EMPTY))
    assert not is_accepted(handmade({}, EMPTY))


@pytest.mark.parametrize("issuer", ["Mallory", "truora", "", None, ["Truora"], {}])
def test_another_issuer_is_refused_though_the_key_is_right(issuer: JsonValue) -> None:
    assert not is_accepted(signed({"iss": issuer, "events": []}))
    assert not is_accepted(signed({"events": []}))


@pytest.mark.parametrize("payload", [b"", b"\xff", b"not json", b"[]", b'"Truora"', b"[" * 5000])
def test_a_signed_payload_that_cannot_be_read_is_kept_for_a_person(payload: bytes) -> None:
    body = jwt.api_jws.encode(payload, SIGNING_KEY).encode()
    reader().verify(body, {})

    assert reader().parse(body).quarantine != ""


def test_a_changed_byte_anywhere_is_refused() -> None:
    body = delivery([event("whatsapp_process", "succeeded")])
    for place in range(0, len(body), 7):
        changed = bytearray(body)
        changed[place] ^= 1
        assert not is_accepted(bytes(changed)), place


@pytest.mark.parametrize("secrets", [(), ("",), ("good-key", ""), ("two\nlines",), (" blank",)])
def test_a_receiver_without_usable_signing_keys_does_not_start(secrets: tuple[str, ...]) -> None:
    with pytest.raises(SetupError, match=ACCOUNT):
        TruoraWebhookReader(ACCOUNT, tuple(SecretStr(s) for s in secrets), TruoraSettings())


def test_there_is_no_handshake() -> None:
    assert reader().handshake({"hub.mode": "subscribe"}) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
WORDS = st.sampled_from(
    ["whatsapp_outbound", "whatsapp_process", "whatsapp_session", "started", "approved", "canceled"]
)
MEMBERS = st.dictionaries(
    st.sampled_from(["session_id", "process_id", "account_id", "phone_number", "variables", "update_date", "x"]), JSON
)
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "id": JSON,
        "event_type": WORDS | JSON,
        "event_action": WORDS | JSON,
        "object": MEMBERS | JSON,
        "timestamp": JSON,
    },
)


@given(st.binary(max_size=200) | st.lists(st.binary(max_size=40), min_size=3, max_size=3).map(b".".join))
def test_no_bytes_make_the_reader_raise_anything_but_its_refusal(body: bytes) -> None:
    assert not is_accepted(body), "nobody guesses a signature"
    assert isinstance(reader().parse(body).quarantine, str)


@given(st.binary(max_size=200))
def test_no_signed_bytes_make_the_reader_raise_anything_but_its_refusal(payload: bytes) -> None:
    body = jwt.api_jws.encode(payload, SIGNING_KEY).encode()
    is_accepted(body)
    reader().parse(body)


@given(st.lists(EVENTS | JSON, max_size=4), JSON)
def test_no_events_make_the_reader_raise_and_each_leaves_a_trace(events: list[JsonValue], iat: JsonValue) -> None:
    body = signed({"iss": "Truora", "iat": iat, "events": events})
    assert is_accepted(body) or "NaN" in json.dumps(events) + json.dumps(iat)
    parsed = reader().parse(body)

    assert parsed.quarantine or len(parsed.events) == len(events)
    for found in parsed.events:
        assert found.key.startswith("event:") or found.key.startswith("sha256:")
        assert ProviderEvent.model_validate_json(found.model_dump_json()).key == found.key
