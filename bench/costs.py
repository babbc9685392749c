"""What an engagement costs at Temporal for each of its ends, and beside the samples-style service."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from bench.counting import Cost, cost_of, read
from bench.depth import Bench, Depth, Tell
from bench.figures import Compared, Figure, Goal, Report, Side, Table
from bench.whole_life import SEARCH_ATTRIBUTES, our_life, samples_life
from runtime.dev_server import DevServer

NAME = "costs"
OURS, SAMPLES = "ours", "samples-style"
HISTORIES = Path(__file__).resolve().parent.parent / "tests" / "replay" / "histories"
HAPPY, FOLLOWED = "completed", "completed-after-follow-ups"
FOLLOW_UPS = 2
"""In the journey ``completed-after-follow-ups``."""
_STORY = "story-"


def newest() -> Path:
    """The histories of the newest release."""
    return max((one for one in HISTORIES.iterdir() if one.is_dir()), key=_version)


def recorded(folder: Path) -> dict[str, Cost]:
    """What each recorded journey cost, by its name; where it waited at gates, theirs are journeys of their own."""
    return {
        file.stem: cost_of(read(file)) for file in sorted(folder.glob("*.json")) if not file.stem.startswith(_STORY)
    }


async def run(depth: Depth, directory: Path, tell: Tell) -> Report:
    """Count what was recorded, and a whole life on either side."""
    costs = recorded(newest())
    async with AsyncExitStack() as stack:
        temporal = await stack.enter_async_context(await DevServer.start(search_attributes=SEARCH_ATTRIBUTES))
        tell("a life of ours and a samples-style one: what is counted does not depend on who else is busy")
        lives = our_life(directory / "ours", temporal.address), samples_life(directory / "samples", temporal.address)
        ours, samples = map(cost_of, await asyncio.gather(*lives))
    return _report(depth, costs, ours, samples)


def _report(depth: Depth, costs: dict[str, Cost], ours: Cost, samples: Cost) -> Report:
    happy, followed = costs[HAPPY], costs[FOLLOWED]
    figures = (
        _alone("Actions, answered at once", happy.actions, Goal("≤ 12", at_most=12)),
        _alone("events, answered at once", happy.events, Goal("≤ 45", at_most=45)),
        _alone("Actions, answered at once", happy.actions, Goal("then ≤ 9", at_most=9)),
        _alone("events, answered at once", happy.events, Goal("then ≤ 36", at_most=36)),
        _alone("Actions for a follow-up", (followed.actions - happy.actions) / FOLLOW_UPS, Goal("≤ 3", at_most=3)),
        _beside("Actions of a life", "", ours.actions, samples.actions),
        _beside("events of a life", "", ours.events, samples.events),
        _beside("workflow tasks of a life", "", ours.workflow_tasks, samples.workflow_tasks),
        _beside("payload bytes of a life", "B", ours.payload_bytes, samples.payload_bytes),
    )
    columns = ("journey", "Actions", "events", "workflow tasks", "payload bytes", "activities", "signals")
    rows = [
        *((name, cost) for name, cost in costs.items()),
        ("a life on the sandbox, ours", ours),
        ("a life on the sandbox, samples-style", samples),
    ]
    table = Table(f"histories of {newest().name}", columns, tuple((name, *_columns(cost)) for name, cost in rows))
    conditions = (
        f"recorded journeys: tests/replay/histories/{newest().name}, without what lets time pass there",
        "the provider of the recordings tells no statuses; that of told-of-arrival does",
        "completed: somebody else's reading of the template is less than an hour old; completed-by-itself: nobody's is",
        "a life: one engagement on the sandbox, seven webhooks, the answer comes after what lingers has left",
        "ours has consent, ledger, archive and sealing with it, the samples-style side none of them",
    )
    return Report(NAME, BENCH.title, depth.command(NAME), figures, conditions, (table,))


def _alone(name: str, value: float, goal: Goal) -> Figure:
    return Figure(name, "", Side(OURS, (float(value),)), compared=Compared.ALONE, goal=goal)


def _beside(name: str, unit: str, ours: int, samples: int) -> Figure:
    return Figure(name, unit, Side(OURS, (float(ours),)), Side(SAMPLES, (float(samples),)))


def _columns(cost: Cost) -> tuple[str, ...]:
    told = (cost.actions, cost.events, cost.workflow_tasks, cost.payload_bytes, cost.activities, cost.signals)
    return tuple(f"{value:,}" for value in told)


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.name.split(".") if part.isdigit())


BENCH = Bench(
    NAME,
    "Actions, events, workflow tasks and payload bytes of an engagement",
    "answered at once ≤ 12 Actions and ≤ 45 events, then ≤ 9 and ≤ 36; a follow-up ≤ 3 Actions",
    run,
)
