"""Requests and answers of the activities that are not sends. Every request carries ``at``, the workflow's clock."""

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from domain.contacts import Alias, Consent
from domain.events import FlowRunStatus
from domain.model import E164, Instant, JsonValue, Model, Reference, Slug, Written
from domain.outcomes import Decision, EngagementResult
from domain.plans import FlowRef, Plan, TemplateRef, WhenBusy
from domain.sends import FlowRun, LedgerState, SendReceipt, TemplateReading


class LineOfAccount(Model):
    """Whose line it is that an engagement goes over to."""

    account: Slug
    provider: Slug


class TemplateQuestion(Model):
    """May a message leave on this template?"""

    account: Slug
    line: Slug
    template: TemplateRef
    flow: FlowRef | None = None
    at: Instant


class AdmissionRequest(Model):
    """May this engagement begin at all?"""

    workflow_id: str
    tenant: Slug
    line: Slug
    contact_id: str
    job: str = ""
    consent: Consent | None
    exclusive_line: bool
    """The provider has one live run per thread, so a person can have one engagement per line."""
    when_busy: WhenBusy = WhenBusy.PARALLEL
    goes_over_to: LineOfAccount | None = None
    """An engagement that was admitted before goes on on this ``line``: the registry says so from then on."""
    template: TemplateQuestion | None = None
    """What leaves first: the answer says how its template stands where our own row may say so."""
    at: Instant


class Admission(Model):
    """The answer; ``rule`` and ``reason`` say why not."""

    admitted: bool
    rule: str = ""
    reason: str = ""
    queued: bool = False
    """Not decided: it is to be asked again once the person is free."""
    template: TemplateReading | None = None
    """How the template stands that was asked about, where it may leave; None where the provider is to be asked."""


class ThreadRequest(Model):
    """Find or open the thread with one person on one line."""

    workflow_id: str
    account: Slug
    line: Slug
    contact_id: str
    address: E164
    at: Instant


class RunQuestion(Model):
    """How does this flow run stand, asked of the provider?"""

    account: Slug
    run_id: str
    template: TemplateQuestion | None = None
    """What leaves next, if nothing has come: the answer says how its template stands, as ``Admission`` does."""
    at: Instant


class CheckedRun(FlowRun):
    """How the flow run stands, and the template of what leaves next."""

    template: TemplateReading | None = None


class ReconcileRequest(Model):
    """Did this send, whose answer was lost, reach the provider?"""

    account: Slug
    line: Slug
    send_key: str
    thread_id: str
    flow_id: str
    template_id: str
    final: bool
    """The settle time is over: nothing found now means that nothing was created."""
    ledger_only: bool = False
    """The provider is not asked: the attempt is over, and what it wrote before it died may say how it ended."""
    at: Instant


class Reconciled(Model):
    """What the ledger says after asking. ``ambiguous`` means that several runs fit: a person decides."""

    state: LedgerState
    receipt: SendReceipt | None = None
    run: FlowRun | None = None
    ambiguous: bool = False


class RecordSend(Model):
    """Store ids that could not be stored when the answer came, or what a person resolved."""

    send_key: str
    state: LedgerState
    receipt: SendReceipt | None = None
    note: str = ""
    at: Instant


class EndConversation(Model):
    """Stop what the provider still runs: cancel the live run; after an opt-out also pause the thread."""

    account: Slug
    run_id: str = ""
    thread_id: str = ""
    pause_thread: bool = False
    at: Instant


class ConversationEnded(Model):
    """What the provider reports after ``end-conversation``."""

    run_status: FlowRunStatus | None = None


class CloseRequest(Model):
    """Make the outcome final: write it to the registry, archive the decision log, release the contact."""

    workflow_id: str
    contact_id: str
    result: EngagementResult
    decisions: tuple[Decision, ...]
    snapshot: str
    """The whole story as JSON, kept for when Temporal has forgotten the history."""
    tells_ats: bool = False
    """The tenant's system is told as soon as the outcome is final and the person free; the answer says whether."""
    at: Instant


class Closed(Model):
    """The outcome is final, and this became of telling the tenant's system; where nothing did, it is yet to be told."""

    told: bool = False
    refused: bool = False
    """It will never take it."""


class EngagementProgress(Model):
    """How far an engagement is that has no outcome yet, as the tenant's system hears it."""

    tenant: Slug
    reference: Reference
    job: str = ""
    plan: str
    stage: str


class AtsNotice(Model):
    """What the tenant's system hears: how it ended, or how far it is. ``event_id`` is equal on every attempt."""

    event_id: str
    event_type: str
    result: EngagementResult | None = None
    progress: EngagementProgress | None = None
    at: Instant

    @property
    def about(self) -> EngagementResult | EngagementProgress:
        """What it tells. Raises ``ValueError`` for a notice that tells nothing, which nobody makes."""
        told = self.result or self.progress
        if told is None:
            raise ValueError(f"the notice {self.event_id} tells nothing")
        return told


class LearnedAliases(Model):
    """Other ids of a person that a provider's answer told."""

    contact_id: str
    aliases: tuple[Alias, ...]


class Command(Written):
    """An operator's command: who gives it and why. ``command_id`` makes a repeat harmless."""

    command_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:-]{1,100}$")]
    actor: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\n\r]+$")]
    reason: Annotated[str, StringConstraints(min_length=1, max_length=500)]


class ResolveSend(Command):
    """A person settles a send whose outcome is unknown."""

    send_key: str
    was_sent: bool
    message_id: str = ""


class MarkAnswered(Command):
    """A person says that the candidate answered by another way, and what: personal data, as every answer."""

    answers: dict[str, JsonValue] = {}
    text: Annotated[str, StringConstraints(max_length=4000)] = ""

    @model_validator(mode="after")
    def _says_something(self) -> "MarkAnswered":
        if not (self.answers or self.text.strip()):
            raise ValueError("answers: there are none, and there is no text: say what the candidate answered")
        return self


class NewPlan(Written):
    """A later version of the plan, and the version that is thought to be in force; None where that does not matter."""

    plan: Plan
    from_version: Annotated[int, Field(ge=1)] | None = None


class MigratePlan(Command):
    """Go on by a later version of the plan, where what has happened so far allows it."""

    plan: Plan
    from_version: Annotated[int, Field(ge=1)] | None = None


class CommandResult(Model):
    """What became of a command. The same command id gets the same result again."""

    command_id: str
    command: str
    accepted: bool
    text: str
    at: Instant
