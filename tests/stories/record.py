"""Records the journeys that golden stories are told from: ``python -m tests.stories.record [NAME...]``."""

import asyncio
import sys
import tempfile
from pathlib import Path

from temporalio.testing import TimeSkipper, TimeSkippingConfig

from runtime.codec import AesGcmCodec
from runtime.dev_server import DevServer
from runtime.temporal import connect, data_converter, plugin
from tests.stories.journeys import JOURNEYS, STAY_OPEN
from tests.workflow.conftest import TEST_KEYS
from tests.workflow.scripted import ScriptedProvider
from tests.workflow.stage import open_stage
from workflows import search_attributes

HISTORIES = Path(__file__).parent / "histories"


async def record(names: list[str]) -> None:
    """Run these journeys, or all, and keep their histories."""
    HISTORIES.mkdir(exist_ok=True)
    async with await DevServer.start(search_attributes=search_attributes.ALL) as server:
        client = await connect(plugin(data_converter(AesGcmCodec(TEST_KEYS))), address=server.address)
        skipper = TimeSkipper(client, config=TimeSkippingConfig(enabled=False, max_session_skip_count=10_000))
        for name in names or JOURNEYS:
            journey = JOURNEYS[name]
            provider = ScriptedProvider(capabilities=journey.capabilities)
            with tempfile.TemporaryDirectory() as directory:
                async with open_stage(skipper, Path(directory), provider) as stage:
                    play = await journey.way(stage)
                    if name not in STAY_OPEN:
                        await play.result()
                    history = await play.handle.fetch_history()
                    for handle in stage.played:
                        if (await handle.describe()).close_time is None:
                            await handle.terminate("end of recording")
            (HISTORIES / f"{name}.json").write_text(history.to_json() + "\n")
            sys.stdout.write(f"{name}: {len(history.events)} events\n")


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1:]))
