"""Small complete values for the tests of the store."""

from datetime import UTC, datetime, timedelta

from domain.calls import AdmissionRequest, CloseRequest
from domain.contacts import Candidate, Consent, phone_alias
from domain.engagements import Capabilities, Engagement, Route
from domain.ids import engagement_workflow_id, send_key
from domain.outcomes import Decision, EngagementOutcome, EngagementResult, Settlement
from domain.plans import FlowRef, Opening, Plan, Silence, TemplateRef
from domain.sends import Send
from store.registry import EngagementRow

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PHONE = "+31612345678"
TEMPLATE = TemplateRef(name="first_contact", language="nl", id="tpl-1")
FLOW = FlowRef(id="flow-1")
CONSENT = Consent(source="application form", obtained_at=NOON - HOUR)


def a_send(contact_id: str, *, reference: str = "a-1", n: int = 1, at: datetime = NOON, job: str = "") -> Send:
    workflow_id = engagement_workflow_id("acme", reference)
    return Send(
        key=send_key(workflow_id, "opening", n),
        workflow_id=workflow_id,
        tenant="acme",
        account="main",
        line="nl-1",
        step="opening",
        n=n,
        contact_id=contact_id,
        job=job,
        address=PHONE,
        thread_id="thread-1",
        template=TEMPLATE,
        flow=FLOW,
        at=at,
    )


def a_row(
    contact_id: str,
    *,
    reference: str = "a-1",
    tenant: str = "acme",
    line: str = "nl-1",
    created_at: datetime = NOON,
    candidate: str = "f1",
) -> EngagementRow:
    return EngagementRow(
        tenant=tenant,
        reference=reference,
        workflow_id=engagement_workflow_id(tenant, reference),
        contact_id=contact_id,
        line=line,
        account="main",
        provider="recrubo",
        plan="interview",
        fingerprints={"candidate": candidate, "plan": "f2"},
        created_at=created_at,
    )


def an_admission(
    contact_id: str,
    *,
    reference: str = "a-1",
    tenant: str = "acme",
    line: str = "nl-1",
    job: str = "",
    consent: Consent | None = CONSENT,
    exclusive: bool = True,
) -> AdmissionRequest:
    return AdmissionRequest(
        workflow_id=engagement_workflow_id(tenant, reference),
        tenant=tenant,
        line=line,
        contact_id=contact_id,
        job=job,
        consent=consent,
        exclusive_line=exclusive,
        at=NOON,
    )


def a_close(
    contact_id: str,
    *,
    reference: str = "a-1",
    outcome: EngagementOutcome = EngagementOutcome.COMPLETED,
    at: datetime = NOON,
) -> CloseRequest:
    settlement = Settlement(outcome=outcome, rule="answer", reason="it came", at=at, answers={"shift": "nights"})
    return CloseRequest(
        workflow_id=engagement_workflow_id("acme", reference),
        contact_id=contact_id,
        result=EngagementResult(tenant="acme", reference=reference, settlement=settlement, sends=1),
        decisions=(Decision(at=at, rule="answer", text="the flow run finished"),),
        snapshot='{"stage": "closed"}',
        at=at,
    )


def an_engagement(contact_id: str, *, reference: str = "a-1") -> Engagement:
    capabilities = Capabilities(
        has_threads=True,
        can_read_runs=True,
        can_create_templates=False,
        can_cancel_runs=True,
        reads_templates_by_id=True,
        free_form_window=True,
        one_live_run_per_thread=True,
        confirms_ends=True,
    )
    return Engagement(
        tenant="acme",
        reference=reference,
        contact_id=contact_id,
        candidate=Candidate(phone=PHONE, variables={"first_name": "Sanne"}, consent=CONSENT),
        plan=Plan(
            name="interview", opening=Opening(template=TEMPLATE, flow=FLOW), silence=Silence(after=timedelta(days=2))
        ),
        route=Route(account="main", line="nl-1", provider="recrubo", capabilities=capabilities),
        requested_at=NOON,
    )


A_PHONE = phone_alias(PHONE)
