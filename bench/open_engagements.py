"""What engagements cost that are open and only wait: memory of worker and gateway, and the time to one of them.

For each size an installation of its own stands: Temporal, store, gateway and worker. All stand at once and are
measured turn by turn. Every engagement is a run at Temporal with its rows in the store; up to a number they have come
to their wait by themselves, and those hear the webhooks.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client

from bench.crowd import Member, begin, enrolled, talk_of
from bench.depth import Bench, Depth, Tell
from bench.figures import Figure, Goal, Report, Side, Table, percentile
from bench.ground import GATEWAY, GATEWAY_READY, WORKER, WORKER_READY, Ground
from bench.interleaving import Measure, interleaved
from bench.load import Wanted
from bench.processes import Memory, begun, load, memory, metrics_of, until_said
from bench.webhooks import HEADERS, PATH, Talk, text
from runtime.dev_server import DevServer
from runtime.settings import WorkerSettings
from store.stores import Stores
from tests.memory import in_memory
from tests.processes import Process, free_ports
from workflows import search_attributes

NAME = "open-engagements"
TITLE = "open engagements: memory of worker and gateway, and the time from a webhook to one of them"


@dataclass(frozen=True)
class Scale:
    """How much of everything. ``cached``: how many engagements a worker keeps in memory, fewer than the least size."""

    sizes: tuple[int, ...]
    running: int
    """So many of a size have come to their wait by themselves, and hear something; the others are only there."""
    cached: int
    asked: int
    """Engagements that hear something in a round, each twice."""
    rate: int
    """Webhooks a second: little enough that nobody queues."""


FULLY = Scale((1_000, 10_000, 100_000), 2_000, 500, 80, 10)
QUICKLY = Scale((30, 90), 90, 14, 8, 30)
STATES_KEPT = 2_000
"""Runs whose state Temporal keeps in memory. By default 128 000, at 170 kB each: more than the machine has."""
TEMPORAL_KEEPS = ("--dynamic-config-value", f"history.hostLevelCacheMaxSize={STATES_KEPT}")
FLAT = Goal("≤ 1.1 × the least size", at_most=1.1)
WORDS = "Yes, that would suit me."
CACHE, MISSES = "temporal_sticky_cache_size", "temporal_sticky_cache_miss_total"
TASKS = "temporal_workflow_task_execution_latency_seconds_count"
_LONG = timedelta(days=5)
_FILL_SECONDS = 3_600.0
_TOLD_AFTER = 10_000
_ROOM = 8 << 30
"""Bytes for Temporal's files of every size, twice what they need."""
_PATIENCE = 30.0
_TAIL = 30
"""Events at the end of a history among which a round's signals and what followed them are found."""


@dataclass(frozen=True)
class Delays:
    """Milliseconds from a webhook's sender: until its engagement has the signal, and until its code has gone on."""

    signalled: tuple[float, ...]
    resumed: tuple[float, ...]


@dataclass(frozen=True)
class Seen:
    """What one installation showed in one round."""

    worker: Memory
    gateway: Memory
    afresh: Delays
    """Of engagements that the worker had let go of: it reads their histories anew."""
    again: Delays
    """Of the same ones, which it still had."""


Value = Callable[[Seen], float]
Rows = tuple[tuple[str, ...], ...]


class Installation:
    """One size, standing."""

    def __init__(self, ground: Ground, client: Client, scale: Scale, size: int) -> None:
        self.size, self.talks = size, [talk_of(number) for number in range(size)]
        self._ground, self._client, self._scale = ground, client, scale
        (port,) = free_ports(1)
        self._metrics = f"127.0.0.1:{port}"
        self._series, self._heard, self._missed_before = 0, 0, 0.0
        self._rows_seconds, self._runs_seconds = 0.0, 0.0
        self._members: list[Member] = []
        self._worker_before = Memory(0, 0)

    @property
    def _running(self) -> int:
        return min(self.size, self._scale.running)

    def start(self, stack: AsyncExitStack) -> None:
        """Begin its processes; they end with the stack."""
        told = {
            "RAPPORT_WORKER__MAX_CACHED_WORKFLOWS": str(self._scale.cached),
            "RAPPORT_METRICS__BIND": self._metrics,
        }
        its = self._ground
        self._gateway: Process = stack.enter_context(
            begun("gateway", GATEWAY, its.directory, environment=its.gateway_environment)
        )
        self._worker: Process = stack.enter_context(
            begun("worker", WORKER, its.directory, environment=its.worker_environment | told)
        )

    async def enrol(self, stores: Stores, tell: Tell) -> None:
        """Write its engagements into the store."""
        tell(f"{_open(self.size)}: rows")
        began = time.monotonic()
        self._members = await enrolled(self._ground, stores, self._client, self.talks, sent=True)
        self._rows_seconds = time.monotonic() - began

    async def fill(self, tell: Tell) -> None:
        """Let every engagement begin, and wait until all await their answers."""
        self._worker_before, began = self.worker, time.monotonic()
        for more in range(self._running, self.size, _TOLD_AFTER):
            tell(f"{_open(self.size)}: runs, {more:,} and on")
            await begin(self._client, self._members[more : more + _TOLD_AFTER], later=_LONG)
        tell(f"{_open(self.size)}: {self._running:,} runs that come to their wait")
        await begin(self._client, self._members[: self._running])
        self._members = []
        await self._all_wait()
        self._runs_seconds = time.monotonic() - began

    async def ready(self) -> None:
        """Return once its processes are."""
        await until_said(self._gateway, GATEWAY_READY)
        await until_said(self._worker, WORKER_READY)

    @property
    def worker(self) -> Memory:
        """What its worker holds now."""
        return memory(self._worker.child.pid)

    @property
    def cached(self) -> int:
        """How many engagements its worker keeps in memory, by what that shows of itself."""
        return round(sum_of(self._metrics_now(), CACHE))

    async def warm(self) -> None:
        """Let as many hear something as a worker keeps: connections stand, code is loaded, and no other is kept."""
        await self._hear(self.talks[self._running - self._scale.cached : self._running])
        self._missed_before = sum_of(self._metrics_now(), MISSES)

    async def __call__(self, _: int) -> Seen:
        """One round: webhooks to engagements that were silent for long, then to the same ones again."""
        many = self._scale.asked
        chosen = [self.talks[(self._heard + n) % self._running] for n in range(many)]
        self._heard += many
        delays = await self._hear(chosen)
        halves = [
            Delays(tuple(one[0] for one in half), tuple(one[1] for one in half))
            for half in (delays[:many], delays[many:])
        ]
        return Seen(self.worker, memory(self._gateway.child.pid), *halves)

    def row(self, seen: Sequence[Seen]) -> tuple[str, ...]:
        """What else is worth knowing of it."""
        last = seen[-1]
        to_signal = [middle(getattr(one, which).signalled for one in seen) for which in ("again", "afresh")]
        from_there = [
            middle([b - a for a, b in zip(its.signalled, its.resumed, strict=True)] for its in halves)
            for halves in ([one.again for one in seen], [one.afresh for one in seen])
        ]
        return (
            f"{self.size:,}",
            f"{self._rows_seconds:.0f}",
            f"{self._runs_seconds:.0f}",
            f"{self.cached:,}",
            f"{sum_of(self._metrics_now(), MISSES) - self._missed_before:.0f} of {2 * self._heard}",
            f"{self._worker_before.proportional:.0f}",
            f"{last.worker.proportional:.0f} ({last.worker.resident:.0f})",
            f"{last.gateway.proportional:.0f} ({last.gateway.resident:.0f})",
            " / ".join(f"{value:.1f}" for value in to_signal),
            " / ".join(f"{value:.1f}" for value in from_there),
        )

    async def _all_wait(self) -> None:
        """Return once all that run have gone as far as to their wait: a single workflow task each."""
        async with asyncio.timeout(_FILL_SECONDS):
            while sum_of(self._metrics_now(), TASKS) < self._running:  # noqa: ASYNC110 - a worker is asked; it tells nobody
                await asyncio.sleep(0.2)

    def _metrics_now(self) -> str:
        return metrics_of(self._metrics)

    async def _hear(self, chosen: list[Talk]) -> list[tuple[float, float]]:
        """Each of them hears a text, one after the other, and when all have, each another one."""
        self._series += 1
        talks = chosen + chosen
        ids = [f"in-{self._series}-{n}" for n in range(len(talks))]
        bodies = [text(talk, its, WORDS).decode() for talk, its in zip(talks, ids, strict=True)]
        due = [n / self._scale.rate for n in range(len(talks))]
        wanted = Wanted(self._ground.webhook_port, PATH, HEADERS, bodies, 16, due[-1], due)
        answers = await load(wanted, self._ground.directory)
        if answers.kept != len(talks):
            raise RuntimeError(f"not every webhook was answered 200: {answers.statuses}")
        few = asyncio.Semaphore(8)

        async def arrived(talk: Talk, at: float) -> tuple[float, float]:
            async with few:
                return await self._arrival(talk, at)

        sent = [answers.began + answers.sent[n] for n in range(len(talks))]
        return await asyncio.gather(*(arrived(talk, at) for talk, at in zip(talks, sent, strict=True)))

    async def _arrival(self, talk: Talk, sent: float) -> tuple[float, float]:
        async with asyncio.timeout(_PATIENCE):
            while (found := after(await self._tail(talk.workflow_id), sent)) is None:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.1)
        return found

    async def _tail(self, workflow_id: str) -> list[HistoryEvent]:
        """The last events of an engagement, oldest first."""
        asked = GetWorkflowExecutionHistoryReverseRequest(
            namespace=self._client.namespace,
            execution=WorkflowExecution(workflow_id=workflow_id),
            maximum_page_size=_TAIL,
        )
        answer = await self._client.workflow_service.get_workflow_execution_history_reverse(asked)
        return list(reversed(answer.history.events))


def after(events: Sequence[HistoryEvent], sent: float) -> tuple[float, float] | None:
    """Milliseconds from ``sent`` to the first signal since, and to the end of the workflow task that read it.

    None while there is no such signal or task. A signal that comes while a task is under way is written down behind
    its end, so the next end is that of the task that read it.
    """
    signals = (
        one
        for one in events
        if one.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED and _instant(one) >= sent
    )
    signal = next(signals, None)
    if signal is None:
        return None
    ends = (
        one
        for one in events
        if one.event_id > signal.event_id and one.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    )
    end = next(ends, None)
    return None if end is None else (1000 * (_instant(signal) - sent), 1000 * (_instant(end) - sent))


def middle(rounds: Iterable[Sequence[float]]) -> float:
    """The middle of what all rounds showed."""
    return percentile([one for some in rounds for one in some], 0.5)


def _instant(event: HistoryEvent) -> float:
    return event.event_time.ToNanoseconds() / 1e9


def sum_of(metrics: str, name: str) -> float:
    """One of the numbers that a worker shows of itself; 0 before it shows any."""
    lines = [line for line in metrics.splitlines() if line.startswith(f"{name}{{")]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


async def run(depth: Depth, directory: Path, tell: Tell) -> Report:
    """Measure every size.

    Each Temporal has its file, which outlives a connection that it loses; where there is room in memory, it lies there.
    """
    scale = QUICKLY if depth.quick else FULLY
    memory = in_memory(room=_ROOM)
    async with AsyncExitStack() as stack:
        kept = Path(stack.enter_context(TemporaryDirectory(prefix="rapport-bench-", dir=memory)))
        standing = []
        for size in scale.sizes:
            server = DevServer.start(
                data=kept / f"{size}.db", search_attributes=search_attributes.ALL, extra=TEMPORAL_KEEPS
            )
            temporal = await stack.enter_async_context(await server)
            ground = Ground(directory / str(size))
            ground.tell_temporal(temporal.address)
            stores = await stack.enter_async_context(ground.stores())
            client = await ground.client(stores, temporal.address)
            standing.append(Installation(ground, client, scale, size))
            await standing[-1].enrol(stores, tell)
        for one in standing:
            one.start(stack)
        for one in standing:
            await one.ready()
            await one.fill(tell)
        for one in standing:
            await one.warm()
        sides: dict[str, Measure[Seen]] = {_open(one.size): one for one in standing}
        seen = await interleaved(sides, depth.rounds, tell)
        rows = tuple(one.row(seen[_open(one.size)]) for one in standing)
    return report(depth, scale, seen, rows, "in memory" if memory else "on the disk")


def report(depth: Depth, scale: Scale, seen: Mapping[str, Sequence[Seen]], rows: Rows, where: str) -> Report:
    """What was measured, with its goals; the other sizes beside the least. ``where``: Temporal's files."""
    least, *more = (_open(size) for size in scale.sizes)
    figures = [
        Figure(what, unit, _side(seen, size, value), _side(seen, least, value), goal=None if depth.quick else goal)
        for what, unit, value, goal in SHOWN
        for size in more
    ]
    conditions = (
        "each size is an installation of its own; all stand at once and share the cores",
        "in the store are person, key, consent, registry row and sent flow of each; at Temporal each is a run of ours",
        "runs begin with the state that continue-as-new hands over once the flow has left, and come to their wait",
        f"of more than {scale.running:,} the others are there without having come to it: they have a timer of days",
        f"{depth.rounds} rounds: {scale.asked} engagements hear a text at {scale.rate}/s, then the same ones once more",
        f"workers keep {scale.cached} engagements in memory, fewer than the least size has, so as many at every size",
        f"by default they keep {WorkerSettings().max_cached_workflows}, and memory grows until so many were there",
        "afresh: the worker had let the engagement go and reads its history anew; again: it still had it",
        "memory: each page that processes share counts in parts (PSS)",
        f"gateway on SQLite (synchronous=FULL), Temporal: dev server, its file {where}",
        f"Temporal has the states of {STATES_KEPT:,} runs at hand, those of others are read when something comes",
        *(("a quick run judges nothing: a worker that has done so little still grows",) if depth.quick else ()),
    )
    table = Table("each size", COLUMNS, rows)
    return Report(NAME, TITLE, depth.command(NAME), tuple(figures), conditions, (table,))


def _side(seen: Mapping[str, Sequence[Seen]], size: str, value: Value) -> Side:
    return Side(size, tuple(value(one) for one in seen[size]))


def _open(size: int) -> str:
    return f"{size:,} open"


def _at(share: float, which: Callable[[Seen], Delays]) -> Value:
    return lambda seen: percentile(which(seen).resumed, share)


SHOWN: tuple[tuple[str, str, Value, Goal | None], ...] = (
    ("worker's memory", "MiB", lambda seen: seen.worker.proportional, FLAT),
    ("gateway's memory", "MiB", lambda seen: seen.gateway.proportional, FLAT),
    ("webhook to engagement, again, p50", "ms", _at(0.5, lambda seen: seen.again), FLAT),
    ("webhook to engagement, afresh, p50", "ms", _at(0.5, lambda seen: seen.afresh), FLAT),
    ("webhook to engagement, again, p99", "ms", _at(0.99, lambda seen: seen.again), None),
    ("webhook to engagement, afresh, p99", "ms", _at(0.99, lambda seen: seen.afresh), None),
)
COLUMNS = (
    "open",
    "rows made in s",
    "runs made in s",
    "kept in memory",
    "tasks that read a history anew",
    "worker before MiB",
    "worker MiB (resident)",
    "gateway MiB (resident)",
    "to the signal ms, again / afresh",
    "from there to the engagement ms, again / afresh",
)

BENCH = Bench(NAME, TITLE, "flat within 10 % of 1 000", run)
