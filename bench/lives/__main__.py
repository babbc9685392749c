"""``python -m bench.lives``: whole lives on every side, turn by turn, as a table and as JSON."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from bench.dbos_side.side import DbosSide
from bench.lives.drive import REPLY_AFTER_S, Lives, Side, drive, present
from bench.lives.samples import SamplesSide
from bench.machine import this_machine
from bench.rapport_side.side import Engine, RapportSide
from bench.restate_side.side import RestateSide

SIDES: Mapping[str, Callable[[bool], Side]] = {
    "rapport": lambda flushes: RapportSide(Engine.POSTGRES, flushes),
    "rapport-memory": lambda flushes: RapportSide(Engine.MEMORY, flushes),
    "rapport-file": lambda flushes: RapportSide(Engine.FILE, flushes),
    "samples": lambda flushes: SamplesSide(on_postgres=True, flushes=flushes),
    "samples-memory": lambda flushes: SamplesSide(on_postgres=False, flushes=flushes),
    "dbos": DbosSide,
    "restate": RestateSide,
}
"""By the name on the command line; told whether commits are on the disk before they count."""

_COLUMNS: Mapping[str, Callable[[Lives], float]] = {
    "per second": lambda one: one.per_second,
    "median ms": lambda one: one.median_ms,
    "p99 ms": lambda one: one.p99_ms,
    "CPU ms: service": lambda one: one.service_cpu_ms,
    "engine": lambda one: one.engine_cpu_ms,
    "both": lambda one: one.cpu_ms,
    "simulator, recruiter": lambda one: one.simulator_cpu_ms + one.recruiter_cpu_ms,
    "idle ms/s": lambda one: one.idle_cpu_ms_per_s,
    "cores busy": lambda one: one.cores_busy,
    "others' CPU s": lambda one: one.others_cpu_s,
}


def _asked(arguments: Sequence[str] | None) -> argparse.Namespace:
    words = argparse.ArgumentParser(prog="python -m bench.lives", description=__doc__)
    words.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES), metavar="SIDE",
                       help=", ".join(SIDES))  # fmt: skip
    words.add_argument("--engagements", type=int, default=200)
    words.add_argument("--at-once", type=int, default=100)
    words.add_argument("--reply-after", type=float, default=REPLY_AFTER_S, help="seconds until a candidate answers")
    words.add_argument("--rounds", type=int, default=3)
    words.add_argument("--no-flush", action="store_true", help="neither PostgreSQL nor Restate waits for the disk")
    words.add_argument("--repeat-webhooks", action="store_true", help="statuses and ends are delivered twice")
    words.add_argument("--json", type=Path, default=None, help="write everything to this file too")
    return words.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure by the command line."""
    asked = _asked(arguments)
    sides, missing = present([SIDES[name](not asked.no_flush) for name in asked.sides])
    for line in missing:
        sys.stderr.write(f"  {line}\n")
    machine, seen = this_machine(), {side.name: list[Lives]() for side in sides}
    for number in range(asked.rounds):
        first = number % len(sides)
        for side in sides[first:] + sides[:first]:
            lives = drive(
                side,
                asked.engagements,
                asked.at_once,
                reply_after=asked.reply_after,
                repeat_webhooks=asked.repeat_webhooks,
            )
            seen[side.name].append(lives)
            told = f"{lives.per_second:.1f}/s, {lives.service_cpu_ms:.0f} + {lives.engine_cpu_ms:.0f} ms of CPU"
            sys.stderr.write(f"  round {number + 1} of {asked.rounds}: {side.name}: {told}\n")
    Console(width=None if sys.stdout.isatty() else 160).print(_table(seen, asked.rounds))
    if asked.json is not None:
        report = {
            "machine": asdict(machine),
            "versions": {name: version for side in sides for name, version in side.versions().items()},
            "engagements": asked.engagements,
            "at_once": asked.at_once,
            "reply_after_s": asked.reply_after,
            "flushes": not asked.no_flush,
            "webhooks_repeated": asked.repeat_webhooks,
            "rounds": {name: [one.dict() for one in lives] for name, lives in seen.items()},
        }
        asked.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _table(seen: Mapping[str, Sequence[Lives]], rounds: int) -> Table:
    table = Table("side", *_COLUMNS, title=f"median of {rounds} rounds (least to most); CPU per engagement")
    for name, lives in seen.items():
        table.add_row(name, *(_spread([column(one) for one in lives]) for column in _COLUMNS.values()))
    return table


def _spread(values: Sequence[float]) -> str:
    middle, digits = median(values), 0 if max(values) >= 100 else 1
    if len(values) == 1:
        return f"{middle:.{digits}f}"
    return f"{middle:.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())
