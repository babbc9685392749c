"""What events and commands mean for an engagement. Pure: reads what arrived, changes only the state."""

from collections.abc import Callable
from datetime import datetime

from domain import names
from domain.calls import Command
from domain.contacts import ContactChange, Reach
from domain.engagements import Engagement
from domain.events import (
    FlowRunChanged,
    FlowRunStatus,
    FormAnswered,
    MessageStatus,
    MessageStatusChanged,
    OptInReceived,
    OptOutReceived,
    ProviderEvent,
    TextReceived,
    Ties,
)
from domain.following import Following
from domain.going_over import GoingOver
from domain.model import JsonValue
from domain.outcomes import EngagementOutcome
from domain.plans import Signal, UnexpectedText
from domain.send_record import SendRecord
from domain.sends import FlowRun, LedgerState, SendReceipt
from domain.state import EngagementState


class Reader:
    """Reads what arrived for one engagement at one instant."""

    def __init__(
        self,
        engagement: Engagement,
        state: EngagementState,
        now: datetime,
        marketing_apart: Callable[[], bool] = lambda: True,
    ) -> None:
        self._engagement, self._state, self._now = engagement, state, now
        self._marketing_apart = marketing_apart
        self._following = Following(engagement, state)
        self._going_over = GoingOver(engagement, state)

    def read_news(self) -> None:
        """Read commands, then events, in order of arrival, until all are read."""
        while self._state.unread_commands:
            name, command = self._state.unread_commands.pop(0)
            self.read_command(name, command)
        while self._state.contact_changes:
            self._read_contact_change(self._state.contact_changes.pop(0))
        if self._state.held_back and not self._state.unconfirmed_run:
            self._state.unread[:0] = self._state.held_back
            self._state.held_back = []
        while self._state.unread:
            self.read_event(self._state.unread.pop(0))

    def read_command(self, name: str, command: Command) -> None:
        """Act on an operator's command."""
        match name:
            case names.STOP:
                self._settle(EngagementOutcome.STOPPED, names.STOP, command.reason, actor=command.actor)
            case names.HAND_OVER:
                self._settle(EngagementOutcome.HANDED_OVER, names.HAND_OVER, command.reason, actor=command.actor)
            case names.ATS_STATUS:
                self._read_ats_status(command)
            case names.RESEND:
                self._state.resend_wanted = True
                self._log(names.RESEND, command.reason, command.actor)
            case names.PAUSE:
                self._state.begin_pause(command, self._now)
            case names.RESUME:
                self._state.end_pause(command, self._now)
            case names.MARK_ANSWERED:
                self._read_marked(command.command_id)
            case names.MIGRATE_PLAN:
                pass  # it moved, and said so, when the command was accepted
            case names.RESOLVE_SEND:
                self._read_resolution(command)
            case _:
                self._log(name, command.reason, command.actor)

    def _read_resolution(self, command: Command) -> None:
        """Log what a person said of a lost answer; the step that waits for it acts on it."""
        said = next((r for r in self._state.resolutions if r.command_id == command.command_id), None)
        record = self._state.send_by_key(said.send_key) if said is not None else None
        if said is None or record is None:
            self._log(names.RESOLVE_SEND, command.reason, command.actor)
            return
        verdict = "it was sent" if said.was_sent else "it was not sent"
        self._log(names.RESOLVE_SEND, f"{record.step}: {verdict}: {command.reason}", command.actor)

    def _read_marked(self, command_id: str) -> None:
        """An operator's word ends it as the candidate's own answer would; it counts as it was given."""
        marked = next((m for m in self._state.marked if m.command_id == command_id), None)
        if marked is not None:
            self._state.marked = [m for m in self._state.marked if m.command_id != command_id]
            self._settle(
                EngagementOutcome.COMPLETED,
                names.MARK_ANSWERED,
                marked.reason,
                answers=marked.answers,
                text=marked.text,
                actor=marked.actor,
            )

    def read_event(self, event: ProviderEvent) -> None:
        """Take one event in: progress is recorded, what decides settles the engagement."""
        if self._state.unconfirmed_run and self._state.settlement is None and _waits_for_answers(event):
            self._state.held_back.append(event)
            return
        record = self._send_of(event)
        exact = record is not None and _is_exactly_of(event, record)
        self._adopt(record, event)
        match event.body:
            case FlowRunChanged() as body:
                self._read_run(record, event.ties.run_id, body)
            case FormAnswered() as body:
                self._answer(record, "form-answer", body.answers or {}, "" if body.answers else body.raw)
            case TextReceived() as body:
                self._read_text(body)
            case MessageStatusChanged() as body:
                self._read_status(record, body, exact=exact)
            case OptOutReceived(scope="marketing") if event.ties == Ties() and self._marketing_apart():
                self._log(
                    "opt-out-marketing", "the candidate wants no marketing; templates of other kinds may still leave"
                )
            case OptOutReceived() as body:
                reason = "the candidate asked not to be contacted any more"
                self._settle(EngagementOutcome.OPTED_OUT, f"opt-out-{body.scope}", reason)
            case OptInReceived():
                self._log("opt-in", "the candidate restored consent")
            case _:
                self._log("no-effect", f"{event.body.kind} has no effect here")

    def _read_contact_change(self, change: ContactChange) -> None:
        """An opt-out that was recorded outside this conversation ends it where it reaches this far."""
        engagement, scope = self._engagement, change.opt_out.scope
        reach = Reach(tenant=engagement.tenant, line=engagement.route.line, job=engagement.job)
        if change.opt_out.covers(reach):
            reason = f"an opt-out was recorded (scope: {scope}, source: {change.opt_out.source})"
            self._settle(EngagementOutcome.OPTED_OUT, f"opt-out-{scope}", reason, actor=change.actor)
        else:
            self._log(
                "contact-changed", f"an opt-out of scope {scope} was recorded; it ends nothing here", change.actor
            )

    def _read_ats_status(self, command: Command) -> None:
        told = self._state.told_by_ats(command.command_id)
        if told is None:
            self._log(names.ATS_STATUS, command.reason, command.actor)
        elif told.status.ends:
            reason = f"the ATS says {told.status}: {told.reason}"
            self._settle(EngagementOutcome.WITHDRAWN, f"ats-{told.status}", reason, actor=told.actor)
        else:
            self._log(f"ats-{told.status}", f"{told.reason}; the engagement goes on", told.actor)
            self._following.hear_ats(told.status, self._now)

    def take_run(self, run: FlowRun) -> None:
        """Take in what the provider, asked, says of a run."""
        state = self._state
        if state.unconfirmed_run == run.run_id:
            state.unconfirmed_run = ""
        record = state.send_of_run(run.run_id)
        if record is None:
            return
        if run.flow_run_status.is_end:
            self._end_run(record, run.flow_run_status, run.answers)
        elif record.advance_run(run.flow_run_status):
            self._hear_start(run.flow_run_status)

    def give_up_on_failed_run(self) -> None:
        """The time for a failed run to explain itself is over: nobody can say why, so a person takes it."""
        self._state.failed_run_since = None
        reason = "the provider's flow ended with an error that is not about delivery"
        self._settle(EngagementOutcome.HANDED_OVER, "flow-failed", reason)

    def _settle(
        self,
        outcome: EngagementOutcome,
        rule: str,
        reason: str,
        *,
        answers: dict[str, JsonValue] | None = None,
        text: str = "",
        actor: str = "",
    ) -> None:
        self._state.settle(
            outcome=outcome, rule=rule, reason=reason, at=self._now, answers=answers, text=text, actor=actor
        )

    def _log(self, rule: str, text: str, actor: str = "") -> None:
        self._state.log(self._now, rule, text, actor)

    def _send_of(self, event: ProviderEvent) -> SendRecord | None:
        by_key = self._state.send_by_key(event.send_key) if event.send_key else None
        if by_key is not None:
            return by_key
        for record in reversed(self._state.sends):
            if _names(event.ties, record):
                return record
        last = self._state.sends[-1] if self._state.sends else None
        if self._state.went_over is not None:  # the thread of the line that was given up is another
            last = next((s for s in reversed(self._state.sends) if s.receipt.thread_id == event.ties.thread_id), last)
        about_thread = isinstance(event.body, MessageStatusChanged) and event.ties.thread_id
        return last if last and about_thread and last.receipt.thread_id in ("", event.ties.thread_id) else None

    def _adopt(self, record: SendRecord | None, event: ProviderEvent) -> None:
        """An event that carries our names proves that the send went out; ids that we missed are learned from it."""
        if record is None:
            return
        record.receipt = _learned(record, event)
        if record.state is LedgerState.UNKNOWN and record.is_known_to_provider:
            self._state.mark_sent(record, record.receipt.model_copy(update={"recorded": False}), self._now)
            self._state.needs_human = False
            self._log("reconciled", f"{record.step}: the provider's own event shows that it was sent")

    def _read_run(self, record: SendRecord | None, run_id: str, body: FlowRunChanged) -> None:
        status = body.flow_run_status
        if record is None:
            self._log("no-effect", f"a flow run that none of our sends started is {status}")
        elif body.cancelled_by_candidate:
            record.advance_run(status)
            self._settle(EngagementOutcome.DECLINED, "cancelled-by-candidate", "the candidate tapped Cancel")
        elif not status.is_end:
            if record.advance_run(status):
                self._log("flow-run", f"{record.step}: the flow is {status}")
                self._hear_start(status)
        elif record.run_status is not None and record.run_status.is_end and not status.outlives(record.run_status):
            self._log("no-effect", f"{record.step}: {status} after {record.run_status}; the first end wins")
        elif self._state.route_of_run(run_id, self._engagement).capabilities.confirms_ends and run_id:
            self._state.unconfirmed_run = run_id
        else:
            self._end_run(record, status, body.answers)

    def _end_run(self, record: SendRecord, status: FlowRunStatus, answers: dict[str, JsonValue]) -> None:
        if not record.advance_run(status):
            return
        self._log("flow-run", f"{record.step}: the flow run ended as {status}")
        if self._state.is_of_earlier_line(record) and status is not FlowRunStatus.FINISHED:
            return  # it goes on elsewhere
        match status:
            case FlowRunStatus.FINISHED:
                self._answer(record, "flow-finished", answers)
            case FlowRunStatus.FAILED:
                self._state.failed_run_since = self._now
                self._judge_failure(record)
            case FlowRunStatus.CANCELLED if not record.cancelled_by_us:
                reason = "the flow run was cancelled at the provider, by neither the candidate nor us"
                self._settle(EngagementOutcome.HANDED_OVER, "run-cancelled", reason)
            case _:
                pass  # timed out: the silence path goes on

    def _hear_start(self, status: FlowRunStatus) -> None:
        if status is FlowRunStatus.RUNNING:
            self._following.hear(Signal.FLOW_STARTED, self._now)

    def _answer(self, record: SendRecord | None, rule: str, answers: dict[str, JsonValue], text: str = "") -> None:
        self._state.heard += 1
        if self._engagement.plan.declines(answers):
            reason = "the answer says no by the plan's rule"
            self._settle(EngagementOutcome.DECLINED, rule, reason, answers=answers, text=text)
        elif self._following.hear_answers(answers, self._now, of_flow=True):
            answered = record or self._state.live_run()
            if answered is not None:
                answered.advance_run(FlowRunStatus.FINISHED)
            self._log(rule, "the candidate answered; the plan follows this answer up before it ends")
        else:
            self._settle(EngagementOutcome.COMPLETED, rule, "the candidate answered", answers=answers, text=text)

    def _read_text(self, body: TextReceived) -> None:
        self._state.heard += 1
        words: dict[str, JsonValue] = {"text": body.text, "payload": body.payload}
        if self._engagement.plan.declines(words):
            self._settle(EngagementOutcome.DECLINED, "text", "the reply says no by the plan's rule", text=body.text)
            return
        if self._following.hear_answers(words, self._now, of_flow=False):
            self._log("text", "the candidate's reply is one that the plan follows up")
            return
        match self._engagement.plan.unexpected_text:
            case UnexpectedText.ANSWER:
                self._settle(EngagementOutcome.COMPLETED, "text", "the plan counts a text as answer", text=body.text)
            case UnexpectedText.HAND_OVER:
                reason = "the candidate wrote a text and the plan gives those to a person"
                self._settle(EngagementOutcome.HANDED_OVER, "text", reason, text=body.text)
            case _:
                self._log("text", "the candidate wrote a text; the plan keeps waiting for the flow")
                self._following.hear(Signal.TEXT, self._now)

    def _read_status(self, record: SendRecord | None, body: MessageStatusChanged, *, exact: bool) -> None:
        if record is None or not record.advance_message(body.message_status):
            return
        if body.message_status is not MessageStatus.FAILED:
            self._log("message-status", f"{record.step}: {body.message_status}")
            self._hear_arrival(body.message_status)
            return
        self._log("message-status", f"{record.step}: not delivered ({', '.join(body.codes) or 'no code'})")
        if self._state.is_of_earlier_line(record):
            return  # that is why it goes on elsewhere
        if body.window_closed and record.free_form_offered and exact:
            record.free_form_failed = True
        elif body.recipient_fault and not (body.window_closed and record.free_form_offered):
            self._judge_failure(record)
        else:
            self._state.needs_human = True

    def _hear_arrival(self, status: MessageStatus) -> None:
        if status.rank >= MessageStatus.DELIVERED.rank:  # what was read has arrived, whether or not that was told
            self._following.hear(Signal.DELIVERED, self._now)
        if status is MessageStatus.READ:
            self._following.hear(Signal.READ, self._now)

    def _judge_failure(self, record: SendRecord) -> None:
        """A failed message makes the person unreachable unless something of ours did arrive before."""
        if record.message_status is MessageStatus.FAILED and not self._state.was_delivered():
            outcome, rule, reason = EngagementOutcome.UNREACHABLE, "undeliverable", "the message could not be delivered"
            if not self._going_over.leave(outcome, rule, reason, self._now):
                self._settle(outcome, rule, reason)


def _waits_for_answers(event: ProviderEvent) -> bool:
    """Whether this could decide the engagement, but must not while the provider is asked for a run's answers."""
    body = event.body
    failed = isinstance(body, MessageStatusChanged) and body.message_status is MessageStatus.FAILED
    return failed or isinstance(body, TextReceived)


def _is_exactly_of(event: ProviderEvent, record: SendRecord) -> bool:
    """Whether it is about this very message: a thread that both share does not prove that."""
    ties, receipt = event.ties, record.receipt
    by_reference = bool(ties.reference) and (event.send_key == record.key or receipt.reference == ties.reference)
    return by_reference or (bool(ties.message_id) and receipt.message_id == ties.message_id)


def _names(ties: Ties, record: SendRecord) -> bool:
    receipt = record.receipt
    pairs = (
        (ties.reference, receipt.reference),
        (ties.run_id, receipt.run_id),
        (ties.session_id, receipt.session_id),
        (ties.message_id, receipt.message_id),
        (ties.replied_to, receipt.message_id),
    )
    return any(ours and ours == theirs for theirs, ours in pairs)


def _learned(record: SendRecord, event: ProviderEvent) -> SendReceipt:
    ties, receipt = event.ties, record.receipt
    about_ours = isinstance(event.body, MessageStatusChanged) and not ties.thread_id
    return receipt.model_copy(
        update={
            "reference": receipt.reference or ties.reference,
            "run_id": receipt.run_id or ties.run_id,
            "session_id": receipt.session_id or ties.session_id,
            "message_id": receipt.message_id or (ties.message_id if about_ours else ties.replied_to),
            "thread_id": receipt.thread_id or ties.thread_id,
        }
    )
