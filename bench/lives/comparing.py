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
from bench.lives.drive import REPLY_AFTER_S, WARM_UP, Lives, Side, drive, present
from bench.lives.samples import SamplesSide
from bench.rapport_side.side import Engine, RapportSide
from bench.restate_side.side import RestateSide

NAME = "lives"
QUICKLY, FULLY = (20, 20), (120, 80)
"""Engagements of a round, and how many of them are under way at a time."""

OURS, OURS_MEMORY = RapportSide(Engine.POSTGRES), RapportSide(Engine.MEMORY)
SAMPLES = SAMPLES_POSTGRES, SAMPLES_MEMORY = SamplesSide(on_postgres=True), SamplesSide(on_postgres=False)
OTHERS: tuple[Side, ...] = (DbosSide(), RestateSide())
SIDES: tuple[Side, ...] = (OURS, SAMPLES_POSTGRES, *OTHERS, OURS_MEMORY, SAMPLES_MEMORY)
IN_MEMORY: tuple[Side, ...] = (OURS_MEMORY, SAMPLES_MEMORY)
"""What a quick run has time for."""
TWICE, AHEAD = Goal("≥ 2", at_least=2), Goal("> 1", at_least=1)

Value = Callable[[Lives], float]
Rounds = Mapping[str, Sequence[Lives]]


async def run(depth: Depth, directory: Path, tell: Tell) -> Report:
    """Carry engagements to their ends on every side whose programs are here, turn by turn."""
    sides, missing = await asyncio.to_thread(present, IN_MEMORY if depth.quick else SIDES)
    for line in missing:
        tell(line)
    engagements, at_once = QUICKLY if depth.quick else FULLY

    async def carried(side: Side, number: int) -> Lives:
        keep = directory / f"{SIDES.index(side)}-{number}"
        return await asyncio.to_thread(drive, side, engagements, at_once, warm_up=depth.few(WARM_UP), keep=keep)

    turns = {side.name: partial(carried, side) for side in sides}
    rounds = (depth.rounds + 1) // 2  # half as many as elsewhere: one takes minutes
    seen = await interleaved(turns, rounds, tell)
    return _report(depth, seen, missing)


def _report(depth: Depth, seen: Rounds, missing: Sequence[str]) -> Report:
    compared = (
        ("lives a core-second of the worker", SAMPLES, _per_worker_second, TWICE),
        ("lives a core-second of the service", SAMPLES, _per_service_second, None),
        ("lives a second, end to end", OTHERS, _per_second, AHEAD),
        ("lives a second, end to end", SAMPLES, _per_second, None),
        ("lives a core-second of all", (*SAMPLES, *OTHERS), _per_core_second, None),
    )
    figures = tuple(
        _figure(seen, name, (_ours_against(other), other), value, goal)
        for name, others, value, goal in compared
        for other in others
        if other.name in seen and _ours_against(other).name in seen
    )
    conditions = (*CONDITIONS, *([_most(seen)] if seen else []), *missing)
    return Report(NAME, BENCH.title, depth.command(NAME), figures, conditions, (_table(seen),))


def _ours_against(other: Side) -> Side:
    """Ours on the same ground."""
    return OURS_MEMORY if other is SAMPLES_MEMORY else OURS


def _most(seen: Rounds) -> str:
    at_once = max(one.at_once for lives in seen.values() for one in lives)
    return (
        f"{at_once} lives are under way at a time, so no side shows more than {at_once / REPLY_AFTER_S:.0f} a second; "
        "where the cores are not busy, that is the limit and not the side"
    )


def _figure(seen: Rounds, name: str, sides: tuple[Side, Side], value: Value, goal: Goal | None) -> Figure:
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


_FLUSHED = (
    "on the disk before it counts: PostgreSQL (fsync=on), Restate's log (rocksdb-disable-wal-fsync=false, as it "
    "comes), our SQLite store; a dev server in memory keeps nothing"
)
CONDITIONS = (
    f"a candidate answers {REPLY_AFTER_S:g} s after the message; a life has seven webhooks and four provider calls",
    "simulator, recruiter, services and engines share the machine's cores",
    _FLUSHED,
    "ours has consent, contacts, ledger, archive and sealing with it, the other sides none of them",
    "at DBOS and Restate only the reply wakes the workflow, other webhooks are kept beside it",
)
BENCH = Bench(
    NAME,
    "Whole lives on the simulated Recrubo, from the request to the reported outcome",
    "≥ 2 × samples-style per worker-core-second; ahead of DBOS and Restate end to end",
    run,
)
