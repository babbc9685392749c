"""Which worker process polls which paced queue: leases, handed out so that the processes share the queues evenly.

A lease is judged by the store's clock alone (``shared_now``). Its owner counts from the moment *before* it asked, on
its own monotonic clock, so that it stops before the store lets anybody else in, whatever the two clocks show.
"""

import hashlib
import os
import secrets
import socket
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, select, update

from store.clock import shared_now
from store.database import Database, insert_new, put
from store.tables import queue_leases, worker_processes

NOBODY = ""
BREATH = timedelta(seconds=1)
"""From a release to the next owner: the last second of the one and the first of the other never add up."""


def process_owner() -> str:
    """A name for this process that no other process, here or elsewhere, ever had."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


@dataclass(frozen=True)
class Share:
    """What a process holds after it asked."""

    held: frozenset[str]
    """Held for the length of the lease, counted from the question: renewed, or taken now."""
    surplus: frozenset[str]
    """Part of ``held`` that others should have: to be released as soon as it is not polled any more."""
    soonest: timedelta | None
    """When the first lease of somebody else may end; None when nobody else has one."""


@dataclass(frozen=True)
class _Look:
    """What one transaction sees."""

    owner: str
    now: datetime
    owners: dict[str, str]
    """Of every queue whose lease runs."""
    peers: tuple[str, ...]
    """Processes that live and know of the same queues; ``owner`` is one of them."""


class QueueLeases:
    """The leases in the store. Every method is one transaction and may raise ``StoreUnavailable``.

    ``clock`` replaces the store's clock in tests.
    """

    def __init__(self, database: Database, *, clock: Callable[[Connection], datetime] = shared_now) -> None:
        self._database = database
        self._clock = clock

    async def share(
        self, owner: str, queues: Sequence[str], lease: timedelta, *, leaving: Collection[str] = ()
    ) -> Share:
        """Say that ``owner`` lives, renew what it holds, and take what is free up to its even share of ``queues``.

        Processes that know of the same ``queues`` share them; one with another list takes whatever it finds free.
        Queues that are ``leaving`` are neither renewed nor taken: their polling is coming to its end.
        """
        return await self._database.write(
            lambda connection: self._share(connection, owner, queues, lease, frozenset(leaving))
        )

    async def release(self, owner: str, queue: str) -> None:
        """Give up a lease after ``BREATH``; one that ``owner`` does not hold stays as it is."""
        await self._database.write(lambda connection: self._release(connection, owner, queue))

    async def leave(self, owner: str) -> None:
        """Count no longer as a process that wants a share. What it holds it holds until released or over."""
        statement = delete(worker_processes).where(worker_processes.c.owner == owner)
        await self._database.write(lambda connection: connection.execute(statement))

    async def owners(self) -> dict[str, str]:
        """Who holds which queue now."""
        return await self._database.read(lambda connection: _owners(connection, self._clock(connection)))

    def _share(
        self, connection: Connection, owner: str, queues: Sequence[str], lease: timedelta, leaving: frozenset[str]
    ) -> Share:
        now = self._clock(connection)
        until, digest = now + lease, hashlib.sha256("\n".join(sorted(queues)).encode()).hexdigest()
        put(connection, worker_processes, {"owner": owner, "queues": digest, "expires_at": until}, key=["owner"])
        look = _Look(owner, now, _owners(connection, now), _peers(connection, digest, now))
        held = _renew(connection, owner, [queue for queue in queues if queue not in leaving], until)
        part = _part(look, queues)
        if len(held) < part:
            free = [queue for queue in queues if queue not in look.owners and queue not in held | leaving]
            held |= _take(connection, look, free[: part - len(held)], until)
        kept = [queue for queue in queues if queue in held]
        return Share(held=held, surplus=frozenset(kept[part:]), soonest=_soonest(connection, look, queues))

    def _release(self, connection: Connection, owner: str, queue: str) -> None:
        connection.execute(
            update(queue_leases)
            .where(queue_leases.c.queue == queue, queue_leases.c.owner == owner)
            .values(owner=NOBODY, expires_at=self._clock(connection) + BREATH)
        )


def _owners(connection: Connection, now: datetime) -> dict[str, str]:
    wanted = select(queue_leases.c.queue, queue_leases.c.owner).where(queue_leases.c.expires_at > now)
    return {row.queue: row.owner for row in connection.execute(wanted)}


def _peers(connection: Connection, digest: str, now: datetime) -> tuple[str, ...]:
    c = worker_processes.c
    # rows that another transaction has in hand are left to it: a process that froze in one must not stop the others
    gone = select(c.owner).where(c.expires_at <= now).with_for_update(skip_locked=True)
    connection.execute(delete(worker_processes).where(c.owner.in_(gone)))
    alive = select(c.owner).where(c.queues == digest, c.expires_at > now)
    return tuple(connection.execute(alive).scalars())


def _part(look: _Look, queues: Sequence[str]) -> int:
    """How many of the queues are this process's: an even part, the odd ones with those who have most already."""
    owners = [look.owners.get(queue, NOBODY) for queue in queues]
    out_of_reach = sum(owner not in (NOBODY, *look.peers) for owner in owners)
    has = Counter(owners)
    each, odd = divmod(len(queues) - out_of_reach, len(look.peers))
    rank = sorted(look.peers, key=lambda peer: (-has[peer], peer)).index(look.owner)
    return each + (rank < odd)


def _renew(connection: Connection, owner: str, queues: Sequence[str], until: datetime) -> frozenset[str]:
    c = queue_leases.c
    # no clock is asked: a lease that ran out and that nobody took is still its owner's
    statement = update(queue_leases).where(c.owner == owner, c.queue.in_(queues)).values(expires_at=until)
    return frozenset(connection.execute(statement.returning(c.queue)).scalars())


def _take(connection: Connection, look: _Look, queues: Sequence[str], until: datetime) -> frozenset[str]:
    c = queue_leases.c
    over = select(c.queue).where(c.queue.in_(queues), c.expires_at <= look.now).with_for_update(skip_locked=True)
    statement = update(queue_leases).where(c.queue.in_(over), c.expires_at <= look.now)
    values = {"owner": look.owner, "taken_at": look.now, "expires_at": until}
    taken = set(connection.execute(statement.values(**values).returning(c.queue)).scalars())
    for queue in queues:
        if queue not in taken and insert_new(connection, queue_leases, {"queue": queue, **values}, key=["queue"]):
            taken.add(queue)
    return frozenset(taken)


def _soonest(connection: Connection, look: _Look, queues: Sequence[str]) -> timedelta | None:
    c = queue_leases.c
    running = (c.queue.in_(queues), c.owner != look.owner, c.expires_at > look.now)
    first = connection.execute(
        select(c.expires_at).where(*running).order_by(c.expires_at).limit(1)
    ).scalar_one_or_none()
    return None if first is None else first - look.now
