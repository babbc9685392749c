"""The one model that an engagement carries: through waits, continue-as-new and resume.

It is changed only by its own methods and by ``domain.reading``; the workflow owns the single copy.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from domain import names
from domain.ats import AtsStatus
from domain.calls import AtsNotice, Command, CommandResult, MarkAnswered, ResolveSend
from domain.contacts import ContactChange
from domain.engagements import Engagement, Route
from domain.events import FlowRunStatus, MessageStatus, ProviderEvent, ProviderEvents
from domain.fallback import Leaving, WentOver
from domain.gates import GateDecision
from domain.model import Instant, JsonValue, Model
from domain.outcomes import Decision, EngagementOutcome, Settlement
from domain.plans import Plan
from domain.send_record import SendRecord
from domain.sends import LedgerState, MessageThread, SendReceipt

KEPT_EVENT_KEYS = 500
KEPT_COMMANDS = 200
KEPT_DECISIONS = 300
KEPT_PAUSES = 200


class Stage(StrEnum):
    """Where an engagement stands, as the search attribute ``EngagementStage`` shows it."""

    ADMITTING = "admitting"
    OPENING = "opening"
    HELD = "held"
    RECONCILING = "reconciling"
    AWAITING_ANSWER = "awaiting-answer"
    PAUSED = "paused"
    CLOSING = "closing"
    CLOSED = "closed"


class Hold(Model):
    """Waiting with a stated reason."""

    rule: str
    reason: str
    since: Instant
    gate: str = ""
    """Workflow id of the gate at which the engagement waits with others."""


class Pause(Model):
    """An operator let nothing leave from ``since`` on."""

    actor: str
    reason: str
    since: Instant


class PauseSpan(Model):
    """A pause that is over."""

    since: Instant
    until: Instant


class StartedFollowUp(Model):
    """A follow-up whose signal came, and that has neither left nor been skipped yet."""

    place: int
    """Its place in the plan's list, from 1."""
    since: Instant
    """When the signal was read: its delay counts from here."""
    heard: int
    """Texts and answers up to then."""
    by_answer: bool = False


class EngagementState(BaseModel):
    """Everything that an engagement has done, knows and still has to read. Every step skips what this says is done."""

    model_config = ConfigDict(extra="ignore")

    started_at: Instant
    admitted: bool = False
    fewer_steps: bool = False
    """It began under code that takes no step for what another one's answer can tell, and keeps its timer."""
    stage: Stage = Stage.ADMITTING
    thread: MessageThread | None = None
    sends: list[SendRecord] = Field(default_factory=list)
    follow_ups_done: int = 0
    """Of those that are driven by time."""
    last_message_at: Instant | None = None
    last_step_at: Instant | None = None
    """When the last follow-up left or was skipped."""
    started_follow_ups: list[StartedFollowUp] = Field(default_factory=list)
    finished_follow_ups: list[int] = Field(default_factory=list)
    """Places of those that a signal started and that left or were skipped."""
    heard: int = 0
    """Texts and answers of the candidate, counted."""
    heard_before: int = 0
    """Those up to our last message."""
    kept_answers: dict[str, JsonValue] = Field(default_factory=dict)
    """Answers that started a follow-up instead of ending the engagement; part of its result however it ends."""
    sends_before_answer: int | None = None
    """How many sends there were when the last of those came."""
    template_categories: dict[str, str] = Field(default_factory=dict)
    """What the provider says that templates are for, by name and language."""
    unread: list[ProviderEvent] = Field(default_factory=list)
    seen: list[str] = Field(default_factory=list)
    commands: list[CommandResult] = Field(default_factory=list)
    unread_commands: list[tuple[str, Command]] = Field(default_factory=list)
    resolutions: list[ResolveSend] = Field(default_factory=list)
    ats_statuses: list[AtsStatus] = Field(default_factory=list)
    """What the tenant's system told, oldest first."""
    contact_free: bool = False
    """Another engagement of the person has ended since admission was last asked."""
    contact_changes: list[ContactChange] = Field(default_factory=list)
    """Opt-outs recorded elsewhere that wait to be read."""
    notices: list[AtsNotice] = Field(default_factory=list)
    """What the tenant's system is being told of our progress; each leaves the list when it was taken or given up."""
    notices_made: list[str] = Field(default_factory=list)
    """Kinds of notices of our progress that were made: each is made once."""
    resend_wanted: bool = False
    unconfirmed_run: str = ""
    held_back: list[ProviderEvent] = Field(default_factory=list)
    """What came while an end is being confirmed: the answers of the run, if it has any, decide first."""
    failed_run_since: Instant | None = None
    decisions: list[Decision] = Field(default_factory=list)
    decisions_dropped: int = 0
    hold: Hold | None = None
    gate: str = ""
    """Workflow id of the gate that was joined and not left yet."""
    gate_decision: GateDecision | None = None
    trial_of: str = ""
    """The gate that let us go first and alone, and waits to hear how it went."""
    accepted_category: str = ""
    template_ids: dict[str, str] = Field(default_factory=dict)
    """The provider's ids of templates that the plan names without one, by name and language."""
    needs_human: bool = False
    pause: Pause | None = None
    """While there is one nothing leaves; what comes in is read as ever."""
    earlier_pauses: list[PauseSpan] = Field(default_factory=list)
    marked: list[MarkAnswered] = Field(default_factory=list)
    """Answers that an operator gave and that are not read yet."""
    plan: Plan | None = None
    """The plan that an operator moved it to; without one it goes by that of its input."""
    leaving: Leaving | None = None
    """Nothing reached the candidate on this line: what is under way here comes to its end, then it goes over."""
    went_over: WentOver | None = None
    """Since when it goes on on the fallback line."""
    settlement: Settlement | None = None
    conversation_ended: bool = False
    closed: bool = False
    ats_told: bool = False

    def applied_to(self, engagement: Engagement) -> Engagement:
        """The engagement with what it has moved to since it began."""
        if self.plan is not None:
            engagement = engagement.model_copy(update={"plan": self.plan})
        if self.went_over is None or engagement.fallback is None:
            return engagement
        its, plan = engagement.fallback, engagement.plan.carried_on_by(self.went_over.line)
        return engagement.model_copy(update={"plan": plan, "route": its.route, "timing": its.timing})

    def begin_on_line(self) -> None:
        """Leave behind what belongs to the line that it was on; sends, answers and what was heard stay."""
        self.admitted, self.thread, self.conversation_ended = False, None, False
        self.hold, self.needs_human, self.resend_wanted = None, False, False
        self.template_ids, self.template_categories, self.accepted_category = {}, {}, ""
        self.started_follow_ups, self.failed_run_since = [], None
        for send in self.sends:
            send.free_form_failed = False

    @property
    def sends_here(self) -> list[SendRecord]:
        """The sends of the line that it is on now."""
        return self.sends[self.went_over.sends_before if self.went_over is not None else 0 :]

    def is_of_earlier_line(self, record: SendRecord | None) -> bool:
        """Whether this send left on the line that was given up."""
        return record is not None and self.went_over is not None and record not in self.sends_here

    def route_of_run(self, run_id: str, engagement: Engagement) -> Route:
        """Where a flow run is: on the line that it goes on by now, or on the one that was given up."""
        if self.went_over is not None and self.is_of_earlier_line(self.send_of_run(run_id)):
            return self.went_over.left
        return engagement.route

    def move_to(self, plan: Plan, prices: Mapping[str, Decimal]) -> None:
        """Go on by this plan; ``prices`` says what messages cost by it, by their keys."""
        self.plan = plan
        for send in self.sends:
            send.price = prices.get(send.key, send.price)

    def receive(self, batch: ProviderEvents) -> None:
        """Keep what was not seen before. Called by the signal handler: decides nothing, never raises."""
        for event in batch.events:
            if event.key not in self.seen:
                self.seen.append(event.key)
                self.unread.append(event)

    def hear_contact_change(self, change: ContactChange) -> None:
        """Keep an opt-out that was not heard of before. Called by the signal handler: decides nothing, never raises."""
        if change.key not in self.seen:
            self.seen.append(change.key)
            self.contact_changes.append(change)

    def told_by_ats(self, command_id: str) -> AtsStatus | None:
        """What the tenant's system told in this command."""
        return next((s for s in self.ats_statuses if s.command_id == command_id), None)

    def hear_gate(self, decision: GateDecision) -> None:
        """Keep a decision of the gate that we wait at; one of another gate is of no use any more."""
        if decision.gate == self.gate:
            self.gate_decision = decision

    def remembered(self, command_id: str) -> CommandResult | None:
        """What became of a command that came before."""
        return next((c for c in self.commands if c.command_id == command_id), None)

    def accept(self, name: str, command: Command, text: str, at: datetime) -> CommandResult:
        """Take a command up; ``run`` acts on it."""
        result = CommandResult(command_id=command.command_id, command=name, accepted=True, text=text, at=at)
        self.commands = [*self.commands, result][-KEPT_COMMANDS:]
        if isinstance(command, ResolveSend):
            self.resolutions.append(command)
        if isinstance(command, MarkAnswered):
            self.marked.append(command)
        if isinstance(command, AtsStatus):
            self.ats_statuses = [*self.ats_statuses, command][-KEPT_COMMANDS:]
        self.unread_commands.append(
            (name, Command.model_validate(command.model_dump(include=set(Command.model_fields))))
        )
        return result

    def has_news(self) -> bool:
        """Whether something waits to be read."""
        return bool(self.unread or self.unread_commands or self.contact_changes)

    def is_paused(self) -> bool:
        """Whether an operator's pause is in force or accepted and not read yet."""
        given = [name for name, _ in self.unread_commands if name in (names.PAUSE, names.RESUME)]
        return given[-1] == names.PAUSE if given else self.pause is not None

    def begin_pause(self, command: Command, at: datetime) -> None:
        """Let nothing leave from now on; a pause that is in force stays as it is."""
        self.log(at, names.PAUSE, f"paused, nothing leaves: {command.reason}", command.actor)
        if self.pause is None and self.settlement is None:
            self.pause = Pause(actor=command.actor, reason=command.reason, since=at)

    def end_pause(self, command: Command, at: datetime) -> None:
        """Go on; deadlines have moved by the length of the pause."""
        self.log(at, names.RESUME, f"resumed: {command.reason}", command.actor)
        if self.pause is not None:
            self.earlier_pauses = [*self.earlier_pauses, PauseSpan(since=self.pause.since, until=at)][-KEPT_PAUSES:]
            self.pause = None

    def deadline(self, since: datetime, length: timedelta) -> datetime:
        """The instant when ``length`` has passed since ``since``, the time of every pause that is over left out."""
        at = since + length
        for pause in self.earlier_pauses:  # in order of time
            if pause.until > since and pause.since < at:
                at += pause.until - max(pause.since, since)
        return at

    def log(self, at: datetime, rule: str, text: str, actor: str = "") -> None:
        """Add a line to the decision log; the oldest lines go first once there are too many to carry."""
        self.decisions.append(Decision(at=at, rule=rule, text=text, actor=actor))
        if len(self.decisions) > KEPT_DECISIONS:
            del self.decisions[1]  # the first line says how it began and stays
            self.decisions_dropped += 1

    def settle(
        self,
        *,
        outcome: EngagementOutcome,
        rule: str,
        reason: str,
        at: datetime,
        answers: dict[str, JsonValue] | None = None,
        text: str = "",
        actor: str = "",
    ) -> None:
        """Decide the outcome. The first decision stands; what comes later is only logged."""
        if self.settlement is not None:
            self.log(at, rule, f"came after the outcome {self.settlement.outcome}: {reason}", actor)
            return
        self.settlement = Settlement(
            outcome=outcome,
            rule=rule,
            reason=reason,
            at=at,
            answers={**self.kept_answers, **(answers or {})},
            text=text,
        )
        self.hold, self.pause = None, None
        self.needs_human = False
        self.log(at, rule, f"{outcome}: {reason}", actor)

    def put_on_hold(self, at: datetime, rule: str, reason: str, gate: str = "") -> None:
        """Wait with a stated reason; the instant stays when the reason does."""
        if self.hold is None or (self.hold.rule, self.hold.reason, self.hold.gate) != (rule, reason, gate):
            self.hold = Hold(rule=rule, reason=reason, since=at, gate=gate)
            self.log(at, rule, f"held: {reason}" + (f", at {gate}" if gate else ""))

    def release(self, at: datetime, why: str) -> None:
        """End a hold."""
        if self.hold is not None:
            self.log(at, "released", f"{self.hold.rule} over: {why}")
            self.hold = None

    def last_decision(self, rule: str) -> Decision | None:
        """The latest decision by this rule."""
        return next((d for d in reversed(self.decisions) if d.rule == rule), None)

    def send_of_step(self, step: str) -> SendRecord | None:
        """The latest send of a step."""
        return next((s for s in reversed(self.sends) if s.step == step), None)

    def send_by_key(self, key: str) -> SendRecord | None:
        """The send with this key."""
        return next((s for s in self.sends if s.key == key), None)

    def send_of_run(self, run_id: str) -> SendRecord | None:
        """The send that started this run."""
        return next((s for s in self.sends if run_id and s.receipt.run_id == run_id), None)

    def live_run(self) -> SendRecord | None:
        """The latest send whose flow run may still bring an answer."""
        return next((s for s in reversed(self.sends_here) if s.is_open), None)

    def failed_free_form(self) -> SendRecord | None:
        """Our latest send, if it left without a template and the provider took it and did not deliver it."""
        last = self.sends[-1] if self.sends else None
        failed = last is not None and last.free_form_failed and last.message_status is MessageStatus.FAILED
        return last if last is not None and failed and last.state is LedgerState.SENT else None

    def unknown_send(self) -> SendRecord | None:
        """A send whose outcome nobody knows yet."""
        return next((s for s in self.sends if s.state is LedgerState.UNKNOWN), None)

    def was_delivered(self) -> bool:
        """Whether anything of ours is known to have arrived."""
        return any(
            (s.message_status and s.message_status.rank >= MessageStatus.DELIVERED.rank)
            or s.run_status is FlowRunStatus.FINISHED
            for s in self.sends
        )

    def message_failed(self) -> bool:
        """Whether the latest send is known not to have arrived."""
        return bool(self.sends) and self.sends[-1].message_status is MessageStatus.FAILED

    def mark_sent(self, record: SendRecord, receipt: SendReceipt, at: datetime) -> None:
        """The provider took it."""
        record.state, record.receipt, record.needs_record = LedgerState.SENT, receipt, not receipt.recorded
        self.last_message_at = at
        self.heard_before = self.heard

    def carried(self) -> "EngagementState":
        """What the next run gets: the same, with event keys bounded."""
        return self.model_copy(update={"seen": self.seen[-KEPT_EVENT_KEYS:]})


def earliest(*instants: datetime | None) -> datetime | None:
    """The first of the instants that exist."""
    known = [i for i in instants if i is not None]
    return min(known) if known else None


def until(instant: datetime, now: datetime) -> timedelta:
    """Time left, never negative."""
    return max(instant - now, timedelta(0))
