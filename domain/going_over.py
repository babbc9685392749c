"""When an engagement goes over to its fallback line: once, and only where nothing of ours can have arrived. Pure."""

from datetime import datetime

from domain.engagements import Engagement, FallbackRoute
from domain.events import MessageStatus
from domain.fallback import Leaving, WentOver
from domain.outcomes import EngagementOutcome
from domain.plans import FallbackLine
from domain.send_record import SendRecord
from domain.sends import LedgerState
from domain.state import EngagementState

_NEVER_SENT = (LedgerState.FREE, LedgerState.NOT_SENT, LedgerState.REJECTED)
_KEPT_BACK = ("outside-window", "capped", "queued", "paused", "category-changed")
"""Holds that are not the line's fault: what they keep back is kept back on every line."""


class GoingOver:
    """The way of one engagement to its fallback line."""

    def __init__(self, engagement: Engagement, state: EngagementState) -> None:
        self._engagement, self._state = engagement, state

    def way(self) -> tuple[FallbackLine, FallbackRoute] | None:
        """Where the plan says that it goes on; None where it says nothing, or when it has gone there."""
        planned, resolved = self._engagement.plan.fallback, self._engagement.fallback
        if self._state.went_over is not None or planned is None or resolved is None:
            return None
        return (planned, resolved) if planned.line == resolved.route.line else None

    def leave(self, outcome: EngagementOutcome, rule: str, reason: str, now: datetime) -> bool:
        """Leave this line in place of ending so. False where it must end: what we sent may have arrived after all."""
        state = self._state
        if state.settlement is not None or not self.is_open(now):
            return False
        if state.leaving is None:
            state.leaving = Leaving(outcome=outcome, rule=rule, reason=reason, at=now)
        return True

    def is_open(self, now: datetime) -> bool:
        """Whether it may go over now: there is a line to go to, time is left, and nothing of ours has arrived."""
        over = now >= self._state.started_at + self._engagement.plan.longest
        return self.way() is not None and not over and self.nothing_arrived()

    def nothing_arrived(self) -> bool:
        """Whether it is known of every message of ours that it did not reach the candidate.

        What nobody told as delivered is not known: only a message that failed, or that was never sent, is.
        """
        return not self._state.was_delivered() and all(map(_is_known_lost, self._state.sends))

    def expired_by_the_line(self) -> bool:
        """Whether what kept a message back until it expired was this line, and no rule that holds on every line."""
        hold = self._state.hold
        return self._state.pause is None and (hold is None or hold.rule not in _KEPT_BACK)

    def go(self, leaving: Leaving, now: datetime) -> None:
        """Go on on the fallback line: what belongs to the first is left behind, what was said and answered stays."""
        state, way = self._state, self.way()
        if way is None:
            return
        planned, resolved = way
        state.log(now, "fallback-line", f"{leaving.reason}; the plan goes on on {resolved.route.line}")
        state.went_over = WentOver(
            at=now, line=planned, left=self._engagement.route, sends_before=len(state.sends), instead_of=leaving
        )
        state.begin_on_line()


def _is_known_lost(record: SendRecord) -> bool:
    never_sent = record.state in _NEVER_SENT and not record.is_known_to_provider
    return never_sent or record.message_status is MessageStatus.FAILED
