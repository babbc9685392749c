"""How soon after a webhook the workflow goes on, beside a bare signal.

From the instant at which the request, or the signal, leaves its sender to the instant at which the workflow's own code
goes on. Everything runs on this machine as it does in production, each process where the system puts it.
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.depth import Bench, Depth, Tell
from bench.figures import Compared, Figure, Goal, Report, Side, percentile
from bench.ground import Ground, Receiver, open_engagements
from bench.interleaving import Measure, interleaved
from bench.load import Wanted
from bench.processes import ROOT, base_environment, load, python
from bench.signaller import Bare
from bench.waiting import stamps_in
from bench.waiting_worker import READY
from bench.webhooks import HEADERS, PATH, Talk, text
from runtime.dev_server import DevServer

NAME = "resuming"
OURS, BARE = "webhook to our gateway", "bare signal"
RATES, QUICK_RATES = (10, 50, 200), (50,)
"""Webhooks a second."""
ENGAGEMENTS = 100
WORDS = "Yes, that would suit me."
_PATIENCE = 20.0


@dataclass(frozen=True)
class Delays:
    """Milliseconds from sender to workflow."""

    p50: float
    p99: float


class Ways:
    """Both ways to the same waiting workflows."""

    def __init__(self, ground: Ground, gateway: Receiver, talks: list[Talk], stamps: Path, seconds: float) -> None:
        self._ground, self._gateway, self._talks = ground, gateway, talks
        self._stamps, self._seconds = stamps, seconds
        self._series = 0

    async def warm(self) -> None:
        """Let both ways reach every workflow once."""
        await self.webhooks(50)(0)
        await self.bare(50)(0)

    def webhooks(self, rate: int) -> Measure[Delays]:
        """Through the gateway, at this rate a second."""

        async def measure(_: int) -> Delays:
            due, ids = self._plan(rate)
            talks = [self._talks[n % len(self._talks)] for n in range(len(ids))]
            bodies = [text(talk, its, WORDS).decode() for talk, its in zip(talks, ids, strict=True)]
            wanted = Wanted(self._gateway.port, PATH, HEADERS, bodies, 16, due[-1], due)
            answers = await load(wanted, self._ground.directory)
            sent = {f"messages:{its}:create": answers.began + answers.sent[n] for n, its in enumerate(ids)}
            return await self._delays(sent)

        return measure

    def bare(self, rate: int) -> Measure[Delays]:
        """Straight to the workflow, at this rate a second."""

        async def measure(_: int) -> Delays:
            due, ids = self._plan(rate)
            signals = []
            for n, its in enumerate(ids):
                talk = self._talks[n % len(self._talks)]
                signals.append(asdict(Bare(due[n], talk.workflow_id, talk.thread_id, f"messages:{its}:create", WORDS)))
            wanted, answers = self._ground.directory / "signals.json", self._ground.directory / "signalled.json"
            wanted.write_text(json.dumps(signals))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bench.signaller", str(wanted), str(answers)),
                env=base_environment() | self._ground.environment,
                cwd=ROOT,
                stderr=asyncio.subprocess.PIPE,
            )
            said = (await process.communicate())[1]
            if process.returncode != 0:
                raise RuntimeError(f"the signals broke off: {said.decode(errors='replace')[-2000:]}")
            sent: dict[str, float] = json.loads(answers.read_text())
            return await self._delays(sent)

        return measure

    def _plan(self, rate: int) -> tuple[list[float], list[str]]:
        self._series += 1
        many = max(int(rate * self._seconds), 10)
        return [n / rate for n in range(many)], [f"in-{self._series}-{n}" for n in range(many)]

    async def _delays(self, sent: dict[str, float]) -> Delays:
        async with asyncio.timeout(_PATIENCE):
            while not sent.keys() <= (seen := stamps_in(self._stamps)).keys():  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.1)  # the worker's file has no event to wait for
        delays = [1000 * (seen[key] - at) for key, at in sent.items()]
        return Delays(percentile(delays, 0.5), percentile(delays, 0.99))


async def run(depth: Depth, directory: Path, tell: Tell) -> Report:
    """Measure both ways at every rate."""
    async with AsyncExitStack() as stack:
        temporal = await stack.enter_async_context(await DevServer.start())
        ground = Ground(directory)
        ground.tell_temporal(temporal.address)
        stores = await stack.enter_async_context(ground.stores())
        client = await ground.client(stores, temporal.address)
        tell(f"{depth.few(ENGAGEMENTS)} open engagements")
        talks = await open_engagements(stores, client, depth.few(ENGAGEMENTS))
        gateway = stack.enter_context(ground.gateway())
        stamps = directory / "stamps"
        environment = ground.environment | {"BENCH_STAMPS": str(stamps)}
        stack.enter_context(python("waiting", ["bench.waiting_worker"], READY, directory, environment=environment))
        ways = Ways(ground, gateway, talks, stamps, depth.seconds)
        tell("both ways once, to warm up")
        await ways.warm()
        sides: dict[str, Measure[Delays]] = {}
        for rate in _rates(depth):
            sides |= {f"{OURS}, {rate}/s": ways.webhooks(rate), f"{BARE}, {rate}/s": ways.bare(rate)}
        seen = await interleaved(sides, depth.rounds, tell)
    return _report(depth, seen)


def _rates(depth: Depth) -> tuple[int, ...]:
    return QUICK_RATES if depth.quick else RATES


def _report(depth: Depth, seen: dict[str, list[Delays]]) -> Report:
    figures = []
    for rate in _rates(depth):
        ours, bare = seen[f"{OURS}, {rate}/s"], seen[f"{BARE}, {rate}/s"]
        figures += [
            Figure(
                f"webhook to workflow, p50 at {rate}/s",
                "ms",
                Side(OURS, tuple(one.p50 for one in ours)),
                Side(BARE, tuple(one.p50 for one in bare)),
                Compared.DIFFERENCE,
                Goal("≤ 10 ms above", at_most=10),
            ),
            Figure(
                f"webhook to workflow, p99 at {rate}/s",
                "ms",
                Side(OURS, tuple(one.p99 for one in ours)),
                compared=Compared.ALONE,
                goal=Goal("≤ 100 ms", at_most=100),
            ),
            Figure(
                f"webhook to workflow, p99 at {rate}/s",
                "ms",
                Side(OURS, tuple(one.p99 for one in ours)),
                Side(BARE, tuple(one.p99 for one in bare)),
                Compared.DIFFERENCE,
            ),
        ]
    conditions = (
        f"{depth.few(ENGAGEMENTS)} engagements wait; each webhook is a candidate's reply, which never lingers",
        f"{depth.rounds} rounds of {depth.seconds:g} s for each rate and way",
        "gateway on SQLite (synchronous=FULL), worker, Temporal (dev server, in memory) and senders share all cores",
        "at Temporal a workflow that only waits, on a worker with our options, sealing as ours does on both ways",
    )
    return Report(NAME, BENCH.title, depth.command(NAME), tuple(figures), conditions)


BENCH = Bench(NAME, "from a webhook to the workflow", "p50 ≤ 10 ms above a bare signal, p99 ≤ 100 ms", run)
