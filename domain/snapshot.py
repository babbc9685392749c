"""What an open engagement says of itself: the answer to the ``snapshot`` query, and what the archive keeps at close.

Free of the candidate's name, number and answers except inside ``settlement``.
"""

from domain.events import FlowRunStatus, MessageStatus
from domain.free_form import MessageForm
from domain.model import Instant, Model, Reference, Slug
from domain.outcomes import Decision, Settlement
from domain.sends import LedgerState


class HoldView(Model):
    """Why the engagement may not go on at present."""

    rule: str
    reason: str
    since: Instant
    gate: str = ""
    """Workflow id of the gate at which it waits with others."""


class PauseView(Model):
    """Who let nothing leave, why and since when."""

    actor: str
    reason: str
    since: Instant


class SendView(Model):
    """One send of the engagement: which message, what became of it, and the provider's ids of it."""

    key: str
    step: str
    n: int
    template: str
    form: MessageForm | None = None
    """How it left, where the plan leaves that open until then."""
    send_state: LedgerState
    message_status: MessageStatus | None = None
    flow_run_status: FlowRunStatus | None = None
    reference: str = ""
    run_id: str = ""
    message_id: str = ""
    at: Instant
    """When the step began."""


class StepView(Model):
    """One message that the plan may send."""

    name: str
    template: str
    language: str
    with_flow: bool


class EngagementSnapshot(Model):
    """Where an engagement stands: which step, waiting for what until when, why held, what was sent and decided."""

    workflow_id: str
    tenant: Slug
    reference: Reference
    plan: str
    plan_version: int = 0
    """0 in what was archived before it was told."""
    steps: tuple[StepView, ...] = ()
    """What the plan, as it is now, may send, in its order."""
    zone: str = ""
    """The candidate's time zone."""
    started_at: Instant | None = None
    line: Slug
    provider: str = ""
    stage: str
    """One word for people and filters, equal to the search attribute ``EngagementStage``."""
    hold: HoldView | None = None
    pause: PauseView | None = None
    waiting_for: str = ""
    until: Instant | None = None
    """When the present wait ends by itself; None when it does not."""
    sends: tuple[SendView, ...] = ()
    decisions: tuple[Decision, ...] = ()
    settlement: Settlement | None = None
    needs_human: bool = False
    follow_ups_left: int = 0
