"""How long a bench measures."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from bench.figures import Report

Tell = Callable[[str], None]
"""Hears what is being done."""


@dataclass(frozen=True)
class Depth:
    """How many rounds, and how long the load of one lasts."""

    rounds: int
    seconds: float
    quick: bool = False

    def few(self, many: int) -> int:
        """``many``, or fewer where there is little time."""
        return max(many * 2 // 5, 1) if self.quick else many

    def command(self, name: str) -> str:
        """What repeats a bench at this depth."""
        return f"python -m bench {'--quick ' if self.quick else ''}{name}"


FULL = Depth(rounds=5, seconds=4.0)
QUICK = Depth(rounds=1, seconds=1.0, quick=True)


@dataclass(frozen=True)
class Bench:
    """One bench: what it is called, what it asks, what should come out, and how it is measured."""

    name: str
    title: str
    goal: str
    run: Callable[[Depth, Path, Tell], Awaitable[Report]]
