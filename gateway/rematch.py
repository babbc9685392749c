"""Tries unmatched events again: an event may be here before the answer that tells its send's ids.

How often an event is tried follows its age: at once and many times in its first seconds, when the answer of the send is
about to be stored; seldom later, when it most likely belongs to somebody else's traffic.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from domain.events import OptInReceived, OptOutReceived
from gateway.correlation import attribute
from gateway.metrics import GatewayMetrics
from gateway.placement import place
from gateway.reading import Receiving
from store.correlations import Correlations, Findings
from store.inbox import Placement
from store.inbox_review import InboxReview, Unmatched
from store.inbox_tables import EventState

PAGE = 500

FRESH = timedelta(seconds=15)
YOUNG = timedelta(minutes=15)
OFTEN = 0.2
"""Seconds between two tries of fresh events."""
SOMETIMES = 5.0
SELDOM = 120.0
"""Seconds between two tries of young events, and of all."""

_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
_LEAVE = frozenset({OptOutReceived.model_fields["kind"].default, OptInReceived.model_fields["kind"].default})


class Rematch:
    """Finds engagements for events that had none. ``on_matched`` is called when some were found."""

    def __init__(
        self,
        review: InboxReview,
        correlations: Correlations,
        receiving: Mapping[str, Receiving],
        *,
        metrics: GatewayMetrics,
        clock: Callable[[], datetime],
        on_matched: Callable[[], None],
    ) -> None:
        self._review = review
        self._correlations = correlations
        self._receiving = receiving
        self._metrics = metrics
        self._clock = clock
        self._on_matched = on_matched
        self._fresh_until = _BEGINNING
        self._tried_young = _BEGINNING
        self._tried_all = _BEGINNING

    def expect(self) -> None:
        """Events without an engagement have just been stored: try them often for a while."""
        self._fresh_until = self._clock() + FRESH

    async def round(self) -> float:
        """Try those whose turn it is; returns the seconds until the next turn."""
        now = self._clock()
        if now - self._tried_all >= timedelta(seconds=SELDOM):
            await self.try_since(_BEGINNING)
            self._tried_all = self._tried_young = now
        elif now - self._tried_young >= timedelta(seconds=SOMETIMES):
            await self.try_since(now - YOUNG)
            self._tried_young = now
        elif now < self._fresh_until:
            await self.try_since(now - FRESH)
        return OFTEN if now < self._fresh_until else SOMETIMES

    async def try_since(self, since: datetime) -> int:
        """Try everything unmatched that was received since an instant; returns how many found their engagement."""
        moved = after = 0
        while True:
            page = await self._review.unmatched(since, after, PAGE)
            placed = await self._placed([one for one in page if one.account in self._receiving])
            if placed:
                moved += await self._review.retry_unmatched(placed)
                self._on_matched()
            if len(page) < PAGE:
                return moved
            after = page[-1].id

    async def _placed(self, page: Sequence[Unmatched]) -> list[tuple[int, Placement]]:
        by_account: dict[str, list[Unmatched]] = defaultdict(list)
        for one in page:
            by_account[one.account].append(one)
        placed: list[tuple[int, Placement]] = []
        for account, some in by_account.items():
            found = await self._correlations.find(account, [one.sighting for one in some])
            for one in some:
                placement = self._place(one, found)
                if placement is None:
                    continue
                placed.append((one.id, placement))
                if placement.state is not EventState.UNMATCHED:
                    self._metrics.events.labels(one.provider, one.kind, placement.state.value).inc()
        return placed

    def _place(self, one: Unmatched, found: Findings) -> Placement | None:
        """The new place of an event, None while nothing has changed for it."""
        its = self._receiving[one.account].its_lines
        verdict = attribute(one.sighting, found, its.heard_on(one.sighting.ties))
        if verdict.state is EventState.UNMATCHED and not verdict.final and one.kind not in _LEAVE:
            return None
        placement = place(self._review.opened(one), one.sighting, found, its)
        nothing_new = placement.state is EventState.UNMATCHED and placement.may_weaken
        return None if nothing_new else placement
