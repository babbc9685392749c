"""Sends and what becomes of them: requests, receipts, ledger states, flow runs, threads, template readings."""

from enum import StrEnum

from domain.contacts import Alias
from domain.errors import Scope
from domain.events import FlowRunStatus
from domain.free_form import FreeFormMessage, MessageForm
from domain.model import E164, Instant, JsonValue, Model, Slug
from domain.plans import FlowRef, TemplateRef


class Send(Model):
    """One intended send. With a ``flow`` it starts a flow run, else it is a message. ``at`` is the workflow's clock.

    ``parameters`` are the values for the template's variables, in the template's order, as (name, value).
    """

    key: str
    workflow_id: str
    tenant: Slug
    account: Slug
    line: Slug
    step: str
    n: int
    contact_id: str
    job: str = ""
    address: E164
    thread_id: str = ""
    template: TemplateRef
    parameters: tuple[tuple[str, str], ...] = ()
    flow: FlowRef | None = None
    free_form: FreeFormMessage | None = None
    """What leaves in place of the template if the candidate's 24 hours are open when it is claimed."""
    zone: str = "UTC"
    """The candidate's time zone: caps count by its days and weeks."""
    not_after: Instant | None = None
    """When the send window closes: what the queue brings later does not leave."""
    at: Instant


class SendNames(Model):
    """What the provider sees of a send. Derived by HMAC from the send key, so nobody can forge or guess one."""

    reference: str
    flow_token: str


class SendReceipt(Model):
    """The provider took the send; that is neither sent nor delivered.

    ``aliases`` are other ids of the same person that the answer told. ``recorded`` is False when the ledger could not
    be written afterwards: the ids are then stored by ``record-send``. ``held`` says that the provider took the message
    and keeps it back for now: neither sent nor failed, its status events tell.
    """

    reference: str = ""
    run_id: str = ""
    message_id: str = ""
    session_id: str = ""
    thread_id: str = ""
    aliases: tuple[Alias, ...] = ()
    recorded: bool = True
    held: bool = False
    form: MessageForm | None = None
    """How it left, where the plan leaves that open until then."""
    inbound_at: Instant | None = None
    """When the candidate last wrote, by which ``form`` was chosen; None when never."""


class LedgerState(StrEnum):
    """A row of the send ledger: ``free → calling → sent | not_sent | rejected | unknown``."""

    FREE = "free"
    CALLING = "calling"
    SENT = "sent"
    NOT_SENT = "not_sent"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


class SendClaim(Model):
    """The right to make one request for a send key. ``earlier`` holds the receipt when it was sent already."""

    key: str
    attempt: int
    names: SendNames
    earlier: SendReceipt | None = None
    form: MessageForm | None = None
    """How it is to leave, where the send leaves that open."""
    inbound_at: Instant | None = None
    """When the candidate last wrote, by which ``form`` was chosen; None when never."""


class LedgerEntry(Model):
    """One row of the send ledger as an operator sees it: ids and states, nothing of the person."""

    key: str
    workflow_id: str
    tenant: Slug
    account: Slug
    line: Slug
    step: str
    n: int
    state: LedgerState
    attempt: int
    reference: str
    flow_token: str
    flow_id: str = ""
    template: str = ""
    language: str = ""
    form: MessageForm | None = None
    """How it left, where the plan leaves that open until then."""
    inbound_at: Instant | None = None
    run_id: str = ""
    message_id: str = ""
    session_id: str = ""
    thread_id: str = ""
    code: str = ""
    claimed_at: Instant | None = None
    settled_at: Instant | None = None
    arrived: bool | None = None
    """What the provider told of the message later: delivered or read, or that it failed; None while neither is told."""


class SendFailure(Model):
    """Why a send ended other than well, as it travels in the details of an ApplicationError."""

    scope: Scope = Scope.MESSAGE
    code: str = ""
    reason: str = ""
    suppress: bool = False
    free_form: bool = False
    """What was refused is the message without a template."""
    until: Instant | None = None
    """When a rule of ours that refused it will not any more, where that is known."""
    recorded: bool = True
    """False when the ledger does not say so yet, because the store did not answer."""


class MessageThread(Model):
    """A conversation that the provider opened for us. While ``chatbot_paused`` no flow starts or continues."""

    thread_id: str
    chatbot_paused: bool = False


class FlowRun(Model):
    """One execution of a provider flow, as the provider reports it now."""

    run_id: str
    flow_run_status: FlowRunStatus
    raw_status: str = ""
    reference: str = ""
    flow_id: str = ""
    template_id: str = ""
    thread_id: str = ""
    created_at: Instant | None = None
    answers: dict[str, JsonValue] = {}
    cost: str = ""


class FlowRunSearch(Model):
    """Finds the run of a send whose answer was lost: by our reference, else by thread, flow, template and time."""

    thread_id: str
    reference: str
    flow_id: str
    template_id: str
    not_before: Instant
    """Start of the attempt less the clock skew that we allow."""
    owned: frozenset[str] = frozenset()
    """Run ids that belong to other sends."""


class TemplateStatus(StrEnum):
    """Where a template stands. Only APPROVED sends; a word that we do not know is UNKNOWN."""

    PENDING = "PENDING"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    PAUSED = "PAUSED"
    DISABLED = "DISABLED"
    IN_APPEAL = "IN_APPEAL"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    DELETED = "DELETED"
    PENDING_DELETION = "PENDING_DELETION"
    ARCHIVED = "ARCHIVED"
    LOCKED = "LOCKED"
    MISSING = "MISSING"
    UNKNOWN = "UNKNOWN"

    @property
    def sends(self) -> bool:
        """Whether a message on this template may leave."""
        return self is TemplateStatus.APPROVED

    @property
    def is_refusal(self) -> bool:
        """Whether waiting is in vain unless a person acts."""
        return self in (TemplateStatus.REJECTED, TemplateStatus.DISABLED, TemplateStatus.DELETED)

    @property
    def waits(self) -> bool:
        """Whether it may become APPROVED by itself, so that waiting makes sense."""
        return not self.sends and not self.is_refusal and self is not TemplateStatus.MISSING


class TemplateReading(Model):
    """What the provider says of a template. ``variables`` is None where the reading does not tell them."""

    template_status: TemplateStatus
    raw_status: str = ""
    provider_id: str = ""
    category: str = ""
    reason: str = ""
    variables: int | None = None
    flow_missing: bool = False
    """The template starts a flow and neither it nor the plan names one."""
    asked_category: str = ""
    """The category that was asked for, or the first that was seen."""
    read_at: Instant | None = None
    """When the provider said so; None where that is not known."""
    can_submit: bool = False
    """The provider has no such template, and we have its specification."""

    @property
    def category_changed(self) -> bool:
        """Whether the provider moved the template to another category than was asked for."""
        return bool(self.category and self.asked_category) and self.category != self.asked_category
