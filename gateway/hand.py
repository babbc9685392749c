"""Deliveries on their way to the reader: those that this gateway keeps come in its hand, without a claim of their own.

A delivery that is kept is leased to this gateway in the same transaction and waits for its reader in memory. What other
gateways left behind, and what was too much to hold, is claimed from the store.
"""

import time
from collections import deque
from collections.abc import Collection, Sequence

from store.inbox import Delivery, Inbox, StoredDelivery

AT_ONCE = 50
"""Deliveries that are read and stored together."""
SAFETY_NET = 2.0
"""Seconds after which the store is looked at: for what another gateway left behind, or a missed wake-up."""
MOST_DELIVERIES = 200
MOST_BYTES = 4 * 1024 * 1024
"""With more than this in hand the next ones wait in the store: a lease must not run out before its turn."""


class Hand:
    """What one gateway has in hand and has not read yet. All methods may raise ``StoreUnavailable``."""

    def __init__(self, inbox: Inbox, accounts: Collection[str]) -> None:
        self._inbox, self._accounts = inbox, accounts
        self._waiting: deque[StoredDelivery] = deque()
        self._bytes = 0
        self._more_in_store = True
        self._look_at = 0.0

    async def keep(self, deliveries: Sequence[Delivery]) -> None:
        """Store deliveries durably, all or none, in this order; and hold them where there is room.

        While older ones wait in the store none is held, so that they are read in order.
        """
        room = len(self._waiting) < MOST_DELIVERIES and self._bytes < MOST_BYTES
        if not room or self._more_in_store:
            await self._inbox.keep(deliveries)
            self._more_in_store = True  # after the commit: a look that began before it has not seen them
            return
        for one in await self._inbox.keep_in_hand(deliveries):
            self._waiting.append(one)
            self._bytes += len(one.delivery.body)

    async def take(self) -> tuple[StoredDelivery, ...]:
        """The deliveries whose turn it is, oldest first; none where nothing waits."""
        now = time.monotonic()
        if self._waiting and now < self._look_at:
            return self._next()
        self._look_at, self._more_in_store = now + SAFETY_NET, False
        claimed = await self._inbox.claim(self._accounts, AT_ONCE)
        if len(claimed) > AT_ONCE // 2:  # not exactly all: one that does not open was left out
            self._more_in_store = True
        return claimed or self._next()

    @property
    def holds(self) -> int:
        """How many deliveries wait here to be read."""
        return len(self._waiting)

    @property
    def rests(self) -> float:
        """Seconds until it is worth looking again without a wake-up."""
        return 0.0 if self._waiting or self._more_in_store else max(0.0, self._look_at - time.monotonic())

    def _next(self) -> tuple[StoredDelivery, ...]:
        taken = tuple(self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting))))
        self._bytes -= sum(len(one.delivery.body) for one in taken)
        return taken
