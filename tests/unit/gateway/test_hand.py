"""Deliveries go from the commit to the reader in the gateway's hand, and what is not in it is found in the store."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence

import pytest

from gateway.hand import MOST_DELIVERIES, Hand
from store.inbox import Delivery, Inbox, StoredDelivery
from store.keys import KeyRing
from store.stores import Stores
from tests.unit.gateway.world import delivery, finished, later


@pytest.fixture
async def stores(url: str, keys: KeyRing) -> AsyncIterator[Stores]:
    async with Stores.open(url, keys) as opened:
        yield opened


class Counted(Inbox):
    """An inbox that counts its looks for unread deliveries."""

    looks = 0

    async def claim(self, accounts: Collection[str], limit: int) -> tuple[StoredDelivery, ...]:
        self.looks += 1
        return await super().claim(accounts, limit)


def some(many: int, first: int = 0) -> list[Delivery]:
    return [delivery(finished(f"e-{first + n}")) for n in range(many)]


def bodies(taken: Sequence[StoredDelivery]) -> list[bytes]:
    return [one.delivery.body for one in taken]


async def all_of(hand: Hand) -> list[bytes]:
    taken: list[bytes] = []
    while some := await hand.take():
        taken += bodies(some)
    return taken


async def test_what_is_kept_is_read_without_a_look_at_the_store(stores: Stores) -> None:
    inbox = Counted(stores.database, stores.keys, owner="me")
    hand = Hand(inbox, ["main"])
    assert await hand.take() == ()
    kept = some(3)
    await hand.keep(kept)
    assert hand.rests == 0.0
    assert bodies(await hand.take()) == [one.body for one in kept]
    assert inbox.looks == 1  # the first, before anything was kept
    assert hand.rests > 0.0


async def test_what_is_in_hand_is_known_to_the_store_by_its_own_ids(stores: Stores) -> None:
    inbox = Inbox(stores.database, stores.keys, owner="me")
    await inbox.keep(some(2))
    held = await inbox.keep_in_hand(kept := some(3, first=2))
    others = Inbox(stores.database, stores.keys, owner="they", clock=lambda: later(60))
    claimed = await others.claim(["main"], 10)
    assert [(one.id, one.delivery.body) for one in claimed[2:]] == [(one.id, one.delivery.body) for one in held]
    assert bodies(held) == [one.body for one in kept]


async def test_what_a_dead_gateway_had_in_hand_is_another_ones_when_its_lease_is_over(stores: Stores) -> None:
    hand = Hand(Inbox(stores.database, stores.keys, owner="dead"), ["main"])
    await hand.take()
    await hand.keep(kept := some(2))
    assert await Inbox(stores.database, stores.keys, owner="they").claim(["main"], 10) == ()
    after = Hand(Inbox(stores.database, stores.keys, owner="they", clock=lambda: later(60)), ["main"])
    assert await all_of(after) == [one.body for one in kept]


async def test_while_older_ones_wait_in_the_store_newer_ones_wait_behind_them(stores: Stores) -> None:
    await Inbox(stores.database, stores.keys, owner="another").keep(older := some(120))
    hand = Hand(Inbox(stores.database, stores.keys, owner="me"), ["main"])
    taken = bodies(await hand.take())
    await hand.keep(newer := some(5, first=120))
    assert taken + await all_of(hand) == [one.body for one in (*older, *newer)]


async def test_what_is_too_much_to_hold_waits_in_the_store_and_keeps_its_order(stores: Stores) -> None:
    hand = Hand(Inbox(stores.database, stores.keys, owner="me"), ["main"])
    await hand.take()
    await hand.keep(held := some(MOST_DELIVERIES))
    await hand.keep(more := some(5, first=MOST_DELIVERIES))
    assert hand.holds == MOST_DELIVERIES
    assert await all_of(hand) == [one.body for one in (*held, *more)]


class Slow(Inbox):
    """An inbox whose commit of what waits in the store comes after a look that began later."""

    def __init__(self, stores: Stores) -> None:
        super().__init__(stores.database, stores.keys, owner="me")
        self.keeping, self.looked = asyncio.Event(), asyncio.Event()

    async def keep(self, deliveries: Sequence[Delivery]) -> None:
        self.keeping.set()
        await self.looked.wait()
        await super().keep(deliveries)


async def test_a_look_that_passes_a_commit_misses_nothing(stores: Stores) -> None:
    inbox = Slow(stores)
    hand = Hand(inbox, ["main"])
    keeping = asyncio.create_task(hand.keep(kept := some(1)))  # before the first look nothing is held
    await inbox.keeping.wait()
    assert await hand.take() == ()
    inbox.looked.set()
    await keeping
    assert hand.rests == 0.0
    assert bodies(await hand.take()) == [one.body for one in kept]
