"""Who polls which queue: one process at a time, by the store's clock, and each its even part."""

import asyncio
import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy import Connection, delete

from store import clock
from store.database import Database
from store.keys import KeyRing
from store.leases import BREATH, NOBODY, QueueLeases, Share, process_owner
from store.stores import Stores
from store.tables import queue_leases, worker_processes
from tests.unit.store.samples import NOON

SECOND = timedelta(seconds=1)
LEASE = 15 * SECOND
KEPT = LEASE * 2 / 3
QUEUES = ("lookups:a", "sends:a-1", "sends:a-2", "lookups:b", "sends:b-1")
NONE: frozenset[str] = frozenset()


class HandClock:
    """A store's clock that moves when told to."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self, _: object) -> datetime:
        return self.now


@pytest.fixture
def time() -> HandClock:
    return HandClock()


@pytest.fixture
def leases(stores: Stores, time: HandClock) -> QueueLeases:
    return QueueLeases(stores.database, clock=time)


async def test_a_lone_process_takes_everything_at_once(leases: QueueLeases) -> None:
    share = await leases.share("one", QUEUES, LEASE)
    assert share == Share(held=frozenset(QUEUES), surplus=NONE, soonest=None)
    assert await leases.owners() == dict.fromkeys(QUEUES, "one")


async def test_a_held_queue_is_nobody_elses_until_its_lease_is_over(leases: QueueLeases, time: HandClock) -> None:
    await leases.share("one", QUEUES, LEASE)
    time.now += LEASE - SECOND
    early = await leases.share("two", QUEUES, LEASE)
    assert early == Share(held=NONE, surplus=NONE, soonest=SECOND)
    time.now += SECOND
    assert (await leases.share("two", QUEUES, LEASE)).held == set(QUEUES)


async def test_a_renewed_lease_runs_from_the_renewal(leases: QueueLeases, time: HandClock) -> None:
    await leases.share("one", QUEUES, LEASE)
    time.now += LEASE - SECOND
    await leases.share("one", QUEUES, LEASE)
    time.now += LEASE - SECOND
    assert (await leases.share("two", QUEUES, LEASE)).held == set()


async def test_only_the_holder_renews_and_releases(leases: QueueLeases, time: HandClock) -> None:
    await leases.share("one", QUEUES, LEASE)
    for queue in QUEUES:
        await leases.release("two", queue)
    assert (await leases.share("two", QUEUES, LEASE)).held == set()
    assert set((await leases.owners()).values()) == {"one"}
    time.now += LEASE
    await leases.share("two", QUEUES, LEASE)
    assert (await leases.share("one", QUEUES, LEASE)).held == set(), "the lease it once had is not its own any more"


async def test_what_is_released_is_free_after_a_breath(leases: QueueLeases, time: HandClock) -> None:
    await leases.share("one", QUEUES, LEASE)
    await leases.leave("one")
    for queue in QUEUES:
        await leases.release("one", queue)
    early = await leases.share("two", QUEUES, LEASE)
    assert early == Share(held=NONE, surplus=NONE, soonest=BREATH)
    time.now += BREATH
    assert (await leases.share("two", QUEUES, LEASE)).held == set(QUEUES)


async def test_what_comes_to_its_end_is_neither_renewed_nor_taken_back(leases: QueueLeases, time: HandClock) -> None:
    await leases.share("one", QUEUES, LEASE)
    time.now += 10 * SECOND
    assert (await leases.share("one", QUEUES, LEASE, leaving=QUEUES[:1])).held == set(QUEUES[1:])
    time.now += 5 * SECOND
    await leases.share("one", QUEUES, LEASE, leaving=QUEUES[:1])
    assert QUEUES[0] not in await leases.owners()


async def test_a_second_process_is_handed_its_part(leases: QueueLeases, time: HandClock) -> None:
    await leases.share("one", QUEUES, LEASE)
    assert (await leases.share("two", QUEUES, LEASE)).held == set()
    one = await leases.share("one", QUEUES, LEASE)
    assert one.surplus == set(QUEUES[3:]), "the odd one stays where most are, and an account's queues together"
    for queue in one.surplus:
        await leases.release("one", queue)
    time.now += BREATH
    assert (await leases.share("one", QUEUES, LEASE)).held == set(QUEUES[:3]), "it does not take back what it gave"
    assert (await leases.share("two", QUEUES, LEASE)).held == set(QUEUES[3:])


async def test_a_process_that_knows_of_other_queues_takes_what_is_free_and_hands_nothing_over(
    leases: QueueLeases,
) -> None:
    older = QUEUES[:4]
    await leases.share("older", older, LEASE)
    newer = await leases.share("newer", QUEUES, LEASE)
    assert newer.held == {QUEUES[4]}, "a new line is not left alone because an older process does not know of it"
    assert (await leases.share("older", older, LEASE)).surplus == set()


async def test_of_processes_that_ask_at_once_each_queue_goes_to_one(stores: Stores, url: str, keys: KeyRing) -> None:
    async with Stores.open(url, keys) as elsewhere:
        rooms = itertools.cycle([stores, elsewhere])
        queues = [f"sends:line-{n}" for n in range(20)]
        shares = await asyncio.gather(*(next(rooms).leases.share(f"p{n}", queues, LEASE) for n in range(6)))
    holders = Counter(queue for share in shares for queue in share.held)
    assert set(holders.values()) <= {1}
    assert await stores.leases.owners() == {queue: f"p{n}" for n, share in enumerate(shares) for queue in share.held}


async def test_hosts_whose_clocks_differ_agree_by_that_of_the_server(
    stores: Stores, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stores.leases.share("one", QUEUES, LEASE)
    monkeypatch.setattr(clock, "bookkeeping_now", lambda: datetime.now(UTC) + timedelta(hours=1))
    there = await stores.leases.share("two", QUEUES, LEASE)
    # a file serves one host, whose clock is everybody's
    assert there.held == (set() if url.startswith("postgresql") else set(QUEUES))


def test_no_two_processes_have_one_name() -> None:
    assert process_owner() != process_owner()


def _emptied(connection: Connection) -> None:
    for table in (queue_leases, worker_processes):
        connection.execute(delete(table))


class Processes(RuleBasedStateMachine):
    """Three processes that look, are late, hand over, die and come back. What each believes is what it would poll."""

    url: str
    known: tuple[tuple[str, ...], ...]

    def __init__(self) -> None:
        super().__init__()
        self.time = HandClock()
        self.runner = asyncio.Runner()
        self.database = self.runner.run(Database.open(self.url))
        self.leases = QueueLeases(self.database, clock=self.time)
        self.names = [f"{n}-0" for n in range(len(self.known))]
        self.beliefs: list[dict[str, datetime]] = [{} for _ in self.known]
        self.runner.run(self.database.write(_emptied))

    def teardown(self) -> None:
        try:
            self.come_to_rest()
        finally:
            self.runner.run(self.database.close())
            self.runner.close()

    @rule(who=st.integers(0, 2), late=st.sampled_from([0, 0, 0, 1, 9, 10, 14, 15, 20]))
    def look(self, who: int, late: int) -> None:
        """The answer comes so many seconds after the question."""
        asked = self.time.now
        share = self.runner.run(self.leases.share(self.names[who], self.known[who], LEASE))
        self.time.now += late * SECOND
        if asked + KEPT > self.time.now:
            self.beliefs[who] = dict.fromkeys(share.held, asked + KEPT)
            for queue in share.surplus:
                del self.beliefs[who][queue]
                self.runner.run(self.leases.release(self.names[who], queue))

    @rule(seconds=st.sampled_from([0.5, 1, 3, 5, 9, 10, 15]))
    def time_passes(self, seconds: float) -> None:
        self.time.now += seconds * SECOND

    @rule(who=st.integers(0, 2))
    def die(self, who: int) -> None:
        """And be started again under another name."""
        self.beliefs[who].clear()
        number, life = self.names[who].split("-")
        self.names[who] = f"{number}-{int(life) + 1}"

    @rule(who=st.integers(0, 2), released=st.integers(0, 5))
    def stop(self, who: int, released: int) -> None:
        """In order, but perhaps killed before all is released."""
        self.runner.run(self.leases.leave(self.names[who]))
        for queue in sorted(self.beliefs[who])[:released]:
            self.runner.run(self.leases.release(self.names[who], queue))
        self.die(who)

    @invariant()
    def nobody_polls_what_another_polls(self) -> None:
        owners = self.runner.run(self.leases.owners())
        for name, belief in zip(self.names, self.beliefs, strict=True):
            for queue, until in belief.items():
                if until > self.time.now:
                    assert owners[queue] == name

    def come_to_rest(self) -> None:
        """With everybody well, everything is polled, and evenly by those who know of the same."""
        for _ in range(12):
            for who in range(len(self.known)):
                self.look(who, 0)
                self.nobody_polls_what_another_polls()
            self.time.now += 5 * SECOND
        self.time.now -= 5 * SECOND
        polled = Counter(queue for belief in self.beliefs for queue in belief)
        assert polled == Counter(set(itertools.chain(*self.known)))
        if len(set(self.known)) == 1:
            parts = [len(belief) for belief in self.beliefs]
            assert max(parts) - min(parts) <= 1
        assert NOBODY not in self.runner.run(self.leases.owners()).values()


@pytest.mark.parametrize("known", [(QUEUES[:4],) * 3, (QUEUES, QUEUES, QUEUES[1:])], ids=["alike", "one knows less"])
def test_whatever_happens_each_queue_has_one_poller_and_in_the_end_an_even_part(
    url: str, known: tuple[tuple[str, ...], ...]
) -> None:
    run_state_machine_as_test(
        type("ProcessesHere", (Processes,), {"url": url, "known": known}),
        settings=settings(
            max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
