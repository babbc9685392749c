"""What is asked before an engagement begins, by the transaction that registers it or by the engagement itself."""

from datetime import datetime, timedelta

from domain.calls import AdmissionRequest, LineOfAccount, TemplateQuestion
from domain.engagements import Engagement
from domain.model import Instant
from domain.plans import FlowRef, TemplateRef
from domain.sends import TemplateReading

TEMPLATE_FRESH = timedelta(hours=1)
"""A reading of this age still counts. Webhooks make it stale at once, and each claim looks at that: age is only for
what no webhook told. One that says to wait counts without end: the gate looks for all who wait."""


def admission_request(
    engagement: Engagement,
    workflow_id: str,
    at: datetime,
    *,
    template: TemplateQuestion | None,
    goes_over_to: LineOfAccount | None = None,
) -> AdmissionRequest:
    """May this engagement begin, or go on on another line?"""
    return AdmissionRequest(
        workflow_id=workflow_id,
        tenant=engagement.tenant,
        line=engagement.route.line,
        contact_id=engagement.contact_id,
        job=engagement.job,
        consent=engagement.candidate.consent,
        exclusive_line=engagement.route.capabilities.one_live_run_per_thread,
        when_busy=engagement.plan.when_busy,
        goes_over_to=goes_over_to,
        template=template,
        at=at,
    )


def template_question(
    engagement: Engagement, template: TemplateRef, flow: FlowRef | None, at: datetime
) -> TemplateQuestion:
    """May a message leave on this template, where the engagement is carried?"""
    route = engagement.route
    return TemplateQuestion(account=route.account, line=route.line, template=template, flow=flow, at=at)


def may_leave_by(known: tuple[TemplateReading, Instant] | None, now: datetime) -> TemplateReading | None:
    """What is known of a template, and since when, where a message may leave by it; None: the provider is asked."""
    if known is None:
        return None
    reading, read_at = known
    if not reading.template_status.sends or now - read_at > TEMPLATE_FRESH:
        return None
    return reading.model_copy(update={"read_at": read_at})
