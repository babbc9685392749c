"""Typed callers of every activity: pinned name, queue, limits and a one-line summary for the audit.

Each returns a handle: the engagement keeps listening while an activity runs (``Progress.finish``).
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from temporalio import workflow
from temporalio.workflow import ActivityCancellationType, ActivityHandle

from domain import names
from domain.audit import summary as audit_summary
from domain.calls import (
    Admission,
    AdmissionRequest,
    AtsNotice,
    CheckedRun,
    Closed,
    CloseRequest,
    ConversationEnded,
    EndConversation,
    Reconciled,
    ReconcileRequest,
    RecordSend,
    RunQuestion,
    TemplateQuestion,
    ThreadRequest,
)
from domain.engagements import Timing
from domain.gates import JoinAnswer, JoinRequest, LeaveRequest
from domain.ids import ENGAGEMENTS_QUEUE, lookups_queue, sends_queue
from domain.model import Model
from domain.sends import MessageThread, Send, SendReceipt, TemplateReading
from workflows.options import (
    CallOptions,
    closing_options,
    lookup_options,
    notice_options,
    record_options,
    send_options,
)

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Calls:
    """The activities of one engagement, by its timing."""

    timing: Timing

    def send(self, send: Send, left: timedelta, why: str) -> ActivityHandle[SendReceipt]:
        """Begin a send; it can be recalled until a worker holds it, and after that it is awaited to its own ending."""
        name = names.TRIGGER_FLOW if send.flow is not None else names.SEND_MESSAGE
        free = " or free text" if send.free_form is not None else ""
        summary = f"{send.step} #{send.n}: send {send.template.name} ({send.template.language}){free} on {send.line}"
        options = send_options(self.timing, left)
        return _start(name, send, SendReceipt, _Door(sends_queue(send.line), options, summary, why))

    def admit(self, request: AdmissionRequest) -> ActivityHandle[Admission]:
        """Consent, opt-outs, already busy."""
        door = _Door(ENGAGEMENTS_QUEUE, record_options(), "consent, opt-outs, already busy")
        return _start(names.ADMIT_ENGAGEMENT, request, Admission, door)

    def ensure_template_approved(self, question: TemplateQuestion) -> ActivityHandle[TemplateReading]:
        """How the template stands."""
        summary = f"is {question.template.name} ({question.template.language}) approved?"
        return _start(
            names.ENSURE_TEMPLATE_APPROVED, question, TemplateReading, self._lookup(question.account, summary)
        )

    def open_thread(self, request: ThreadRequest) -> ActivityHandle[MessageThread]:
        """Find or open the thread."""
        return _start(
            names.OPEN_THREAD, request, MessageThread, self._lookup(request.account, "find or open the thread")
        )

    def check_flow_run(self, question: RunQuestion, why: str) -> ActivityHandle[CheckedRun]:
        """How a flow run stands, by the provider's own word."""
        return _start(names.CHECK_FLOW_RUN, question, CheckedRun, self._lookup(question.account, why))

    def reconcile_send(self, request: ReconcileRequest) -> ActivityHandle[Reconciled]:
        """Whether a send with a lost answer reached the provider."""
        summary = "did the send with the lost answer arrive?" + (" last look" if request.final else "")
        if request.ledger_only:
            summary = "how far did the send come before its worker was gone?"
        return _start(names.RECONCILE_SEND, request, Reconciled, self._lookup(request.account, summary))

    def end_conversation(self, request: EndConversation) -> ActivityHandle[ConversationEnded]:
        """Cancel what the provider still runs."""
        door = self._lookup(request.account, "end the conversation at the provider")
        return _start(names.END_CONVERSATION, request, ConversationEnded, door)

    def record_send(self, request: RecordSend, why: str) -> ActivityHandle[None]:
        """Write to the ledger what was found out about a send."""
        door = _Door(ENGAGEMENTS_QUEUE, record_options(), f"record the send as {request.state}", why)
        return _start(names.RECORD_SEND, request, type(None), door)

    def join_gate(self, request: JoinRequest) -> ActivityHandle[JoinAnswer]:
        """Wait with others."""
        door = _Door(ENGAGEMENTS_QUEUE, record_options(), f"wait at {request.gate.workflow_id}")
        return _start(names.JOIN_GATE, request, JoinAnswer, door)

    def leave_gate(self, request: LeaveRequest) -> ActivityHandle[None]:
        """Wait no longer, or tell how the trial went."""
        why = "the trial message went through" if request.leave.trial_passed else "waits no longer"
        door = _Door(ENGAGEMENTS_QUEUE, record_options(), f"tell {request.gate}: {why}")
        return _start(names.LEAVE_GATE, request, type(None), door)

    def close(self, request: CloseRequest, why: str) -> ActivityHandle[Closed | None]:
        """Make the outcome final. None from code that was not asked to tell anybody, or could not be."""
        summary = f"close as {request.result.settlement.outcome}" + (", then tell the ATS" if request.tells_ats else "")
        options = closing_options() if request.tells_ats else record_options()
        return _start(names.CLOSE_ENGAGEMENT, request, Closed, _Door(ENGAGEMENTS_QUEUE, options, summary, why))

    def notify_ats(self, notice: AtsNotice) -> ActivityHandle[None]:
        """Tell the tenant's system."""
        summary = f"tell the ATS: {notice.result.settlement.outcome if notice.result else notice.event_type}"
        door = _Door(ENGAGEMENTS_QUEUE, notice_options(self.timing), summary)
        return _start(names.NOTIFY_ATS, notice, type(None), door)

    def _lookup(self, account: str, summary: str) -> "_Door":
        return _Door(lookups_queue(account), lookup_options(self.timing), summary)


@dataclass(frozen=True)
class _Door:
    queue: str
    options: CallOptions
    summary: str
    why: str = ""


def _start(name: str, request: Model, answer: type[Answer], door: _Door) -> ActivityHandle[Answer]:
    handle: ActivityHandle[Answer] = workflow.start_activity(
        name,
        request,
        result_type=answer,
        task_queue=door.queue,
        start_to_close_timeout=door.options.start_to_close,
        schedule_to_close_timeout=door.options.schedule_to_close,
        retry_policy=door.options.policy,
        cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        summary=audit_summary(door.summary, door.why),
    )
    return handle
