"""``python -m bench [--quick] [NAMES…]``: measure, show, and keep the JSON."""

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import structlog
from rich.console import Console

from bench import accepting, costs, open_engagements, pacing, resuming, server_calls, starting
from bench.depth import FULL, QUICK, Bench, Depth
from bench.figures import Report, Verdict
from bench.lives import comparing as lives
from bench.machine import this_machine
from bench.show import as_json, show, write

BENCHES: dict[str, Bench] = {
    bench.name: bench
    for bench in (
        accepting.BENCH,
        server_calls.BENCH,
        costs.BENCH,
        lives.BENCH,
        resuming.BENCH,
        open_engagements.BENCH,
        pacing.BENCH,
        starting.BENCH,
    )
}
log = logging.getLogger(__name__)
RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benches that are named, or all.

    Returns 1 when one could not measure, and when a goal is missed and ``--strict`` was given.
    """
    wanted = _parser().parse_args(arguments)
    console = Console(width=140 if not sys.stdout.isatty() else None)
    if wanted.list:
        for bench in BENCHES.values():
            console.print(f"{bench.name}: {bench.title}. Goal: {bench.goal}", markup=False, highlight=False)
        return 0
    machine = this_machine()
    depth = QUICK if wanted.quick else FULL
    if wanted.rounds:
        depth = replace(depth, rounds=wanted.rounds)
    console.print(
        f"{machine.processor}, {machine.cores} cores, {machine.memory_gib} GiB, {machine.system}, "
        f"Python {machine.python}, load {machine.load}; "
        + ", ".join(f"{name} {version}" for name, version in machine.versions.items()),
        markup=False,
        highlight=False,
    )
    reports: list[Report] = []
    failed: list[str] = []
    file = wanted.results / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    for name in wanted.names or BENCHES:
        try:
            reports.append(asyncio.run(_measured(BENCHES[name], depth)))
        except Exception:
            log.exception("%s measured nothing", name)
            failed.append(name)
            continue
        show(reports[-1], console)
        write(as_json(reports, machine, quick=depth.quick), file)  # what comes next may take long, or fail
    console.print(f"\nkept in {file}" if reports else "\nnothing was measured", markup=False)
    if failed:
        console.print(f"failed: {', '.join(failed)}", style="red")
    return int(bool(failed) or (wanted.strict and any(report.verdict is Verdict.MISSED for report in reports)))


async def _measured(bench: Bench, depth: Depth) -> Report:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rapport-bench-") as folder:
        report = await bench.run(depth, Path(folder), _tell)
    return replace(report, seconds=time.monotonic() - began)


def _tell(line: str) -> None:
    sys.stderr.write(f"  {line}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--rounds", type=int, help="how many rounds, whatever the depth")
    parser.add_argument("--list", action="store_true", help="name the benches and their goals")
    parser.add_argument("--strict", action="store_true", help="fail when a goal is missed")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where to keep the JSON")
    return parser


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))  # simulators tell a lot
    sys.exit(main())
