"""Gates: where engagements wait together for a template, a flow, a line or an account, and what opens them.

One gate per held thing. Engagements join and leave by signal; the gate looks at the provider for all of them, and
lets them go on together. ``GateState`` is changed only here; the gate workflow owns the single copy.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from domain.calls import Command, CommandResult
from domain.engagements import Timing
from domain.errors import Scope
from domain.events import ProviderEvents, TemplateChanged
from domain.ids import account_scope, flow_scope, gate_workflow_id, line_scope, template_scope
from domain.model import Instant, Model, Slug
from domain.outcomes import Decision
from domain.plans import FlowRef, TemplateRef
from domain.sends import TemplateReading

KEPT_COMMANDS = 100
KEPT_DECISIONS = 100
KEPT_EVENT_KEYS = 200


class GateTiming(Model):
    """How a gate looks at what it waits for: the first pause, doubled up to the ceiling."""

    poll: timedelta = timedelta(minutes=1)
    ceiling: timedelta = timedelta(minutes=10)
    trial: timedelta = timedelta(minutes=10)
    """How long a trial message may take to show whether the hold is over."""
    trial_ceiling: timedelta = timedelta(hours=1)
    """Longest pause between two trials: each costs a provider call that may be refused again."""
    settle: timedelta = timedelta(minutes=15)
    """How long a submission whose answer was lost may take to show at the provider."""

    @classmethod
    def of(cls, timing: Timing) -> "GateTiming":
        """The gate's part of an engagement's timing."""
        return cls(poll=timing.template_poll, ceiling=timing.template_poll_ceiling)


class Gate(Model):
    """The input of the ``gate`` workflow: what is held. ``line`` is empty unless the line itself is held.

    ``watch``: keep looking until the template's status is decided, also while nobody waits (a submission by hand).
    """

    scope: Scope
    account: Slug
    line: str = ""
    template: TemplateRef | None = None
    flow: FlowRef | None = None
    watch: bool = False
    paused: str = ""
    """``domain.ids.paused_scope`` of what an operator paused, where that is what is waited for."""
    timing: GateTiming = GateTiming()

    @property
    def scope_key(self) -> str:
        """The key of the held thing, as hold rows have it."""
        if self.paused:
            return self.paused
        match self.scope:
            case Scope.TEMPLATE if self.template is not None:
                return template_scope(self.account, self.template.name, self.template.language)
            case Scope.FLOW if self.flow is not None:
                return flow_scope(self.account, self.flow.id)
            case Scope.LINE:
                return line_scope(self.line)
            case _:
                return account_scope(self.account)

    @property
    def workflow_id(self) -> str:
        """Temporal's id of this gate."""
        return gate_workflow_id(self.scope_key)


class Refusal(Model):
    """Why a scope is held although nothing shows it from outside: what the provider answered to a send or a read."""

    code: str
    reason: str
    at: Instant
    until: Instant | None = None
    """A throttle: over at this instant. Without one a trial message or a person ends it."""
    needs_human: bool = False
    """No trial can show that it is over, so only a person opens the gate."""


class GateJoin(Model):
    """An engagement waits here from now on. What it learned on the way spares the gate a look of its own."""

    workflow_id: str
    at: Instant
    reading: TemplateReading | None = None
    read_at: Instant | None = None
    refusal: Refusal | None = None


class GateLeave(Model):
    """An engagement waits no longer. ``trial_passed``: the trial message went through."""

    workflow_id: str
    at: Instant
    trial_passed: bool = False


class GateVerdict(StrEnum):
    """What a gate tells those who waited."""

    OPEN = "open"
    REFUSED = "refused"


class GateDecision(Model):
    """What the gate tells one who waited. ``trial``: go first and alone; the others wait for how it ends."""

    gate: str
    verdict: GateVerdict
    reason: str
    at: Instant
    reading: TemplateReading | None = None
    trial: bool = False
    actor: str = ""


class JoinRequest(Model):
    """Wait at this gate; it is opened as a workflow when there is none."""

    gate: Gate
    join: GateJoin


class LeaveRequest(Model):
    """Tell a gate that somebody waits no longer."""

    gate: str
    leave: GateLeave


class JoinAnswer(Model):
    """What became of joining. ``open``: what was held is held no longer, so there is nothing to wait for."""

    open: bool = False


class TemplateLook(Model):
    """Read a template from the provider for everybody who waits for it."""

    account: Slug
    template: TemplateRef
    flow: FlowRef | None = None
    at: Instant


class TemplateSubmission(Model):
    """Submit the template's specification; ``again`` after a person looked at a submission that is in doubt."""

    account: Slug
    template: TemplateRef
    again: bool = False
    at: Instant


class ReleasePage(Model):
    """Give a decision to these engagements, in order. ``lift`` takes the hold row away first.

    With ``override`` the template counts as approved from now on, until the provider says otherwise: a person said so.
    """

    scope_key: str
    account: Slug
    template: TemplateRef | None = None
    workflow_ids: tuple[str, ...]
    decision: GateDecision
    lift: bool = False
    override: bool = False


class Released(Model):
    """What became of a page: how many took the decision, and how many were no longer there."""

    told: int
    gone: int


class GateStatus(StrEnum):
    """What a gate is doing."""

    WAITING = "waiting"
    ON_TRIAL = "on-trial"
    OPENING = "opening"
    REFUSING = "refusing"
    CLOSED = "closed"


class Ruling(Model):
    """What is decided for everybody who waits. ``override``: a person said so, whatever the provider says."""

    verdict: GateVerdict
    reason: str
    actor: str = ""
    override: bool = False
    lift: bool = False
    """The hold row goes first, or those who are let go would be refused at once."""


class GateState(BaseModel):
    """Everything that a gate knows, carried through continue-as-new."""

    model_config = ConfigDict(extra="ignore")

    since: Instant
    ahead: timedelta = timedelta(0)
    """How far the clocks of those who wait were seen ahead of the gate's own."""
    ruling: Ruling | None = None
    """Set while those who wait are told."""
    decided: GateVerdict | None = None
    closed: bool = False
    waiting: list[str] = Field(default_factory=list)
    """Workflow ids in order of arrival."""
    trial: str = ""
    trial_until: Instant | None = None
    trial_passed: bool = False
    refusal: Refusal | None = None
    reading: TemplateReading | None = None
    read_at: Instant | None = None
    looks: int = 0
    looked_at: Instant | None = None
    pause: timedelta | None = None
    next_look: Instant | None = None
    problem: str = ""
    """Why the last look brought nothing."""
    submitted_at: Instant | None = None
    submission_unknown_since: Instant | None = None
    needs_human: bool = False
    joined: int = 0
    left: int = 0
    released: int = 0
    gone: int = 0
    recheck_wanted: bool = False
    resubmit_wanted: bool = False
    commands: list[CommandResult] = Field(default_factory=list)
    unread_commands: list[tuple[str, Command]] = Field(default_factory=list)
    seen: list[str] = Field(default_factory=list)
    decisions: list[Decision] = Field(default_factory=list)
    _index: set[str] = PrivateAttr(default_factory=set)

    @property
    def status(self) -> GateStatus:
        """What the gate is doing."""
        if self.closed:
            return GateStatus.CLOSED
        if self.ruling is not None:
            return GateStatus.OPENING if self.ruling.verdict is GateVerdict.OPEN else GateStatus.REFUSING
        return GateStatus.ON_TRIAL if self.trial else GateStatus.WAITING

    def rule(self, ruling: Ruling, at: datetime) -> None:
        """Decide for everybody who waits, also for the one on trial."""
        self.end_trial(put_back=True)
        self.ruling, self.decided = ruling, ruling.verdict
        self.refusal, self.needs_human, self.recheck_wanted, self.pause, self.next_look = None, False, False, None, None
        self.log(at, "opens" if ruling.verdict is GateVerdict.OPEN else "refuses", ruling.reason, ruling.actor)

    def end_trial(self, *, put_back: bool = False) -> None:
        """Nobody is on trial any more."""
        if self.trial and put_back:
            self.put_back([self.trial])
        self.trial, self.trial_until = "", None

    def join(self, join: GateJoin, now: datetime) -> None:
        """Somebody waits. Repeating is harmless."""
        self.ahead = max(self.ahead, join.at - now)
        if join.workflow_id == self.trial:
            self.end_trial()
            self.log(join.at, "trial-failed", "the trial message was refused again")
        if join.workflow_id not in self._index:
            self.waiting.append(join.workflow_id)
            self.joined += 1
            self._index.add(join.workflow_id)
        if join.refusal is not None and (self.refusal is None or join.refusal.at >= self.refusal.at):
            self.refusal = join.refusal
            self.needs_human = join.refusal.until is None  # once for all: the engagements themselves ask for nobody
        if (
            join.reading is not None
            and join.read_at is not None
            and (self.read_at is None or join.read_at > self.read_at)
        ):
            self.reading, self.read_at = join.reading, join.read_at

    def leave(self, leave: GateLeave) -> None:
        """Somebody waits no longer, for a reason of its own; one on trial that shows nothing makes room."""
        if leave.workflow_id == self.trial:
            self.end_trial()
            self.trial_passed = leave.trial_passed
            self.next_look = leave.at
        if leave.workflow_id in self._index:
            self.waiting.remove(leave.workflow_id)
            self._index.discard(leave.workflow_id)
            self.left += 1

    def told(self, batch: ProviderEvents) -> None:
        """The provider says that something happened to what we wait for: look again at once."""
        for event in batch.events:
            if event.key not in self.seen:
                self.seen = [*self.seen, event.key][-KEPT_EVENT_KEYS:]
                self.recheck_wanted = True
                if isinstance(event.body, TemplateChanged):
                    told = f"{event.body.event}{f': {event.body.reason}' if event.body.reason else ''}"
                    self.log(event.occurred_at, "webhook", f"the provider told {told}")

    def taken(self, count: int) -> tuple[str, ...]:
        """The first of those who wait, taken out."""
        page, self.waiting = tuple(self.waiting[:count]), self.waiting[count:]
        self._index.difference_update(page)
        return page

    def put_back(self, page: Iterable[str]) -> None:
        """Let those wait again, in front."""
        missing = [one for one in page if one not in self._index]
        self.waiting = [*missing, *self.waiting]
        self._index.update(missing)

    def log(self, at: datetime, rule: str, text: str, actor: str = "") -> None:
        """Add a line to the gate's own decision log."""
        self.decisions = [*self.decisions, Decision(at=at, rule=rule, text=text, actor=actor)][-KEPT_DECISIONS:]

    def accept(self, name: str, command: Command, text: str, at: datetime) -> CommandResult:
        """Take a command up; ``run`` acts on it. The same command id gets the same answer again."""
        earlier = next((c for c in self.commands if c.command_id == command.command_id), None)
        if earlier is not None:
            return earlier
        result = CommandResult(command_id=command.command_id, command=name, accepted=True, text=text, at=at)
        self.commands = [*self.commands, result][-KEPT_COMMANDS:]
        self.unread_commands.append((name, command))
        return result

    def model_post_init(self, _context: object) -> None:
        """Make the index that keeps thousands of joins cheap; it is not carried."""
        self._index.update(self.waiting)


class GateSnapshot(Model):
    """Where a gate stands: the answer to its ``snapshot`` query."""

    gate: str
    scope: Scope
    status: GateStatus
    waiting: int
    since: Instant
    until: Instant | None = None
    """When the gate looks again by itself."""
    reason: str = ""
    reading: TemplateReading | None = None
    read_at: Instant | None = None
    looks: int = 0
    joined: int = 0
    left: int = 0
    released: int = 0
    needs_human: bool = False
    decisions: tuple[Decision, ...] = ()
    first_waiting: Annotated[tuple[str, ...], Field(max_length=20)] = ()


class GateResult(Model):
    """What a gate became."""

    gate: str
    verdict: GateVerdict | None
    joined: int
    left: int
    released: int
    looks: int
    decisions: tuple[Decision, ...] = ()
