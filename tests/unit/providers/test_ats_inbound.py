"""What a tenant's system tells us is believed only where one of its keys signed it, now."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook

from domain.ats import AtsDeliveryState, AtsTelling, AtsUnread, AtsWord
from domain.errors import SetupError, WebhookRefused
from domain.topology import Account, Line, Tenant, Topology
from providers.ats.inbound import REASON_LIMIT, AtsReader, ats_readers

KEY, NEXT_KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + "A" * 32
STATUS = {"type": "engagement.status", "data": {"reference": "app-1", "status": "hired", "reason": "signed"}}
BODY = json.dumps(STATUS).encode()


def signed(body: bytes, key: str = KEY, *, message_id: str = "m-1", age: timedelta = timedelta(0)) -> dict[str, str]:
    at = datetime.now(UTC) - age
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(key).sign(message_id, at, body.decode()),
    }


@pytest.fixture
def reader() -> AtsReader:
    return AtsReader("acme", [SecretStr(KEY), SecretStr(NEXT_KEY)])


@pytest.mark.parametrize("key", [KEY, NEXT_KEY])
def test_each_key_counts_while_keys_are_changed(reader: AtsReader, key: str) -> None:
    reader.verify(BODY, signed(BODY, key))


@pytest.mark.parametrize(
    "forge",
    [
        dict[str, str],
        lambda: signed(BODY, "whsec_" + "B" * 32),
        lambda: signed(BODY + b" "),
        lambda: signed(BODY, age=timedelta(minutes=6)),
        lambda: signed(BODY, age=timedelta(minutes=-6)),
        lambda: signed(BODY) | {"webhook-id": "m-2"},
        lambda: signed(BODY) | {"webhook-signature": "v1"},
        lambda: signed(BODY) | {"webhook-signature": "v1,not base64!"},
        lambda: signed(BODY) | {"webhook-timestamp": "nan"},
    ],
)
def test_whatever_is_not_signed_exactly_so_is_refused(reader: AtsReader, forge: Callable[[], dict[str, str]]) -> None:
    with pytest.raises(WebhookRefused) as refused:
        reader.verify(BODY, forge())
    assert "hired" not in str(refused.value)
    assert KEY[6:] not in str(refused.value)


def test_bytes_that_are_no_text_are_refused(reader: AtsReader) -> None:
    with pytest.raises(WebhookRefused):
        reader.verify(b"\xff\xfe", signed(BODY))


def test_a_status_and_a_closed_requisition_are_understood(reader: AtsReader) -> None:
    told = reader.read(BODY)
    assert told == AtsTelling(status=AtsWord.HIRED, reference="app-1", reason="signed", actor="ats of acme")
    closed = reader.read(json.dumps({"type": "requisition.closed", "data": {"job": "job-88"}}).encode())
    assert isinstance(closed, AtsTelling)
    assert (closed.status, closed.job, closed.reference) == (AtsWord.REQUISITION_CLOSED, "job-88", "")
    assert closed.reason == "requisition-closed"


def test_a_long_reason_is_one_line_of_bounded_length(reader: AtsReader) -> None:
    told = reader.read(
        json.dumps(
            {"type": "engagement.status", "data": {"reference": "a", "status": "hired", "reason": "a \n b " * 500}}
        ).encode()
    )
    assert isinstance(told, AtsTelling)
    assert len(told.reason) <= REASON_LIMIT
    assert "\n" not in told.reason


@pytest.mark.parametrize(
    ("body", "state"),
    [
        (b"hello", AtsDeliveryState.UNREADABLE),
        (b"[]", AtsDeliveryState.UNREADABLE),
        (b"[" * 100_000, AtsDeliveryState.UNREADABLE),
        (b'{"type": "candidate.created", "data": {}}', AtsDeliveryState.IGNORED),
        (b'{"type": ["engagement.status"]}', AtsDeliveryState.IGNORED),
        (
            b'{"type": "engagement.status", "data": {"reference": "a b", "status": "fired"}}',
            AtsDeliveryState.UNREADABLE,
        ),
        (b'{"type": "requisition.closed", "data": {"job": ""}}', AtsDeliveryState.UNREADABLE),
    ],
)
def test_what_cannot_be_acted_on_says_why_and_repeats_no_value(
    reader: AtsReader, body: bytes, state: AtsDeliveryState
) -> None:
    told = reader.read(body)
    assert isinstance(told, AtsUnread)
    assert told.state is state
    assert "fired" not in told.why


def test_a_tenant_with_keys_has_a_reader_and_a_bad_key_stops_the_start() -> None:
    topology = Topology(
        tenants=(Tenant(slug="acme", ats_webhook_secrets=("env:A",)), Tenant(slug="globex")),
        accounts=(Account(slug="main", provider="meta", credential="env:T", webhook_secrets=("env:S",)),),
        lines=(Line(slug="nl", account="main", tenants=("acme", "globex")),),
    )
    assert list(ats_readers(topology, lambda _ref: SecretStr(KEY))) == ["acme"]
    with pytest.raises(SetupError) as wrong:
        ats_readers(topology, lambda _ref: SecretStr("whsec_%%%"))
    assert "%%%" not in str(wrong.value)
