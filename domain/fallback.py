"""What an engagement carries of its way to the fallback line."""

from domain.engagements import Route
from domain.model import Instant, Model
from domain.outcomes import EngagementOutcome
from domain.plans import FallbackLine


class Leaving(Model):
    """Nothing reached the candidate on this line: how it ends unless it goes on on another."""

    outcome: EngagementOutcome
    rule: str
    reason: str
    at: Instant


class WentOver(Model):
    """It goes on on the fallback line, which happens once."""

    at: Instant
    line: FallbackLine
    """That of the plan when it went over; an edit of the plan does not move it again."""
    left: Route
    """The first line: what still comes from there is asked there."""
    sends_before: int
    """How many sends there were by then; those that follow are of the fallback line."""
    instead_of: Leaving
