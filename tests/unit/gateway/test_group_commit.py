"""Deliveries of concurrent requests share a transaction, and each request hears what became of its own."""

import asyncio
from collections.abc import Sequence

import pytest

from domain.errors import StoreUnavailable
from gateway import group_commit
from gateway.group_commit import GroupCommit
from store.inbox import Delivery
from tests.unit.gateway.world import FOREVER, now


class SlowKeeper:
    """A store whose commits end when the test says so."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.may_commit = asyncio.Semaphore(0)
        self.began = asyncio.Event()
        self.down = False

    async def keep(self, deliveries: Sequence[Delivery]) -> None:
        self.batches.append([one.body for one in deliveries])
        self.began.set()
        await self.may_commit.acquire()
        if self.down:
            raise StoreUnavailable("the store is down")


def a_delivery(body: bytes) -> Delivery:
    return Delivery("plain", "main", body, now())


async def test_what_comes_during_a_commit_shares_the_next_one() -> None:
    keeper, commits = SlowKeeper(), []
    group = GroupCommit(keeper, lambda: commits.append(1))
    first = asyncio.create_task(group.keep(a_delivery(b"1")))
    await keeper.began.wait()
    others = [asyncio.create_task(group.keep(a_delivery(b"%d" % n))) for n in range(2, 6)]
    await asyncio.sleep(0)
    keeper.may_commit.release()
    await first
    assert not any(other.done() for other in others)
    keeper.may_commit.release()
    await asyncio.gather(*others)
    assert keeper.batches == [[b"1"], [b"2", b"3", b"4", b"5"]]
    assert len(commits) == 2


async def test_every_request_of_a_failed_commit_hears_of_it_and_later_ones_do_not() -> None:
    keeper = SlowKeeper()
    group = GroupCommit(keeper, lambda: None)
    keeper.down = True
    first = asyncio.create_task(group.keep(a_delivery(b"1")))
    await keeper.began.wait()
    keeper.may_commit.release()
    with pytest.raises(StoreUnavailable):
        await first
    keeper.down = False
    keeper.may_commit.release()
    await group.keep(a_delivery(b"2"))


async def test_a_request_that_went_away_takes_nobody_with_it() -> None:
    keeper = SlowKeeper()
    group = GroupCommit(keeper, lambda: None)
    first = asyncio.create_task(group.keep(a_delivery(b"1")))
    await keeper.began.wait()
    gone, stays = (asyncio.create_task(group.keep(a_delivery(body))) for body in (b"2", b"3"))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    keeper.may_commit.release()
    keeper.may_commit.release()
    await asyncio.gather(first, stays)
    assert keeper.batches[1] == [b"3"]


async def test_more_than_memory_should_hold_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "WAITING_BYTES", 10)
    keeper = SlowKeeper()
    group = GroupCommit(keeper, lambda: None)
    first = asyncio.create_task(group.keep(a_delivery(b"1")))
    await keeper.began.wait()
    second = asyncio.create_task(group.keep(a_delivery(bytes(8))))
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        await group.keep(a_delivery(bytes(8)))
    keeper.may_commit.release()
    keeper.may_commit.release()
    await asyncio.gather(first, second)


async def test_draining_waits_for_what_was_taken() -> None:
    keeper = SlowKeeper()
    group = GroupCommit(keeper, lambda: None)
    taken = asyncio.create_task(group.keep(a_delivery(b"1")))
    await keeper.began.wait()
    keeper.may_commit.release()
    await group.drain()
    await taken
    assert keeper.batches == [[b"1"]]


async def test_many_at_once_are_a_rush_until_they_are_stored_and_a_few_are_none() -> None:
    keeper = SlowKeeper()
    group = GroupCommit(keeper, lambda: None)
    few = asyncio.create_task(group.keep(a_delivery(b"few")))
    await keeper.began.wait()
    assert not group.is_rush()
    many = [asyncio.create_task(group.keep(a_delivery(b"%d" % n))) for n in range(group_commit.RUSH)]
    await asyncio.sleep(0)
    assert group.is_rush()
    keeper.may_commit.release()
    await few
    assert group.is_rush()  # they are being stored
    keeper.may_commit.release()
    await asyncio.gather(*many)
    async with asyncio.timeout(FOREVER):
        while group.is_rush():  # noqa: ASYNC110 - for a moment more: those who were answered may be back with the next
            await asyncio.sleep(group_commit.RUSH_SECONDS)
