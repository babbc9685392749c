"""One dev server per module; a fresh stage per test."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest_asyncio
from temporalio.testing import TimeSkipper, TimeSkippingConfig

from runtime.codec import AesGcmCodec
from runtime.dev_server import DevServer
from runtime.temporal import connect, data_converter, plugin
from store.keys import KeyRing
from tests.workflow.scripted import ScriptedProvider
from tests.workflow.stage import Stage, open_stage
from workflows import search_attributes

TEST_KEYS = KeyRing(bytes(32), bytes(range(32)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def skipper() -> AsyncIterator[TimeSkipper]:
    """A client of a real server that moves time only when told to."""
    async with await DevServer.start(search_attributes=search_attributes.ALL) as server:
        its_plugin = plugin(data_converter(AesGcmCodec(TEST_KEYS)), strict_imports=True)
        client = await connect(its_plugin, address=server.address)
        yield TimeSkipper(client, config=TimeSkippingConfig(enabled=False, max_session_skip_count=10_000))


@pytest_asyncio.fixture(loop_scope="module")
async def provider() -> ScriptedProvider:
    """The provider of this test."""
    return ScriptedProvider()


@pytest_asyncio.fixture(loop_scope="module")
async def stage(skipper: TimeSkipper, tmp_path: Path, provider: ScriptedProvider) -> AsyncIterator[Stage]:
    """The stage of this test; engagements left open are terminated."""
    async with open_stage(skipper, tmp_path, provider) as opened:
        yield opened
        for handle in opened.played:
            if (await handle.describe()).close_time is None:
                await handle.terminate("end of test")


DAY = timedelta(days=1)
