"""The short chaos run: what the promises are worth while processes die, connections break and webhooks are lost."""

import os
import sys
from pathlib import Path

import pytest

from tests.chaos.figures import Figures
from tests.chaos.fleet import Shape
from tests.chaos.run import chaos
from tests.chaos.script import Blow, Size

pytestmark = [pytest.mark.server, pytest.mark.timeout(900)]


SEED = int(os.environ.get("CHAOS_SEED", "171391"))
"""One seed unless told otherwise, so that a red run is about the change, not the draw; ``make chaos`` draws."""


def say(line: str) -> None:
    """What pytest shows of a run that failed."""
    if sys.__stderr__ is not None:
        sys.__stderr__.write(f"chaos: {line}\n")


def check(figures: Figures, size: Size) -> None:
    """Every promise was kept, and the run was as hard as it should be."""
    say(f"\n{figures.table()}repeat it with: {figures.command}")
    again = f"repeat it with: {figures.command}; the figures stand in its output"
    assert not figures.faults, again
    assert (figures.engagements, figures.kills) == (size.engagements, size.kills), again
    assert set(figures.kills_by_barrier) == {blow.value for blow in Blow}, again
    assert figures.kills_at_barrier >= 0.8 * figures.kills, again
    assert figures.unknowns_met > 0, again
    assert not figures.unlisted_unknowns, again


async def test_nothing_is_lost_doubled_or_crossed_while_workers_gateway_and_temporal_die(tmp_path: Path) -> None:
    size = Size(engagements=204, kills=32, seed=SEED)
    say(f"{size}")
    check(await chaos(size, Shape(workers=2), tmp_path, say), size)
