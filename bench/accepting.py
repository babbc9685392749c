"""How many webhooks a second one core takes durably, and how soon each is answered.

The receiver has a core to itself; load, Temporal and PostgreSQL share the other. A gateway goes on reading and relaying
on its core while it takes more in, as in production: what is left when the load ends is carried through before the
next side begins.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from temporalio.client import Client

from bench.depth import Bench, Depth, Tell
from bench.figures import Compared, Figure, Goal, Report, Side, percentile
from bench.ground import (
    Ground,
    Receiver,
    ceiling,
    fresh_postgres_database,
    open_engagements,
    open_samples,
    samples_receiver,
)
from bench.interleaving import Measure, interleaved
from bench.load import Answers, Wanted
from bench.processes import cores, cpu_seconds, load, on_core
from bench.webhooks import HEADERS, PATH, mixed
from runtime.dev_server import DevServer
from store.inbox_review import InboxReview
from store.inbox_tables import EventState
from store.stores import Stores
from tests.postgres import postgres_missing, postgres_server

NAME = "accepting"
SQLITE, POSTGRES = "gateway on SQLite", "gateway on PostgreSQL"
CEILING, SAMPLES = "verifies and forgets", "samples-style, signals inline"
ENGAGEMENTS = 200
CONNECTIONS = 128
CALM = 200
"""Webhooks a second where the answer's time is asked for: about what every side still takes."""
_MOST_PER_SECOND = 6_000
_DRAIN_SECONDS = 300.0


@dataclass(frozen=True)
class Taken:
    """What one side showed in one round. Milliseconds."""

    per_second: float
    full_p50: float
    full_p99: float
    calm_p50: float
    calm_p99: float
    cpu_ms: float
    """Time on a core for each webhook answered under full load, by the receiver's process."""
    carried_per_second: float = 0.0
    """Webhooks per second from the first one taken to the last one handed to its engagement."""


Settled = Callable[[], Awaitable[None]]


class Receiving:
    """Measures one receiver."""

    def __init__(self, receiver: Receiver, bodies: Iterator[bytes], seconds: float, settled: Settled | None) -> None:
        self._receiver, self._bodies, self._seconds, self._settled = receiver, bodies, seconds, settled
        self.directory = Path(receiver.process.log).parent

    async def __call__(self, _: int) -> Taken:
        """One round: first at a calm rate, then as much as it takes."""
        calm = await self._load([n / CALM for n in range(int(CALM * self._seconds))])
        if self._settled is not None:
            await self._settled()
        before, began = cpu_seconds(self._receiver.pid), time.monotonic()
        full = await self._load([])
        cpu = cpu_seconds(self._receiver.pid) - before
        if self._settled is not None:
            await self._settled()
        return Taken(
            per_second=full.kept / full.seconds,
            full_p50=1000 * percentile(full.latencies, 0.5),
            full_p99=1000 * percentile(full.latencies, 0.99),
            calm_p50=1000 * percentile(calm.latencies, 0.5),
            calm_p99=1000 * percentile(calm.latencies, 0.99),
            cpu_ms=1000 * cpu / full.kept,
            carried_per_second=full.kept / (time.monotonic() - began),
        )

    async def _load(self, at: list[float]) -> Answers:
        many = len(at) or int(_MOST_PER_SECOND * self._seconds)
        bodies = [body.decode() for body in islice(self._bodies, many)]
        wanted = Wanted(self._receiver.port, PATH, HEADERS, bodies, CONNECTIONS, self._seconds, at)
        answers = await load(wanted, self.directory)
        if set(answers.statuses) != {"200"}:
            raise RuntimeError(f"not every webhook was answered 200: {answers.statuses}")
        return answers


async def run(depth: Depth, directory: Path, tell: Tell) -> Report:
    """Measure every side."""
    measured, rest = cores()
    engagements = depth.few(ENGAGEMENTS)
    async with AsyncExitStack() as stack:
        stack.enter_context(on_core(rest))  # whatever is started from here on, but the receivers, is there as well
        temporal = await stack.enter_async_context(await DevServer.start())
        urls: dict[str, str | None] = {SQLITE: None}
        if not depth.quick and not postgres_missing():  # a quick run has no time for it
            server = stack.enter_context(postgres_server(lasting=True))
            urls[POSTGRES] = fresh_postgres_database(server, "accepting")
        sides: dict[str, Measure[Taken]] = {}
        for name, url in urls.items():
            tell(f"{name}: {engagements} open engagements")
            ground = Ground(directory / name.replace(" ", "-"), url)
            ground.tell_temporal(temporal.address)
            stores = await stack.enter_async_context(ground.stores())
            client = await Client.connect(temporal.address)
            talks = await open_engagements(stores, client, engagements, first=engagements * len(sides))
            if name == SQLITE:
                await open_samples(client, talks)
                samples_talks = talks
            gateway = stack.enter_context(ground.gateway(measured))
            settled = _settling(stores)
            sides[name] = Receiving(gateway, mixed(talks, name), depth.seconds, settled)
        forgetting = stack.enter_context(ceiling(directory, measured))
        sides[CEILING] = Receiving(forgetting, mixed(samples_talks, "c"), depth.seconds, None)
        samples = stack.enter_context(samples_receiver(directory, temporal.address, measured))
        sides[SAMPLES] = Receiving(samples, mixed(samples_talks, "s"), depth.seconds, None)
        seen = await interleaved(sides, depth.rounds, tell)
    return _report(depth, seen)


def _settling(stores: Stores) -> Settled:
    review = InboxReview(stores.database, stores.keys)

    async def settled() -> None:
        """Return once the gateway has nothing left to read and nothing left to hand over."""
        async with asyncio.timeout(_DRAIN_SECONDS):
            while True:
                counts = await review.counts()
                if counts.unread == 0 and not counts.events.get(EventState.PENDING):
                    return
                await asyncio.sleep(0.1)

    return settled


def _report(depth: Depth, seen: dict[str, list[Taken]]) -> Report:
    def side(name: str, field: str) -> Side:
        return Side(name, tuple(getattr(one, field) for one in seen[name]))

    figures = []
    for ours in (name for name in (SQLITE, POSTGRES) if name in seen):
        rate = side(ours, "per_second")
        goal = Goal("≥ 0.6 × verify-and-forget", at_least=0.6)
        figures += [
            Figure("webhooks taken durably", "/s", rate, side(CEILING, "per_second"), goal=goal),
            Figure("the same", "/s", rate, side(SAMPLES, "per_second")),
            Figure("processor time per webhook", "ms", side(ours, "cpu_ms"), side(CEILING, "cpu_ms")),
            Figure("the same", "ms", side(ours, "cpu_ms"), side(SAMPLES, "cpu_ms")),
            Figure(f"answer p50, {CONNECTIONS} at once", "ms", side(ours, "full_p50"), side(SAMPLES, "full_p50")),
            Figure(f"answer p99, {CONNECTIONS} at once", "ms", side(ours, "full_p99"), side(SAMPLES, "full_p99")),
            Figure(f"answer p50 at {CALM}/s", "ms", side(ours, "calm_p50"), side(SAMPLES, "calm_p50")),
            Figure(f"answer p99 at {CALM}/s", "ms", side(ours, "calm_p99"), side(SAMPLES, "calm_p99")),
            Figure("carried into engagements", "/s", side(ours, "carried_per_second"), compared=Compared.ALONE),
        ]
    conditions = (
        f"{depth.few(ENGAGEMENTS)} open engagements a side; of four webhooks three are statuses, one is a reply",
        f"{depth.rounds} rounds: {depth.seconds:g} s at {CALM}/s, then as long by {CONNECTIONS} connections",
        "the receiver's process on one core, load, Temporal (dev server, in memory) and PostgreSQL on the other",
        "commits reach the disk on both stores (synchronous=FULL, fsync=on)",
        "the samples-style side is as durable as its Temporal, which is in memory here: this flatters it",
        "nobody works on the engagements, so the samples-style side has Temporal to itself",
        "carried into engagements: from the first webhook to the last signal, 3 s of lingering included",
    )
    return Report(NAME, BENCH.title, depth.command(NAME), tuple(figures), conditions)


BENCH = Bench(
    NAME,
    "webhooks taken durably on one core",
    "≥ 0.6 × a receiver that verifies and forgets, 200 only after the commit",
    run,
)
