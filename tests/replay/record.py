"""Records the histories that replay tests judge new code by: ``python -m tests.replay.record RELEASE``.

Old ones are kept: engagements that began under them may still be open. What the golden stories are told from is kept
with them, as it is (``python -m tests.stories.record`` records that anew).
"""

import asyncio
import re
import shutil
import sys
import tempfile
from pathlib import Path

from temporalio.testing import TimeSkipper, TimeSkippingConfig

from domain.snapshot import EngagementSnapshot
from runtime.codec import AesGcmCodec
from runtime.dev_server import DevServer
from runtime.temporal import connect, data_converter, plugin
from tests.replay.journeys import JOURNEYS
from tests.workflow.conftest import TEST_KEYS
from tests.workflow.scripted import ScriptedProvider
from tests.workflow.stage import open_stage
from workflows import search_attributes

HISTORIES = Path(__file__).parent / "histories"
STORIES = Path(__file__).parents[1] / "stories" / "histories"
STORY = "story-"
GATE = "gate"
"""What stands at the end of the name of a gate's history."""


async def record(release: str) -> None:
    """Run every journey and keep its history under ``histories/RELEASE/``."""
    folder = HISTORIES / release
    folder.mkdir(parents=True, exist_ok=True)
    async with await DevServer.start(search_attributes=search_attributes.ALL) as server:
        client = await connect(plugin(data_converter(AesGcmCodec(TEST_KEYS))), address=server.address)
        skipper = TimeSkipper(client, config=TimeSkippingConfig(enabled=False, max_session_skip_count=10_000))
        for name, (journey, outcome) in JOURNEYS.items():
            with tempfile.TemporaryDirectory() as directory:
                async with open_stage(skipper, Path(directory), ScriptedProvider()) as stage:
                    play = await journey(stage)
                    result = await play.result()
                    if result.settlement.outcome is not outcome:
                        raise SystemExit(f"{name}: ended {result.settlement.outcome}, not {outcome}")
                    histories = {name: await play.handle.fetch_history()}
                    for gate in sorted(gates_of(await play.snapshot())):
                        handle = client.get_workflow_handle(gate)
                        await handle.result()  # the gate ends when nobody waits any more
                        histories[f"{name}.{GATE}"] = await handle.fetch_history()
            for kept, history in histories.items():
                (folder / f"{kept}.json").write_text(history.to_json() + "\n")
                sys.stdout.write(f"{kept}: {len(history.events)} events\n")
    for story in sorted(STORIES.glob("*.json")):
        shutil.copy(story, folder / f"{STORY}{story.name}")


def gates_of(snapshot: EngagementSnapshot) -> set[str]:
    """The gates at which an engagement waited, by its decisions."""
    return {found for d in snapshot.decisions for found in re.findall(r", at (gate:\S+)$", d.text)}


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1]))
