"""How many calls to Temporal a webhook costs the receiver, by the SDK's own count.

Each engagement hears three statuses and one reply, every second webhook twice: six deliveries.
"""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from bench.depth import Bench, Depth, Tell
from bench.figures import Compared, Figure, Goal, Report, Side, Table, percentile
from bench.ground import Ground, Receiver, open_engagements, open_samples, samples_receiver
from bench.interleaving import Measure, interleaved
from bench.load import Wanted
from bench.processes import load, metrics_of, sums_by
from bench.samples_style import models as samples
from bench.webhooks import HEADERS, PATH, Talk, finished, status
from runtime.dev_server import DevServer

NAME = "server-calls"
OURS, SAMPLES = "our gateway", "samples-style, signals inline"
ENGAGEMENTS = 40
_APART = 0.01
"""Seconds between one engagement and the next."""
_SCRIPT = ((0.0, "sent"), (0.8, "delivered"), (0.9, "delivered"), (1.6, "read"), (4.5, "reply"), (4.6, "reply"))
"""When after its beginning an engagement hears what: statuses within two seconds, the reply a while later."""
_DELIVERIES, _FACTS = len(_SCRIPT), 4
_QUIET = 4.0
"""Seconds after the last webhook in which all that lingers has left."""
_SIGNAL = "SignalWorkflowExecution"


@dataclass(frozen=True)
class Calls:
    """What one side did in one round."""

    per_delivery: float
    by_operation: dict[str, float]
    reply_ms: float
    """From the reply's request to its signal at Temporal: the 99th percentile."""


Named = Callable[[Talk], str]


class Counting:
    """Counts the calls of one receiver."""

    def __init__(self, receiver: Receiver, client: Client, talks: list[list[Talk]], named: Named) -> None:
        self._receiver, self._client, self._talks, self._named = receiver, client, talks, named

    async def __call__(self, number: int) -> Calls:
        """One round, with engagements of its own: statuses, reply, and every second webhook twice."""
        talks, before = self._talks[number], self._counts()
        script = sorted((n * _APART + at, n, word) for n in range(len(talks)) for at, word in _SCRIPT)
        bodies = {(n, word): _body(talk, n, word) for n, talk in enumerate(talks) for _, word in _SCRIPT}
        wanted = Wanted(
            port=self._receiver.port,
            path=PATH,
            headers=HEADERS,
            bodies=[bodies[n, word].decode() for _, n, word in script],
            connections=8,
            seconds=script[-1][0],
            at=[at for at, _, _ in script],
        )
        answers = await load(wanted, Path(self._receiver.process.log).parent)
        if answers.statuses != {"200": len(script)}:
            raise RuntimeError(f"not every webhook was answered 200: {answers.statuses}")
        await asyncio.sleep(_QUIET)
        after = self._counts()
        replied = {
            n: answers.began + answers.sent[k]
            for k, (_, n, word) in reversed(list(enumerate(script)))
            if word == "reply"
        }
        delays = await asyncio.gather(*(self._delay(talks[n], at) for n, at in replied.items()))
        calls = {name: after[name] - before.get(name, 0) for name in after if after[name] > before.get(name, 0)}
        return Calls(calls.get(_SIGNAL, 0) / len(script), calls, 1000 * percentile(delays, 0.99))

    def _counts(self) -> dict[str, float]:
        return sums_by(metrics_of(self._receiver.metrics), "temporal_request_total", "operation")

    async def _delay(self, talk: Talk, sent: float) -> float:
        """Seconds from a reply's request to its signal: the first that came after it."""
        handle = self._client.get_workflow_handle(self._named(talk))
        signalled = [
            event.event_time.ToDatetime(UTC)
            async for event in handle.fetch_history_events()
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED
        ]
        told = datetime.fromtimestamp(sent, UTC)
        return min((at - told).total_seconds() for at in signalled if at >= told)


async def run(depth: Depth, directory: Path, tell: Tell) -> Report:
    """Count on both sides."""
    async with AsyncExitStack() as stack:
        temporal = await stack.enter_async_context(await DevServer.start())
        ground = Ground(directory)
        ground.tell_temporal(temporal.address)
        stores = await stack.enter_async_context(ground.stores())
        client = await Client.connect(temporal.address)
        talks: list[list[Talk]] = []
        rounds = 1 if depth.quick else depth.rounds  # counts hardly differ from round to round
        for number in range(rounds):
            tell(f"{ENGAGEMENTS} open engagements a side for round {number + 1}")
            talks.append(await open_engagements(stores, client, ENGAGEMENTS, first=number * ENGAGEMENTS))
            await open_samples(client, talks[-1])
        gateway = stack.enter_context(ground.gateway())
        receiver = stack.enter_context(samples_receiver(directory, temporal.address))
        sides: dict[str, Measure[Calls]] = {
            OURS: Counting(gateway, client, talks, lambda talk: talk.workflow_id),
            SAMPLES: Counting(receiver, client, talks, lambda talk: samples.workflow_id(talk.thread_id)),
        }
        seen = await interleaved(sides, rounds, tell)
    return _report(depth, seen)


def _body(talk: Talk, number: int, word: str) -> bytes:
    return finished(talk) if word == "reply" else status(talk, f"msg-{number}-{talk.thread_id}", word)


def _report(depth: Depth, seen: dict[str, list[Calls]]) -> Report:
    ours, other = seen[OURS], seen[SAMPLES]
    mine, theirs = (Side(name, tuple(one.per_delivery for one in seen[name])) for name in (OURS, SAMPLES))
    facts = Side(OURS, tuple(one.per_delivery * _DELIVERIES / _FACTS for one in ours))
    figures = (
        Figure("calls per webhook", "", mine, compared=Compared.ALONE, goal=Goal("≤ 0.5", at_most=0.5)),
        Figure(
            "calls per webhook that is no repeat", "", facts, compared=Compared.ALONE, goal=Goal("≤ 0.5", at_most=0.5)
        ),
        Figure("calls per webhook", "", mine, theirs),
        Figure(
            "reply's request to its signal, p99",
            "ms",
            Side(OURS, tuple(one.reply_ms for one in ours)),
            Side(SAMPLES, tuple(one.reply_ms for one in other)),
            Compared.DIFFERENCE,
            Goal("at once: ≤ 100 ms above", at_most=100),
        ),
    )
    operations = sorted({name for one in (*ours, *other) for name in one.by_operation})
    rows = tuple(
        (name, *(f"{sum(one.by_operation.get(name, 0) for one in seen[side]):.0f}" for side in (OURS, SAMPLES)))
        for name in operations
    )
    conditions = (
        f"{ENGAGEMENTS} engagements a round and side; statuses after 0, 0.8 and 1.6 s, the reply after 4.5 s",
        "the second status and the reply come twice; mere statuses linger 3 s by default",
        "counted by the SDK (temporal_request), signals only: the gateway's look at Temporal every 5 s is in the table",
    )
    table = Table("calls to Temporal in all rounds", ("operation", OURS, SAMPLES), rows)
    return Report(NAME, BENCH.title, depth.command(NAME), figures, conditions, (table,))


BENCH = Bench(NAME, "calls to Temporal per webhook", "≤ 0.5 with statuses lingering, the reply at once", run)
