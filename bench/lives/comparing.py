"""The bench ``lives``: whole lives per second and per core-second, against every other side."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from bench.dbos_side.side import DbosSide
from bench.depth import Bench, Depth, Tell
from bench.figures import Figure, Goal, Report, Table
from bench.figures import Side as Seen
from bench.interleaving import interleaved
from bench.lives.drive import REPLY_AFTER_S, Lives, Side, drive
from bench.lives.others import OtherMissing
from bench.lives.samples import SamplesSide
from bench.rapport_side.side import Engine, RapportSide
from bench.restate_side.side import RestateSide

NAME = "lives"
QUICKLY, FULLY = (80, 80), (300, 150)
"""Engagements of a round, and how many of them are under way at a time."""
ROUNDS = 3
"""At most: a round on every side takes minutes."""

OURS_MEMORY, OURS = RapportSide(Engine.MEMORY), RapportSide(Engine.POSTGRES)
SAMPLES_MEMORY, SAMPLES = SamplesSide(on_postgres=False), SamplesSide(on_postgres=True)

Value = Callable[[Lives], float]
Rounds = Mapping[str, Sequence[Lives]]


def other_sides() -> tuple[list[Side], list[str]]:
    """The sides that are no Temporal, and for those that are not installed here, why."""
    found: list[Side] = []
    missing = []
    for side in (DbosSide(), RestateSide()):
        try:
            side.versions()
        except OtherMissing as reason:
            missing.append(f"{side.name} was left out: {reason}")
        else:
            found.append(side)
    return found, missing


async def run(depth: Depth, directory: Path, tell: Tell) -> Report:
    """Carry engagements to their ends on every side, turn by turn."""
    others, missing = await asyncio.to_thread(other_sides)
    engagements, at_once = QUICKLY if depth.quick else FULLY
    sides: list[Side] = [OURS, SAMPLES, OURS_MEMORY, SAMPLES_MEMORY, *others]

    async def carried(side: Side, number: int) -> Lives:
        keep = directory / f"{sides.index(side)}-{number}"
        return await asyncio.to_thread(drive, side, engagements, at_once, keep=keep)

    turns = {side.name: partial(carried, side) for side in sides}
    seen = await interleaved(turns, min(depth.rounds, ROUNDS), tell)
    return _report(depth, seen, others, missing)


def _report(depth: Depth, seen: Rounds, others: Sequence[Side], missing: Sequence[str]) -> Report:
    twice, ahead = Goal("≥ 2", at_least=2), Goal("> 1", at_least=1)
    figures = []
    for pair in ((OURS, SAMPLES), (OURS_MEMORY, SAMPLES_MEMORY)):
        figures.append(_figure(seen, "lives a core-second of the worker", pair, _per_worker_second, twice))
        figures.append(_figure(seen, "lives a core-second of the service", pair, _per_service_second))
    figures += [_figure(seen, "lives a second, end to end", (OURS, other), _per_second, ahead) for other in others]
    figures += [_figure(seen, "lives a core-second of all", (OURS, other), _per_core_second) for other in others]
    conditions = (*CONDITIONS, _most(seen), *missing)
    return Report(NAME, BENCH.title, depth.command(NAME), tuple(figures), conditions, (_table(seen),))


def _most(seen: Rounds) -> str:
    at_once = max(one.at_once for lives in seen.values() for one in lives)
    return (
        f"{at_once} lives are under way at a time, so no side shows more than {at_once / REPLY_AFTER_S:.0f} a second; "
        "where the cores are not busy, that is the limit and not the side"
    )


def _figure(seen: Rounds, name: str, sides: tuple[Side, Side], value: Value, goal: Goal | None = None) -> Figure:
    ours, theirs = (Seen(side.name, tuple(value(one) for one in seen[side.name])) for side in sides)
    return Figure(name, "/s", ours, theirs, goal=goal)


def _per_second(one: Lives) -> float:
    return one.per_second


def _per_core_second(one: Lives) -> float:
    return 1000 / one.cpu_ms


def _per_service_second(one: Lives) -> float:
    return 1000 / one.service_cpu_ms


def _per_worker_second(one: Lives) -> float:
    worker = sum(used for name, used in one.cpu_by_process_ms.items() if name.startswith("worker"))
    return 1000 / worker


def _table(seen: Rounds) -> Table:
    columns = ("side", "a second", "median ms", "p99 ms", "CPU ms by process", "idle ms/s", "cores busy", "others' s")
    rows = [_row(name, one) for name, lives in seen.items() for one in lives]
    return Table("every round; CPU per engagement", columns, tuple(rows))


def _row(name: str, one: Lives) -> tuple[str, ...]:
    processes = ", ".join(f"{process} {used:.0f}" for process, used in one.cpu_by_process_ms.items())
    numbers = (one.idle_cpu_ms_per_s, one.cores_busy, one.others_cpu_s)
    shown = (f"{one.per_second:.1f}", f"{one.median_ms:.0f}", f"{one.p99_ms:.0f}", processes)
    return (name, *shown, *(f"{number:.1f}" for number in numbers))


CONDITIONS = (
    f"a candidate answers {REPLY_AFTER_S:g} s after the message; a life has seven webhooks and four provider calls",
    "simulator, recruiter, services and engines share the machine's cores",
    "flushed at every commit: PostgreSQL (fsync=on), Restate, our SQLite store; a dev server in memory keeps nothing",
    "ours has consent, contacts, ledger, archive and sealing with it, the other sides none of them",
    "at DBOS and Restate only the reply wakes the workflow, other webhooks are kept beside it",
)
BENCH = Bench(
    NAME,
    "Whole lives on the simulated Recrubo, from the request to the reported outcome",
    "≥ 2 × samples-style per worker-core-second; ahead of DBOS and Restate end to end",
    run,
)
