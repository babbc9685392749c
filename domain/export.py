"""One engagement as one document: everything that is kept of it, for an auditor or for the candidate.

Programs read it: members are added, never renamed or given another meaning; what breaks that is ``rapport.export/2``.
Descriptions stand in the schema that is published. They are no docstrings: to find those, pydantic looks through the
source of all that is loaded, which takes every gateway a tenth of a second.
"""

from enum import StrEnum
from typing import Final, Literal

from pydantic import ConfigDict, Field

from domain.contacts import Consent
from domain.events import FlowRunStatus, MessageStatus
from domain.free_form import MessageForm
from domain.model import Instant, JsonValue, Model, Reference, Slug
from domain.outcomes import Decision, Settlement
from domain.sends import LedgerState

SCHEMA: Final = "rapport.export/1"


class ExportedPlan(Model):
    """The plan that it went by."""

    name: str
    version: int | None = Field(
        None, description="That it goes by now, or went by at its end; null where that is not kept any more."
    )
    begun_with: int | None = Field(None, description="The version that it began with, where that is kept.")
    text: dict[str, JsonValue] | None = Field(
        None,
        description="The plan of ``version`` as it was given, see plan.schema.json; "
        "null where that is not kept any more.",
    )


class ExportedStatus(Model):
    """What the provider told of a message of ours, or of the flow that it opened."""

    at: Instant = Field(description="The provider's own instant.")
    status: MessageStatus | FlowRunStatus
    word: str = Field("", description="The provider's own word for it.")
    codes: tuple[str, ...] = Field((), description="The provider's codes, of what failed.")


class ExportedMessage(Model):
    """One message that the engagement meant to send, and what became of it."""

    key: str
    step: str
    n: int = Field(
        description="Which attempt of the step, from 1: more than one only where a person answered for a second "
        "message."
    )
    template: str
    language: str = ""
    form: MessageForm | None = Field(None, description="How it left, where the plan leaves that open until then.")
    state: LedgerState = Field(description="Whether it left.")
    message_status: MessageStatus | None = Field(None, description="How far it got.")
    flow_run_status: FlowRunStatus | None = None
    account: str = ""
    line: str = ""
    reference: str = Field("", description="Ours, by which the provider knows it.")
    run_id: str = Field("", description="This and the three below are the provider's ids.")
    message_id: str = ""
    session_id: str = ""
    thread_id: str = ""
    code: str = Field("", description="The provider's, where it refused the message.")
    began_at: Instant | None = Field(None, description="When the step began.")
    claimed_at: Instant | None = Field(None, description="When it was about to leave.")
    settled_at: Instant | None = Field(None, description="When it was known what became of the request.")
    told: tuple[ExportedStatus, ...] = Field((), description="In the order in which the engagement heard it.")


class OperatorAction(Model):
    """Something that a person, or the tenant's system, did."""

    at: Instant
    what: str = Field(description="The command, or the rule of the decision log where only that is left.")
    actor: str
    reason: str
    command_id: str = ""


class InboundFrom(StrEnum):
    """Where a word of the candidate's was read."""

    HISTORY = "history"
    """A webhook, as the engagement took it."""
    LOOKUP = "lookup"
    """The provider's answer when it was asked."""
    INBOX = "inbox"
    """A webhook that the engagement has not taken: it was over, or has not come to it yet."""
    OPERATOR = "operator"
    """A person who was told."""


class Inbound(Model):
    """Something that the candidate wrote, answered or did."""

    at: Instant
    kind: str = Field(
        description="``text``, ``form-answer``, ``flow-run``, ``opt-out``, ``opt-in``, or ``mark-answered``."
    )
    source: InboundFrom
    text: str = ""
    payload: str = Field("", description="Of a button: its own value.")
    answers: dict[str, JsonValue] | None = None
    flow_run_status: FlowRunStatus | None = Field(None, description="Of a flow run.")
    send_key: str = Field("", description="The message that it belongs to, where that is known.")


class EngagementExport(Model):
    """Everything that is kept of one engagement. The candidate's number and name are not in it."""

    model_config = ConfigDict(serialize_by_alias=True, title="An engagement, exported")

    schema_name: Literal["rapport.export/1"] = Field(default=SCHEMA, alias="schema")
    exported_at: Instant
    tenant: Slug
    reference: Reference
    workflow_id: str
    contact_id: str = Field(description="Our own id of the person; leads to nobody once they were erased.")
    job: str = ""
    account: str
    line: str
    provider: str
    registered_at: Instant
    started_at: Instant | None = Field(None, description="When Temporal knew of it.")
    closed_at: Instant | None = Field(None, description="Null while it is open.")
    erased_at: Instant | None = Field(
        None,
        description="Since then nothing of the person is kept: structure, instants and audit texts are all that is "
        "left.",
    )
    plan: ExportedPlan
    consents: tuple[Consent, ...] = Field(
        (), description="Evidence of the person's opt-ins to this tenant, that of this engagement first."
    )
    outcome: Settlement | None = Field(None, description="How it ended, by which rule and why, with the answers.")
    messages: tuple[ExportedMessage, ...] = ()
    decisions: tuple[Decision, ...] = ()
    operator_actions: tuple[OperatorAction, ...] = ()
    inbound: tuple[Inbound, ...] = ()
    missing: tuple[str, ...] = Field(
        (), description="What this document would have and has not, and why; empty when it is whole."
    )
