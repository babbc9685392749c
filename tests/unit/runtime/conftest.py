"""A real server per module for the tests that need one, and an environment without our own variables."""

import os
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from temporalio.client import Client

from runtime.codec import AesGcmCodec
from runtime.dev_server import DevServer
from runtime.temporal import RapportPlugin, connect, data_converter, plugin
from store.keys import KeyRing

KEYS = KeyRing(bytes(32), bytes(range(32)))


def sealing_plugin() -> RapportPlugin:
    return plugin(data_converter(AesGcmCodec(KEYS)), strict_imports=True)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a developer has set must not decide a test."""
    for name in list(os.environ):
        if name.startswith(("RAPPORT_", "TEMPORAL_")) and name != "TEMPORAL_CLI":
            monkeypatch.delenv(name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[DevServer]:
    async with await DevServer.start() as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def client(server: DevServer) -> Client:
    return await connect(sealing_plugin(), address=server.address)
