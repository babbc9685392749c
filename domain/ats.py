"""What a tenant's applicant tracking system (ATS) tells us of its candidates, and what it hears from us."""

from enum import StrEnum
from typing import Annotated

from pydantic import StringConstraints

from domain.calls import AtsNotice, Command
from domain.model import Instant, Model
from domain.outcomes import EngagementResult

Job = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{0,100}$")]
"""The tenant's own key of a job or requisition; free of control characters, since people read it."""


class AtsWord(StrEnum):
    """What happened to an application in the tenant's system."""

    HIRED = "hired"
    WITHDRAWN = "withdrawn"
    REQUISITION_CLOSED = "requisition-closed"
    MOVED = "moved"

    @property
    def ends(self) -> bool:
        """Whether there is nothing left to talk about; a move alone ends nothing."""
        return self is not AtsWord.MOVED


class AtsStatus(Command):
    """The tenant's system says what became of an application. ``job`` tells which one, where it names one."""

    status: AtsWord
    job: Job = ""


class AtsEvent(StrEnum):
    """What a tenant's system may hear of an engagement."""

    OPENED = "engagement.opened"
    """The provider took the first message."""
    DELIVERED = "engagement.delivered"
    """Something of ours is known to have arrived."""
    CLOSED = "engagement.closed"
    """The outcome is final and the contact is free again."""


def outcome_notice(workflow_id: str, result: EngagementResult, at: Instant) -> AtsNotice:
    """How an engagement ended; whoever tells it and how often, it has one id."""
    return AtsNotice(event_id=f"{workflow_id}:outcome", event_type=AtsEvent.CLOSED.value, result=result, at=at)


class AtsTelling(Model):
    """One thing that a tenant's system told: of one engagement, or, without ``reference``, of all of a job."""

    status: AtsWord
    reference: str = ""
    job: str = ""
    reason: str = ""
    actor: str = "ats"


class AtsDeliveryState(StrEnum):
    """What became of something that a tenant's system told."""

    WAITING = "waiting"
    DONE = "done"
    UNMATCHED = "unmatched"
    """It names an engagement that there is not, or one of another job."""
    LATE = "late"
    """Its engagement was over."""
    IGNORED = "ignored"
    """Of a kind that we do not know."""
    UNREADABLE = "unreadable"


class AtsUnread(Model):
    """Why a delivery tells nothing that can be acted on."""

    state: AtsDeliveryState
    why: str


class AtsDelivery(Model):
    """Something that a tenant's system told, as an operator sees it. What it says stands here once it was read."""

    number: int
    tenant: str
    state: AtsDeliveryState
    status: str = ""
    reference: str = ""
    job: str = ""
    reason: str = ""
    failures: int = 0
    reached: int = 0
    """Engagements that heard of it."""
    received_at: Instant
    settled_at: Instant | None = None


class NoticeState(StrEnum):
    """What became of a notice to a tenant's system that did not go through at once."""

    FAILING = "failing"
    """Temporal goes on trying, until the notice's time is over."""
    REFUSED = "refused"
    """The tenant's system said no for good."""
    DELIVERED = "delivered"


class AtsLetter(Model):
    """A notice that did not go through at once, without what it says of the candidate."""

    event_id: str
    tenant: str
    reference: str
    event_type: str
    state: NoticeState
    attempts: int
    code: str = ""
    reason: str = ""
    made_at: Instant
    tried_at: Instant
    gives_up_at: Instant | None = None
    """When Temporal stops trying; until then nobody has to do anything."""
