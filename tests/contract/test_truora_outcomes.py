"""Truora's own deliveries read by an open engagement: which outcome each ending of a conversation gives."""

from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from domain.contacts import Candidate
from domain.engagements import Engagement, Route
from domain.events import FlowRunStatus, MessageStatus, ProviderEvents
from domain.model import JsonValue
from domain.outcomes import EngagementOutcome
from domain.plans import Plan
from domain.reading import Reader
from domain.send_record import SendRecord
from domain.sends import LedgerState, SendReceipt
from domain.state import EngagementState
from providers.truora.client import CAPABILITIES
from providers.truora.settings import TruoraSettings
from providers.truora.webhook import TruoraWebhookReader
from tests.contract.truora_bench import ACCOUNT, PHONE, PROCESS, REFERENCE, SESSION, SIGNING_KEY, delivery, event

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)

Told = tuple[str, str]


def engagement() -> Engagement:
    template: JsonValue = {"name": "intake", "language": "en", "id": "OTB1"}
    opening: JsonValue = {"template": template, "flow": {"id": "IPF1"}}
    plan = Plan.model_validate({"name": "intake", "opening": opening, "silence": {"after": "3d"}})
    return Engagement(
        tenant="acme",
        reference="app-1",
        contact_id="contact-1",
        candidate=Candidate(phone=PHONE),
        plan=plan,
        route=Route(account=ACCOUNT, line="main", provider="truora", capabilities=CAPABILITIES),
        requested_at=NOW,
    )


def opened(ledger_state: LedgerState = LedgerState.SENT, **ids: str) -> EngagementState:
    state = EngagementState(started_at=NOW)
    receipt = SendReceipt.model_validate({"reference": REFERENCE, **ids})
    record = SendRecord(
        key="k-1", step="opening", template="intake", with_flow=True, since=NOW, state=ledger_state, receipt=receipt
    )
    state.sends.append(record)
    return state


def hear(state: EngagementState, *events: JsonValue) -> EngagementState:
    """Read an authentic delivery of these events, as the engagement gets it."""
    reader = TruoraWebhookReader(ACCOUNT, (SecretStr(SIGNING_KEY),), TruoraSettings())
    body = delivery(events)
    reader.verify(body, {})
    state.receive(ProviderEvents(events=reader.parse(body).events))
    Reader(engagement(), state, NOW).read_news()
    return state


def about(*told: Told) -> list[JsonValue]:
    return [event(kind, action, f"HKE{n}", variables={"city": "Quito"}) for n, (kind, action) in enumerate(told)]


STARTED: Told = ("whatsapp_process", "started")
SUCCEEDED: Told = ("whatsapp_process", "succeeded")
FAILED: Told = ("whatsapp_process", "failed")
CANCEL: Told = ("whatsapp_outbound", "canceled")
EXIT: Told = ("whatsapp_session", "canceled")
EXPIRED: Told = ("whatsapp_session", "expired")


@pytest.mark.parametrize(
    ("told", "outcome"),
    [
        ([("whatsapp_outbound", "accepted"), STARTED, SUCCEEDED], EngagementOutcome.COMPLETED),
        ([SUCCEEDED, STARTED, ("whatsapp_outbound", "started")], EngagementOutcome.COMPLETED),
        ([CANCEL, EXPIRED], EngagementOutcome.DECLINED),
        ([STARTED, EXIT], EngagementOutcome.OPTED_OUT),
        ([SUCCEEDED, CANCEL, EXIT], EngagementOutcome.COMPLETED),
        ([CANCEL, SUCCEEDED], EngagementOutcome.DECLINED),
    ],
)
def test_the_first_end_of_a_conversation_decides_the_outcome(told: list[Told], outcome: EngagementOutcome) -> None:
    settled = hear(opened(session_id=SESSION), *about(*told)).settlement

    assert settled is not None
    assert settled.outcome is outcome
    assert settled.answers == ({"city": "Quito"} if outcome is EngagementOutcome.COMPLETED else {})


def test_an_expired_session_is_silence_and_no_outcome() -> None:
    state = hear(opened(session_id=SESSION), *about(STARTED, EXPIRED))

    assert state.settlement is None
    assert state.sends[0].run_status is FlowRunStatus.TIMED_OUT


def test_a_failed_process_waits_for_its_explanation() -> None:
    state = hear(opened(session_id=SESSION), *about(FAILED))

    assert state.settlement is None
    assert state.failed_run_since == NOW


def test_the_message_that_left_moves_its_send() -> None:
    state = hear(opened(session_id=SESSION), *about(("whatsapp_outbound", "started")))

    assert state.sends[0].message_status is MessageStatus.SENT


def test_an_event_with_our_reference_settles_a_lost_answer_and_tells_the_session() -> None:
    state = hear(opened(LedgerState.UNKNOWN), event("whatsapp_outbound", "started", account_id=REFERENCE))
    record = state.sends[0]

    assert record.state is LedgerState.SENT
    assert (record.receipt.session_id, record.receipt.run_id) == (SESSION, PROCESS)


def test_an_event_without_session_is_tied_by_the_process_that_an_earlier_one_told() -> None:
    state = hear(opened(session_id=SESSION), *about(STARTED))
    hear(state, event("whatsapp_process", "succeeded", "HKE9", session_id=None))

    assert state.settlement is not None
    assert state.settlement.outcome is EngagementOutcome.COMPLETED


def test_events_of_another_session_move_nothing() -> None:
    others = [
        event(*told, f"HKE{n}", session_id="WDIS9", process_id="IDP9") for n, told in enumerate([CANCEL, SUCCEEDED])
    ]
    state = hear(opened(session_id=SESSION), *others)

    assert state.settlement is None
    assert state.sends[0].run_status is None
