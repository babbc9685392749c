"""What the service answers. No phone number and no name; the candidate's answers stand in ``settlement`` alone."""

from enum import StrEnum

from domain.model import Instant, Model, Reference, Slug
from domain.outcomes import EngagementOutcome
from domain.snapshot import EngagementSnapshot


class Started(Model):
    """An engagement that was asked for. ``created`` is False when it was there already."""

    workflow_id: str
    tenant: Slug
    reference: Reference
    created: bool
    outcome: EngagementOutcome | None = None
    """How it ended, when it had ended before."""


class EngagementSummary(Model):
    """One engagement in a list. ``stage`` and what follows it are Temporal's word and empty when it did not answer."""

    workflow_id: str
    tenant: Slug
    reference: Reference
    plan: str
    line: Slug
    registered_at: Instant
    outcome: EngagementOutcome | None = None
    closed_at: Instant | None = None
    stage: str = ""
    next_action_at: Instant | None = None
    needs_human: bool = False


class EngagementPage(Model):
    """A page of engagements, newest first. ``next_cursor`` leads to the next one, empty at the end."""

    engagements: tuple[EngagementSummary, ...]
    next_cursor: str = ""
    note: str = ""
    """What is missing in this page, and why."""


class EngagementView(Model):
    """One engagement: what the registry knows, and what it says of itself, live or from the archive."""

    summary: EngagementSummary
    snapshot: EngagementSnapshot | None = None
    note: str = ""
    """Why there is no snapshot, or how old it is."""


class TraceSource(StrEnum):
    """Where a line of a trace comes from."""

    DECISION = "decision"
    HISTORY = "history"


class TraceEntry(Model):
    """One thing that happened. ``what`` is the rule of a decision or the kind of a history event."""

    at: Instant
    source: TraceSource
    what: str
    text: str
    actor: str = ""
    until: Instant | None = None
    """When it ends by itself, of what waits."""


class LineKind(StrEnum):
    """What a line of a story is about; the word that stands before it."""

    BEGUN = "begun"
    DUE = "due"
    SENT = "sent"
    NOT_SENT = "not sent"
    HEARD = "heard"
    """What the provider told of a message of ours."""
    CANDIDATE = "candidate"
    WAITS = "waits"
    GOES_ON = "goes on"
    UNSURE = "unsure"
    OPERATOR = "operator"
    ATS = "ATS"
    OUTCOME = "outcome"
    QUIET = "quiet"
    """Nothing happened for a while, and what was waited for meanwhile."""
    NOTE = "note"


class StoryLine(Model):
    """One thing that happened, as a sentence. ``rule`` and ``technical`` are what the decision log says of it."""

    at: Instant
    kind: LineKind
    text: str
    rule: str = ""
    technical: str = ""


class Story(Model):
    """What happened to one engagement and why, for readers who have never seen the product."""

    reference: Reference
    headline: str
    because: str
    facts: tuple[tuple[str, str], ...] = ()
    """What is good to know before reading on: name and value."""
    zone: str = ""
    """The candidate's time zone; empty where it is not known."""
    lines: tuple[StoryLine, ...] = ()


class Trace(Model):
    """Everything that happened to an engagement, in order, as far as it is still known."""

    workflow_id: str
    story: Story | None = None
    """The same told to people; None where nothing is known that could be told."""
    entries: tuple[TraceEntry, ...]
    note: str = ""
    """What could not be read, and why."""
