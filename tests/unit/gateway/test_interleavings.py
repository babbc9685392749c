"""In whatever order things happen, every event reaches exactly its own engagement, and is stored once."""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from domain.sends import SendClaim
from gateway.metrics import GatewayMetrics
from gateway.reading import Reading
from gateway.relay import Handover, Relay
from gateway.rematch import Rematch
from gateway.wakeup import Wakeup
from store.correlations import Correlations
from store.inbox import Inbox
from store.inbox_relay import Outbound
from store.inbox_review import InboxReview
from store.inbox_tables import EventState
from store.keys import KeyRing
from store.stores import Stores
from tests.unit.gateway.world import FakeTemporal, World, delivery, finished, now, receiving

ENGAGEMENTS = 3
KEYS = KeyRing(bytes(32), bytes(range(32)))

# an event is (engagement, number): the run of engagement 0, 1 or 2; engagement 3 is somebody else's traffic
EVENTS = st.tuples(st.integers(0, ENGAGEMENTS), st.integers(0, 3))
STEPS = st.one_of(
    st.tuples(st.just("deliver"), st.lists(EVENTS, min_size=1, max_size=4)),
    st.tuples(st.just("settle"), st.integers(0, ENGAGEMENTS - 1)),
    st.tuples(st.just("fail"), st.integers(0, ENGAGEMENTS - 1)),
    st.tuples(st.just("heal"), st.integers(0, ENGAGEMENTS - 1)),
    st.tuples(st.sampled_from(["read", "relay", "rematch", "crash", "die-signalling"]), st.just(0)),
)


class Play:
    """A gateway taken apart, so that hypothesis can order its steps, and a clock that only moves when told."""

    def __init__(self, world: World, temporal: FakeTemporal) -> None:
        self.world, self.temporal = world, temporal
        self.at = now()
        self.workflows: list[str] = []
        self.claims: dict[int, SendClaim] = {}
        self.sent: set[tuple[int, int]] = set()
        self.crash(0)

    def crash(self, _: int) -> None:
        """This gateway is gone with what it had in hand; another one, with another name, goes on."""
        clock: Callable[[], datetime] = lambda: self.at  # noqa: E731 - a clock is a function
        database, metrics = self.world.stores.database, GatewayMetrics(CollectorRegistry())
        accounts, correlations = {"main": receiving()}, Correlations(database)
        self.inbox = Inbox(database, KEYS, clock=clock)
        self.outbound = Outbound(database, KEYS, clock=clock)
        self.reading = Reading(self.inbox, correlations, KEYS, accounts, metrics=metrics, on_kept=lambda _: None)
        self.rematching = Rematch(
            InboxReview(database, KEYS, clock=clock),
            correlations,
            accounts,
            metrics=metrics,
            clock=clock,
            on_matched=lambda: None,
        )
        self.relaying = Relay(self.outbound, self.temporal, metrics, Wakeup(), clock=clock)

    async def step(self, name: str, value: object) -> None:  # noqa: C901 - one branch per step
        self.at += timedelta(seconds=1)
        match name, value:
            case "deliver", list(events):
                self.sent |= set(events)
                told = [finished(f"{run}/{n}", run_id=f"run-{run}") for run, n in events]
                await self.inbox.keep([delivery(*told, at=self.at)])
            case "settle", int(number):
                if claim := self.claims.pop(number, None):
                    await self.world.settled(claim, run_id=f"run-{number}")
            case "fail", int(number):
                self.temporal.endings[self.workflows[number]] = Handover.NOT_NOW
            case "heal", int(number):
                self.temporal.endings.pop(self.workflows[number], None)
            case "read", _:
                await self.reading.round()
            case "relay", _:
                await self.relaying.round()
                await self.relaying.finish()
            case "rematch", _:
                await self.rematching.try_since(self.at - timedelta(days=1))
            case "crash", _:
                self.crash(0)
            case "die-signalling", _:
                for batch in (await self.outbound.due(1)).batches:
                    self.temporal.heard[batch.workflow_id] += batch.events
                self.crash(0)

    async def finish(self) -> None:
        """Everything heals, and the work goes on until nothing is left to do."""
        self.temporal.endings.clear()
        for number in list(self.claims):
            await self.step("settle", number)
        for _ in range(6):
            self.at += timedelta(minutes=2)
            for name in ("read", "rematch", "relay"):
                await self.step(name, 0)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=25))
def test_every_event_reaches_exactly_its_own_engagement(migrated_file: Path, steps: list[tuple[str, object]]) -> None:
    asyncio.run(_play(migrated_file, steps))


async def _play(migrated_file: Path, steps: list[tuple[str, object]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(migrated_file, Path(folder) / "store.sqlite3")
        async with Stores.open(f"sqlite:///{folder}/store.sqlite3", KEYS) as stores:
            temporal = FakeTemporal()
            play = Play(World(stores), temporal)
            for number in range(ENGAGEMENTS):
                play.workflows.append(await play.world.engaged(f"a-{number}"))
                play.claims[number] = await play.world.claimed(play.workflows[number])
            for name, value in steps:
                await play.step(name, value)
            await play.finish()
            await _judge(play, temporal)


async def _judge(play: Play, temporal: FakeTemporal) -> None:
    ours = {number: {f"{run}/{n}" for run, n in play.sent if run == number} for number in range(ENGAGEMENTS)}
    foreign = {(run, n) for run, n in play.sent if run == ENGAGEMENTS}
    for number, workflow_id in enumerate(play.workflows):
        assert set(temporal.keys(workflow_id)) == ours[number]
    stored = {EventState.RELAYED: sum(map(len, ours.values())), EventState.UNMATCHED: len(foreign)}
    assert await play.world.states() == {state: many for state, many in stored.items() if many}
    assert (await play.world.review.counts()).unread == 0
