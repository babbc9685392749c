"""Typed callers of a gate's activities: pinned name, queue, limits and a one-line summary for the audit."""

from datetime import timedelta

from temporalio import workflow
from temporalio.workflow import ActivityHandle

from domain import names
from domain.audit import summary
from domain.gates import Gate, Released, ReleasePage, TemplateLook, TemplateSubmission
from domain.ids import ENGAGEMENTS_QUEUE, lookups_queue
from domain.sends import TemplateReading
from workflows.options import GATE_READ_POLICY, RECORD_POLICY, SUBMIT_POLICY


class GateCalls:
    """The activities of one gate."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def read_template(self, look: TemplateLook) -> ActivityHandle[TemplateReading]:
        """How the template stands at the provider. Raises ActivityError; the gate itself looks again later."""
        reading: ActivityHandle[TemplateReading] = workflow.start_activity(
            names.READ_TEMPLATE,
            look,
            result_type=TemplateReading,
            task_queue=lookups_queue(self._gate.account),
            start_to_close_timeout=timedelta(seconds=30),
            schedule_to_close_timeout=timedelta(minutes=10),
            retry_policy=GATE_READ_POLICY,
            summary=summary(f"how does {look.template.name} ({look.template.language}) stand?"),
        )
        return reading

    def submit_template(self, request: TemplateSubmission) -> ActivityHandle[TemplateReading]:
        """Submit the specification: one request, never repeated by itself once it may have arrived."""
        reading: ActivityHandle[TemplateReading] = workflow.start_activity(
            names.SUBMIT_TEMPLATE,
            request,
            result_type=TemplateReading,
            task_queue=lookups_queue(self._gate.account),
            start_to_close_timeout=timedelta(seconds=60),
            schedule_to_close_timeout=timedelta(hours=1),
            retry_policy=SUBMIT_POLICY,
            summary=summary(f"submit {request.template.name} ({request.template.language})"),
        )
        return reading

    def release(self, page: ReleasePage) -> ActivityHandle[Released]:
        """Tell one page of waiters. Tried without end: they can do nothing before they hear."""
        told, trial = len(page.workflow_ids), ", on trial" if page.decision.trial else ""
        by = f" ({page.decision.actor})" if page.decision.actor else ""
        released: ActivityHandle[Released] = workflow.start_activity(
            names.RELEASE_WAITERS,
            page,
            result_type=Released,
            task_queue=ENGAGEMENTS_QUEUE,
            start_to_close_timeout=timedelta(minutes=10),
            heartbeat_timeout=timedelta(seconds=15),
            retry_policy=RECORD_POLICY,
            summary=summary(f"tell {told}: {page.decision.verdict}{trial}", page.decision.reason + by),
        )
        return released
