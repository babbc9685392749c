"""How even a line's sends are: thousands want to leave at once, and the provider grants the line twenty a second.

The engagements stand before their first message while no worker runs. It starts, all of them ask to send in the same
moment, and the simulated provider writes down when each request came.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import httpx
from sqlalchemy import func, select

from bench import provider
from bench.crowd import begin, enrolled, phone, talk_of
from bench.depth import Bench, Depth, Tell
from bench.figures import Compared, Figure, Goal, Report, Side
from bench.ground import ATS_SECRET, WORKER, WORKER_READY, Ground
from bench.processes import begun, until_said
from bench.samples_style.activities import Calls
from bench.whole_life import RECRUBO, TOKEN
from domain.pacing import MARGIN
from domain.sends import LedgerState
from runtime.dev_server import DevServer
from runtime.settings import WorkerSettings
from store.stores import Stores
from store.tables import sends
from tests.processes import free_ports
from workflows import search_attributes

NAME = "pacing"
OURS = "our line"
LINE_RATE = 20
FULLY, QUICKLY = 5_000, 60
LEASE = f"{WorkerSettings().lease.total_seconds():g}s"
"""How long a line stays with its worker: as long as in production, or a machine without time would take it away."""
_THREADS_AT_ONCE = 16
_PATIENCE = 10.0
"""So many times as long as it should take, before the sends are given up."""
_START_SECONDS = 300.0


@dataclass(frozen=True)
class Pace:
    """How sends left."""

    sends: int
    busiest: int
    """In the worst second, wherever it begins."""
    mean: float
    """A second, from the first to the last."""
    longest_gap: float

    @classmethod
    def of(cls, instants: Sequence[float]) -> "Pace":
        """The pace of requests that came at these instants. Raises ``ValueError`` for fewer than two."""
        ordered = sorted(instants)
        if len(ordered) < 2:
            raise ValueError("a pace is between at least two sends")
        mean = (len(ordered) - 1) / (ordered[-1] - ordered[0])
        return cls(len(ordered), busiest_second(ordered), mean, max(b - a for a, b in pairwise(ordered)))


def busiest_second(instants: Sequence[float]) -> int:
    """The most instants in any second, its beginning counted and its end not."""
    ordered = sorted(instants)
    return max(n + 1 - bisect_right(ordered, at - 1) for n, at in enumerate(ordered))


async def run(depth: Depth, directory: Path, tell: Tell) -> Report:
    """Let them all want to send, and watch until all have."""
    many = QUICKLY if depth.quick else FULLY
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    async with AsyncExitStack() as stack:
        temporal = await stack.enter_async_context(await DevServer.start(search_attributes=search_attributes.ALL))
        taking = stack.enter_context(begun("provider", ["bench.provider", str(port)], directory))
        ground = Ground(directory, sandbox_url=url, line_rate=LINE_RATE)
        ground.tell_temporal(temporal.address)
        stores = await stack.enter_async_context(ground.stores())
        client = await ground.client(stores, temporal.address)
        await until_said(taking, provider.READY)
        tell(f"{many} conversations")
        threads = await _threads(url, many)
        talks = [talk_of(number, thread) for number, thread in enumerate(threads)]
        tell(f"{many} engagements before their first message")
        await begin(client, await enrolled(ground, stores, client, talks, sent=False))
        tell(f"all of them send: {many / (MARGIN * LINE_RATE):.0f} s at best")
        http = await stack.enter_async_context(httpx.AsyncClient(base_url=url, timeout=120, trust_env=False))
        environment = ground.worker_environment | {"RAPPORT_WORKER__LEASE": LEASE}
        worker = stack.enter_context(begun("worker", WORKER, directory, environment=environment))
        await until_said(worker, WORKER_READY)
        taken = await _until_all_left(stores, http, many)
    return report(depth, Pace.of(taken))


async def _threads(url: str, many: int) -> list[str]:
    calls, few = Calls(f"{url}{RECRUBO.path}", TOKEN, f"{url}/ats", ATS_SECRET), asyncio.Semaphore(_THREADS_AT_ONCE)

    async def opened(number: int) -> str:
        async with few:
            return await calls.open_thread(phone(number).removeprefix("+"))

    try:
        return await asyncio.gather(*map(opened, range(many)))
    finally:
        await calls.close()


async def _until_all_left(stores: Stores, sandbox: httpx.AsyncClient, many: int) -> list[float]:
    """When each send reached the provider, which is asked at the end: a long list takes it time in which it reads no
    clock.
    """
    left = select(func.count()).select_from(sends).where(sends.c.state == LedgerState.SENT.value)
    async with asyncio.timeout(_PATIENCE * many / (MARGIN * LINE_RATE) + _START_SECONDS):
        while await stores.database.read(lambda c: c.execute(left).scalar_one()) < many:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(1.0)
    sent = await _sent(sandbox)
    reached = {call["number"] for call in sent}
    if len(sent) != many or len(reached) != many:
        raise RuntimeError(f"{many} were to be reached: {len(sent)} messages were taken for {len(reached)} people")
    return [datetime.fromisoformat(str(call["at"])).timestamp() for call in sent]


async def _sent(sandbox: httpx.AsyncClient) -> list[dict[str, object]]:
    answer = await sandbox.get("/control/calls", params={"provider": RECRUBO.name, "operation": RECRUBO.sends})
    calls: list[dict[str, object]] = answer.raise_for_status().json()["calls"]
    return [call for call in calls if call["status"] in (200, 201)]


def report(depth: Depth, pace: Pace) -> Report:
    """What was measured, with its goals."""
    never = Goal(f"never over {LINE_RATE}", at_most=LINE_RATE)
    mean = None if depth.quick else Goal("≥ 17", at_least=17)
    figures = (
        _alone("sends in the busiest second", "", pace.busiest, never),
        _alone("sends a second on average", "/s", pace.mean, mean),
        _alone("longest pause between two sends", "s", pace.longest_gap, None),
    )
    conditions = (
        f"{pace.sends:,} engagements want to send at once, on a line that the provider grants {LINE_RATE} a second",
        f"a line sends at {MARGIN:g} of its rate at most, so {MARGIN * LINE_RATE:g}/s is the best possible",
        "the busiest second is the worst of all that begin at any of the sends; times are the simulated provider's",
        "one round: worker, provider and Temporal (dev server, in memory) are processes that share the cores",
        "the provider goes first where the system lets it (SCHED_RR), as on a machine of its own",
        "the engagements begin where they have their conversation and not sent yet; the worker starts behind them",
        "nothing is told of the messages meanwhile: how much a machine carries is measured by lives",
        *(("a quick run judges no mean: while so few leave, the worker is still starting",) if depth.quick else ()),
    )
    return Report(NAME, BENCH.title, depth.command(NAME), figures, conditions)


def _alone(name: str, unit: str, value: float, goal: Goal | None) -> Figure:
    return Figure(name, unit, Side(OURS, (float(value),)), compared=Compared.ALONE, goal=goal)


BENCH = Bench(NAME, f"the pace of a line of {LINE_RATE} a second", f"never over {LINE_RATE} a second, mean ≥ 17", run)
