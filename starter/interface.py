"""What the REST routes and the healing need of the service, so that they can be built and tested without it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from domain.ats import AtsStatus
from domain.calls import Command, CommandResult, MarkAnswered, MigratePlan, NewPlan, ResolveSend
from domain.engagements import EngagementRequest
from domain.migration import MigrationView
from starter.views import EngagementPage, EngagementView, Started, Trace

PAGE_LIMIT = 100
"""The most rows in one page."""


class Engagements(Protocol):
    """Starting and operating engagements; ``starter.service.EngagementService`` says what each raises."""

    async def start(self, request: EngagementRequest, now: datetime) -> Started:
        """Start one engagement, once."""
        ...

    async def start_missing(self, now: datetime, *, limit: int = PAGE_LIMIT) -> Sequence[str]:
        """Start what was registered but never reached Temporal."""
        ...

    def fingerprint(self, text: str) -> str:
        """A keyed hash of text, to tell equal requests without keeping them."""
        ...

    async def get(self, tenant: str, reference: str) -> EngagementView:
        """One engagement with its snapshot."""
        ...

    async def list(
        self, tenant: str, *, is_open: bool | None = None, line: str = "", cursor: str = "", limit: int = 50
    ) -> EngagementPage:
        """A page of a tenant's engagements, newest first."""
        ...

    async def trace(self, tenant: str, reference: str) -> Trace:
        """Everything that happened."""
        ...

    async def stop(self, tenant: str, reference: str, command: Command) -> CommandResult:
        """End an engagement as STOPPED."""
        ...

    async def hand_over(self, tenant: str, reference: str, command: Command) -> CommandResult:
        """End an engagement as HANDED_OVER."""
        ...

    async def resend(self, tenant: str, reference: str, command: Command) -> CommandResult:
        """Send a step of unknown outcome once more."""
        ...

    async def ats_status(self, tenant: str, reference: str, command: AtsStatus) -> CommandResult:
        """Tell what became of an application: it ends as WITHDRAWN, a move is noted."""
        ...

    async def pause(self, tenant: str, reference: str, command: Command) -> CommandResult:
        """Let nothing of an engagement leave until it is resumed."""
        ...

    async def resume(self, tenant: str, reference: str, command: Command) -> CommandResult:
        """Go on after a pause."""
        ...

    async def mark_answered(self, tenant: str, reference: str, command: MarkAnswered) -> CommandResult:
        """End an engagement as COMPLETED with what a person says was answered."""
        ...

    async def may_migrate(self, tenant: str, reference: str, new: NewPlan) -> MigrationView:
        """What going on by a new version of its plan would mean."""
        ...

    async def migrate_plan(self, tenant: str, reference: str, command: MigratePlan) -> CommandResult:
        """Let it go on by a new version of its plan."""
        ...

    async def resolve_send(self, tenant: str, reference: str, command: ResolveSend) -> CommandResult:
        """Settle a send whose outcome is unknown."""
        ...
