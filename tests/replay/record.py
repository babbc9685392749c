"""Records the histories that replay tests judge new code by: ``python -m tests.replay.record RELEASE``.

Old ones are kept: engagements that began under them may still be open.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from temporalio.testing import TimeSkipper, TimeSkippingConfig

from runtime.codec import AesGcmCodec
from runtime.dev_server import DevServer
from runtime.temporal import connect, data_converter, plugin
from tests.replay.journeys import JOURNEYS
from tests.workflow.conftest import TEST_KEYS
from tests.workflow.scripted import ScriptedProvider
from tests.workflow.stage import open_stage
from workflows import search_attributes

HISTORIES = Path(__file__).parent / "histories"


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
                    history = await play.handle.fetch_history()
            (folder / f"{name}.json").write_text(history.to_json() + "\n")
            sys.stdout.write(f"{name}: {len(history.events)} events\n")


if __name__ == "__main__":
    asyncio.run(record(sys.argv[1]))
