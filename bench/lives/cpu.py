"""Processor time of process trees, from ``/proc``."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class _Stat:
    parent: int
    ticks: int
    """Its own and those of children that it has waited for."""


def cpu_seconds(roots: Iterable[int]) -> float:
    """User and system time of these processes and all their descendants, ended ones too where they were waited for."""
    stats = _every_process()
    wanted = set(roots)
    grown = True
    while grown:
        more = {pid for pid, stat in stats.items() if stat.parent in wanted and pid not in wanted}
        grown = bool(more)
        wanted |= more
    return sum(stats[pid].ticks for pid in wanted if pid in stats) / _TICKS


def machine_seconds() -> tuple[float, float]:
    """Time that all cores were busy, and that they were idle, since the machine started."""
    numbers = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = numbers[3] + numbers[4]
    return (sum(numbers) - idle) / _TICKS, idle / _TICKS


def _every_process() -> dict[int, _Stat]:
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                text = (folder / "stat").read_text()
            except OSError:  # it ended meanwhile
                continue
            fields = text.rpartition(")")[2].split()
            found[int(folder.name)] = _Stat(parent=int(fields[1]), ticks=sum(map(int, fields[11:15])))
    return found
