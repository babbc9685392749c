"""Group commit: requests that wait at the same time share one transaction, so one flush of the disk serves all.

Nothing lingers: a commit starts as soon as the previous one is done, with whatever has come in meanwhile.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from domain.errors import StoreUnavailable
from store.inbox import Delivery

MOST_DELIVERIES = 500
MOST_BYTES = 16 * 1024 * 1024
"""One transaction holds no more than this, so that nobody waits long behind a burst."""
WAITING_BYTES = 128 * 1024 * 1024
"""More than this waiting in memory means that the store cannot follow: new deliveries are refused with 503."""
RUSH = 32
"""So many deliveries at once are a rush."""
RUSH_SECONDS = 0.02
"""How long it is still a rush after a commit of so many: who was just answered is about to send the next."""


class Keeper(Protocol):
    """Stores deliveries durably; when it returns, they survive the loss of this process."""

    async def keep(self, deliveries: Sequence[Delivery]) -> None:
        """Store all or nothing, in order. Raises ``StoreUnavailable``."""
        ...


class GroupCommit:
    """Collects deliveries of concurrent requests and stores them together, calling ``after_commit`` each time."""

    def __init__(self, keeper: Keeper, after_commit: Callable[[], None]) -> None:
        self._keeper = keeper
        self._after_commit = after_commit
        self._waiting: deque[tuple[Delivery, asyncio.Future[None]]] = deque()
        self._bytes = 0
        self._in_hand = 0
        self._rushed_until = 0.0
        self._flusher: asyncio.Task[None] | None = None

    async def keep(self, delivery: Delivery) -> None:
        """Return once ``delivery`` is committed.

        Raises ``StoreUnavailable`` when it could not be, or when too much is waiting already.
        """
        if self._bytes + len(delivery.body) > WAITING_BYTES:
            raise StoreUnavailable("too many deliveries wait for the store: this one was not taken")
        committed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((delivery, committed))
        self._bytes += len(delivery.body)
        if self._flusher is None:
            self._flusher = asyncio.create_task(self._flush(), name="group-commit")
        await committed

    def is_rush(self) -> bool:
        """Whether many wait to be stored: who can should leave the core and the store to them."""
        if len(self._waiting) + self._in_hand >= RUSH:
            return True
        return self._rushed_until > 0.0 and asyncio.get_running_loop().time() < self._rushed_until

    async def drain(self) -> None:
        """Wait until everything that was taken has been committed or refused."""
        while self._flusher is not None:
            await asyncio.wait((self._flusher,))

    async def _flush(self) -> None:
        try:
            while self._waiting:
                batch = self._next_batch()
                self._in_hand = len(batch)
                await self._commit(batch)
                if len(batch) >= RUSH:
                    self._rushed_until = asyncio.get_running_loop().time() + RUSH_SECONDS
                self._in_hand = 0
        finally:
            self._flusher, self._in_hand = None, 0
            for _, committed in self._waiting:  # only when the flusher itself was cancelled
                committed.cancel()

    def _next_batch(self) -> list[tuple[Delivery, asyncio.Future[None]]]:
        batch: list[tuple[Delivery, asyncio.Future[None]]] = []
        size = 0
        while self._waiting and len(batch) < MOST_DELIVERIES and (not batch or size < MOST_BYTES):
            delivery, committed = self._waiting.popleft()
            self._bytes -= len(delivery.body)
            if not committed.done():  # done: its request went away while it waited, so nobody was told anything
                size += len(delivery.body)
                batch.append((delivery, committed))
        return batch

    async def _commit(self, batch: list[tuple[Delivery, asyncio.Future[None]]]) -> None:
        if not batch:
            return
        failure: BaseException | None = None
        try:
            await self._keeper.keep([delivery for delivery, _ in batch])
        except Exception as error:  # noqa: BLE001 - every request of the batch is told by its own future
            failure = error
        except asyncio.CancelledError:
            for _, committed in batch:
                committed.cancel()
            raise
        else:
            self._after_commit()
        for _, committed in batch:
            if committed.done():
                continue
            if failure is None:
                committed.set_result(None)
            else:
                committed.set_exception(failure)
