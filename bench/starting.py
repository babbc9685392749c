"""How soon after its processes are started a service sends; and how long a clone takes to its demo and its tests.

Both sides begin their two processes in the same moment beside a Temporal that runs, and are asked for an engagement by
HTTP until they take it. It ends when the simulated provider has taken the message.
"""

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

import httpx

from bench.depth import Bench, Depth, Tell
from bench.figures import Compared, Figure, Goal, Report, Side
from bench.ground import ACCESS, ATS_SECRET, GATEWAY, GATEWAY_READY, TENANT, WORKER, WORKER_READY, Ground
from bench.interleaving import Measure, interleaved
from bench.processes import ROOT, begun, cpu_seconds, until_said
from bench.samples_style import receiver as samples_receiver
from bench.samples_style import worker as samples_worker
from bench.webhooks import SECRET
from bench.whole_life import RECRUBO, TOKEN, recrubo, request
from runtime.dev_server import DevServer
from tests.processes import completed, free_ports
from workflows import search_attributes

NAME = "starting"
OURS, SAMPLES = "ours", "samples-style"
CLONE = "a clone"
NEVER = 86_400.0
"""Seconds until a candidate reacts."""
_GLANCE = 0.02
_PATIENCE = 90.0
_MAKE_SECONDS = 3_600.0
_OURS = ("MAKE", "MFLAGS", "PYTEST_", "PYTHON", "RAPPORT_", "TEMPORAL_", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Part:
    """A process of a side: what it is, and the word of its log that says that it is ready."""

    name: str
    words: Sequence[str]
    ready: str
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Call:
    """How a side is asked for an engagement."""

    url: str
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True)
class Begun:
    """How a side began, in seconds."""

    worker: float
    receiver: float
    worker_cpu: float
    receiver_cpu: float
    """On a core until it was ready."""
    send: float
    """To the first message at the provider."""


def phone(number: int) -> str:
    """Whom a round asks for: somebody else each time, since a simulated provider that begins anew repeats its ids."""
    return f"+316{10 + number}345601"


async def measured(worker: Part, receiver: Part, call: Call, provider: str, directory: Path) -> Begun:
    """Begin both processes, ask for an engagement as soon as somebody answers, wait for its message."""
    began = time.time()
    with ExitStack() as stack:
        its = {
            one.name: stack.enter_context(begun(one.name, one.words, directory, environment=one.environment))
            for one in (worker, receiver)
        }

        async def ready(one: Part) -> tuple[float, float]:
            process = its[one.name]
            await until_said(process, one.ready)
            return time.time() - began, cpu_seconds(process.child.pid)

        async with asyncio.timeout(_PATIENCE), httpx.AsyncClient(timeout=30, trust_env=False) as http:
            asked = asyncio.create_task(_asked(http, call))
            (at_work, work_cpu), (receives, receiver_cpu) = await asyncio.gather(ready(worker), ready(receiver))
            await asked
            sent = await _first_send(http, provider)
    return Begun(at_work, receives, work_cpu, receiver_cpu, sent - began)


async def _asked(http: httpx.AsyncClient, call: Call) -> None:
    """Ask until somebody takes it: nobody listens at first."""
    while True:
        try:
            answer = await http.post(call.url, headers=dict(call.headers), content=call.body)
        except httpx.TransportError:
            await asyncio.sleep(_GLANCE)
            continue
        answer.raise_for_status()
        return


async def _first_send(http: httpx.AsyncClient, provider: str) -> float:
    """When the provider took the first message."""
    wanted = {"provider": RECRUBO.name, "operation": RECRUBO.sends}
    while True:
        answer = await http.get(f"{provider}/control/calls", params=wanted)
        calls = answer.raise_for_status().json()["calls"]
        if calls:
            return datetime.fromisoformat(calls[0]["at"]).timestamp()
        await asyncio.sleep(_GLANCE)


async def ours(temporal: str, directory: Path, number: int) -> Begun:
    """Our worker and gateway, on a new store."""
    ground = Ground(directory / f"ours-{number}")
    ground.tell_temporal(temporal)
    async with recrubo(ground.webhook_port, NEVER) as provider:
        ground.find_providers(provider)
        asked = request(f"begin-{number}", phone(number)).model_dump_json(exclude={"tenant"}, exclude_defaults=True)
        headers = {"Authorization": f"Bearer {ACCESS}", "Content-Type": "application/json"}
        call = Call(f"http://127.0.0.1:{ground.rest_port}/v1/engagements", headers, asked)
        worker = Part("worker", WORKER, WORKER_READY, ground.worker_environment)
        gateway = Part("gateway", GATEWAY, GATEWAY_READY, ground.gateway_environment)
        return await measured(worker, gateway, call, provider, ground.directory)


async def samples(temporal: str, directory: Path, number: int) -> Begun:
    """The samples-style worker and receiver."""
    port, metrics = free_ports(2)
    async with recrubo(port, NEVER) as provider:
        base = f"{provider}{RECRUBO.path}"
        words = ["bench.samples_style.worker", temporal, base, TOKEN, f"{provider}/ats/{TENANT}", ATS_SECRET]
        worker = Part("samples-worker", words, samples_worker.READY, {})
        door = ["bench.lives.samples", str(port), temporal, base, TOKEN, SECRET, f"127.0.0.1:{metrics}"]
        receiver = Part("samples-receiver", door, samples_receiver.READY, {})
        body = f'{{"reference": "begin-{number}", "phone": "{phone(number).removeprefix("+")}"}}'
        call = Call(f"http://127.0.0.1:{port}/engagements", {"Content-Type": "application/json"}, body)
        return await measured(worker, receiver, call, provider, directory / f"samples-{number}")


async def run(depth: Depth, directory: Path, tell: Tell) -> Report:
    """Measure both sides; and at full depth a clone."""
    rounds = 1 if depth.quick else depth.rounds
    async with await DevServer.start(search_attributes=search_attributes.ALL) as temporal:
        sides: dict[str, Measure[Begun]] = {
            OURS: partial(ours, temporal.address, directory),
            SAMPLES: partial(samples, temporal.address, directory),
        }
        seen = await interleaved(sides, rounds, tell)
    if depth.quick:
        return report(depth, seen, {}, "make demo and make test are left out of a quick run")
    return report(depth, seen, *await asyncio.to_thread(of_a_clone, directory, tell))


def of_a_clone(directory: Path, tell: Tell) -> tuple[dict[str, float], str]:
    """How many seconds each target takes in a new clone, one after the other; or none, and why.

    Raises ``ProcessFailed`` with the end of its output where one fails.
    """
    if not (ROOT / ".git").exists() or shutil.which("git") is None or shutil.which("make") is None:
        return {}, "make demo and make test are left out: they take a clone of the repository, git and make"
    clone, took = directory / "clone", dict[str, float]()
    completed("git clone", ["git", "clone", "--quiet", str(ROOT), str(clone)], _callers())
    for target in TARGETS:
        tell(f"{CLONE}: make {target}")
        began = time.monotonic()
        completed(f"make {target}", ["make", "-C", str(clone), target], _callers(), seconds=_MAKE_SECONDS)
        took[target] = time.monotonic() - began
    return took, "a clone of what was committed last; uv's and the Temporal server's caches were warm"


def _callers() -> dict[str, str]:
    """What whoever runs this would give to make: caches, mirrors and certificates, nothing of this run's own."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}


def report(depth: Depth, seen: Mapping[str, Sequence[Begun]], took: Mapping[str, float], clone: str) -> Report:
    """What was measured; ``clone`` says which clone it was, or why there was none."""
    figures = [Figure(name, "s", _side(seen, OURS, value), _side(seen, SAMPLES, value)) for name, value in SHOWN]
    figures += [
        Figure(f"make {target}", "s", Side(CLONE, (seconds,)), compared=Compared.ALONE, goal=GOALS.get(target))
        for target, seconds in took.items()
    ]
    conditions = (
        "Temporal (dev server, in memory), the simulated provider and our store, new and migrated, are there before",
        "a side's two processes begin in the same moment; Python's bytecode is there and their files are in memory",
        "asked for an engagement by HTTP until it is taken; the message counts when the provider has taken it",
        clone,
    )
    return Report(NAME, BENCH.title, depth.command(NAME), tuple(figures), conditions)


def _side(seen: Mapping[str, Sequence[Begun]], name: str, value: Callable[[Begun], float]) -> Side:
    return Side(name, tuple(value(one) for one in seen[name]))


SHOWN: tuple[tuple[str, Callable[[Begun], float]], ...] = (
    ("worker, from its start to ready", lambda begun: begun.worker),
    ("gateway or receiver, from its start to ready", lambda begun: begun.receiver),
    ("worker, processor time to ready", lambda begun: begun.worker_cpu),
    ("gateway or receiver, processor time to ready", lambda begun: begun.receiver_cpu),
    ("from the start of both to the first message", lambda begun: begun.send),
)
TARGETS = ("setup", "server", "demo", "test")
GOALS = {"test": Goal("≤ 15 min", at_most=900)}

BENCH = Bench(
    NAME,
    "from the start of the processes to the first message; a clone's demo and tests",
    "make test ≤ 15 min on two cores; the rest is shown beside the samples-style service",
    run,
)
