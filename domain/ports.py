"""What the durable logic needs from the outside, as protocols. Only a composition root knows who answers them.

Every method may raise ``StoreUnavailable`` (ours did not answer) besides the errors that it names.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from domain.calls import Admission, AdmissionRequest, AtsNotice, CloseRequest, EndConversation, LearnedAliases
from domain.caps import Caps
from domain.contacts import ContactFree
from domain.engagements import Capabilities
from domain.events import FlowRunStatus, ParsedDelivery
from domain.gates import GateDecision, JoinRequest, LeaveRequest
from domain.holds import HoldRow
from domain.model import E164, Instant
from domain.plans import FlowRef, TemplateRef
from domain.sends import (
    FlowRun,
    FlowRunSearch,
    LedgerEntry,
    LedgerState,
    MessageThread,
    Send,
    SendClaim,
    SendFailure,
    SendNames,
    SendReceipt,
    TemplateReading,
)
from domain.templates import SubmissionState, TemplateSpecification


class MessagingProvider(Protocol):
    """One account at one provider. Each method is one step against the provider's API, without retries.

    Sends (``trigger_flow``, ``send_message``, ``send_free_form``) make exactly one HTTP request and raise
    ``ProviderUnavailable``, ``ProviderRejected`` or ``OutcomeUnknown``. All other methods raise the first two only:
    what is lost on a read or on a repeatable write is ``ProviderUnavailable``.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this provider can do."""
        ...

    async def read_template(self, template: TemplateRef, flow: FlowRef | None) -> TemplateReading:
        """The template's present state; a template that does not exist reads as MISSING."""
        ...

    async def submit_template(self, specification: TemplateSpecification) -> TemplateReading:
        """Create the template at the provider: one request that creates. Its state is then as good as read.

        Where the provider has this name in this language already, what is there is read and taken up.
        Raises ``ProviderRejected`` (also where the provider cannot create templates), ``ProviderUnavailable`` when it
        is known not to be created, ``OutcomeUnknown`` when the answer was lost.
        """
        ...

    async def open_thread(self, address: E164) -> MessageThread:
        """Find or open the thread with this person."""
        ...

    async def trigger_flow(self, send: Send, names: SendNames) -> SendReceipt:
        """Start the flow of ``send`` with its template: one request, one external effect."""
        ...

    async def send_message(self, send: Send, names: SendNames) -> SendReceipt:
        """Send the template of ``send`` without a flow: one request, one external effect."""
        ...

    async def send_free_form(self, send: Send, names: SendNames) -> SendReceipt:
        """Send ``free_form`` of ``send`` without a template: one request, one external effect.

        Its button opens the flow, where the send has one. Raises ``ProviderRejected`` where the provider has no such
        call, or says at once that the candidate's 24 hours are over.
        """
        ...

    async def read_flow_run(self, run_id: str) -> FlowRun:
        """How a run stands now. Raises ``ProviderRejected`` where it does not exist."""
        ...

    async def find_flow_runs(self, search: FlowRunSearch) -> Sequence[FlowRun]:
        """Every run that may be the one searched for; exact matches by reference alone when there is one."""
        ...

    async def end_conversation(self, request: EndConversation) -> FlowRunStatus | None:
        """Cancel a live run and, when asked, pause the thread; ending what has ended is not an error."""
        ...

    async def close(self) -> None:
        """Give back connections."""
        ...


class Accounts(Protocol):
    """The accounts that this process was given."""

    def provider(self, account: str) -> MessagingProvider:
        """The client of one account. Raises ``SetupError`` for an account that is not configured here."""
        ...


class WebhookReader(Protocol):
    """Reads the deliveries of one account."""

    def handshake(self, query: Mapping[str, str]) -> str | None:
        """The text to answer to a subscription handshake; None where the provider has none.

        Raises ``HandshakeRefused``.
        """
        ...

    def verify(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Raise ``WebhookRefused`` unless the raw bytes are authentic. ``headers`` have lower-case names."""
        ...

    def parse(self, body: bytes) -> ParsedDelivery:
        """Read a verified delivery. Never raises: what cannot be read is quarantined or not understood."""
        ...


class SendLedger(Protocol):
    """One row per send key, claimed before the call; the same rows tie webhooks to engagements."""

    async def claim(self, send: Send, at: Instant | None = None, caps: Caps | None = None) -> SendClaim:
        """Check opt-out, pauses, holds, the template, the send window and caps and record the intent, at once.

        Decides as well in which ``form`` a send leaves that may leave without a template.
        ``at`` is the instant at which they are judged: ``send.at`` is that of the first attempt. A row that is
        ``sent`` comes back with its receipt. Raises ``PolicyRefused`` and, for a hold that is over soon,
        ``ProviderUnavailable`` (nothing recorded but the refusal), ``ProviderRejected`` for a row that was rejected,
        ``OutcomeUnknown`` for ``calling`` and ``unknown``.
        """
        ...

    async def settle(
        self,
        claim: SendClaim,
        state: LedgerState,
        receipt: SendReceipt | None,
        failure: SendFailure | None,
        at: Instant,
    ) -> None:
        """Write how the claimed attempt ended. A settled row changes only through ``resolve``."""
        ...

    async def resolve(self, send_key: str, state: LedgerState, receipt: SendReceipt | None, at: Instant) -> LedgerEntry:
        """Move a row that is ``calling`` or ``unknown``, after reconciliation or by a person; repeating is harmless.

        Raises ``NotFound`` for a key without a row.
        """
        ...

    async def find(self, send_key: str) -> LedgerEntry | None:
        """The row of a send key."""
        ...

    async def runs_of_others(self, thread_id: str, send_key: str) -> frozenset[str]:
        """Run ids in this thread that belong to other sends."""
        ...


class ContactPolicy(Protocol):
    """Consent, opt-outs and who is busy."""

    async def admit(self, request: AdmissionRequest) -> Admission:
        """Decide once whether an engagement may begin, and take the line for it; repeating gives the same answer."""
        ...

    async def learn(self, learned: LearnedAliases) -> None:
        """Add aliases to a contact; one that already names another contact is left alone and counted."""
        ...


class EngagementArchive(Protocol):
    """Keeps what an engagement became, for longer than Temporal keeps its history."""

    async def close(self, request: CloseRequest) -> None:
        """Write outcome and archive and release the contact; repeating is harmless."""
        ...

    async def not_admitted(self, contact_id: str) -> Sequence[str]:
        """Workflow ids of open engagements of one person that were not admitted yet, oldest first."""
        ...


class WaitingEngagements(Protocol):
    """Engagements that wait for another one of the same person to end."""

    async def tell_free(self, workflow_id: str, free: ContactFree) -> None:
        """Let one ask again; one that is over needs nothing. Repeating is harmless. Raises ``ProviderUnavailable``."""
        ...


class TemplateStates(Protocol):
    """What we know of each template."""

    async def read(self, account: str, template: TemplateRef) -> tuple[TemplateReading, Instant] | None:
        """The last reading and when it was made; None when there is none or a webhook made it stale."""
        ...

    async def write(self, account: str, template: TemplateRef, reading: TemplateReading, at: Instant) -> None:
        """Keep a reading made at ``at``."""
        ...

    async def accept_category(self, account: str, template: TemplateRef) -> None:
        """A person agreed to the category that the template has now: it is no longer a change."""
        ...


class TemplateSpecifications(Protocol):
    """The templates that this process could submit."""

    def find(self, account: str, template: TemplateRef) -> TemplateSpecification | None:
        """The specification of this name and language for an account's provider and line; None when there is none."""
        ...


class TemplateSubmissions(Protocol):
    """One row per template that we submitted, claimed before the call: nothing is submitted twice."""

    async def claim(
        self, account: str, template: TemplateRef, fingerprint: str, at: Instant, *, again: bool = False
    ) -> bool:
        """Record the intent, in one transaction. True: submit now. False: it was submitted before.

        A row that was refused may be claimed again when the fingerprint of the specification differs or with
        ``again``. Raises ``OutcomeUnknown`` for a row whose submission is under way or in doubt, unless ``again``.
        """
        ...

    async def settle(
        self, account: str, template: TemplateRef, state: SubmissionState, reason: str, at: Instant
    ) -> None:
        """Write how the claimed submission ended, or what a later look found out."""
        ...


class HoldRows(Protocol):
    """What stops sends of a whole scope. The claim of every send reads the same rows."""

    async def hold(self, hold: HoldRow) -> None:
        """Stop everything of this scope from the next claim on; a hold that is there is replaced."""
        ...

    async def standing(self, scope_keys: Sequence[str], at: Instant) -> HoldRow | None:
        """The first of these scopes that is held at ``at``; None when none is."""
        ...

    async def let_try(self, scope_key: str, workflow_id: str) -> None:
        """Let one engagement pass the hold, to see whether it is over."""
        ...

    async def lift(self, scope_key: str) -> None:
        """Lift a hold; lifting what is not held is harmless."""
        ...


class Gates(Protocol):
    """Gates and those who wait there, as workflows."""

    async def join(self, request: JoinRequest) -> None:
        """Wait at a gate, which is opened when there is none. Repeating is harmless. Raises ``ProviderUnavailable``."""
        ...

    async def leave(self, request: LeaveRequest) -> None:
        """Wait no longer; a gate that is gone is left already."""
        ...

    async def decide(self, workflow_id: str, decision: GateDecision) -> bool:
        """Tell one who waits. False when it is no longer there. Raises ``ProviderUnavailable``: try again."""
        ...


class AtsLetters(Protocol):
    """Notices to tenants' systems that did not go through at once, kept until they are delivered."""

    async def failed(
        self, notice: AtsNotice, failure: SendFailure, *, attempt: int, gives_up_at: Instant | None, final: bool
    ) -> None:
        """Keep a notice that was not taken; ``final`` where it is not tried again by itself."""
        ...

    async def delivered(self, event_id: str) -> None:
        """It went through after all; one that was never kept is no error."""
        ...


class AtsNotifier(Protocol):
    """Tells a tenant's system what became of an engagement."""

    async def notify(self, tenant: str, notice: AtsNotice) -> None:
        """One signed request. Raises ``ProviderUnavailable`` (try again) or ``ProviderRejected`` (never accepted)."""
        ...
