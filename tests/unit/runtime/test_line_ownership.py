"""A line is polled by one process at a time, whatever happens to processes and store."""

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from structlog.testing import capture_logs

from tests.databases import migrated_sqlite
from tests.memory import in_memory
from tests.unit.runtime.hand_loop import HandLoop, settled
from tests.unit.runtime.shared_lines import LEASE, QUEUES, Town

LEASE_S = LEASE.total_seconds()
Scene = Callable[[Town], Coroutine[object, object, None]]
Play = Callable[[Scene], None]


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Play]:
    """Plays a scene on a loop whose clock is moved by hand."""
    file = tmp_path / "store.sqlite3"
    file.write_bytes(migrated_sqlite())

    async def whole(scene: Scene) -> None:
        town = await Town.open(file)
        try:
            await scene(town)
        finally:
            await town.close()

    with asyncio.Runner(loop_factory=HandLoop) as runner:
        yield lambda scene: runner.run(whole(scene))


def test_a_lone_process_polls_everything_from_the_start(play: Play) -> None:
    async def scene(town: Town) -> None:
        lone = await town.start()
        assert lone.polls == set(QUEUES)
        await town.pass_time(100)
        assert lone.begun == Counter(QUEUES), "nothing was interrupted"

    play(scene)


def test_a_process_that_hears_nothing_from_the_store_stops_before_another_begins(play: Play) -> None:
    async def scene(town: Town) -> None:
        one = await town.start()
        two = await town.start()
        await town.pass_time(5)  # both renewed just now
        one.leases.trouble = "silent"
        theirs = set(one.polls)
        with capture_logs() as logs:
            await town.pass_time(LEASE_S * 2 / 3)
        assert one.polls == set()
        assert {log["queue"] for log in logs if log["event"] == "line_lost"} == theirs
        assert not theirs & two.polls, "the last third of the lease is nobody's"
        await town.pass_time(LEASE_S / 3 + 1)
        assert two.polls == set(QUEUES)

    play(scene)


def test_a_store_that_is_away_for_a_moment_interrupts_nothing(play: Play) -> None:
    async def scene(town: Town) -> None:
        lone = await town.start()
        await town.pass_time(4)
        lone.leases.trouble = "down"
        await town.pass_time(4)
        lone.leases.trouble = ""
        await town.pass_time(LEASE_S)
        assert lone.begun == Counter(QUEUES)

    play(scene)


def test_lines_come_back_when_the_store_does(play: Play) -> None:
    async def scene(town: Town) -> None:
        lone = await town.start()
        lone.leases.trouble = "down"
        await town.pass_time(LEASE_S)
        assert lone.polls == set()
        lone.leases.trouble = ""
        await town.pass_time(2)
        assert lone.polls == set(QUEUES)

    play(scene)


def test_an_answer_that_comes_too_late_starts_nothing(play: Play) -> None:
    async def scene(town: Town) -> None:
        late = await town.start("mute")
        await town.pass_time(LEASE_S * 2 / 3 + 1)
        late.leases.trouble = ""
        await town.pass_time(1)
        assert late.polls == set(), "that lease began when it was asked for, and is over"
        await town.pass_time(2)
        assert late.polls == set(QUEUES)

    play(scene)


def test_a_newcomer_gets_its_part_when_what_is_in_hand_is_done(play: Play) -> None:
    async def scene(town: Town) -> None:
        one = await town.start()
        one.drain_s = 8
        with capture_logs() as logs:
            two = await town.start()
            await town.pass_time(6)
            handed = set(QUEUES) - one.polls
            assert (len(handed), two.polls) == (2, set()), "sends in hand are finished first"
            await town.pass_time(12)
        assert (two.polls, len(one.polls)) == (handed, 2)
        assert {log["queue"] for log in logs if log["event"] == "line_released"} == handed
        await town.pass_time(60)
        assert two.begun + one.begun == Counter(QUEUES) + Counter(handed), "and there it stays"

    play(scene)


def test_a_process_that_stops_finishes_what_is_in_hand_and_hands_over(play: Play) -> None:
    async def scene(town: Town) -> None:
        one, two = await town.start(), await town.start()
        await town.pass_time(20)
        one.drain_s = 3
        one.stop()
        await settled()
        assert (one.polls, one.task.done()) == (set(), False)
        await town.pass_time(3.25)
        assert one.task.done()
        await town.pass_time(LEASE_S / 3 + 1)
        assert two.polls == set(QUEUES)

    play(scene)


def test_what_an_answer_brings_after_the_stop_is_given_back(play: Play) -> None:
    async def scene(town: Town) -> None:
        holder = await town.start()
        holder.kill()
        late = await town.start()
        late.leases.trouble = "mute"
        await town.pass_time(LEASE_S)  # by now it took what the dead one had, and does not know
        late.stop()
        await settled()
        late.leases.trouble = ""
        await settled()
        assert (late.task.done(), late.begun) == (True, Counter())
        third = await town.start()
        await town.pass_time(1.25)
        assert third.polls == set(QUEUES)

    play(scene)


def test_a_process_that_stops_while_the_store_is_away_ends_all_the_same(play: Play) -> None:
    async def scene(town: Town) -> None:
        one = await town.start()
        one.leases.trouble = "down"
        one.stop()
        await settled()
        assert one.task.done()
        assert one.task.exception() is None

    play(scene)


def test_a_killed_process_is_followed_when_its_lease_is_over(play: Play) -> None:
    async def scene(town: Town) -> None:
        one, two = await town.start(), await town.start()
        await town.pass_time(20)
        one.kill()
        await town.pass_time(LEASE_S + 0.25)
        assert two.polls == set(QUEUES)

    play(scene)


class BrokenWorker(Exception):
    """A fatal error of a worker."""


def test_a_fatal_error_of_one_worker_ends_the_block_and_hands_over(play: Play) -> None:
    async def scene(town: Town) -> None:
        one = await town.start()
        one.break_with(QUEUES[0], BrokenWorker())
        await settled()
        assert isinstance(one.task.exception(), BrokenWorker)
        two = await town.start()
        await town.pass_time(2)
        assert two.polls == set(QUEUES)

    play(scene)


class SharingProcesses(RuleBasedStateMachine):
    """Three places where a worker process may run, with every kind of trouble at once."""

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=in_memory()))
        (self.folder / "store.sqlite3").write_bytes(migrated_sqlite())
        self.runner = asyncio.Runner(loop_factory=HandLoop)
        self.town = self.runner.run(Town.open(self.folder / "store.sqlite3"))
        self.places = [self.runner.run(self.town.start()) for _ in range(3)]

    def teardown(self) -> None:
        try:
            self.come_to_rest()
        finally:
            self.runner.run(self.town.close())
            self.runner.close()
            shutil.rmtree(self.folder)

    @rule(seconds=st.sampled_from([0.25, 1, 2.5, 5, 10, 15]))
    def time_passes(self, seconds: float) -> None:
        self.runner.run(self.town.pass_time(seconds))

    @rule(who=st.integers(0, 2), trouble=st.sampled_from(["", "down", "silent", "mute"]))
    def store(self, who: int, trouble: str) -> None:
        if not self.places[who].is_dead:
            self.places[who].leases.trouble = trouble

    @rule(who=st.integers(0, 2), seconds=st.sampled_from([0, 1, 4, 25]))
    def hand_is_full(self, who: int, seconds: float) -> None:
        self.places[who].drain_s = seconds

    @rule(who=st.integers(0, 2))
    def kill(self, who: int) -> None:
        self.places[who].kill()

    @rule(who=st.integers(0, 2))
    def stop(self, who: int) -> None:
        self.places[who].stop()

    @rule(who=st.integers(0, 2))
    def start(self, who: int) -> None:
        if self.places[who].is_dead or self.places[who].task.done():
            self.places[who] = self.runner.run(self.town.start())

    def come_to_rest(self) -> None:
        for who in range(3):
            self.store(who, "")
            self.hand_is_full(who, 0)
        self.time_passes(30)
        for who in range(3):
            self.start(who)
        self.time_passes(60)
        assert self.town.polled() == Counter(QUEUES)
        parts = [len(one.polls) for one in self.places if not one.task.done()]
        assert max(parts) - min(parts) <= 1


SharingProcesses.TestCase.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
TestSharingProcesses = SharingProcesses.TestCase
