"""Carries engagements to their end on one side and measures: durations, wall time, processor time by whom."""

import asyncio
import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import httpx

from bench.figures import percentile
from bench.lives.cpu import cpu_seconds, machine_seconds
from bench.lives.recruiter import LifeLost, Recruiter, StartCall, phone
from bench.lives.simulator import ATS_SECRET, running_simulator
from tests.processes import free_ports

REPLY_AFTER_S = 5.0
"""From the message's arrival to the candidate's tap. People take longer; what matters is that it is longer than a
receiver may hold statuses back to tell several at once, or a figure would show what no real life does."""
WARM_UP = 20
"""Engagements before the measurement: connections are made, code is loaded. Their numbers come first."""
SETTLE_S = 1.0
"""After the last outcome, for work that nobody waits for; its processor time counts."""
IDLE_S = 2.0
"""After that, to see what a side uses while nothing happens."""
COMPLAINT = 2000
"""How much of a line of a log is shown when a run fails; tracebacks are long."""
_INFORMS = re.compile(r'"level": ?"info"|\[info ')


@dataclass(frozen=True)
class Place:
    """Where a side finds the world."""

    recrubo: str
    ats: str
    webhook_port: int
    directory: Path


@dataclass(frozen=True)
class Running:
    """A side that is ready. Pids are of whole process trees: our code and code like it, and what it stands on."""

    start: Callable[[str, str], StartCall]
    """The request that begins an engagement, by reference and phone number."""
    service: Mapping[str, int]
    engine: Mapping[str, int]


class SideMissing(Exception):
    """What a side is made of is not on this machine; the text says in one line how to get it."""


class Side(Protocol):
    """One way to build it."""

    @property
    def name(self) -> str:
        """What tables call it."""
        ...

    @property
    def webhook_path(self) -> str:
        """Where its receiver takes webhooks, on the port that it is given."""
        ...

    def versions(self) -> Mapping[str, str]:
        """Of what it is made. Raises ``SideMissing``."""
        ...

    def running(self, place: Place) -> AbstractContextManager[Running]:
        """Start its processes, wait until they are ready, and stop them by pid."""
        ...


def present(sides: Sequence[Side]) -> tuple[list[Side], list[str]]:
    """The sides whose programs are all here, and one line for each other side: what is missing, what gets it."""
    found, missing = [], []
    for side in sides:
        try:
            side.versions()
        except SideMissing as reason:
            missing.append(f"{side.name} is left out: {reason}")
        else:
            found.append(side)
    return found, missing


@dataclass(frozen=True)
class Lives:
    """What one run showed. Processor time is per engagement, in milliseconds."""

    side: str
    engagements: int
    at_once: int
    wall_s: float
    per_second: float
    median_ms: float
    p99_ms: float
    service_cpu_ms: float
    engine_cpu_ms: float
    simulator_cpu_ms: float
    recruiter_cpu_ms: float
    cpu_by_process_ms: Mapping[str, float]
    idle_cpu_ms_per_s: float
    """Service and engine, while nothing happens: a slow run holds more of it per engagement than a quick one."""
    cores_busy: float
    """Of the whole machine while it ran: near the number of cores, the machine is the limit."""
    others_cpu_s: float
    """Time that processes used which do not belong to the run; above a second or so, measure again."""
    provider_calls: Mapping[str, float]
    """Requests to the provider per engagement."""
    webhooks: float
    """Deliveries per engagement, repetitions included."""

    @property
    def cpu_ms(self) -> float:
        """Service and engine."""
        return self.service_cpu_ms + self.engine_cpu_ms

    def dict(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self), "cpu_ms": self.cpu_ms}


def drive(
    side: Side,
    engagements: int,
    at_once: int,
    *,
    warm_up: int = WARM_UP,
    reply_after: float = REPLY_AFTER_S,
    repeat_webhooks: bool = False,
    keep: Path | None = None,
) -> Lives:
    """Start ``side`` on a fresh provider, carry the engagements to their end, check what arrived, stop everything.

    Raises ``LifeLost`` and ``SimulatorDiffers`` when one is lost or told twice, or a phone received two messages.
    """
    with tempfile.TemporaryDirectory(prefix="rapport-bench-") as made:
        directory = keep or Path(made)
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o755)
        provider_port, webhook_port, ats_port = free_ports(3)
        webhook_url = f"http://127.0.0.1:{webhook_port}{side.webhook_path}"
        recruiter = Recruiter(ATS_SECRET, ats_port)
        with running_simulator(provider_port, webhook_url, directory, reply_after) as simulator:
            if repeat_webhooks:
                simulator.repeat_webhooks()
            place = Place(simulator.recrubo, recruiter.url, webhook_port, directory)
            with side.running(place) as running:
                try:
                    numbers = range(warm_up, warm_up + engagements)
                    measured = asyncio.run(_measure(running, recruiter, numbers, at_once, simulator.pid))
                except LifeLost as lost:
                    raise LifeLost(f"{lost}\n{complaints(directory)}") from lost
                total = engagements + warm_up
                simulator.judge(total)
                calls = {name: round(many / total, 3) for name, many in simulator.calls().items()}
                webhooks = sum(simulator.webhooks().values()) / total
        _judge(recruiter, total)
        return _lives(side, (engagements, at_once), measured, calls, webhooks)


def complaints(directory: Path) -> str:
    """The last lines of each log of a run that are more than information; the logs go when the run ends."""
    told = []
    for log in sorted(directory.glob("*.log")):
        lines = [line for line in log.read_text(errors="replace").splitlines() if not _INFORMS.search(line)]
        told += [f"{log.stem}: {line[:COMPLAINT]}" for line in lines[-3:]]
    return "\n".join(told)


@dataclass(frozen=True)
class _Measured:
    durations: Sequence[float]
    wall: float
    cpu: Mapping[str, float]
    idle_cpu: float
    busy: float
    service: frozenset[str]
    engine: frozenset[str]
    cores: float


async def _measure(running: Running, recruiter: Recruiter, numbers: range, at_once: int, simulator: int) -> _Measured:
    pids = {**running.service, **running.engine, "simulator": simulator}
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    async with recruiter.listening(), httpx.AsyncClient(limits=limits, timeout=60, trust_env=False) as http:
        await _lives_of(running, recruiter, http, range(numbers.start), at_once)
        before, own, machine = _cpu(pids), time.process_time(), machine_seconds()
        began = time.perf_counter()
        durations = await _lives_of(running, recruiter, http, numbers, at_once)
        wall = time.perf_counter() - began
        busy_now, idle_now = machine_seconds()
        await asyncio.sleep(SETTLE_S)
        cpu = {name: used - before[name] for name, used in _cpu(pids).items()}
        cpu["recruiter"] = time.process_time() - own
        busy_end, _ = machine_seconds()
        resting = sum(_cpu({**running.service, **running.engine}).values())
        await asyncio.sleep(IDLE_S)
        idle_cpu = (sum(_cpu({**running.service, **running.engine}).values()) - resting) / IDLE_S
    busy, idle = busy_now - machine[0], idle_now - machine[1]
    cores = busy / max(busy + idle, 1e-9) * _cores()
    return _Measured(
        durations=durations,
        wall=wall,
        cpu=cpu,
        idle_cpu=idle_cpu,
        busy=busy_end - machine[0],
        service=frozenset(running.service),
        engine=frozenset(running.engine),
        cores=cores,
    )


async def _lives_of(
    running: Running, recruiter: Recruiter, http: httpx.AsyncClient, numbers: range, at_once: int
) -> list[float]:
    """A fixed number of engagements is under way at any time; when one ends the next begins."""
    waiting, durations = iter(numbers), []

    async def one_after_the_other() -> None:
        for number in waiting:
            reference = f"life-{number}"
            durations.append(await recruiter.live(http, reference, running.start(reference, phone(number))))

    await asyncio.gather(*(one_after_the_other() for _ in range(min(at_once, len(numbers)))))
    return durations


def _judge(recruiter: Recruiter, total: int) -> None:
    told = recruiter.outcomes
    wrong = {name: outcomes for name, outcomes in told.items() if outcomes != ["completed"]}
    if len(told) != total or wrong or recruiter.refused:
        shown = dict(list(wrong.items())[:3])
        raise LifeLost(f"{total} engagements, {len(told)} outcomes told, {recruiter.refused} unsigned; wrong: {shown}")


def _lives(
    side: Side, size: tuple[int, int], measured: _Measured, calls: Mapping[str, float], webhooks: float
) -> Lives:
    count, at_once = size

    def each(names: frozenset[str]) -> float:
        return sum(measured.cpu[name] for name in names) / count * 1000

    return Lives(
        side=side.name,
        engagements=count,
        at_once=at_once,
        wall_s=measured.wall,
        per_second=count / measured.wall,
        median_ms=percentile(measured.durations, 0.5) * 1000,
        p99_ms=percentile(measured.durations, 0.99) * 1000,
        service_cpu_ms=each(measured.service),
        engine_cpu_ms=each(measured.engine),
        simulator_cpu_ms=each(frozenset({"simulator"})),
        recruiter_cpu_ms=each(frozenset({"recruiter"})),
        cpu_by_process_ms={name: used / count * 1000 for name, used in measured.cpu.items()},
        idle_cpu_ms_per_s=measured.idle_cpu * 1000,
        cores_busy=measured.cores,
        others_cpu_s=max(measured.busy - sum(measured.cpu.values()), 0.0),
        provider_calls=calls,
        webhooks=webhooks,
    )


def _cpu(pids: Mapping[str, int]) -> dict[str, float]:
    return {name: cpu_seconds([pid]) for name, pid in pids.items()}


def _cores() -> int:
    return os.cpu_count() or 1
