"""Runs sides turn by turn: A B A B …, so that whatever troubles the machine troubles both."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

T = TypeVar("T")

Measure = Callable[[int], Awaitable[T]]
"""Measures one side in one round; hears the number of the round, from 0."""
Tell = Callable[[str], None]


async def interleaved(sides: Mapping[str, Measure[T]], rounds: int, tell: Tell = lambda _: None) -> dict[str, list[T]]:
    """What each side showed in each round, by its name. The side that begins changes from round to round.

    A side that goes first may find the machine rested, so none always does. What a side raises ends the run: rounds
    without it would compare different moments.
    """
    seen: dict[str, list[T]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            tell(f"round {number + 1} of {rounds}: {name}")
            seen[name].append(await sides[name](number))
    return seen
